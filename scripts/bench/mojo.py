"""Austin's output, MOJO: a byte for the kind of an event, then its numbers and strings.

A number is in 7-bit groups, the lowest first, of which the first has a sign bit and so 6 bits; a string ends with a
zero byte. Strings and frames are defined once under a number and referred to by it from then on.

    "MOJ" version, then  1 key value                               metadata
                         2 process interpreter thread              a stack begins
                         3 number file function line end column end   a frame is defined
                         5 number                                  the next frame inwards
                         4, 6 name, 7, 8                           an invalid frame, a kernel frame, GC, idle
                         9 number, 10 number                       time, memory: the stack ends
                         11 number text                            a string is defined
"""
import collections
import re

# Frames that were defined before, one after the other: most of a file.
FRAMES = re.compile(rb"(?:\x05[\x80-\xff]*[\x00-\x7f])+")


def read(path):
    """Stacks and how often, the metadata, and how often the thread seen most was seen."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:3] != b"MOJ":
        raise ValueError("not MOJO")
    at = 3

    def number():
        nonlocal at
        byte = data[at]
        at += 1
        value, shift = byte & 0x3f, 6
        negative = byte & 0x40
        while byte & 0x80:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
        return -value if negative else value

    def string():
        nonlocal at
        end = data.index(b"\0", at)
        text = data[at:end].decode(errors="replace")
        at = end + 1
        return text

    number()
    metadata, strings, frames = {}, {}, {}
    stacks, seen = collections.Counter(), collections.Counter()
    known = {}
    stack, thread = [], None
    strings[1] = "<unknown>"
    while at < len(data):
        kind = data[at]
        at += 1
        if kind == 1:
            key = string()
            metadata[key] = string()
        elif kind == 2:
            thread = (number(), number(), string())
            stack = []
        elif kind == 3:
            key, file, function, line = number(), number(), number(), number()
            number(), number(), number()
            frames[key] = (strings.get(file, "?"), strings.get(function, "?"), line)
            known.clear()
        elif kind == 5:
            run = FRAMES.match(data, at - 1).group(0)
            end = at - 1 + len(run)
            if run not in known:
                known[run] = []
                while at <= end - 1:
                    known[run].append(frames.get(number(), ("", "?", 0)))
                    at += 1
            stack += known[run]
            at = end
        elif kind == 4:
            stack.append(("", "?", 0))
        elif kind == 6:
            string()
        elif kind in (9, 10):
            number()
            seen[thread] += 1
            if stack:
                stacks[tuple(stack)] += 1
        elif kind == 11:
            key = number()
            strings[key] = string()
        elif kind not in (7, 8):
            raise ValueError("event %d at %d" % (kind, at))
    return dict(stacks), metadata, max(seen.values(), default=0)
