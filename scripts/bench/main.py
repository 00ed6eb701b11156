"""Measures pyflame beside the other profilers: the targets, the rounds, the order. See ../bench.sh for how to start it.

The target runs on one processor, the profiler on another with a raised priority, profilers take turns. What a sample
costs is the difference between a long and a short run, divided by the difference in samples, so that the start of the
profiler cancels out. A figure is the median of several rounds, with the least and the greatest. Every stack of every
run is compared with what the target can have had (shapes.py); where more than one in a hundred is wrong, the figure
is not given.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import peers
import runs
import setup
import table
from runs import Failed
from shapes import AIO, CHURN, F50, F5000, FRESH, GENS, RETURN200, S20, S200, T2, T66, Shape


class Plan:
    """How long and how often."""

    def __init__(self, quick, rounds, urgent):
        self.quick, self.urgent = quick, urgent
        self.rounds = rounds or (1 if quick else 3)
        self.short, self.long = (0.4, 1.2) if quick else (0.8, 2.4)
        self.window = 0.7 if quick else 1.5
        self.dumps = 7 if quick else 15


class Bench:
    """The measures of one interpreter."""

    def __init__(self, plan, runner, interpreter, version, profilers, target_cpu):
        self.plan, self.runner, self.interpreter, self.target_cpu = plan, runner, interpreter, target_cpu
        self.version = version
        self.profilers = {name: profiler for name, profiler in profilers.items() if profiler.supports(version)}
        self.raw = {"pairs": [], "calls": [], "windows": [], "held": [], "dumps": []}
        self.current = None

    def new_target(self, spec):
        return runs.Target([self.interpreter], Shape(spec), self.target_cpu, self.runner.directory, self.plan.urgent)

    def target(self, spec):
        """A target at work; the last one where that will do."""
        if not self.current or self.current.shape.spec != spec:
            self.end()
            self.current = self.new_target(spec)
        return self.current

    def end(self):
        if self.current:
            self.current.end()
        self.current = None

    def names(self, wanted):
        return [name for name in wanted if name in self.profilers]

    def in_turns(self, spec, names):
        """Rounds, each beginning with another profiler, and with a target of its own: where things lie in its memory
        can make a difference."""
        for turn in range(self.plan.rounds):
            if turn > 0:
                self.end()
            for index in range(len(names)):
                yield turn, self.target(spec), names[(index + turn) % len(names)]

    def pairs(self, spec, rate, wanted, single=False):
        """Short and long runs; `single`: long ones alone, where no time is measured."""
        names = self.names(wanted)
        setup.say("%s at %s: %s" % (spec, "%d Hz" % rate if rate else "full speed", ", ".join(names)))
        for turn, target, name in self.in_turns(spec, names):
            profiler = self.profilers[name]
            # What the interpreter of the profiler needs to come up is no time of measuring.
            extra = profiler.start_up
            row = {"shape": spec, "rate": rate, "profiler": name, "turn": turn}
            before = target.count(1), target.count(2)
            short, long = self.plan.short, self.plan.long
            if not rate:
                short, long = short / 2, long / 2
            row["short"] = None if single else self.runner.run(profiler, target, rate, short + extra)
            row["long"] = self.runner.run(profiler, target, rate, long + extra)
            row["made"], row["reused"] = target.count(1) - before[0], target.count(2) - before[1]
            self.raw["pairs"].append(row)

    def calls(self, specs, wanted):
        """System calls. Without stops nothing in them depends on time, so several at once. A thread that is to stop needs
        a processor for that."""
        jobs = [(spec, name) for spec in specs for name in self.names(wanted.get(spec, wanted[""]))
                for _ in range(self.plan.rounds if name.startswith("pyflame") else 1)]
        setup.say("system calls: %d runs" % len(jobs))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    if not jobs:
                        return
                    spec, name = jobs.pop(0)
                profiler = self.profilers[name]
                row = {"shape": spec, "profiler": name}
                try:
                    with self.new_target(spec) as target:
                        # Until all that there is has been seen, which takes some hundred samples, there is more to read.
                        learns = name.startswith("pyflame")
                        rate = 1000 if learns else 200 if self.plan.quick else 100
                        for key, seconds in (("short", self.plan.short), ("long", self.plan.long)):
                            seconds += 1 if learns else 4 * profiler.start_up
                            row[key] = self.runner.calls(profiler, target, rate, seconds)
                except Failed as failed:
                    row["error"] = str(failed)
                with lock:
                    self.raw["calls"].append(row)

        alone = [job for job in jobs if "--blocking" in job[1]]
        jobs[:] = [job for job in jobs if job not in alone]
        for count in (2, 1):
            workers = [threading.Thread(target=work) for _ in range(count)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            jobs[:] = alone

    def windows(self, spec, rate, wanted):
        """How fast the target works with and without a profiler, in turns."""
        names = ["none"] + self.names(wanted)
        setup.say("slowdown, %s: %s" % (spec, ", ".join(names)))
        for _, target, name in self.in_turns(spec, names):
            before = self.speed(target)
            with_profiler, row = self.profiled(target, name, rate)
            after = self.speed(target)
            self.raw["windows"].append({"shape": spec, "rate": rate, "profiler": name, "before": before,
                                        "with": with_profiler, "after": after, "run": row})

    def speed(self, target):
        """Work in a second that the target had a processor or was held: what other programs take is not counted. And
        the share that they took: the kernel counts a wait when it is over, so a long one spoils the figure."""
        work, wall, _, waited, _ = target.clocks()
        time.sleep(self.plan.window)
        work2, wall2, _, waited2, _ = target.clocks()
        return (work2 - work) / ((wall2 - wall) - (waited2 - waited)), (waited2 - waited) / (wall2 - wall)

    def profiled(self, target, name, rate):
        if name == "none":
            return self.speed(target), None
        profiler = self.profilers[name]
        warm = 0.4 + 2 * profiler.start_up
        seconds = warm + self.plan.window + 0.2
        started = self.runner.start(profiler, target, rate, seconds)
        time.sleep(warm)
        speed = self.speed(target)
        return speed, self.finished(profiler, target, started, seconds)

    def finished(self, profiler, target, started, seconds):
        try:
            _, result = self.runner.finish(profiler, target, started, seconds)
        except Failed as failed:
            return {"error": str(failed)}
        return runs.found(profiler, target, result)

    def held(self, spec, rate, wanted):
        """How long the target is held per stop: the time that it neither ran nor wanted to, by the number of times."""
        names = self.names(wanted)
        setup.say("time held, %s: %s" % (spec, ", ".join(names)))
        for turn, target, name in self.in_turns(spec, names):
            rows = []
            while not rows or rows[-1]["waited"] > runs.DISTURBED and len(rows) < self.runner.tries:
                rows.append(self.held_once(target, self.profilers[name], rate))
            self.raw["held"].append(dict(min(rows, key=lambda row: row["waited"]), profiler=name, turn=turn))

    def held_once(self, target, profiler, rate):
        warm = 0.4 + 2 * profiler.start_up
        seconds = warm + self.plan.window + 0.2
        started = self.runner.start(profiler, target, rate, seconds)
        time.sleep(warm)
        _, wall, ran, waited, slept = target.clocks()
        time.sleep(self.plan.window)
        _, wall2, ran2, waited2, slept2 = target.clocks()
        row = self.finished(profiler, target, started, seconds)
        return {"stops": slept2 - slept, "run": row, "waited": (waited2 - waited) / (wall2 - wall),
                "held": (wall2 - wall) - (ran2 - ran) - (waited2 - waited)}

    def dumps(self, spec, wanted):
        """One look, in turns with a program that does nothing."""
        names = self.names(wanted)
        setup.say("one look: " + ", ".join(names))
        target = self.target(spec)
        commands = {name: self.profilers[name].dump(target.pid) for name in names}
        commands["true"] = ["/bin/true"]
        for turn in range(self.plan.rounds):
            for name, command in commands.items():
                self.raw["dumps"].append({"profiler": name, "turn": turn,
                                          "walls": self.runner.walls(command, self.plan.dumps)})
        for name, command in commands.items():
            self.raw["dumps"].append({"profiler": name, "calls": self.runner.calls_once(command)["total"]})

    def all(self):
        quick = self.plan.quick
        free = ["pyflame", "austin", "sampling", "py-spy"]
        stopping = ["pyflame --blocking", "sampling --blocking"]
        bare = ["bare sleep", "bare read"]
        self.calls([S20] if quick else [S20, S200, RETURN200, T2, T66, F50, F5000, GENS] +
                   [AIO] * (self.version >= (3, 6)),
                   {"": free + ["bare read"] * (not quick),
                    S20: free + stopping + ["bare read"] + ["py-spy --nonblocking"] * (not quick),
                    T2: free + ["pyflame --threads"], T66: free + ["pyflame --threads"]})
        self.pairs(S20, 1000, bare + free + stopping * (not quick))
        self.pairs(S20, 0, ["bare read"] + free)
        if not quick:
            self.pairs(S20, 100, bare + free)
            self.pairs(S20, 10000, bare + free)
        self.dumps(S20, free)
        self.held(S20, 1000, ["bare stop", "pyflame --blocking"] + ["py-spy", "sampling --blocking"] * (not quick))
        if not quick:
            self.windows(S20, 1000, free + stopping)
            self.pairs(S200, 1000, free)
            self.pairs(S200, 0, free)
            self.pairs(RETURN200, 1000, free)
            self.pairs(T66, 1000, free + ["pyflame --threads"])
            self.pairs(F50, 1000, free)
            self.pairs(F5000, 1000, free)
            # 2 bytes a line of its line table before 3.11, 4 and more from then on.
            self.pairs("big:%d" % (60000 if self.version < (3, 11) else 30000), 1000, free, single=True)
            for spec in [GENS] + [AIO] * (self.version >= (3, 6)):
                self.pairs(spec, 1000, free + ["pyflame --nonblocking"], single=True)
        self.pairs(FRESH, 1000, free, single=True)
        self.pairs(CHURN, 1000, free + ["pyflame --nonblocking", "py-spy --nonblocking"] +
                   (stopping if not quick else []), single=True)
        if not quick:
            self.windows(CHURN, 1000, free)


def known_profilers(built, found, fifteen):
    program = os.path.join(built, "release", "pyflame")
    bare = os.path.join(built, "bench", "bare")
    profilers = [peers.Bare("bare " + word, [bare], [word]) for word in ("sleep", "read", "stop")]
    profilers.append(peers.Pyflame("pyflame", [program]))
    profilers += [peers.Pyflame("pyflame " + word, [program], [word])
                  for word in ("--threads", "--blocking", "--nonblocking")]
    if "py-spy" in found:
        profilers.append(peers.PySpy("py-spy", [found["py-spy"]]))
        profilers.append(peers.PySpy("py-spy --nonblocking", [found["py-spy"]], ["--nonblocking"]))
    if "austin" in found:
        profilers.append(peers.Austin("austin", [found["austin"]]))
    if fifteen:
        profilers.append(peers.Sampling("sampling", [fifteen]))
        profilers.append(peers.Sampling("sampling --blocking", [fifteen], ["--blocking"]))
    return {profiler.name: profiler for profiler in profilers}


def sizes(profilers):
    """Bytes of what each needs on the host, the program alone and all."""
    result = {}
    for name in ("pyflame", "py-spy", "austin", "sampling"):
        if name in profilers:
            files = profilers[name].files()
            result[name] = {"program": os.path.getsize(files[0]), "all": sum(os.path.getsize(f) for f in files),
                            "files": files}
    return result


def main():
    parser = argparse.ArgumentParser(prog="bench.sh", description="Measures pyflame beside other profilers.")
    parser.add_argument("--quick", action="store_true", help="under a minute, fewer rows")
    parser.add_argument("--python", default="3.13", help="interpreters, with commas between (default 3.13)")
    parser.add_argument("--rounds", type=int, help="rounds (default 3, with --quick 1)")
    parser.add_argument("--urgent", action="store_true",
                        help="raise the priority of the target too: for a busy machine, on which it takes a processor "
                        "from the others")
    parser.add_argument("--without", default="", help="profilers to leave out, with commas between")
    parser.add_argument("--built", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # So that no target is left over, and what was measured is written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = Plan(options.quick, options.rounds, options.urgent)
    profiler_cpu, target_cpu = setup.processors()
    rows = setup.interpreters()
    without = options.without.split(",")
    found = {name: path for name, path in setup.install().items() if name not in without}
    fifteen = None if "sampling" in without else setup.find_interpreter("3.15", rows)
    if not fifteen:
        setup.say("no CPython 3.15: going without profiling.sampling")
    built = os.path.abspath(options.built)
    profilers = known_profilers(built, found, fifteen and fifteen[1])
    report = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": setup.machine(), "load": [os.getloadavg()],
              "processors": {"profiler": profiler_cpu, "target": target_cpu}, "quick": plan.quick,
              "rounds": plan.rounds, "complete": False, "pythons": {}, "sizes": sizes(profilers),
              "commit": setup.output(["git", "describe", "--always", "--dirty"]).strip(),
              "versions": {name: profilers[name].release() for name in ("pyflame", "py-spy", "austin", "sampling")
                           if name in profilers}}
    directory = tempfile.mkdtemp(prefix="pyflame-bench.")
    name = os.path.join(built, "bench", time.strftime("%Y%m%d-%H%M%S.json"))
    try:
        runner = runs.Runner(profiler_cpu, directory, {"run": os.path.join(built, "bench", "run")},
                             1 if plan.quick else 3)
        for wanted in options.python.split(","):
            interpreter = setup.find_interpreter(wanted, rows)
            if not interpreter:
                setup.say("no CPython %s here: left out" % wanted)
                continue
            bench = Bench(plan, runner, interpreter[1], interpreter[2], profilers, target_cpu)
            report["pythons"][interpreter[0]] = bench.raw
            try:
                bench.all()
            finally:
                bench.end()
                report["load"].append(os.getloadavg())
        report["complete"] = True
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        with open(name, "w") as file:
            json.dump(report, file, indent=1)
        setup.say("raw data: " + name)
        print(table.markdown(report), flush=True)


if __name__ == "__main__":
    main()
