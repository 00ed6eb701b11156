"""One run of a profiler on a target, and what it cost."""
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# How long a program may take to come up, on a machine that is busy.
PATIENCE = 60
# Samples a second of those that are told how many to take.
COUNTED = 50
# A run that waited for its processor for more of its time is made again.
DISTURBED = 0.1


class Failed(Exception):
    """A run that gave nothing that could be measured."""


def raise_priority():
    """As in run.c, for the calling process."""
    os.setsid()
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write("-10")
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except OSError:
        pass  # not permitted: it goes without


class Target:
    """A Python program at work, on its own processor."""

    def __init__(self, interpreter, shape, cpu, directory, urgent=False):
        self.shape = shape
        self.counter_path = tempfile.mktemp(dir=directory, prefix="counter.")
        with open(self.counter_path, "wb") as file:
            file.write(bytes(64))
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu)] + interpreter + [os.path.join(HERE, "target.py"), shape.spec, self.counter_path],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=directory,
            preexec_fn=raise_priority if urgent else None)
        self.pid = self.process.pid
        if self.process.stdout.readline() != b"ready\n":
            self.process.wait()
            raise Failed("the target did not start")
        with open(self.counter_path, "r+b") as file:
            self.counter = mmap.mmap(file.fileno(), 64)
        time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.unlink(self.counter_path)

    def count(self, slot=0):
        return struct.unpack("<Q", self.counter[8 * slot:8 * slot + 8])[0]

    def clocks(self):
        """Work done, and in seconds: wall, processor, ready but waiting for a processor; and the times it slept."""
        with open("/proc/%d/schedstat" % self.pid) as file:
            ran, waited = file.read().split()[:2]
        with open("/proc/%d/status" % self.pid) as file:
            slept = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", file.read()).group(1)
        return self.count(), time.monotonic(), int(ran) / 1e9, int(waited) / 1e9, int(slept)


class Runner:
    """Starts profilers on their processor, with a raised priority where that is permitted."""

    def __init__(self, cpu, directory, tools, tries):
        self.cpu, self.directory, self.tools, self.tries = cpu, directory, tools, tries

    def launch(self, command, seconds, strace=None):
        """Starts `command` under run.c: the process, and where its cost and its words go. `seconds`: until SIGINT."""
        base = tempfile.mktemp(dir=self.directory, prefix="run.")
        launcher = [self.tools["run"], "-o", base + ".cost", "-c", str(self.cpu), "-p"]
        if seconds:
            launcher += ["-i", "%.3f" % seconds]
        tracer = ["strace", "-f", "-c", "-o", strace] if strace else []
        with open(base + ".said", "wb") as said:
            process = subprocess.Popen(tracer + launcher + ["--"] + command, stdin=subprocess.DEVNULL, stdout=said,
                                       stderr=subprocess.STDOUT, cwd=self.directory)
        return process, base

    def start(self, profiler, target, rate, seconds, strace=None):
        out = tempfile.mktemp(dir=self.directory, prefix="out.")
        if strace and profiler.counted:
            # Of many threads fewer: every sample is thousands of calls.
            samples = max(5, int(COUNTED * seconds / (1 if target.shape.threads < 10 else 5)))
            command = profiler.counted_command(target.pid, samples, out)
            limit = 2 * PATIENCE
        else:
            command = profiler.command(target.pid, rate, seconds, out, target.shape)
            limit = seconds if profiler.interrupted else seconds + PATIENCE
        process, base = self.launch(command, limit, strace)
        return process, base, out

    def finish(self, profiler, target, started, seconds):
        """Waits for a run that was started: its cost, and what it found."""
        process, base, out = started
        try:
            process.wait(seconds + 2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise Failed("did not end")
        try:
            with open(base + ".said", errors="replace") as file:
                said = file.read()
            with open(base + ".cost") as file:
                cost = json.load(file)
            result = profiler.result(out, said, target.shape)
        except (OSError, ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
            raise Failed("%s: %s" % (type(error).__name__, said.strip()[-300:] or error))
        finally:
            for path in (base + ".said", base + ".cost", out):
                if os.path.exists(path):
                    os.unlink(path)
        return cost, result

    def run(self, profiler, target, rate, seconds):
        """A row of raw data, of the least disturbed of some runs."""
        best = None
        for _ in range(self.tries):
            row = self.run_once(profiler, target, rate, seconds)
            if best is None or disturbance(row) < disturbance(best):
                best = row
            if disturbance(best) < DISTURBED:
                break
        return best

    def run_once(self, profiler, target, rate, seconds):
        try:
            cost, result = self.finish(profiler, target, self.start(profiler, target, rate, seconds), seconds)
        except Failed as failed:
            return {"error": str(failed)}
        row = found(profiler, target, result)
        row.update(cost, seconds=seconds, said=result.said)
        return row

    def calls(self, profiler, target, rate, seconds):
        """System calls of a run by name, and its rounds."""
        table = tempfile.mktemp(dir=self.directory, prefix="strace.")
        try:
            started = self.start(profiler, target, rate, seconds, strace=table)
            cost, result = self.finish(profiler, target, started, seconds)
            row = found(profiler, target, result)
            row.update(seconds=seconds, said=result.said, calls=counts(table))
            return row
        except Failed as failed:
            return {"error": str(failed)}
        finally:
            if os.path.exists(table):
                os.unlink(table)

    def walls(self, command, runs):
        """How long each of some runs of a short program took, in seconds."""
        base = tempfile.mktemp(dir=self.directory, prefix="run.")
        subprocess.run([self.tools["run"], "-o", base, "-c", str(self.cpu), "-p", "-n", str(runs), "--"] + command,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
                       timeout=PATIENCE * 2)
        with open(base) as file:
            return json.load(file)["walls"]

    def calls_once(self, command):
        """System calls of a whole run of a program."""
        table = tempfile.mktemp(dir=self.directory, prefix="strace.")
        subprocess.run(["strace", "-f", "-c", "-o", table] + command, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)
        return counts(table)


def found(profiler, target, result):
    """What a run found, and what of it is right: none of it where it found nothing."""
    row = {"rounds": result.rounds, "failed": result.failed, "stacks": len(result.stacks)}
    if profiler.checked:
        row.update(target.shape.check(result.stacks)._asdict())
    return row


def disturbance(row):
    """The share of a run in which others had the processor."""
    return 2 if "error" in row else max(row["delay"], 0) / row["wall"]


def counts(table):
    """`strace -c`: calls by name."""
    calls = {}
    with open(table) as file:
        for line in file:
            words = line.split()
            if len(words) >= 5 and words[0][:1].isdigit() and words[3].isdigit():
                calls[words[-1]] = int(words[3])
    if "total" not in calls:
        raise Failed("no table of strace")
    return calls
