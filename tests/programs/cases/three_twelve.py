"""Stacks that came with 3.12: scopes of type parameters and aliases."""
from waiting import case


@case
def type_alias(wait):
    type Lazy = list[
        wait()]
    Lazy.__value__


@case
def type_parameters(wait):
    def generic[T](a=wait()):
        pass


@case
def type_bound(wait):
    class Generic[T: (
            wait(), int)]:
        pass
    Generic.__type_params__[0].__constraints__


@case
def inlined_comprehensions(wait):
    class Body:
        members = [[wait() for j in range(1)]
                   for i in range(1)]


@case
def nested_format(wait):
    return f'{[f'{
        wait()
    }' for _ in 'a']}'
