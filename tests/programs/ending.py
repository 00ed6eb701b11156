"""ending.py READY SECONDS: computes, and ends by itself after that time."""
import sys
import time

import report


def compute(end):
    while time.time() < end:
        for _ in range(1000):
            pass


def main(path, seconds):
    report.write(path, ['ready'])
    compute(time.time() + seconds)


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]))
