"""Stacks that came with 3.10."""
import contextlib

from waiting import case


@case
def matched(wait):
    match {'a': [1, 2]}:
        case {'b': 1}:
            pass
        case {'a': [x, y]} if (
                wait()):
            pass
        case _:
            pass


@case
def matched_class(wait):
    class Point:
        @property
        def x(self):
            wait()
    match Point():
        case Point(
                x=1):
            pass


@case
def with_parentheses(wait):
    with (
        contextlib.nullcontext() as a,
        contextlib.nullcontext(wait()) as b,
    ):
        pass
