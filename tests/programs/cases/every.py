"""Stacks that every Python since 2.7 can have."""
import functools
import heapq
import os
import re
import sys
import threading
import weakref

import waiting
from waiting import case, define


@case
def recursion(wait):
    def down(n):
        if n == 0:
            return wait()
        return down(
            n - 1)
    down(200)


@case
def recursion_over_chunks(wait):
    def fat(n, a, b, c, d, e, f, g, h):
        i = j = k = l = m = n
        if n:
            return fat(n - 1, b, c, d, e, f, g, h, [i, j, k, l, m])
        wait()
    fat(900, *range(8))


@case
def mutual_recursion(wait):
    def even(n):
        return wait() if n == 0 else odd(n - 1)

    def odd(n):
        return (
            even(n - 1))
    even(60)


@case
def generators(wait):
    def leaf():
        yield 1
        wait()
        yield 2

    def middle():
        for x in leaf():
            yield x

    def top():
        for x in (y
                  for y in middle()):
            pass
    next(middle())
    top()


@case
def generator_with_send(wait):
    def echo():
        got = yield
        while got != 2:
            got = yield
        wait()
    running = echo()
    next(running)
    for i in range(5):
        running.send(i)


@case
def generator_closing(wait):
    def held():
        try:
            yield
        finally:
            wait()
    running = held()
    next(running)
    running.close()


@case
def generator_throwing(wait):
    def caught():
        try:
            yield
        except KeyError:
            wait()
    running = caught()
    next(running)
    running.throw(KeyError('x'))


@case
def class_body(wait):
    class Outer(object):
        first = 1

        class Inner(object):
            second = wait()


@case
def metaclass(wait):
    class Meta(type):
        def __new__(mcs, name, bases, members):
            wait()
            return type.__new__(mcs, name, bases, members)
    Meta('Made', (object,), {})


class Special(object):
    """Everything here is entered from C code."""

    def __init__(self, wait):
        self.wait = wait
        self.whole

    @property
    def whole(self):
        return self['key']

    def __getitem__(self, key):
        return self.no_such_attribute

    def __getattr__(self, name):
        return self.made(self.wait)

    @classmethod
    def made(cls, wait):
        return cls.plain(wait)

    @staticmethod
    def plain(wait):
        with Entered(wait) as got:
            return got


class Entered(object):
    def __init__(self, wait):
        self.wait = wait

    def __enter__(self):
        return str(self)

    def __exit__(self, *error):
        pass

    def __str__(self):
        return [] + self

    def __radd__(self, other):
        return self < other

    def __lt__(self, other):
        return self(1, other=2)

    def __call__(self, *args, **more):
        for x in self:
            return x

    def __iter__(self):
        return iter(lambda: self in {self: 1}, None)

    def __hash__(self):
        return len(self)

    def __len__(self):
        if self:
            return 1
        return 0

    def __bool__(self):
        self.changed = 1
        return True

    __nonzero__ = __bool__

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name == 'changed':
            del self.changed

    def __delattr__(self, name):
        self.wait()


@case
def special_methods(wait):
    Special(wait)


@case
def context_exit(wait):
    class Context(object):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            wait()
    with Context():
        raise ValueError(
            'x')


@case
def finalizer(wait):
    class Dying(object):
        def __del__(self):
            wait()
    dying = Dying()
    del dying


@case
def weak_callback(wait):
    class Dying(object):
        pass
    dying = Dying()
    reference = weakref.ref(dying, lambda gone: wait())
    dying = reference


WARM = 20000


class Quick(object):
    """Used so often that the interpreter puts specialised instructions in the caller."""

    def __init__(self, n, wait):
        self.n = n
        if n == WARM:
            wait()

    def __getitem__(self, i):
        if i == WARM:
            self.wait()
        return i

    @property
    def bounded(self):
        if self.n == WARM:
            self.wait()
        return self.n

    def method(self, i):
        if i == WARM:
            self.wait()


