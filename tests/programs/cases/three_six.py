"""Stacks that came with 3.6."""
import ast

from waiting import case, run


class Managed:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        pass


def drive(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


@case
def coroutines(wait):
    async def leaf():
        wait()

    async def middle(n):
        if n:
            await middle(
                n - 1)
        else:
            await leaf()

    async def top():
        async with Managed():
            await middle(20)
    drive(top())


@case
def own_awaitable(wait):
    class Awaitable:
        def __await__(self):
            wait()
            yield

    async def awaiting():
        return [
            await Awaitable()]
    drive(awaiting())


@case
def asynchronous_generator(wait):
    async def numbers():
        for i in range(3):
            yield i
        wait()

    async def collected():
        return [
            x async for x in numbers()
            if x
        ]

    async def top():
        async for x in numbers():
            if x == 2:
                await collected()
    drive(top())


@case
def formatted(wait):
    class Shown:
        def __format__(self, text):
            wait()
    return f'{1} {Shown():>{10}}'


@case
def class_hooks(wait):
    class Descriptor:
        def __set_name__(self, owner, name):
            wait()

    class Base:
        def __init_subclass__(cls, **more):
            class Member:
                member = Descriptor()

    class Derived(Base, flag=1):
        pass


@case
def lines_in_reverse(wait):
    tree = ast.parse('def back(wait):\n    a = 1\n    b = wait()\n    return a\n')
    for statement, line in zip(tree.body[0].body, (1000, 700, 690)):
        for node in ast.walk(statement):
            if hasattr(node, 'lineno'):
                node.lineno = node.end_lineno = line
    space = {}
    run(compile(tree, 'reversed.py', 'exec'), space)
    space['back'](wait)


@case
def lines_far_apart(wait):
    """Steps that take the longest form of every line table."""
    tree = ast.parse('def far(wait):\n    a = 1\n    b = wait()\n    return a\n')
    for statement, line in zip(tree.body[0].body, (2000000, 3, 1999999)):
        for node in ast.walk(statement):
            if hasattr(node, 'lineno'):
                node.lineno = node.end_lineno = line
    space = {}
    run(compile(tree, 'far.py', 'exec'), space)
    space['far'](wait)
