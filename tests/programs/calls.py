"""calls.py READY [STEADY]: makes system calls that a stop could make fail or end early, with work between them, and counts how
each of them went.

Each is called through ctypes in two ways: as C code that lets the GIL go does it, and as C code that keeps it (`held`).
A child sends what some of them wait for. When there is a file READY.ask, the counts are written to READY.counts, in lines
`call NAME TIMES WRONG EXAMPLE`, and that is all (a signal would end the very calls that are watched). READY says
`calls N`, or `skip REASON` where it cannot be done. With STEADY each call comes after so many seconds of work.
"""
import mmap
import os
import signal
import socket
import sys
import time

import report

try:
    import ctypes
except ImportError:
    ctypes = None

TIMEOUT = 0.001  # seconds that a call waits at most
EVERY = 0.0007  # seconds from one thing that the child sends to the next
clock = getattr(time, 'perf_counter', time.time)
IPC_RMID = 0
NR_FUTEX = {'x86_64': 202, 'aarch64': 98}


def work(seconds):
    end = clock() + seconds
    while True:
        for _ in range(3000):
            pass
        if clock() >= end:
            break


class Timespec(ctypes.Structure if ctypes else object):
    _fields_ = [('seconds', ctypes.c_long), ('nanoseconds', ctypes.c_long)] if ctypes else []


def child(pipe, sender, semaphore, semset, parent):
    """Sends a byte, a packet, and what the semaphores wait for, as long as there is somebody to wait."""
    libc = ctypes.CDLL(None)
    raise_it = (ctypes.c_ushort * 3)(0, 1, 0)
    try:
        while os.getppid() == parent:
            os.write(pipe, b'x')
            sender.send(b'x')
            libc.sem_post(semaphore)
            libc.semop(semset, raise_it, ctypes.c_size_t(1))
            time.sleep(EVERY)
    finally:
        libc.semctl(semset, 0, IPC_RMID)
        os._exit(0)


class Calls(object):
    """What to call, and what has to come of it: a result, the errno where that is -1, and whether it takes TIMEOUT."""

    def __init__(self, lib):
        self.lib = lib
        self.millisecond = Timespec(0, int(TIMEOUT * 1e9))
        self.area = (ctypes.c_long * 64)()

    def table(self, pipe, receiver, silent, semaphore, semset, epoll):
        lib, area, wait = self.lib, self.area, ctypes.byref(self.millisecond)
        lower = (ctypes.c_ushort * 3)(0, 0xffff, 0)
        never = (ctypes.c_ushort * 3)(1, 0xffff, 0)
        mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR2 - 1))
        polled = (ctypes.c_int * 2)(silent, 1)
        milliseconds = int(TIMEOUT * 1000)
        EAGAIN, ETIMEDOUT = 11, 110
        empty, one, zero = ctypes.c_int(0), ctypes.c_size_t(1), ctypes.c_long(0)

        def futex():
            return lib.syscall(ctypes.c_long(NR_FUTEX[os.uname()[4]]), ctypes.byref(empty), zero, zero, wait, None, zero)

        def select():
            return lib.select(0, None, None, None, ctypes.byref((ctypes.c_long * 2)(0, int(TIMEOUT * 1e6))))

        return [
            ('epoll_wait', lambda: lib.epoll_wait(epoll, area, 4, milliseconds), 0, None, True),
            ('select', select, 0, None, True),
            ('poll', lambda: lib.poll(polled, one, milliseconds), 0, None, True),
            ('nanosleep', lambda: lib.nanosleep(wait, None), 0, None, True),
            ('clock_nanosleep', lambda: lib.clock_nanosleep(1, 0, wait, None), 0, None, True),
            ('sigtimedwait', lambda: lib.sigtimedwait(mask, None, wait), -1, EAGAIN, True),
            ('futex', futex, -1, ETIMEDOUT, True),
            ('semtimedop', lambda: lib.semtimedop(semset, never, one, wait), -1, EAGAIN, True),
            ('recv with timeout', lambda: lib.recv(silent, area, one, 0), -1, EAGAIN, True),
            ('recv', lambda: lib.recv(receiver, area, one, 0), 1, None, False),
            ('read', lambda: lib.read(pipe, area, one), 1, None, False),
            ('sem_wait', lambda: lib.sem_wait(semaphore), 0, None, False),
            ('semop', lambda: lib.semop(semset, lower, one), 0, None, False),
        ]


def silent_socket():
    """A socket to which nobody sends, and with a timeout of the kernel's (SO_RCVTIMEO)."""
    mine, other = socket.socketpair()
    microseconds = (ctypes.c_long * 2)(0, int(TIMEOUT * 1e6))
    timeval = ctypes.string_at(ctypes.addressof(microseconds), ctypes.sizeof(microseconds))
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    return mine, other


def prepare():
    """Everything that is waited for, and the child that sends it: what `Calls.table` takes, and what must stay alive."""
    libc = ctypes.CDLL(None, use_errno=True)
    pipe, inlet = os.pipe()
    receiver, sender = socket.socketpair()
    silent, other = silent_socket()
    shared = mmap.mmap(-1, 4096)
    semaphore = ctypes.c_void_p(ctypes.addressof((ctypes.c_char * 64).from_buffer(shared)))
    libc.sem_init(semaphore, 1, 0)
    semset = libc.semget(0, 2, 0o600)
    if semset < 0:
        raise OSError(ctypes.get_errno(), 'semget')
    epoll = libc.epoll_create1(0)
    parent = os.getpid()
    if os.fork() == 0:
        # With these open it would wait for ever for somebody to read.
        os.close(pipe)
        receiver.close()
        child(inlet, sender, semaphore, semset, parent)
    return (pipe, receiver.fileno(), silent.fileno(), semaphore, semset, epoll), (receiver, sender, silent, other, shared)


def checked(call, result, errno, times):
    """Makes the call: what is wrong with how it went, or None."""
    start = clock()
    got = call()
    took = clock() - start
    if got != result or got == -1 and ctypes.get_errno() != errno:
        return 'gave_%d_errno_%d' % (got, ctypes.get_errno())
    if times and took < 0.95 * TIMEOUT:
        return 'took_%d_us' % (took * 1e6)
    return None


def main(path, steady='0'):
    if ctypes is None:
        return report.write(path, ['skip no ctypes'])
    places, alive = prepare()
    rows = []
    for way, library in [('', ctypes.CDLL), (' held', ctypes.PyDLL)]:
        lib = library(None, use_errno=True)
        rows += [[row[0] + way, row[1], row[2:], 0, 0, '-'] for row in Calls(lib).table(*places)]

    report.write(path, ['calls %d' % len(rows)])
    while not os.path.exists(path + '.ask'):
        for row in rows:
            work(float(steady))
            fault = checked(row[1], *row[2])
            row[3] += 1
            if fault:
                row[4] += 1
                row[5] = fault
    report.write(path + '.counts', ['call %s %d %d %s' % (name.replace(' ', '_'), times, wrong, example)
                                    for name, _, _, times, wrong, example in rows])
    return alive


if __name__ == '__main__':
    main(*sys.argv[1:])