@case
def warm_constructor(wait):
    def make(n):
        return Quick(
            n, wait)
    for i in range(WARM + 1):
        make(i)


@case
def warm_item(wait):
    quick = Quick(1, None)
    quick.wait = wait
    for i in range(WARM + 1):
        quick[i]


@case
def warm_property(wait):
    quick = Quick(1, None)
    quick.wait = wait
    for i in range(WARM + 1):
        quick.n = i
        quick.bounded


@case
def warm_method(wait):
    quick = Quick(1, None)
    quick.wait = wait
    for i in range(WARM + 1):
        quick.method(i)


@case
def warm_generator(wait):
    def numbers():
        for i in range(WARM):
            yield i
        wait()
    total = 0
    for i in numbers():
        total += i


@case
def warm_wait(wait):
    """The blocking call itself is on the hot path; with a JIT, inside of compiled code."""
    def outer(call):
        inner(
            call)

    def inner(call):
        call()
    for call in [len.__doc__.upper] * WARM + [wait]:
        outer(call)


@case
def callbacks(wait):
    def by_key(x):
        return functools.reduce(join, [x, 2])

    def join(x, y):
        return functools.partial(mapped, x)(y)

    def mapped(x, y):
        return list(map(lambda z: list(filter(chosen, [z])), [x, y]))

    def chosen(z):
        return max([z, 1], key=lambda x: re.sub('a', replace, 'banana'))

    def replace(match):
        return max(iter(hook, None))

    def hook():
        return any(wait() for _ in [1])
    sorted([2, 1], key=by_key)


@case
def compared(wait):
    class Ordered(object):
        def __lt__(self, other):
            wait()
    heapq.heappush([Ordered(), Ordered()], Ordered())


def decorate(text):
    def decorator(function):
        @functools.wraps(function)
        def wrapper(*args, **more):
            return function(
                *args,
                **more
            )
        return wrapper
    return decorator


@decorate('outer')
@decorate('inner')
def decorated(wait):
    return wait()


@case
def decorators(wait):
    decorated(wait)


@case
def decorating(wait):
    def waits(function):
        wait()

    @functools.partial(
        lambda function: function)
    @waits
    def never():
        pass


@case
def lambdas(wait):
    call = lambda f: (
        lambda g: g())(f)
    (lambda: call(
        lambda: wait()))()


@case
def default_argument(wait):
    def made(
            a=1,
            b=wait()):
        pass


@case
def comprehensions(wait):
    [{k: {v for v in [wait()]}
      for k in [1]}
     for _ in range(2)]


@case
def generator_in_comprehension(wait):
    dict((k, [
        wait() for _ in 'a'])
        for k in set(x for x in [1]))


@case
def executed_with_gaps(wait):
    source = '\n' * 700 + 'def gaps(wait):\n    return (1,\n' + '\n' * 300 + '        wait(\n\n\n))\n'
    define(source, '<generated>', 'gaps')(wait)


@case
def executed_at_top_level(wait):
    waiting.run(compile('\n\nx = 1\nx = (wait()\n)\n', 'top level', 'exec'), {'wait': wait})


@case
def evaluated(wait):
    eval('[f() for f in [wait]]', {'wait': wait})


@case
def long_function(wait):
    """Steps of over 255 in lines and bytes, EXTENDED_ARG, a call that goes back in the lines."""
    source = ['def long(wait, flag):', '    x = ' + ' + '.join('(flag == %d)' % i for i in range(700))]
    source += ['    if flag == %d: x = [%s]' % (i, i * 100000) for i in range(500)]
    source += [''] * 200 + ['    y = (1 and'] + [''] * 150
    source += ['        dict(a=1, b=wait(', '', '        ), c=2))']
    source += ['    z = %d' % (i + 70000) for i in range(300)]
    define('\n'.join(source), 'long.py', 'long')(wait, -1)


@case
def many_short_lines(wait):
    source = ['def short(wait):'] + ['    x = 1'] * 5000 + ['    wait()'] + ['    x = 2'] * 5000
    define('\n'.join(source), 'short.py', 'short')(wait)


