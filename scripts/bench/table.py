"""From the raw data to the table: what a figure is, which are not given, and the bars that they are held to.

    table.py FILE.json      the table of an earlier run
"""
import json
import statistics
import sys

from runs import DISTURBED
from shapes import AIO, CHURN, F50, F5000, FRESH, GENS, RETURN200, S20, S200, T2, T66

# More wrong samples than this, and nothing that a run says is believed.
MOST_WRONG = 0.01
# Nor where more of them failed: what fails may cost less.
MOST_FAILED = 0.2
# The same as the first under strace, which makes every call some 20 times as long, so that more changes from one to the next.
MOST_WRONG_TRACED = 0.25
# A window in which the target waited for its processor for more of the time is left out.
MOST_WAITED = 0.3
# Percent of slowdown with no profiler: more, and the machine is too busy to judge by it.
MOST_NOISE = 3
WINDOWS = ("before", "with", "after")
MICRO = 1e6
COLUMNS = ["pyflame", "py-spy", "austin", "sampling", "bare"]
TITLES = {"sampling": "profiling.sampling", "bare": "bare loop"}


class Figure:
    """A median with the least and greatest, or why there is none."""

    def __init__(self, values=(), refused=None):
        self.values = [value for value in values if value is not None]
        self.refused = refused

    @property
    def median(self):
        return statistics.median(self.values) if self.values and not self.refused else None

    def given(self):
        return bool(self.values or self.refused)

    def text(self, form):
        if self.refused:
            return "*%s*" % self.refused
        if not self.values:
            return "–"
        low, high = form(min(self.values)), form(max(self.values))
        return form(self.median) + (" (%s–%s)" % (low, high) if low != high else "")


NOTHING = Figure()


def refusal(rows, most_wrong=MOST_WRONG):
    """Why the samples of some runs are not believed, or None."""
    rows = [row for row in rows if row]
    if any("error" in row for row in rows):
        return "failed"
    rows = [row for row in rows if "right" in row]
    if not rows:
        return None  # a bare loop finds nothing and cannot be wrong
    right, wrong, full, rounds, failed = (sum(row[key] for row in rows)
                                          for key in ("right", "wrong", "full", "rounds", "failed"))
    if failed > MOST_FAILED * rounds:
        return "%.0f %% failed" % (100 * failed / rounds)
    if not right + wrong:
        return "no samples"
    if wrong > most_wrong * (right + wrong):
        return "%.1f %% wrong" % (100 * wrong / (right + wrong))
    return None if full else "no whole stacks"


def runs_of(pairs):
    return [run for row in pairs for run in (row["short"], row["long"]) if run]


