"""Stacks that came with 3.14."""
from waiting import case


@case
def deferred_annotations(wait):
    def annotated(a: int, b: wait()):
        pass
    annotated.__annotations__


@case
def template_string(wait):
    return t'{1} {
        wait()}'
