"""mixed.py MAP KIND [THREADS]: call chains that never mix, called in turn as fast as possible.

The source of the chains is made here, so that the line a function is at tells whom it calls. MAP says what stacks
are possible:

    root FRAME;FRAME;...         how a stack may begin; FRAME is FILE:FUNCTION:LINE, the file without its directories
    at LINE FUNCTION CALLEE ...  in the generated file: this line belongs to FUNCTION and may call any CALLEE

KIND is calls, short, generators, recursion, callbacks, methods, or all of them in turn.
"""
import functools
import os
import sys
import threading

import report

FILE = '<chains>'


class Source(object):
    """Generated source whose every line knows its function and whom it may call."""

    def __init__(self):
        self.lines = []
        self.map = []
        self.prefix = ''

    def line(self, text, function, *callees):
        self.lines.append(text)
        self.map.append('at %d %s' % (len(self.lines), ' '.join((self.prefix + function,) + callees)))

    def within(self, owner):
        """Functions that follow are methods, which have the class in their names from 3.11 on."""
        self.prefix = owner + '.' if owner and sys.version_info >= (3, 11) else ''


def qualified(owner, method):
    return owner + '.' + method if sys.version_info >= (3, 11) else method


def chain(source, name, depth):
    """name0 calls name1 and so on to name<depth>, which computes a little."""
    for i in range(depth):
        me, callee = '%s%d' % (name, i), '%s%d' % (name, i + 1)
        source.line('def %s(x):' % me, me)
        source.line('    y = x + %d' % i, me)
        source.line('    return %s(y)' % callee, me, callee)
    me = '%s%d' % (name, depth)
    source.line('def %s(x):' % me, me)
    source.line('    return x + 1', me)


def calls(source):
    """Two chains of one shape, and one that is deeper."""
    for name, depth in (('calls_a', 6), ('calls_b', 6), ('calls_c', 9)):
        chain(source, name, depth)
    return ['calls_a0', 'calls_b0', 'calls_c0']


def short(source):
    """The shortest calls there are."""
    for name in ('short_a', 'short_b'):
        chain(source, name, 1)
    return ['short_a0', 'short_b0']


def generators(source):
    """Generators within generators."""
    for name in ('generators_a', 'generators_b'):
        chain(source, name + '_leaf', 1)
        leaf, inner, outer, top = name + '_leaf0', name + '_inner', name + '_outer', name + '0'
        source.line('def %s(n):' % inner, inner)
        source.line('    for i in (1, 2, 3):', inner)
        source.line('        yield %s(i)' % leaf, inner, leaf)
        source.line('def %s(n):' % outer, outer)
        source.line('    for i in %s(n):' % inner, outer, inner)
        source.line('        yield i', outer)
        source.line('def %s(n):' % top, top)
        source.line('    for i in %s(n):' % outer, top, outer)
        source.line('        %s(i)' % leaf, top, leaf)
    return ['generators_a0', 'generators_b0']


def recursion(source):
    """Recursion to depths that differ from call to call."""
    for name in ('recursion_a', 'recursion_b'):
        leaf, down, top = name + '_leaf0', name + '_down', name + '0'
        chain(source, name + '_leaf', 2)
        source.line('def %s(n):' % down, down)
        source.line('    if n > 0:', down)
        source.line('        return %s(n - 1)' % down, down, down)
        source.line('    return %s(n)' % leaf, down, leaf)
        source.line('def %s(x):' % top, top)
        source.line('    return %s(x * 7 %% 31)' % down, top, down)
    return ['recursion_a0', 'recursion_b0']


def callbacks(source):
    """C code calls back into Python."""
    for name in ('callbacks_a', 'callbacks_b'):
        leaf, key, top = name + '_leaf0', name + '_key', name + '0'
        chain(source, name + '_leaf', 2)
        source.line('def %s(x):' % key, key)
        source.line('    return %s(x)' % leaf, key, leaf)
        source.line('def %s(x):' % top, top)
        source.line('    sorted((x, 3, 2, 1), key=%s)' % key, top, key)
        source.line('    for y in map(%s, (1, 2)): pass' % leaf, top, leaf)
        source.line('    partial(%s, x)()' % key, top, key)
    return ['callbacks_a0', 'callbacks_b0']


def methods(source):
    """Constructors, methods, properties and items."""
    for name in ('methods_a', 'methods_b'):
        owner, leaf, top = name.title(), name + '_leaf0', name + '0'
        init, method, item, prop = [qualified(owner, m + name) if m != '__init__' and m != '__getitem__' else qualified(owner, m)
                                    for m in ('__init__', 'method_', '__getitem__', 'property_')]
        chain(source, name + '_leaf', 2)
        source.line('class %s(object):' % owner, '<class>')
        source.within(owner)
        source.line('    def __init__(self, x):', '__init__')
        source.line('        self.x = %s(x)' % leaf, '__init__', leaf)
        source.line('    def method_%s(self):' % name, 'method_' + name)
        source.line('        return self[1]', 'method_' + name, item)
        source.line('    def __getitem__(self, i):', '__getitem__')
        source.line('        return self.property_%s' % name, '__getitem__', prop)
        source.line('    @property', 'property_' + name)
        source.line('    def property_%s(self):' % name, 'property_' + name)
        source.line('        return %s(self.x)' % leaf, 'property_' + name, leaf)
        source.within(None)
        source.line('def %s(x):' % top, top)
        source.line('    made = %s(x)' % owner, top, init)
        source.line('    return made.method_%s()' % name, top, method)
    return ['methods_a0', 'methods_b0']


KINDS = [calls, short, generators, recursion, callbacks, methods]


def driver(source, name, kinds):
    """A function without end that calls every chain of each kind in turn."""
    tops = [kind(source) for kind in kinds]
    source.line('def %s():' % name, name)
    source.line('    while True:', name)
    for group in tops:
        source.line('        for i in range(40):', name)
        for top in group:
            source.line('            %s(i)' % top, name, top)


def roots(frame):
    """The stack from its root to `frame`, which calls a driver at the line it is at."""
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append('%s:%s:%d' % (os.path.basename(code.co_filename), report.name(code), frame.f_lineno))
        frame = frame.f_back
    return 'root ' + ';'.join(reversed(frames))


def drive(function, known, enough):
    """The last thing before the endless driver: one line that tells where it is and goes there."""
    known.append(roots(sys._getframe())) or enough() or function()


def ready(path, known, source, count):
    """Writes the map when all threads have told their roots."""
    if len(known) == count:
        report.write(path, known + source.map)


def main(path, kind, count):
    source = Source()
    kinds = KINDS if kind == 'all' else [k for k in KINDS if k.__name__ == kind]
    driver(source, 'driver', kinds)
    space = {'partial': functools.partial}
    eval(compile('\n'.join(source.lines), FILE, 'exec'), space)
    known = []
    enough = functools.partial(ready, path, known, source, count)
    for _ in range(count - 1):
        thread = threading.Thread(target=drive, args=(space['driver'], known, enough))
        thread.daemon = True
        thread.start()
    drive(space['driver'], known, enough)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int((sys.argv + ['1'])[3]))
