"""Ways for a thread to wait for ever, and the list of those that do."""
import itertools
import os
import sys
import threading
import time

try:
    import select
    import socket
except ImportError:  # an interpreter that cannot load extension modules
    select = socket = None

FOREVER = 10 ** 5
arrived = []


def asleep():
    arrived.append(threading.current_thread().name)
    time.sleep(
        FOREVER
    )


def locked():
    lock = threading.Lock()
    lock.acquire()
    arrived.append(threading.current_thread().name)
    lock.acquire()


def locked_with_timeout():
    event = threading.Event()
    arrived.append(threading.current_thread().name)
    event.wait(FOREVER)


def reading():
    mine, _open = os.pipe()
    arrived.append(threading.current_thread().name)
    return os.read(mine, 1)


def selecting():
    mine, _open = os.pipe()
    arrived.append(threading.current_thread().name)
    select.select([mine], [], [])


def receiving():
    mine, _open = socket.socketpair()
    arrived.append(threading.current_thread().name)
    mine.recv(1)


def since(*version):
    return sys.version_info[:2] >= version


ways = [asleep, locked, reading]
if select:
    ways += [selecting, receiving]
if since(3, 2):  # before, a lock with a timeout was tried again and again
    ways.append(locked_with_timeout)
ways = itertools.cycle(ways)
cases = []


def case(function):
    """Marks a function that gets a thread of its own and is given the way in which to wait."""
    cases.append(function)
    return function


def define(source, file_name, name):
    """The function `name` of a piece of source."""
    space = {}
    run(compile(source, file_name, 'exec'), space)
    return space[name]


def run(code, space):
    exec(code, space)
