"""Stacks that came with 3.8: code objects that are given other names."""
import functools
import types

from waiting import case


def template(wait):
    wait()


def renamed(name, file_name):
    changes = {'co_name': name, 'co_filename': file_name}
    if hasattr(template.__code__, 'co_qualname'):
        changes['co_qualname'] = name
    return types.FunctionType(template.__code__.replace(**changes), {})


NAMES = ['semi;colon', 'with space', 'two\nlines', 'tab\tcr\r', 'esc\x1b[31m', 'col:on:1', 'back\\n', '\\', ':', ';', ' ', '', 'a 12',
         '\x00nul', '\x7f', '\ud800 lone', '\udc80\udcff', '\u0085\u009b', '<lambda>', '\u202e\u2066\u200b\ufeff']


@case
def strange_names(wait):
    for name in NAMES:
        wait = functools.partial(renamed(name, 'plain.py'), wait)
    wait()


@case
def strange_names_everywhere(wait):
    for name in NAMES:
        wait = functools.partial(renamed(name, name), wait)
    wait()


@case
def moved_first_line(wait):
    moved = template.__code__.replace(co_firstlineno=1000000)
    types.FunctionType(moved, {})(wait)


@case
def assignment_expression(wait):
    while (x := [1,
                 wait()]):
        pass


@case
def positional_only(wait):
    def called(a, /, b):
        wait()
    called(1, b=2)


@case
def cached(wait):
    class Owner:
        @functools.cached_property
        def once(self):
            wait()
    Owner().once
