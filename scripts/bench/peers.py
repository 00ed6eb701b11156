"""The profilers that are compared: how each is started, and what it found out, read from its output."""
import glob
import os
import re
import subprocess

import mojo


class Result:
    """What a run gave. `rounds`: looks at the process; `failed`: those that gave nothing; `stacks`: frames from the
    root as (file, function, line), and how often."""

    def __init__(self, rounds, failed, stacks, said=None):
        self.rounds, self.failed, self.stacks, self.said = rounds, failed, stacks, said or {}


class Profiler:
    versions = ((2, 7), (3, 15))
    # Whether it has to be told by a signal when to end.
    interrupted = True
    # Seconds that it may need to come up; under strace several times as many.
    start_up = 0.0
    # Whether it can be told how many samples to take: then it is, under strace.
    counted = False
    # Whether it gives stacks.
    checked = True

    def __init__(self, name, command, options=()):
        self.name, self.program, self.options = name, command, list(options)

    def supports(self, version):
        return self.versions[0] <= version <= self.versions[1]

    def files(self):
        """What has to be on the host to run it."""
        return needed(self.program[0])


class Pyflame(Profiler):
    interrupted = False

    def command(self, pid, rate, seconds, out, shape):
        period = "%.9f" % (1 / rate) if rate else "0"
        return self.program + ["-V", "-r", period, "-s", "%g" % seconds, "-o", out] + self.options + [str(pid)]

    def dump(self, pid):
        return self.program + ["-d", str(pid)]

    def result(self, out, said, shape):
        # pyflame: 1000 samples in 1200 ms, 1 failed, 200 missed deadlines, 648 stops, 1775 reads
        line = re.search(r"^pyflame: \d+ samples .*", said, re.M).group(0)
        counted = {words: int(number) for number, words in re.findall(r"(\d+) ([a-z ]+?)(?= in |,|$)", line)}
        looked_at = shape.threads if "--threads" in self.options else 1
        stacks = folded(out, re.compile(r"^(?:(.*):)?([^:]*):(\d+)$"), (1, 2, 3))
        return Result(counted["samples"], counted.get("failed", 0) / looked_at, stacks, counted)

    def release(self):
        said = subprocess.run(self.program + ["-v"], stdout=subprocess.PIPE, universal_newlines=True).stdout
        return " ".join(said.split()[:2])


class PySpy(Profiler):
    start_up = 0.2
    counted = True

    def command(self, pid, rate, seconds, out, shape):
        return self.program + ["record", "-p", str(pid), "-i", "-f", "raw", "-r", "%d" % (rate or 1000000),
                               "-o", out] + self.options

    def counted_command(self, pid, samples, out):
        return self.command(pid, samples, None, out, None) + ["-d", "1"]

    def dump(self, pid):
        return self.program + ["dump", "-p", str(pid)]

    def result(self, out, said, shape):
        samples, errors = re.search(r"Samples: (\d+) Errors: (\d+)", said).groups()
        stacks = folded(out, re.compile(r"^(.*) \((.*):(\d+)\)$"), (2, 1, 3))
        return Result(int(samples) / shape.threads + int(errors), int(errors), stacks)

    def release(self):
        return first_line(self.program + ["--version"])


class Austin(Profiler):
    versions = ((3, 9), (3, 14))

    def command(self, pid, rate, seconds, out, shape):
        return self.program + ["-i", "%d" % (1000000 / rate) if rate else "1", "-o", out, "-p", str(pid)]

    def dump(self, pid):
        return self.program + ["-w", str(pid)]

    def result(self, out, said, shape):
        stacks, metadata, rounds = mojo.read(out)
        errors = int(metadata.get("errors", "0/0").split("/")[0])
        return Result(rounds, errors / shape.threads, stacks, metadata)

    def release(self):
        return first_line(self.program + ["--version"])


class Sampling(Profiler):
    """CPython 3.15's own."""
    versions = ((3, 15), (3, 15))
    start_up = 0.7

    def command(self, pid, rate, seconds, out, shape):
        return self.program + ["-m", "profiling.sampling", "attach", "-a", "-r", "%d" % (rate or 1000000),
                               "-d", "%d" % 3600, "--collapsed", "-o", out] + self.options + [str(pid)]

    def dump(self, pid):
        return self.program + ["-m", "profiling.sampling", "dump", str(pid)]

    def result(self, out, said, shape):
        rounds = int(re.search(r"Captured ([\d,]+) samples", said).group(1).replace(",", ""))
        failed = re.search(r"Error rate: ([\d.]+)", said)
        stacks = folded(out, re.compile(r"^(.*):([^:]*):(\d+)$"), (1, 2, 3), re.compile(r"^tid:\d+;"))
        return Result(rounds, rounds * float(failed.group(1)) / 100 if failed else 0, stacks)

    def release(self):
        return "profiling.sampling of " + first_line(self.program + ["--version"])

    def files(self):
        find = ("import sysconfig, os, glob, profiling, _remote_debugging; print(_remote_debugging.__file__ if "
                "hasattr(_remote_debugging, '__file__') else ''); print(os.path.dirname(profiling.__file__))")
        module, package = subprocess.run(self.program + ["-c", find], stdout=subprocess.PIPE,
                                         universal_newlines=True).stdout.splitlines()
        modules = [module] if module else []
        sources = [path for path in glob.glob(package + "/**/*", recursive=True)
                   if os.path.isfile(path) and "__pycache__" not in path]
        return needed(self.program[0]) + modules + sources


class Bare(Profiler):
    """The loops of bare.c."""
    checked = False
    interrupted = False

    def command(self, pid, rate, seconds, out, shape):
        return self.program + [self.options[0], "%g" % rate, "%g" % seconds, str(pid)]

    def result(self, out, said, shape):
        return Result(int(said.split()[0]), 0, {})


def folded(path, frame, groups, prefix=None):
    """The stacks of a file of folded lines. `frame` matches one frame, its `groups` are file, function and line."""
    stacks, known = {}, {}
    with open(path, errors="replace") as file:
        for line in file:
            text, _, count = line.rstrip("\n").rpartition(" ")
            if prefix:
                text = prefix.sub("", text)
            if text in ("(idle)", "(failed)", "(truncated)"):
                continue
            frames = []
            for word in text.split(";"):
                if word not in known:
                    match = frame.match(word)
                    known[word] = ((match.group(groups[0]) or "", match.group(groups[1]), int(match.group(groups[2])))
                                   if match else ("", "<%s>" % word.strip("<>"), 0))
                frames.append(known[word])
            key = tuple(frames)
            stacks[key] = stacks.get(key, 0) + int(count)
    return stacks


def first_line(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True).stdout.splitlines()[0].strip()


def needed(program):
    """A program and the shared libraries that it is loaded with."""
    program = os.path.realpath(program)
    headers = subprocess.run(["readelf", "-lW", program], stdout=subprocess.PIPE, universal_newlines=True).stdout
    interpreter = re.search(r"program interpreter: (.*)\]", headers)
    if not interpreter:
        return [program]
    listed = subprocess.run([interpreter.group(1), "--list", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            universal_newlines=True).stdout
    paths = re.findall(r"(/\S+)", listed) + [interpreter.group(1)]
    return [program] + sorted({os.path.realpath(path) for path in paths if os.path.exists(path)})
