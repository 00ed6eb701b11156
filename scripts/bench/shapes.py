"""What stacks the shapes of target.py have, and so which of those that a profiler shows never were."""
import collections
import os
import re

import target

# The shapes that are measured: frames, functions, threads; see target.py.
S20, S200 = "stack:20:10", "deep:200:10"
# 200 frames that all return between two leaves: an eighth of the time is in calls.
RETURN200 = "stack:200:10"
T2, T66 = "stack:20:10:2", "stack:20:10:66"
F50, F5000 = "stack:20:50", "stack:20:5000"
GENS, AIO, CHURN, FRESH = "gens:20", "aio:10", "churn:10", "fresh:25"

PATH = target.PATH
# The roots of a thread: the module that is run, or what threading puts below the function given to it.
ROOTS = [("target.py", "<module>"), ("threading.py", "_bootstrap"), ("threading.py", "__bootstrap"),
         ("threading.py", "Thread._bootstrap")]
# A call by another name than the function's.
ALIASES = [(re.compile(r"l\d+$"), "leaf("), (re.compile(r"fresh_\d+$"), "made("), (re.compile(r"c\d$"), "callers[")]
DEF = re.compile(r"(?:async )?def (\w+)")

Verdict = collections.namedtuple("Verdict", "right wrong examples full stale named")


class Shape:
    """A shape, as target.py is asked for it."""

    def __init__(self, spec):
        self.spec = spec
        self.kind, *numbers = spec.split(":")
        self.numbers = [int(n) for n in numbers]
        self.lines = target.source_of(spec).split("\n")
        self.bodies = {"<module>": (1, len(self.lines))}
        name, start = None, 0
        for number, line in enumerate(self.lines + ["end"], 1):
            if name and line and not line[0].isspace():
                self.bodies[name] = (start, number - 1)
                name = None
            match = DEF.match(line)
            if match:
                name, start = match.group(1), number

    @property
    def threads(self):
        return self.numbers[2] if self.kind == "stack" and len(self.numbers) > 2 else 1

    def check(self, stacks):
        """How many of `stacks` (frames from the root as (file, function, line), and how often) can be."""
        right = wrong = full = stale = named = 0
        examples = []
        for frames, count in stacks.items():
            fault = self.fault(frames)
            names = [frame[1] for frame in frames]
            if self.kind == "fresh" and names and names[-1].startswith("fresh_"):
                named += count
                if fault == "stale":
                    stale += count
            if fault:
                wrong += count
                examples.append((count, fault, ";".join("%s:%s:%d" % frame for frame in frames)[-600:]))
            else:
                right += count
                full += count * bool(re.match(r"(l\d+|[ab]\d+|fresh_\d+|pattern)$", names[-1]))
        examples.sort(reverse=True)
        return Verdict(right, wrong, examples[:5], full, stale, named)

    def fault(self, frames):
        """Why a stack cannot be, or None."""
        frames = [(os.path.basename(file), name, line) for file, name, line in frames]
        frames = [frame for frame in frames if not (frame[1].startswith("<") and frame[1] != "<module>")]
        if not frames:
            return "empty"
        if frames[0][:2] not in ROOTS:
            return "cut"
        own = [frame for frame in frames if frame[0] == "shape.py"]
        for index, (file, name, line) in enumerate(frames):
            if file != "shape.py":
                continue
            if not self.has(name):
                return "no such function"
            following = frames[index + 1] if index + 1 < len(frames) else None
            if following and following[0] == "shape.py":
                if not self.calls(line, following[1]):
                    return "line of the call" if self.follows(name, following[1]) else "no such call"
            elif not following and not self.contains(name, line):
                return "line"
        return getattr(self, "fault_" + self.kind)([name for _, name, _ in own])

    def has(self, name):
        return name in self.bodies or self.kind == "fresh" and name.startswith("fresh_")

    def contains(self, name, line):
        first, last = self.bodies.get("pattern" if name.startswith("fresh_") else name)
        return first <= line <= last

    def calls(self, line, callee):
        """Whether `callee` can be called from this line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if callee + "(" in text:
            return True
        return any(alias in text for name, alias in ALIASES if name.match(callee))

    def follows(self, caller, callee):
        first, last = self.bodies.get(caller, (1, 0))
        return any(self.calls(line, callee) for line in range(first, last + 1))

    def fault_deep(self, names):
        waiting = names.count("down")
        if names[1:1 + waiting] != ["down"] * waiting or "work" in names and waiting != self.numbers[0] - 20:
            return "depth"
        return self.fault_stack(names[:1] + names[1 + waiting:], 16)

    def fault_stack(self, names, depth=None):
        depth = depth or self.numbers[0] - 5 + 1
        if "park" in names:
            return None if names == ["park"] * len(names) and len(names) <= 6 else "no such call"
        if not names or names[0] in ("burn", "<module>"):
            path = [name for name in names if name not in ("<module>", "work", "burn")]
            leaf = path[-1:] and path[-1].startswith("l") and path.pop()
            return self.fault_path(path, "p", depth) or ("depth" if leaf and len(path) != depth else None)
        return "cut"

    def fault_path(self, path, letter, depth):
        expected = ["%s%d" % (letter, i % PATH) for i in range(len(path))]
        if path != expected:
            return "no such call"
        return "depth" if len(path) > depth else None

    def fault_gens(self, names):
        path = [name for name in names if name not in ("<module>", "work")]
        depth = self.numbers[0] - 5 + 1
        leaf = path[-1:] == ["l0"] and path.pop()
        return self.fault_path(path, "g", depth) or ("depth" if leaf and len(path) != depth else None)

    def fault_aio(self, names):
        if names and names[-1] == "l0":
            depth = self.numbers[0] + 1
            expected = ["task"] + ["c%d" % (i % PATH) for i in range(depth)] + ["l0"]
            return None if [name for name in names if name != "<module>"] == expected else "no such call"
        return None

    def fault_churn(self, names):
        path = [name for name in names if name not in ("<module>", "work")]
        for letter in "ab":
            if path == ["%s%d" % (letter, i) for i in range(len(path))]:
                return None
        return "never mix"

    def fault_fresh(self, names):
        if names and names[-1].startswith("fresh_"):
            return None if names[-2:-1] == ["c" + names[-1][-1]] else "stale"
        return None

    def fault_big(self, names):
        return None
