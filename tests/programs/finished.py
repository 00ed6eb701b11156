"""finished.py READY SECONDS: computes for a time, ends its interpreter, and lives on for a minute without one."""
import ctypes
import sys
import time

import report


def compute(end):
    while time.time() < end:
        for _ in range(1000):
            pass


def main(path, seconds):
    libc = ctypes.CDLL(None)
    # on_exit(3) calls sleep with the exit status.
    libc.on_exit(ctypes.cast(libc.sleep, ctypes.c_void_p), None)
    report.write(path, ['ready'])
    compute(time.time() + seconds)
    sys.exit(60)


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]))
