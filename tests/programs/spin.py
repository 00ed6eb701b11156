"""spin.py READY SPINNERS: some threads compute without end, three sleep, and so does the main thread.

READY says `spins IDENT` and `sleeps IDENT` for each.
"""
import sys
import threading
import time

import report

known = []
# Opened when all threads are there: one that starts beside thirty that compute waits for the GIL time and again.
gate = threading.Lock()


def me():
    return threading.current_thread().ident


def spinner():
    known.append('spins %d' % me())
    with gate:
        x = 0
    while True:
        x = (x * 3 + 1) % 1000003


def sleeper():
    known.append('sleeps %d' % me())
    time.sleep(10 ** 5)


def main(path, spinners):
    gate.acquire()
    for function in [sleeper] * 3 + [spinner] * spinners:
        thread = threading.Thread(target=function)
        thread.daemon = True
        thread.start()
    while len(known) < spinners + 3:
        time.sleep(0.005)
    report.write(path, known + ['sleeps %d' % me()])
    gate.release()
    time.sleep(10 ** 5)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
