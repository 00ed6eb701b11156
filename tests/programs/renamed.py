"""renamed.py READY: a function under new names without end, each code object at the address of the one before.

`fresh_N` is called by `cM` alone, M being the last digit of N, some milliseconds long. READY holds `skip REASON` where
this Python cannot do it.
"""
import sys

import report


def pattern():
    x = 0
    while x < 4000:
        x += 1


def named(name):
    changes = {'co_name': name}
    if hasattr(pattern.__code__, 'co_qualname'):
        changes['co_qualname'] = name
    return pattern.__code__.replace(**changes)


def main(path):
    if not hasattr(pattern.__code__, 'replace'):
        return report.write(path, ['skip no code.replace()'])
    space = {}
    for digit in range(10):
        exec('def c%d(made):\n    for i in range(25):\n        made()\n' % digit, space)
    callers = [space['c%d' % digit] for digit in range(10)]
    report.write(path, ['renames'])
    done = 0
    while True:
        code = named('fresh_%d' % done)
        made = type(pattern)(code, globals())
        callers[done % 10](made)
        del made, code
        done += 1


main(sys.argv[1])
