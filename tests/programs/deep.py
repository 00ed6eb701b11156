"""deep.py READY DEPTH: computes at the bottom of a recursion of DEPTH calls."""
import sys
import threading

import report


def down(n, path):
    if n > 1:
        return down(n - 1, path)
    bottom(path)


def bottom(path):
    report.write(path, ['ready'])
    while True:
        pass


def main(path, depth):
    sys.setrecursionlimit(depth + 1000)
    threading.stack_size(1 << 29)
    thread = threading.Thread(target=down, args=(depth, path))
    thread.start()
    thread.join()


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
