"""guest.py READY MODE: sleeps, as a process that is hard to look at in the way that MODE says.

`plain` in none; `user` as user and group 65534; `undumpable` so, too, and not dumpable; `setuid` as a set-user-ID
program that user 65534 has started; `leaderless` without its first thread; `vfork` waiting for a child that does not call
exec, with which no signal and no stop is heard; `epoll` in system calls that fail when they are
interrupted: it ends after a second or more, when there is a file `stop` beside READY, and writes into `failures` how
many did.
"""
import ctypes
import os
import sys
import threading
import time

import report

NOBODY = 65534
PR_SET_DUMPABLE = 4
SYS_EXIT = {'x86_64': 60, 'aarch64': 93}
libc = ctypes.CDLL(None, use_errno=True)


def become(mode):
    if mode in ('user', 'undumpable'):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        libc.prctl(PR_SET_DUMPABLE, int(mode == 'user'), 0, 0, 0)
    if mode == 'setuid':
        os.setresuid(NOBODY, 0, 0)


def goes_on_alone(path):
    while ') Z ' not in open('/proc/self/stat').read():
        time.sleep(0.001)
    report.write(path, ['ready'])
    while True:
        time.sleep(0.01)


def vfork(directory):
    """The child opens a FIFO that nobody writes to."""
    fifo, parent = os.path.join(directory, 'fifo'), os.getpid()
    os.mkfifo(fifo)
    if not os.fork():  # lets the child go on when we have ended
        kept = os.open(fifo, os.O_PATH)
        while os.getppid() == parent:
            time.sleep(0.05)
        os._exit(os.open('/proc/self/fd/%d' % kept, os.O_WRONLY))
    os.posix_spawn('/bin/true', ['true'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 5, fifo, os.O_RDONLY, 0)])


def epoll(directory):
    events, failures = ctypes.create_string_buffer(64), 0
    descriptor = libc.epoll_create1(0)
    while not os.path.exists(os.path.join(directory, 'stop')):
        failures += libc.epoll_wait(descriptor, events, 1, 100) != 0
    report.write(os.path.join(directory, 'failures'), [str(failures)])


def main(path, mode):
    if mode == 'leaderless':
        threading.Thread(target=goes_on_alone, args=(path,)).start()
        libc.syscall(SYS_EXIT[os.uname()[4]], 0)
    os.chmod(os.path.dirname(path), 0o777)
    become(mode)
    report.write(path, ['ready'])
    if mode == 'vfork':
        vfork(os.path.dirname(path))
    if mode == 'epoll':
        epoll(os.path.dirname(path))
    time.sleep(10 ** 5)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2])
