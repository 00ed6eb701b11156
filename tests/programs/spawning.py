"""spawning.py READY: one thread computes, one starts programs, and one starts threads, each without end.

Programs are started by fork(2) and, where Python has a way to it (3.8+), by vfork(2). When there is a file READY.ask, READY.counts
says how many were started in each way and in how many that went wrong: `fork N WRONG`, `vfork N WRONG`, `thread N WRONG`.
"""
import os
import subprocess
import sys
import threading

import report

TRUE = ['/bin/sh', '-c', 'exit 7']


def forked():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitpid(pid, 0)[1] >> 8 == 7


def vforked():
    if hasattr(os, 'posix_spawn'):
        return os.waitpid(os.posix_spawn(TRUE[0], TRUE, os.environ), 0)[1] >> 8 == 7
    return subprocess.call(TRUE) == 7


def threaded():
    said = []
    thread = threading.Thread(target=said.append, args=(1,))
    thread.start()
    thread.join()
    return said == [1]


def repeat(way, path, counts, name):
    done = wrong = 0
    while not os.path.exists(path + '.ask'):
        try:
            wrong += not way()
        except Exception:
            wrong += 1
        done += 1
    counts.append('%s %d %d' % (name, done, wrong))


def compute(path):
    while not os.path.exists(path + '.counts'):
        for _ in range(20000):
            pass


def main(path):
    counts = []
    ways = [(forked, 'fork'), (vforked, 'vfork'), (threaded, 'thread')]
    threads = [threading.Thread(target=repeat, args=(way, path, counts, name)) for way, name in ways]
    threads.append(threading.Thread(target=compute, args=(path,)))
    for thread in threads:
        thread.start()
    report.write(path, ['ready'])
    for thread in threads[:3]:
        thread.join()
    report.write(path + '.counts', sorted(counts))


if __name__ == '__main__':
    main(sys.argv[1])