@case
def long_line(wait):
    source = 'def wide(wait):\n    x = [%s]; wait(); x = %s\n' % (', '.join(map(str, range(3000))), ' + '.join('x' * 900))
    define(source, 'wide.py', 'wide')(wait)


@case
def backwards_in_a_statement(wait):
    def call(*args):
        wait()
    (
        call
    )(
        1,
        2,
        [i
         for i in (3,)],
    )


@case
def backwards_in_a_loop(wait):
    n = 0
    while True:
        n += 1
        if n == 3:
            x = \
                wait()
        else:
            x = 0
        y = (x,
             n)


@case
def in_finally(wait):
    try:
        try:
            1 / 0
        finally:
            wait()
    except ZeroDivisionError:
        pass


@case
def in_finally_after_return(wait):
    def left():
        try:
            return 1
        finally:
            wait()
    left()


@case
def in_except(wait):
    try:
        {}['x']
    except (KeyError,
            ValueError):
        try:
            [][1]
        except IndexError:
            wait()


@case
def in_else(wait):
    for i in range(3):
        pass
    else:
        try:
            pass
        except ValueError:
            pass
        else:
            wait()


@case
def asserting(wait):
    assert 1, 'x'
    assert (
        wait()
    ), 'y'


@case
def importing(wait):
    """A module that waits while it is imported: with the import system's own frames from 3.3 on."""
    directory = os.path.dirname(os.path.abspath(sys.argv[1]))
    with open(os.path.join(directory, 'imported_and_waiting.py'), 'w') as out:
        out.write('import waiting\n\n\ndef at_import():\n    waiting.asleep()\n\n\nat_import()\n')
    sys.path.insert(0, directory)
    import imported_and_waiting


class Text(str):
    """An instance is not stored compactly."""


@case
def file_name_of_a_subclass(wait):
    define('\ndef named(wait):\n    wait()\n', Text('a file name that is of a subclass of str'), 'named')(wait)


FILE_NAMES = ['semi;colon.py', 'with space.py', 'ends in space ', 'two\nlines.py', 'tab\tcr\r.py', 'esc\x1b[31mred\x07.py',
              'colon:1:2.py', 'back\\slash\\n.py', 'C:\\x\\u1234.py', 'del\x7f.py', ';', ' ', ':', '\\', 'quote"\'<&>.py', '']


@case
def strange_file_names(wait):
    for file_name in FILE_NAMES:
        wait = functools.partial(define('def named(wait):\n    wait()\n', file_name, 'named'), wait)
    wait()


@case
def long_names(wait):
    for length in (255, 256, 1000, 3000, 60000):
        name = 'n' * length
        wait = functools.partial(define('def %s(wait):\n    wait()\n' % name, 'f' * length, name), wait)
    wait()


@case
def profile_function(wait):
    def hook(frame, event, arg):
        sys.setprofile(None)
        wait()

    def called():
        pass
    sys.setprofile(hook)
    called()


@case
def trace_function(wait):
    lines = []

    def hook(frame, event, arg):
        if event == 'line':
            lines.append(frame.f_lineno)
            if len(lines) == 3:
                wait()
        return hook

    def traced():
        x = 1

        x = 2
        x = 3
        return x
    sys.settrace(hook)
    traced()


@case
def traced_waiter(wait):
    """Instructions are instrumented in all frames while a trace function is set."""
    def hook(frame, event, arg):
        return hook

    def traced():
        x = [1,
             2]
        for y in x:
            if y == 2:
                return (x,
                        wait())
    sys.settrace(hook)
    traced()


@case
def closing_over(wait):
    def outer(a):
        def inner():
            return [a, b, wait()]
        b = 1
        return inner
    outer(1)()


@case
def thread_in_thread(wait):
    other = threading.Thread(target=wait, name='started by thread_in_thread')
    other.daemon = True
    other.start()
    other.join()
