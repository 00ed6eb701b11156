"""command.py SECONDS STATUS: says on both streams what it finds itself in, computes for that time, and ends with that status, or by
signal number -STATUS.
"""
import os
import sys
import time


def surroundings():
    """What a process has from the one that started it, but for its parent's number."""
    status = open('/proc/self/status').read()
    signals = [line for line in status.splitlines() if line.startswith(('SigBlk', 'SigIgn', 'SigPnd', 'TracerPid'))]
    descriptors = sorted(os.readlink('/proc/self/fd/%d' % number) for number in range(3, 10) if is_open(number))
    return [sys.argv[1:], os.getcwd(), sorted(os.environ.items()), signals, descriptors, sys.stdin.read()]


def is_open(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False


def compute(end):
    while time.time() < end:
        for _ in range(1000):
            pass


def main(seconds, status):
    end = time.time() + seconds
    sys.stdout.write('%r\n' % surroundings())
    sys.stdout.flush()
    sys.stderr.write('said on stderr\n')
    compute(end)
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == '__main__':
    main(float(sys.argv[1]), int(sys.argv[2]))
