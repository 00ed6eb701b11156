//! Profiles as bytes, one file a format. A format is a file, a variant of [`Format`] and a row of its table.

pub mod chrome;
pub mod cpuprofile;
pub mod escape;
pub mod flamechart;
pub mod folded;
pub mod json;
mod pprof;
mod speedscope;
mod svg;
pub mod template;
pub mod timeline;

use crate::profile::{Counts, Profile};
use template::{Value::Number, fill};

/// Where bytes go. Errors are kept by the sink and asked for at the end.
pub trait Sink {
    /// Takes `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

/// How a profile is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Folded stacks.
    Folded,
    /// A flame graph.
    Svg,
    /// speedscope's own.
    Speedscope,
    /// Trace events over time.
    Chrome,
    /// V8's CPU profile.
    Cpuprofile,
    /// Google's profile.proto.
    Pprof,
    /// Each sample with its time.
    Flamechart,
}

/// A format: its name, the ending of a file's name by which it is chosen, and what opens it.
type Row = (Format, &'static [u8], &'static [u8], &'static [u8]);

/// All of them. The first whose ending fits counts.
static FORMATS: [Row; 7] = [
    (Format::Folded, b"folded", b".folded", b"flamegraph.pl, speedscope.app"),
    (Format::Svg, b"svg", b".svg", b"a browser"),
    (Format::Speedscope, b"speedscope", b".speedscope.json", b"speedscope.app"),
    (Format::Chrome, b"chrome", b".json", b"ui.perfetto.dev, chrome://tracing, speedscope.app"),
    (
        Format::Cpuprofile,
        b"cpuprofile",
        b".cpuprofile",
        b"VS Code, DevTools (Performance) of Chrome, speedscope.app",
    ),
    (Format::Pprof, b"pprof", b".pb.gz", b"go tool pprof -http=:"),
    (Format::Flamechart, b"flamechart", b".flamechart", b"flame-chart-json"),
];

impl Format {
    /// The format called `name`.
    pub fn named(name: &[u8]) -> Option<Format> {
        FORMATS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The format for a file called `path`.
    pub fn of_file(path: &[u8]) -> Format {
        FORMATS.iter().find(|row| path.ends_with(row.2)).map_or(Format::Folded, |row| row.0)
    }

    /// What opens it.
    pub fn viewers(self) -> &'static [u8] {
        FORMATS.iter().find(|row| row.0 == self).map_or(b"", |row| row.3)
    }

    /// Whether stacks of different threads are kept apart, below a frame for the process and one for the thread.
    pub fn by_thread(self) -> bool {
        matches!(self, Format::Speedscope | Format::Chrome | Format::Pprof)
    }

    /// Whether samples are written one by one as they are taken.
    pub fn is_timed(self) -> bool {
        matches!(self, Format::Chrome | Format::Flamechart)
    }
}

/// What a profile is of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The first process and its command line, in short.
    pub title: &'a [u8],
    /// PY_VERSION_HEX of the first interpreter.
    pub version: u64,
    /// When sampling began, in nanoseconds since 1970.
    pub started: u64,
    /// How long it took, in nanoseconds.
    pub elapsed: u64,
    /// Time from one sample to the next that was asked for, in nanoseconds.
    pub period: u64,
    /// With line numbers.
    pub lines: bool,
}

impl Facts<'_> {
    /// Time that a sample stands for, in nanoseconds: what passed from one of its process to the next. At least 1.
    #[inline(never)] // smaller
    fn weight(&self, counts: &Counts) -> u64 {
        (self.elapsed / counts.rounds.min(counts.samples).max(1)).max(1)
    }
}

/// Writes a profile that is finished, unless it is in a format that was written while samples were taken.
pub fn write(format: Format, profile: &mut Profile, facts: &Facts<'_>, out: &mut dyn Sink) {
    if format != Format::Folded {
        let Counts { idle, failed, truncated, .. } = profile.counts;
        count_own(profile, [idle, failed, truncated]);
    }
    match format {
        Format::Folded => folded::write(profile, facts.lines, out),
        Format::Svg => svg::write(profile, facts, out),
        Format::Speedscope => speedscope::write(profile, facts, out),
        Format::Cpuprofile => cpuprofile::write(profile, facts, out),
        Format::Pprof => pprof::write(profile, facts, out),
        Format::Chrome | Format::Flamechart => {}
    }
}

/// What stands for samples without a stack. A place for each is taken at the beginning, so that there is one at the end.
static OWN: [&[u8]; 3] = [b"(idle)", b"(failed)", b"(truncated)"];

/// Makes room for what [`write()`] adds.
pub fn reserve(profile: &mut Profile) {
    count_own(profile, [0; 3]);
}

/// Makes stacks of so many samples without one.
fn count_own(profile: &mut Profile, counts: [u64; 3]) {
    for (name, count) in OWN.iter().zip(counts) {
        profile.count_alone(name, count);
    }
}

/// Writes `number` in decimal.
pub fn put_number(number: u64, out: &mut dyn Sink) {
    out.put(crate::text::Decimal::new(number).bytes());
}

/// Writes `text`, in which `%` stands for `number`, unless that is 0.
pub fn put_some(number: u64, text: &[u8], out: &mut dyn Sink) {
    if number > 0 {
        fill(text, &[Number(number)], out);
    }
}

/// Writes what was sampled in `elapsed` nanoseconds, in figures.
pub fn put_counts(counts: &Counts, elapsed: u64, out: &mut dyn Sink) {
    fill(b"% samples in % ms", &[Number(counts.samples), Number(elapsed / 1_000_000)], out);
    put_some(counts.idle, b", % idle", out);
    put_some(counts.failed, b", % failed", out);
    put_some(counts.missed, b", % missed deadlines", out);
    put_some(counts.stopped, b", % stops", out);
    put_some(counts.truncated, b", % stacks that did not fit", out);
    put_some(counts.names_full, b", % names that did not fit", out);
}

#[cfg(test)]
mod tests;
