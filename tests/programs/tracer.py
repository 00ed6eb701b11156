"""tracer.py READY PID: traces the process from outside, without stopping it, as a debugger does that lets it run."""
import ctypes
import sys
import time

import report

PTRACE_SEIZE = 0x4206


def main(path, pid):
    libc, end = ctypes.CDLL(None), time.time() + 2
    failed = libc.ptrace(PTRACE_SEIZE, pid, None, None)
    while failed and time.time() < end:  # somebody else just does
        failed = libc.ptrace(PTRACE_SEIZE, pid, None, None)
    report.write(path, ['skip ptrace is refused here' if failed else 'ready'])
    time.sleep(10 ** 5)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
