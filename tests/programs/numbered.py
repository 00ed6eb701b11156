"""numbered.py READY KIND: a process whose threads have other numbers than they say.

`forked`: a child that was forked by the C library, of which Python was told nothing, computes, and its parent sleeps; READY holds
both pids. `plain`: two threads compute, and the first one sleeps; what numbers they have is for the test to say.
"""
import ctypes
import os
import sys
import threading
import time

import report


def leaf(x):
    return x + 1


def one(x):
    return leaf(x)


def two(x):
    return leaf(x)


def compute():
    while True:
        for x in range(1000):
            one(two(x))


def main(path, kind):
    parent = os.getpid()
    if kind == 'forked' and ctypes.PyDLL(None).fork() == 0:
        report.write(path, ['%d %d' % (parent, os.getpid())])
        compute()
    if kind == 'plain':
        for _ in range(2):
            threading.Thread(target=compute).start()
        report.write(path, ['ready'])
    time.sleep(10 ** 5)


if __name__ == '__main__':
    main(*sys.argv[1:])
