"""closing.py READY: a process and its child, both of user and group 65534, that compute all the time.

The parent computes in `parent`; the child in `child`, and as long as there is a file READY.close in `closed`, in which it is
not dumpable, so that nobody of its user may read its memory; after that in `opened`. READY holds the pid of the child, which
ends with its parent.
"""
import ctypes
import os
import sys

import report

NOBODY = 65534
PR_SET_DUMPABLE = 4
libc = ctypes.CDLL(None)


def compute():
    for _ in range(20000):
        pass


def parent():
    while True:
        compute()


def child(path, mine):
    while os.getppid() == mine and not os.path.exists(path):
        compute()


def closed(path, mine):
    while os.getppid() == mine and os.path.exists(path):
        compute()


def opened(mine):
    while os.getppid() == mine:
        compute()


def main(path):
    os.chmod(os.path.dirname(path), 0o777)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    mine = os.getpid()
    pid = os.fork()
    if pid:
        report.write(path, [str(pid)])
        parent()
    child(path + '.close', mine)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    closed(path + '.close', mine)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    opened(mine)


if __name__ == '__main__':
    main(sys.argv[1])