class Raw:
    """The raw data of one interpreter, as figures."""

    def __init__(self, raw):
        self.raw = raw

    def pairs(self, spec, rate, name):
        return [row for row in self.raw["pairs"]
                if (row["shape"], row["rate"], row["profiler"]) == (spec, rate, name)]

    def marginal(self, spec, rate, name, value, sound=True):
        """`value(short, long, samples between)` of every round."""
        rows = self.pairs(spec, rate, name)
        if not rows:
            return NOTHING
        runs = runs_of(rows)
        refused = refusal(runs) if sound else None
        if any("error" in run for run in runs):
            return Figure(refused="failed")
        values = []
        for row in rows:
            more = row["long"]["rounds"] - row["short"]["rounds"]
            values.append(value(row["short"], row["long"], more) if more > 20 else None)
        if not any(value is not None for value in values):
            refused = refused or "too few samples"
        return Figure(values, refused)

    def cpu(self, spec, rate, name):
        """Processor time of a sample, in microseconds."""
        return self.marginal(spec, rate, name, lambda a, b, more: (b["cpu"] - a["cpu"]) / more * MICRO)

    def rate(self, spec, name):
        """Samples a second back to back, not counting the time that others had the processor."""
        def rate(a, b, more):
            wall, delay, cpu = (b[key] - a[key] for key in ("wall", "delay", "cpu"))
            return more / max(wall - delay, cpu)

        return self.marginal(spec, 0, name, rate)

    def delivered(self, spec, rate, name):
        return self.marginal(spec, rate, name, lambda a, b, more: 100 * more / rate / (b["wall"] - a["wall"]))

    def last(self, spec, rate, name, value, sound=True):
        """`value(run)` of every long run."""
        runs = [row["long"] for row in self.pairs(spec, rate, name)]
        if any("error" in run for run in runs):
            return Figure(refused="failed")
        return Figure([value(run) for run in runs], refusal(runs) if sound else None)

    def failed(self, spec, rate, name):
        return self.last(spec, rate, name, lambda run: 100 * run["failed"] / max(run["rounds"], 1))

    def pooled(self, spec, rate, name, part, whole):
        """A share of all samples of all runs, in percent."""
        runs = runs_of(self.pairs(spec, rate, name))
        if not runs:
            return NOTHING
        if any("error" in run for run in runs):
            return Figure(refused="failed")
        total = sum(whole(run) for run in runs if "right" in run)
        return Figure([100 * sum(part(run) for run in runs if "right" in run) / total] if total else [],
                      None if total else "no samples")

    def impossible(self, spec, rate, name):
        return self.pooled(spec, rate, name, lambda run: run["wrong"], lambda run: run["right"] + run["wrong"])

    def stale(self, name):
        rows = self.pairs(FRESH, 1000, name)
        # Where hardly an address was used again there was nothing to confuse.
        if rows and any(row["made"] < 10 or 2 * row["reused"] < row["made"] for row in rows):
            return Figure(refused="too few made")
        return self.pooled(FRESH, 1000, name, lambda run: run["stale"], lambda run: run["named"])

    def sampled(self, spec, rate, name):
        """Share of the looks that gave a right stack."""
        rows = self.pairs(spec, rate, name)
        return self.pooled(spec, rate, name, lambda run: run["right"],
                           lambda run: max(run["rounds"], run["right"] + run["wrong"])) if rows else NOTHING

    def calls(self, spec, name):
        rows = [row for row in self.raw["calls"] if (row["shape"], row["profiler"]) == (spec, name)]
        if not rows:
            return NOTHING
        runs = [row.get(key) or {"error": row.get("error")} for row in rows for key in ("short", "long")]
        refused = refusal(runs, MOST_WRONG_TRACED)
        values = []
        for row in rows:
            if refused != "failed":
                more = row["long"]["rounds"] - row["short"]["rounds"]
                if more >= 5:
                    values.append((row["long"]["calls"]["total"] - row["short"]["calls"]["total"]) / more)
        # Threads can be stopped all along the short run, and not in the long one.
        refused = refused or ("not steady" if any(value < 1 for value in values) else None)
        return Figure(values, refused or (None if values else "too few samples"))

    def slowdown(self, spec, name):
        rows = [row for row in self.raw["windows"] if (row["shape"], row["profiler"]) == (spec, name)]
        calm = [row for row in rows if max(row[key][1] for key in WINDOWS) <= MOST_WAITED]
        values = [100 * (1 - 2 * row["with"][0] / (row["before"][0] + row["after"][0])) for row in calm]
        # What it found is checked elsewhere for chains that hardly anybody can see right.
        refused = refusal([row["run"] for row in calm]) if spec != CHURN else None
        return Figure(values, refused or ("disturbed" if rows and not calm else None))

    def held(self, name):
        rows = [row for row in self.raw["held"] if row["profiler"] == name]
        calm = [row for row in rows if row["waited"] <= DISTURBED and row["stops"] > 20]
        return Figure([row["held"] / row["stops"] * MICRO for row in calm],
                      refusal([row["run"] for row in calm]) or ("disturbed" if rows and not calm else None))

    def dump(self, name):
        """Milliseconds above a program that does nothing."""
        rows = [row for row in self.raw["dumps"] if "walls" in row]
        idle = {row["turn"]: statistics.median(row["walls"]) for row in rows if row["profiler"] == "true"}
        return Figure([1000 * (statistics.median(row["walls"]) - idle[row["turn"]])
                       for row in rows if row["profiler"] == name])

    def dump_calls(self, name):
        return Figure([row["calls"] for row in self.raw["dumps"] if row["profiler"] == name and "calls" in row])


