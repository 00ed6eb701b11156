"""longtable.py READY: runs a function whose line table is over 100 KB long.

READY says `table BYTES` and, for each call that it makes, `at LINE CALLEE`.
"""
import sys

import report

LINES, CALLS = 60000, 12


def linger():
    for _ in range(3000):
        pass


def generated():
    """The source of `huge` and of what it calls, and at which line it calls it."""
    lines, calls = [], []
    for k in range(CALLS):
        lines += ['def step%d():' % k, '    linger()']
    lines.append('def huge(x):')
    for i in range(LINES):
        lines.append('    x = x' if i % 3 else '    x = x or 1')
        if i % (LINES // CALLS) == LINES // CALLS - 1:
            lines.append('    step%d()' % len(calls))
            calls.append('at %d step%d' % (len(lines), len(calls)))
    return '\n'.join(lines), calls


def main(path):
    source, calls = generated()
    space = {'linger': linger}
    eval(compile(source, 'huge.py', 'exec'), space)
    code = space['huge'].__code__
    table = getattr(code, 'co_linetable', None) or code.co_lnotab
    report.write(path, ['table %d' % len(table)] + calls)
    while True:
        space['huge'](1)


if __name__ == '__main__':
    main(sys.argv[1])
