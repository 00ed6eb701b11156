"""A program to profile whose stacks are known (shapes.py knows them).

    target.py SHAPE COUNTER

COUNTER is a file of 64 bytes that is mapped: 8-byte numbers, 0 the units of work done, 1 and 2 of shape `fresh` the
functions made and those of them that got the address of the one before. Says `ready` when it is at work.
Runs on CPython 2.7 to 3.15. The code that is profiled is generated, so that the line of every call is known.
"""
import mmap
import struct
import sys
import threading
import time

UNIT = 0.0002  # seconds that a leaf burns
PATH = 8  # functions that every stack runs through, in turns

counter = None
clock = getattr(time, "perf_counter", time.time)


def put(slot, number):
    counter[8 * slot:8 * slot + 8] = struct.pack("<Q", number)


LEAF = """
def {name}():
    x = 0
    while x < UNIT:
        x += 1
"""
STEP = """
def {name}(n, leaf):
    if n:
        {next}(n - 1, leaf)
    else:
        leaf()
"""


def path(depth, functions):
    """`functions` functions: 8 that call each other, the others at the inner end."""
    source = "".join(STEP.format(name="p%d" % i, next="p%d" % ((i + 1) % PATH)) for i in range(PATH))
    source += "".join(LEAF.format(name="l%d" % i) for i in range(functions - PATH))
    return source + """
leaves = [globals()["l%%d" %% i] for i in range(%d)]

def work(depth):
    done = 0
    while True:
        for leaf in leaves:
            p0(depth, leaf)
            done += 1
            put(0, done)

def burn(depth):
    while True:
        for leaf in leaves:
            p0(depth, leaf)

def park(n):
    if n:
        park(n - 1)
    else:
        closed.acquire()
""" % (functions - PATH)


def stack(depth, functions, threads=1):
    """`depth` frames; of several threads two burn, the others wait."""
    # Two modules, work, the first step and the leaf.
    steps = depth - 5
    source = path(depth, functions)
    if threads > 1:
        source += """
start(burn, %d)
for i in range(%d):
    start(park, 5)
""" % (steps, threads - 2)
    return source + """
ready()
work(%d)
""" % steps


def deep(depth, functions):
    """The work of 20 frames, done at the end of a deeper stack that waits for it."""
    return path(depth, functions) + """
def down(n):
    if n:
        down(n - 1)
    else:
        work(15)

ready()
down(%d)
""" % (depth - 20 - 1)


def gens(depth):
    """Generators in generators, burning inside."""
    source = LEAF.format(name="l0") + "".join("""
def g%d(n):
    if n:
        for x in g%d(n - 1):
            yield x
    else:
        while True:
            l0()
            yield 1
""" % (i, (i + 1) % PATH) for i in range(PATH))
    return source + """
def work(depth):
    done = 0
    for x in g0(depth):
        done += x
        put(0, done)

ready()
work(%d)
""" % (depth - 5)


def aio(depth, tasks=10):
    """Tasks that await through coroutines, burn, and give way to the next task."""
    source = LEAF.format(name="l0") + "".join("""
async def c%d(n):
    if n:
        return await c%d(n - 1)
    l0()
    await asyncio.sleep(0)
    return 1
""" % (i, (i + 1) % PATH) for i in range(PATH))
    return source + """
done = 0

async def task(depth):
    global done
    while True:
        done += await c0(depth)
        put(0, done)

async def work(depth):
    await asyncio.gather(*[task(depth) for i in range(%d)])

import asyncio
ready()
if hasattr(asyncio, "run"):
    asyncio.run(work(%d))
else:
    asyncio.get_event_loop().run_until_complete(work(%d))
""" % (tasks, depth, depth)


def churn(depth):
    """Two chains of calls as short as can be, that never mix."""
    source = ""
    for chain in "ab":
        source += "".join("""
def %s%d():
    %s%d()
""" % (chain, i, chain, i + 1) for i in range(depth - 1))
        source += """
def %s%d():
    pass
""" % (chain, depth - 1)
    return source + """
def work():
    done = 0
    while True:
        for i in range(200):
            a0()
            b0()
        done += 400
        put(0, done)

ready()
work()
"""


def fresh(units):
    """Functions freed and made again at the same address, `fresh_N` being called by `cN%10` alone."""
    source = LEAF.format(name="pattern") + "".join("""
def c%d(made):
    for i in range(%d):
        made()
""" % (i, units) for i in range(10))
    return source + """
def code_named(name):
    old = pattern.__code__
    if hasattr(old, "co_qualname"):
        return old.replace(co_name=name, co_qualname=name)
    if hasattr(old, "replace"):
        return old.replace(co_name=name)
    args = [old.co_argcount]
    if hasattr(old, "co_kwonlyargcount"):
        args.append(old.co_kwonlyargcount)
    args += [old.co_nlocals, old.co_stacksize, old.co_flags, old.co_code, old.co_consts, old.co_names,
             old.co_varnames, old.co_filename, name, old.co_firstlineno, old.co_lnotab]
    return type(old)(*args)

callers = [globals()["c%d" % i] for i in range(10)]

def work():
    done = same = address = 0
    while True:
        code = code_named("fresh_%d" % done)
        same += id(code) == address
        address = id(code)
        made = type(pattern)(code, globals())
        callers[done % 10](made)
        del made, code
        done += 1
        put(0, done)
        put(1, done)
        put(2, same)

ready()
work()
"""


def big(lines):
    """A module whose line table has some 5 bytes a line."""
    source = LEAF.format(name="l0") + "\ndone = 0\nx = 0\ny = 0\n"
    source += "".join("x = y\n" for i in range(lines))
    return source + "ready()\nwhile True:\n    l0()\n    done += 1\n    put(0, done)\n"


SHAPES = {"stack": stack, "deep": deep, "gens": gens, "aio": aio, "churn": churn, "fresh": fresh, "big": big}


def source_of(shape):
    """The code of a shape as it is asked for: its name and numbers, with colons between."""
    words = shape.split(":")
    return SHAPES[words[0]](*[int(word) for word in words[1:]])


def ready():
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def turns():
    """Turns of the loop in a leaf: as many as take UNIT, on a processor that nobody else wants."""
    names = {"UNIT": 10000}
    exec(LEAF.format(name="trial"), names)
    fastest = 1.0
    for i in range(30):
        started = clock()
        names["trial"]()
        fastest = min(fastest, clock() - started)
    return int(names["UNIT"] * UNIT / fastest)


def start(function, argument):
    thread = threading.Thread(target=function, args=(argument,))
    thread.daemon = True
    thread.start()


if __name__ == "__main__":
    with open(sys.argv[2], "r+b") as opened:
        counter = mmap.mmap(opened.fileno(), 64)
    closed = threading.Lock()
    closed.acquire()
    names = {"UNIT": turns(), "put": put, "ready": ready, "start": start, "closed": closed, "__name__": "shape"}
    exec(compile(source_of(sys.argv[1]), "shape.py", "exec"), names)