def ratio(figure, other):
    """One figure by another."""
    return figure.median / other.median if figure.median is not None and other.median else None


def whole(number):
    return "{:,.0f}".format(number)


def one(number):
    return "%.1f" % (number + 0.0 if abs(number) >= 0.05 else 0.0)


def two(number):
    return "%.2f" % number


def three_digits(number):
    return "%.1f" % number if abs(number) < 100 else whole(number)


class Row:
    """A line of the table. `cells`: figures by column; `bar`: words for it; `passed`: whether it is reached."""

    def __init__(self, what, form, cells, bar="", passed=None):
        self.what, self.form, self.cells, self.bar, self.passed = what, form, cells, bar, passed

    def text(self, columns):
        verdict = {True: "pass", False: "**short**", None: ""}[self.passed]
        cells = [self.cells.get(column, NOTHING).text(self.form) for column in columns]
        return "| " + " | ".join([self.what, cells[0], self.bar, verdict] + cells[1:]) + " |"

    def given(self):
        return any(figure.given() for figure in self.cells.values())


def at_most(figure, limit):
    """Whether a bar is reached; None where either is not known."""
    return None if figure.median is None or limit is None else figure.median <= limit


def at_least(figure, limit):
    return None if figure.median is None or limit is None else figure.median >= limit


def cells(get, pyflame="pyflame", pyspy="py-spy", austin="austin", sampling="sampling", bare=None):
    """The same figure for each column's profiler."""
    names = {"pyflame": pyflame, "py-spy": pyspy, "austin": austin, "sampling": sampling, "bare": bare}
    return {column: get(name) for column, name in names.items() if name}


