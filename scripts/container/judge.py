"""judge.py TOOL STATUS OUT ERR: what a profiler has made of target.py, in a cell of a table.

`right` if it gave stacks and each of them is the one that the target has, frame by frame and line by line; how many are
wrong; else how it ended and what it said. Status 0 if that is `right`.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../bench'))
import mojo

# From the root: function and line of target.py.
TRUTH = (('<module>', 5), ('known', 4), ('child', 2))
LONGEST = 76
PREFIX = r'^ *(?:Error: |pyflame: |time=\S+ level=error msg=|Failed to seize PID \d+: )*'
HANGS, KILLED = (124, 137), {128 + 31: 'killed by SIGSYS', 128 + 11: 'crashes: SIGSEGV', 128 + 6: 'crashes: SIGABRT'}


def pyflame(path):
    stacks = {}
    with open(path, errors='replace') as file:
        for line in file:
            text, _, count = line.rstrip('\n').rpartition(' ')
            frames = [frame.rsplit(':', 2) for frame in text.split(';')]
            key = tuple((frame[-2], int(frame[-1])) if len(frame) == 3 else (frame[0], 0) for frame in frames)
            stacks[key] = stacks.get(key, 0) + int(count)
    return stacks


def py_spy(path):
    with open(path, errors='replace') as file:
        frames = re.findall(r'(?m)^ {4}(.*) \(.*:(\d+)\)$', file.read())
    return {tuple((name, int(line)) for name, line in reversed(frames)): 1} if frames else {}


def austin(path):
    try:
        stacks = mojo.read(path)[0]
    except (ValueError, IndexError):
        return {}
    return {tuple((name, line) for _, name, line in frames): count for frames, count in stacks.items()}


def said(paths):
    """The first sentence that is neither a banner nor good news."""
    for path in paths:
        with open(path, errors='replace') as file:
            text = re.sub(r'\x1b\[[0-9;]*m', '', file.read())
        if text.startswith('MOJ'):
            continue
        for part in re.split(r'\n\s*\n', text):
            part = ' '.join(line for line in part.split('\n') if not re.search(r'[\\_]{2}|^ +_ |musl-gcc', line))
            part = re.sub(r'[^ -~\u2026]|' + PREFIX, '', part).strip()
            if re.match(r'Process \d+:|Python +v|Sampling', part) or not re.search(r'[a-z] [a-z]', part):
                continue
            part = re.sub(r'/proc/\d+', '/proc/PID', re.sub(r'PID \d+', 'PID', part)).replace('|', '/')
            return part if len(part) < LONGEST else part[:LONGEST].rsplit(' ', 1)[0] + ' …'
    return ''


def main(tool, status, out, err):
    stacks = {'pyflame': pyflame, 'py-spy': py_spy, 'austin': austin}[tool](out)
    total, right = sum(stacks.values()), stacks.get(TRUTH, 0)
    status = int(status)
    if total and right == total and status not in HANGS:
        print('right')
        return 0
    if status in HANGS:
        print('**hangs**' + (', right stacks before' if right else ''))
    elif total:
        wrong = max((stack for stack in stacks if stack != TRUTH), key=stacks.get)
        print('**wrong**: %d of %d, such as `%s`' % (total - right, total, ';'.join(name for name, _ in wrong)))
    elif status in KILLED:
        print('**%s**' % KILLED[status])
    else:
        words = said([err, out])
        print('no: ' + words if words else '**no stacks, no word**, status %d' % status)
    return 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
