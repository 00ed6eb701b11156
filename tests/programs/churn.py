"""churn.py READY KIND LOOPS: functions that are made, called and freed without end, so that addresses are used again.

Each loops 2 * LOOPS times. At the Nth SIGUSR1 it writes READY.N: the time spent in them, and that of the process.

The number of a function is in its file's name, in its own, and decides its line: number 1234567 stands at line
FIRST + 1234567 % SPAN of its file. All names are of one length. KIND says what differs from one to the next:
file, function and line (`files`), function and line (`names`), or all three in copies of one code object (`copies`).
READY holds `skip REASON` where this Python cannot do it.
"""
import signal
import sys
import time
import types

import report

FIRST, SPAN = 5, 97


LOOPS = 400
# One that makes no system call: in those a busy machine takes the processor away, and would show them as long.
clock = getattr(time, 'perf_counter', time.time)


def busy():
    for _ in range(LOOPS):
        pass


def files(number):
    name = 'f%07d' % number
    source = '\n' * (line(number) - 1) + 'def %s():\n    busy()\n    busy()\n' % name
    return made(source, 'file%07d.py' % number, name)


def names(number):
    name = 'f%07d' % number
    source = '\n' * (line(number) - 1) + 'def %s():\n    busy()\n    busy()\n' % name
    return made(source, 'same.py', name)


def made(source, file_name, name):
    space = {'busy': busy}
    eval(compile(source, file_name, 'exec'), space)
    return space[name]


def template():
    busy()
    busy()


def copies(number):
    changes = {'co_filename': 'file%07d.py' % number, 'co_name': 'f%07d' % number, 'co_firstlineno': line(number)}
    if hasattr(template.__code__, 'co_qualname'):
        changes['co_qualname'] = changes['co_name']
    return types.FunctionType(template.__code__.replace(**changes), {'busy': busy})


def line(number):
    return FIRST + number % SPAN


def cost():
    """Of a look at the clock."""
    start = clock()
    for _ in range(2000):
        clock()
    return (clock() - start) / 2000


class Spent(object):
    """Time, since the start, of the process and of that in functions that come and go; each SIGUSR1 has it told."""

    def __init__(self, path):
        self.path, self.told, self.cost, self.count, self.inside = path, 0, cost(), 0, 0
        signal.signal(signal.SIGUSR1, self.tell)

    def tell(self, *_):
        self.told += 1
        inside = self.inside - self.count * self.cost
        report.write('%s.%d' % (self.path, self.told), ['%.6f %.6f' % (inside, clock())])


def main(path, kind, loops):
    global LOOPS
    LOOPS = int(loops)
    make = {'files': files, 'names': names, 'copies': copies}[kind]
    if kind == 'copies' and not hasattr(template.__code__, 'replace'):
        return report.write(path, ['skip no code.replace()'])
    spent, number = Spent(path), 0
    report.write(path, ['span %d %d' % (FIRST, SPAN)])
    while True:
        number = (number + 1) % 10000000
        function = make(number)
        before = clock()
        function()
        spent.inside += clock() - before
        spent.count += 1


if __name__ == '__main__':
    main(*sys.argv[1:])
