"""Stacks of Python 3."""
import contextlib
import functools
import os
import sys

from waiting import case, define

try:
    import unicodedata
except ImportError:  # then the compiler refuses names that are not ASCII
    unicodedata = None


@case
def yield_from(wait):
    def first():
        yield 1
        yield from second()

    def second():
        yield 2
        yield from (
            third())

    def third():
        wait()
        yield 3
    list(first())


@case
def yield_from_deep(wait):
    def nested(n):
        if n:
            yield from nested(n - 1)
        else:
            wait()
        yield n
    list(nested(100))


@case
def keyword_only(wait):
    def called(*args, a, b=2, **more):
        wait()
    called(1, 2, a=3, z=4)


@case
def super_call(wait):
    class Base:
        def method(self):
            return wait()

    class Derived(Base):
        def method(self):
            return super().method(
            )
    Derived().method()


@case
def managed(wait):
    @contextlib.contextmanager
    def manager():
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: None)
            yield wait()
    with manager():
        pass


@case
def managed_exit(wait):
    with contextlib.ExitStack() as stack:
        stack.callback(wait)


@case
def cached_and_dispatched(wait):
    @functools.lru_cache(maxsize=None)
    def cached(n):
        return general(n)

    @functools.singledispatch
    def general(n):
        raise TypeError(n)

    @general.register(int)
    def special(n):
        wait()
    cached(1)


@case
def undecodable_file_name(wait):
    for name in (b'caf\xe9.py', b'\xff\xfe', b'mixed \xc3\xa9 \xe9 \x80.py'):
        wait = functools.partial(define('def named(wait):\n\n    wait()\n', os.fsdecode(name), 'named'), wait)
    wait()


NAMES = [('caf\u00e9.py', '\u00e9t\u00e9'), ('\u00ff.py', '\u00fe'), ('\u65e5\u672c\u8a9e.py', '\u03bb\u044f'), ('\U0001d49c.py', '\U00010428'),
         ('\ud7ff\ue000\uffff.py', '\u0904'), ('\U0010ffff', '\U00020000'), ('\u00e9' * 3000, '\u00e9' * 3000), ('\u65e5' * 3000, '\u65e5' * 3000),
         ('\U0001d49c' * 3000, '\U00020000' * 3000), ('\u202ertl\u2028line\u0085nel\u009bcsi', 'plain'), ('\x80\x9f\xa0', 'plain')]


@case
def unicode_names(wait):
    for file_name, name in NAMES:
        name = name if unicodedata else 'plain'
        wait = functools.partial(define('\n\ndef %s(wait):\n\n    wait()\n' % name, file_name, name), wait)
    wait()


class Text(str):
    pass


@case
def wide_file_name_of_a_subclass(wait):
    for text in ('caf\u00e9 of a subclass', '\u65e5\u672c of a subclass', '\U0001d49c of a subclass'):
        wait = functools.partial(define('\ndef named(wait):\n    wait()\n', Text(text), 'named'), wait)
    wait()
