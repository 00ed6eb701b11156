"""shares.py READY KIND: functions of which the program knows how long it spends in each.

Each is called by `timed`, which adds the time that it took, with all that it calls, to its total. At every SIGUSR1 the
totals are written to READY.1, READY.2 and so on, in lines `total FUNCTION SECONDS`, so that a test knows what happened
between two of them. KIND is the length of a call: `long` (5 ms), `middle` (20 us), or `contrast`: `many_tiny` makes
calls of some 200 ns, beta takes 20 us, gamma 1 ms. In kind `asking` every 30 us there is a system call, in `asking`. In
kind `short` all calls last 200 ns, and are of one length, and READY itself says `share FUNCTION FRACTION`. In kind `seldom`
there is one function, which calls `rare` every 13 us for one; in kind `scattered` one that goes through thousands of
generators, each of which takes 20 us, and calls `between` for 5 us after each.
"""
import itertools
import os
import signal
import sys
import time

import report

clock = getattr(time, 'perf_counter', time.time)
totals = {}
snapshots = itertools.count(1)


def work(n):
    for _ in range(n):
        pass


def alpha(n):
    for _ in range(n):
        pass


def beta(n):
    for _ in range(n):
        pass


def gamma(n):
    for _ in range(n):
        pass


def tiny(x):
    y = x + 1
    z = y * x - y
    return z + x + y


def many_tiny(n):
    for i in range(n):
        tiny(i)
        tiny(i)


def timed(function, n):
    start = clock()
    function(n)
    totals[function] += clock() - start


def asking(n):
    os.getppid()


def per_second(function, seconds=0.05):
    """How much of `function`'s argument lasts a second."""
    n, best = 1000, 0.0
    end = clock() + seconds
    while clock() < end:
        start = clock()
        function(n)
        best = max(best, n / (clock() - start))
    return best


def drive(plan):
    """Calls `(function, n)` in the order of the plan, without end."""
    while True:
        for function, n in plan:
            timed(function, n)


def mixed_up(parts):
    """The parts, each as often as it says, spread evenly in a fixed order that has no short period."""
    places = []
    for part, times in parts:
        places += [((i * 0.6180339887 + len(places) * 0.37) % 1.0, part) for i in range(times)]
    places.sort(key=lambda place: place[0])
    return [part for _, part in places]


def of_length(seconds):
    n = max(1, int(per_second(alpha) * seconds))
    return mixed_up([((alpha, n), 60), ((beta, n), 30), ((gamma, n), 10)])


def contrast():
    rate = per_second(beta)
    tinies = max(1, int(per_second(many_tiny) * 0.0006))
    return mixed_up([((many_tiny, tinies), 20), ((beta, int(rate * 0.00002)), 300), ((gamma, int(rate * 0.001)), 2)])


def calls():
    n = int(per_second(alpha) * 0.00003)
    return mixed_up([((asking, 1), 100), ((alpha, n), 60), ((beta, n), 40)])


def rare(n):
    for _ in range(n):
        pass


def seldom():
    rate = per_second(rare)
    long, short = int(rate * 0.000012), int(rate * 0.000001)
    while True:
        for _ in range(long):
            pass
        rare(short)


def between(n):
    for _ in range(n):
        pass


def generator(n):
    while True:
        for _ in range(n):
            pass
        yield


def scattered():
    rate = per_second(between)
    generators = [generator(int(rate * 0.00002)) for _ in range(5000)]
    short = int(rate * 0.000005)
    while True:
        for each in generators:
            next(each)
            between(short)


def one(x):
    y = x + 1
    z = y * x - y
    return z + x + y


def two(x):
    y = x + 1
    z = y * x - y
    return z + x + y


def three(x):
    y = x + 1
    z = y * x - y
    return z + x + y


def alternate():
    """60 % of the calls go to `one`, 30 % to `two`, 10 % to `three`."""
    x = 3
    while True:
        one(x)
        two(x)
        one(x)
        one(x)
        two(x)
        one(x)
        three(x)
        one(x)
        two(x)
        one(x)


def snapshot(number, frame):
    lines = ['total %s %.9f' % (function.__name__, seconds) for function, seconds in totals.items()]
    report.write('%s.%d' % (sys.argv[1], next(snapshots)), lines)


def main(path, kind):
    signal.signal(signal.SIGUSR1, snapshot)
    if kind == 'short':
        report.write(path, ['share one 0.6', 'share two 0.3', 'share three 0.1'])
        alternate()
    if kind in ('seldom', 'scattered'):
        report.write(path, ['ready'])
        seldom() if kind == 'seldom' else scattered()
    plans = {'contrast': contrast, 'asking': calls}
    plan = plans[kind]() if kind in plans else of_length({'long': 0.005, 'middle': 0.00002}[kind])
    totals.update((function, 0.0) for function, _ in plan)
    report.write(path, ['ready'])
    drive(plan)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2])
