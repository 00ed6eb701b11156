"""churn.py READY KIND LOOPS: functions that are made, called and freed without end, so that addresses are used again.

Each loops 2 * LOOPS times. READY is written after a while, and says which share of the time is spent in them.

The number of a function is in its file's name, in its own, and decides its line: number 1234567 stands at line
FIRST + 1234567 % SPAN of its file. All names are of one length. KIND says what differs from one to the next:
file, function and line (`files`), function and line (`names`), or all three in copies of one code object (`copies`).
READY holds `skip REASON` where this Python cannot do it.
"""
import sys
import time
import types

import report

FIRST, SPAN = 5, 97


LOOPS = 400
# Of the processor: what a busy machine takes away is nobody's.
clock = getattr(time, 'process_time', None) or time.clock


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


def share(make):
    """Of 1,000, how many parts of the time are spent in the functions themselves."""
    each, number, inside, start = cost(), 0, 0, clock()
    while clock() < start + 0.5:
        number += 1
        function = make(number)
        before = clock()
        function()
        inside += clock() - before
    return int(1000 * (inside - number * each) / (clock() - start - 3 * number * each))


def main(path, kind, loops):
    global LOOPS
    LOOPS = int(loops)
    make = {'files': files, 'names': names, 'copies': copies}[kind]
    if kind == 'copies' and not hasattr(template.__code__, 'replace'):
        return report.write(path, ['skip no code.replace()'])
    report.write(path, ['span %d %d %d' % (FIRST, SPAN, share(make))])
    number = 0
    while True:
        number = (number + 1) % 10000000
        make(number)()


if __name__ == '__main__':
    main(*sys.argv[1:])