def rows_of(raw):
    rows = []

    def row(what, form, figures, bar="", passed=None):
        rows.append(Row(what, form, figures, bar, passed))

    for what, spec, mode, limit in [
            ("20 frames", S20, "pyflame", 2), ("200 frames, the same 20 at work", S200, "pyflame", 2),
            ("200 frames, all return every 0.2 ms", RETURN200, "pyflame", 2),
            ("2 threads", T2, "pyflame", 2), ("2 threads, all of them", T2, "pyflame --threads", 2),
            ("66 threads", T66, "pyflame", 2), ("66 threads, all of them", T66, "pyflame --threads", 2),
            ("generators", GENS, "pyflame", 3), ("asyncio", AIO, "pyflame", 3),
            ("50 functions", F50, "pyflame", None), ("5,000 functions", F5000, "pyflame", None)]:
        figures = cells(lambda name: raw.calls(spec, name), mode, bare="bare read")
        # 1.02 calls for one: the first look at something new is not steady state.
        row("system calls a sample, " + what, two, figures, "≤ %d" % limit if limit else "",
            at_most(figures["pyflame"], limit * 1.02) if limit else None)
    figures = cells(lambda name: raw.calls(S20, name), "pyflame --blocking", "py-spy", None, "sampling --blocking")
    row("… with `--blocking`", two, figures, "≤ 7", at_most(figures["pyflame"], 7.1))

    for rate in (100, 1000):
        figures = cells(lambda name: raw.cpu(S20, rate, name), bare="bare read")
        times = ratio(figures["pyflame"], figures["bare"])
        row("µs of processor a sample, 20 frames, %s Hz" % whole(rate), three_digits, figures,
            "≤ 1.4 × bare" if rate == 1000 else "",
            times <= 1.4 if rate == 1000 and times is not None else None)
        row("… sleeping alone", three_digits, {"bare": raw.cpu(S20, rate, "bare sleep")})
    row("… with `--blocking`", three_digits, cells(lambda name: raw.cpu(S20, 1000, name), "pyflame --blocking", "py-spy",
                                                  None, "sampling --blocking"))
    figures = cells(lambda name: raw.cpu(S200, 1000, name))
    row("… 200 frames, the same 20 at work", three_digits, figures)
    row("… 200 frames, all return every 0.2 ms", three_digits, cells(lambda name: raw.cpu(RETURN200, 1000, name)))
    figures = cells(lambda name: raw.cpu(T66, 1000, name), "pyflame --threads")
    row("… 66 threads, all of them", three_digits, figures, "≤ 250", at_most(figures["pyflame"], 250))
    row("… 50 functions", three_digits, cells(lambda name: raw.cpu(F50, 1000, name)))
    row("… 5,000 functions", three_digits, cells(lambda name: raw.cpu(F5000, 1000, name)))

    figures = cells(lambda name: raw.rate(S20, name), bare="bare read")
    row("highest rate, 20 frames, samples/s", whole, figures, "≥ 150,000", at_least(figures["pyflame"], 150000))
    row("… 200 frames, the same 20 at work", whole, cells(lambda name: raw.rate(S200, name)))
    # At 1 kHz this is what is left of two wake-ups, which differ by more than that from one run to the next.
    growth = {name: Figure([ratio(raw.rate(S20, name), raw.rate(S200, name))])
              for name in ("pyflame", "py-spy", "austin", "sampling")}
    row("… time without the sleep, 200 by 20 frames", two, growth, "≤ 2.5", at_most(growth["pyflame"], 2.5))
    figures = cells(lambda name: raw.delivered(S20, 10000, name), bare="bare sleep")
    kept = figures["bare"].median
    row("% delivered of 10 kHz", one, figures, "≥ 98, or bare", at_least(figures["pyflame"], min(98, kept or 98)))

    figures = cells(raw.held, "pyflame --blocking", "py-spy", None, "sampling --blocking", "bare stop")
    floor = figures["bare"].median
    row("µs that a stop holds the target", one, figures, "≤ bare + 5",
        at_most(figures["pyflame"], floor + 5 if floor is not None else None))
    for what, spec, limit, word in [("0.2 ms calls (bare: none)", S20, None, "noise"),
                                    ("50 ns calls (bare: none)", CHURN, 5, "≤ 5")]:
        figures = cells(lambda name: raw.slowdown(spec, name), bare="none")
        noise = max([abs(value) for value in figures["bare"].values], default=None)
        # Where nothing slows down by more than that, nothing can be said of what does.
        told = noise is not None and noise <= MOST_NOISE
        row("% slowdown at 1 kHz, " + what, one, figures, word if told else word + ", too noisy to tell",
            at_most(figures["pyflame"], limit or noise) if told else None)
        if spec == S20:
            row("… with `--blocking`", one, cells(lambda name: raw.slowdown(spec, name), "pyflame --blocking",
                                                  "py-spy", None, "sampling --blocking"))

    figures = cells(raw.dump)
    row("ms of one look, above `true`", two, figures, "≤ 2", at_most(figures["pyflame"], 2))
    figures = cells(raw.dump_calls, bare="true")
    row("… system calls (bare: `true`)", whole, figures, "≤ 80", at_most(figures["pyflame"], 80))

    figures = cells(raw.stale)
    row("% names of freed code", one, figures, "0", at_most(figures["pyflame"], 0))
    big = next((pair["shape"] for pair in raw.raw["pairs"] if pair["shape"].startswith("big")), "big")
    figures = cells(lambda name: raw.sampled(big, 1000, name))
    row("% sampled, line table over 100 KB", one, figures, "100", at_least(figures["pyflame"], 99.9))
    for what, names in [("", {}), (", `--nonblocking`", {"pyflame": "pyflame --nonblocking",
                                                        "pyspy": "py-spy --nonblocking"}),
                        (", `--blocking`", {"pyflame": "pyflame --blocking", "austin": None,
                                            "sampling": "sampling --blocking"})]:
        figures = cells(lambda name: raw.impossible(CHURN, 1000, name), **names)
        row("% impossible stacks, 50 ns calls" + what, one, figures, "0", at_most(figures["pyflame"], 0))
        row("… % failed", one, cells(lambda name: raw.last(
            CHURN, 1000, name, lambda run: 100 * run["failed"] / max(run["rounds"], 1), False), **names))
    for what, spec in (("generators", GENS), ("asyncio", AIO)):
        for word, name in (("", "pyflame"), (", `--nonblocking`", "pyflame --nonblocking")):
            figures = cells(lambda name: raw.impossible(spec, 1000, name), name, None if word else "py-spy",
                            None if word else "austin", None if word else "sampling")
            row("%% impossible stacks, %s%s" % (what, word), two, figures, "0", at_most(figures["pyflame"], 0))
            row("… % failed", one, {"pyflame": raw.last(
                spec, 1000, name, lambda run: 100 * run["failed"] / max(run["rounds"], 1), False)})
    row("% failed, 20 frames, 1 kHz", two, cells(lambda name: raw.failed(S20, 1000, name)))

    for what, spec in (("20 frames", S20), ("5,000 functions", F5000)):
        figures = cells(lambda name: raw.last(spec, 1000, name, lambda run: run["hwm"]))
        stacks = raw.last(spec, 1000, "pyflame", lambda run: run["stacks"]).median
        limit = 1024 + 200 * stacks / 1024 if stacks is not None else None
        row("KiB at the peak, " + what, whole, figures, "≤ %s" % whole(limit) if limit else "",
            at_most(figures["pyflame"], limit))
    return [row for row in rows if row.given()]


