"""signalled.py READY: computes, and the C part of the interpreter writes a byte to a file for each signal that arrives.

READY says `count PATH`: where they are. Signals of real time are queued, so each that is sent arrives once.
"""
import os
import signal
import sys

import report


def main(path):
    counted = path + '.count'
    file = os.open(counted, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NONBLOCK, 0o600)
    signal.set_wakeup_fd(file)
    signal.signal(34, lambda number, frame: None)
    report.write(path, ['count ' + counted])
    x = 0
    while True:
        x = (x * 3 + 1) % 1000003


main(sys.argv[1])
