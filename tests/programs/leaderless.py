"""leaderless.py READY: a process whose first thread ends before the others do.

The first thread ends when there is a file READY.leader, without a word to the interpreter; one that only sleeps when there is
READY.sleeper; and with READY.end the process, with status 5, by the thread that computes: in `before`, from the end of the
first thread on in `without_first`, then in `alone`. READY holds the pid.
"""
import ctypes
import os
import sys
import threading
import time

import report

SYS_EXIT = {'x86_64': 60, 'aarch64': 93}


def before(path):
    while not os.path.exists(path + '.leader') or ') Z ' not in open('/proc/self/stat').read():
        for _ in range(20000):
            pass


def without_first(path):
    while not os.path.exists(path + '.sleeper'):
        for _ in range(20000):
            pass


def alone(path):
    while not os.path.exists(path + '.end'):
        for _ in range(20000):
            pass


def computing(path):
    before(path)
    without_first(path)
    alone(path)
    os._exit(5)


def asleep_until(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def main(path):
    # In this order: the first of those that are left is the one that ends next.
    threading.Thread(target=asleep_until, args=(path + '.sleeper',)).start()
    threading.Thread(target=computing, args=(path,)).start()
    report.write(path, [str(os.getpid())])
    asleep_until(path + '.leader')
    # The interpreter's lock is let go around the call, and not taken again.
    ctypes.CDLL(None).syscall(SYS_EXIT[os.uname()[4]], 0)


if __name__ == '__main__':
    main(sys.argv[1])
