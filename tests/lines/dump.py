"""Runs inside an interpreter, 2.7 to 3.15: dump.py EVERY writes the line table of every code object in every EVERYth
file of its standard library, with the lines that the interpreter itself gives for its instructions.

One code object a line, fields separated by tabs:
    variant  first line  table in hex  step  offset:line,offset:line,... end  name
variant is u, s, d, l for the four of LineTable. A pair offset:line counts for all offsets from there to the next one,
- for no line. The instructions are the offsets -1 (nothing run yet) and then every step-th one below end; with step 0
(before 3.6, when they were of different sizes) each offset that is an instruction is given. The last line is: end HOW.
"""
import binascii
import dis
import os
import random
import sys
import types

V = sys.version_info[:2]
OUT = sys.stdout if V < (3, 0) else sys.stdout.buffer


def line_by_c_api():
    """PyCode_Addr2Line, the function behind tracebacks."""
    import ctypes
    ask = ctypes.pythonapi.PyCode_Addr2Line
    ask.argtypes = [ctypes.py_object, ctypes.c_int]
    ask.restype = ctypes.c_int

    def lines(code, offsets):
        return [ask(code, offset) for offset in offsets]
    return lines


def line_by_module(code, offsets):
    """Without ctypes: co_lines() since 3.10, before that dis.findlinestarts()."""
    if V >= (3, 10):
        found = dict((at, line) for start, end, line in code.co_lines() for at in range(start, end))
        return [code.co_firstlineno if at < 0 else found.get(at) for at in offsets]
    starts, result = list(dis.findlinestarts(code)), []
    for at in offsets:
        result.append(([code.co_firstlineno] + [line for start, line in starts if start <= at])[-1])
    return result


def instructions(code):
    """Offsets of the instructions; since 3.6 every second one, inline caches too."""
    if V >= (3, 6):
        return range(0, len(code), 2)
    code, at, offsets = bytearray(code), 0, []
    while at < len(code):
        offsets.append(at)
        at += 3 if code[at] >= dis.HAVE_ARGUMENT else 1
    return offsets


def write(code, lines):
    table = code.co_linetable if V >= (3, 10) else code.co_lnotab
    variant = 'u' if V < (3, 6) else 's' if V < (3, 10) else 'd' if V == (3, 10) else 'l'
    offsets = [-1] + list(instructions(code.co_code))
    pairs, last = [], ()
    for at, line in zip(offsets, lines(code, offsets)):
        if line != last or V < (3, 6):
            # -1 is what PyCode_Addr2Line says where there is none; 3.10 and later only.
            pairs.append('%d:%s' % (at, '-' if line is None or line == -1 and V >= (3, 10) else line))
        last = line
    step = 2 if V >= (3, 6) else 0
    fields = (variant, code.co_firstlineno, binascii.hexlify(table).decode('ascii'), step, ','.join(pairs),
              len(code.co_code), code.co_name)
    OUT.write(('\t'.join(str(f) for f in fields) + '\n').encode('utf-8', 'backslashreplace'))


def nested(code):
    todo = [code]
    while todo:
        code = todo.pop()
        yield code
        todo += [const for const in code.co_consts if isinstance(const, types.CodeType)]


def library(every):
    """The sources, packages that are no part of it left out."""
    files = []
    for folder, folders, names in os.walk(os.path.dirname(os.__file__)):
        folders[:] = sorted(f for f in folders if f not in ('site-packages', 'dist-packages', '__pycache__'))
        files += [os.path.join(folder, name) for name in sorted(names) if name.endswith('.py')]
    files = [name for name in files if os.path.isfile(name)]      # no links that lead nowhere
    for name in files[::every]:
        with open(name, 'rb') as source:
            yield source.read()


def by_hand():
    """Sources with what a library seldom has: gaps that a step of one byte cannot hold, lines that hold a lot, calls
    over many lines, lines that go back."""
    for gap in (0, 1, 100, 126, 127, 128, 129, 254, 255, 256, 257, 300, 511, 70000):
        skip = '\n' * gap
        yield 'def f(a):\n x = a\n%s y = (a +%s\n x(a,%s\n x)) if x else [\n%s i for i in a]\n return y\n' % ((skip,) * 4)
    for many in (1, 40, 90, 300, 700):
        yield 'x = 1\n' + 'x += x(x, x); ' * many + '\n\ny = x\n'
        yield 'x = {\n' + ''.join('"k%d": f(%d,\n\n g),\n' % (i, i) for i in range(many)) + '}\n' + 'f(x)\n' * many
    yield 'try:\n f()\nexcept A as e:\n g(e)\nfinally:\n h()\nwith a as b:\n f(b)\nfor i in b:\n  if i: continue\nelse:\n f()\n'
    if V >= (3, 6):
        import ast
        for lines in ((900, 700, 690, 100000, 2), (5, 4, 3, 2, 1), (10, 300, 172, 43, 171)):
            tree = ast.parse('def f(x):\n' + ' x = g(x, x + 1)\n' * len(lines))
            for statement, line in zip(tree.body[0].body, lines):
                for node in ast.walk(statement):
                    if hasattr(node, 'lineno'):
                        node.lineno = node.end_lineno = line
            yield tree


def entry(choose):
    """One entry of a table at random, as its bytes and how many bytes of code it covers."""
    if V < (3, 11):
        size = choose([0, 0, 1, 2, 4, 6, 254, 255])
        return [size, choose([0, 1, 2, 127, 128, 129, 254, 255, 5, 5, 5])], size
    kind, units = choose(range(16)), choose(range(8))
    step = []
    for last in [False] * choose([0, 0, 0, 1, 2]) + [True]:
        step.append(choose(range(64)) | (0 if last else 64))
    rest = [choose(range(128))] if kind < 10 else [1, 2] if kind < 13 else []
    rest += step if kind in (13, 14) else []
    rest += [0, 0x47, 3, 9] if kind == 14 else []
    return [0x80 | kind << 3 | units] + rest, 2 * (units + 1)


def at_random(rounds):
    """Code objects with tables that no compiler makes, as far as a table covers all of its code."""
    choose = random.Random(20).choice
    code = compile('x = 1\n' + 'x += x(x, x); ' * 60, 'random', 'exec')
    for _ in range(rounds):
        table, covered = [], 0
        while covered < len(code.co_code):
            more, size = entry(choose)
            table, covered = table + more, covered + size
        yield replace(code, 100000, bytes(bytearray(table)))


def replace(code, first, table):
    if V >= (3, 8):
        return code.replace(co_firstlineno=first, **{'co_linetable' if V >= (3, 10) else 'co_lnotab': table})
    counts = [code.co_argcount] + ([code.co_kwonlyargcount] if V >= (3, 0) else [])
    return types.CodeType(*(counts + [
        code.co_nlocals, code.co_stacksize, code.co_flags, code.co_code, code.co_consts, code.co_names,
        code.co_varnames, code.co_filename, code.co_name, first, table]))


def main():
    every = int(sys.argv[1])
    try:
        lines, how = line_by_c_api(), 'PyCode_Addr2Line'
    except (ImportError, AttributeError):
        lines, how = line_by_module, 'co_lines' if V >= (3, 10) else 'dis.findlinestarts'
    for part in (by_hand(), library(every)):
        for source in part:
            try:
                code = compile(source, 'x', 'exec', 0, True)
            except Exception:       # sources of the test suite that are not meant to compile
                continue
            for each in nested(code):
                write(each, lines)
    for code in at_random(2000 // every):
        write(code, lines)
    OUT.write(('end %s\n' % how).encode('ascii'))


main()