def markdown(report):
    """The table, with what it was made on."""
    machine = report["machine"]
    columns = [column for column in COLUMNS if column in report["versions"] or column == "bare"]
    lines = ["Measured %s by `scripts/bench.sh`%s at %s on %s (%d processors%s), %s, Linux %s." % (
        report["date"], " --quick" if report["quick"] else "", report["commit"], machine["processor"],
        machine["processors"], ", virtual" if machine["hypervisor"] else "", machine["system"], machine["kernel"])]
    lines.append("Target on processor %d, profilers in turns on processor %d. Load average %s before, %s after." % (
        report["processors"]["target"], report["processors"]["profiler"],
        "/".join("%.1f" % load for load in report["load"][0]), "/".join("%.1f" % load for load in report["load"][-1])))
    lines.append("Versions: " + ", ".join(report["versions"][column] for column in columns
                                          if column in report["versions"]) + ".")
    absent = [TITLES.get(name, name) for name in COLUMNS if name not in columns]
    if absent:
        lines.append("Went without: " + ", ".join(absent) + ".")
    lines.append("Median of %d round%s (least–greatest). A figure in italics was refused: more than %d %% of the "
                 "samples were wrong (counting system calls, under strace: %d %%), or more than %d %% failed, or there "
                 "were too few, or others had the processor." % (report["rounds"], "s" * (report["rounds"] != 1), 100 * MOST_WRONG,
                                    100 * MOST_WRONG_TRACED, 100 * MOST_FAILED))
    if not report.get("complete"):
        lines.append("**Ended before it was complete:** rows are missing, and some are of fewer rounds.")
    for version, raw in report["pythons"].items():
        rows = rows_of(Raw(raw))
        here = [column for column in columns if any(row.cells.get(column, NOTHING).given() for row in rows)]
        head = [""] + titles(here[:1]) + ["bar", ""] + titles(here[1:])
        lines += ["", "### CPython " + version, ""] + heading(head) + [row.text(here) for row in rows]
        judged = [row for row in rows if row.passed is not None]
        lines += ["", "%d of %d bars reached." % (sum(row.passed for row in judged), len(judged))]
    sizes = [column for column in columns if column in report["sizes"]]
    lines += ["", "### On disk", ""] + heading([""] + titles(sizes))
    for what, key in (("KiB of the program", "program"), ("KiB with all that it needs", "all")):
        lines.append("| " + " | ".join([what] + [whole(report["sizes"][name][key] / 1024) for name in sizes]) + " |")
    return "\n".join(lines)


def titles(columns):
    return [TITLES.get(column, column) for column in columns]


def heading(cells):
    return ["| " + " | ".join(cells) + " |", "|" + "---|" * len(cells)]


if __name__ == "__main__":
    with open(sys.argv[1]) as opened:
        print(markdown(json.load(opened)))
