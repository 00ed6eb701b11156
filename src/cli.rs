//! The command line: one table of options, from which both the parser and the help text come.
//!
//! The grammar is GNU's, as Uber's pyflame had it: long options may be abbreviated and take `--name=value` or
//! `--name value`, short ones cluster (`-xs 0`, `-p123`), and a bare pid may stand anywhere. `-t` ends the options:
//! what follows it is a command. Does no I/O and looks at nothing but the arguments.

use crate::error::{Error, Usage};
use crate::python::versions::{self, Minor};
use crate::report::template::{Value::Number, fill};
use crate::report::{Format, Sink};
use crate::sys::clock::{Nanos, SECOND};
use crate::text::{decimal, leading_decimal, split_digits};
use rustix::process::Pid;

/// How the sampled thread is kept from moving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By reading in a way that proves that it did not; stopping it where that fails.
    Default,
    /// Never stopped; what cannot be proven is counted as failed.
    Nonblocking,
    /// Stopped for every sample.
    Blocking,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Print the stacks of all threads once.
    Dump,
    /// Print whether sampling would work.
    Check,
    /// Sample and print the profile.
    Sample,
}

/// The command line, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    /// What to do.
    pub action: Action,
    /// The process to look at; 0 when a command is started instead.
    pub pid: u32,
    /// Index of the first argument of a command to start.
    pub command: Option<usize>,
    /// How long to sample; none: until the end.
    pub duration: Option<Nanos>,
    /// Time from one sample to the next.
    pub period: Nanos,
    /// Print stacks as JSON.
    pub json: bool,
    /// The process and all its descendants.
    pub children: bool,
    /// All threads, not just those that run Python code.
    pub threads: bool,
    /// Leave out what waits.
    pub exclude_idle: bool,
    /// With line numbers.
    pub lines: bool,
    /// Whether threads are stopped.
    pub mode: Mode,
    /// Where to write; none: standard output.
    pub output: Option<&'a [u8]>,
    /// How; none was chosen: as the name of the output says.
    pub format: Option<Format>,
    /// The version to assume.
    pub abi: Option<Minor>,
    /// Say what is found.
    pub verbose: bool,
}

impl Options<'_> {
    /// How the profile is written down.
    pub fn format(&self) -> Format {
        self.format.unwrap_or_else(|| self.output.map_or(Format::Folded, Format::of_file))
    }

    /// The process to look at.
    pub fn target(&self) -> Result<Pid, Error<'static>> {
        Pid::from_raw(self.pid as i32).ok_or(Error::Usage(Usage::Target))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Pid,
    Trace,
    Seconds,
    Rate,
    Dump,
    Json,
    Children,
    Check,
    Threads,
    ExcludeIdle,
    NoLines,
    Nonblocking,
    Blocking,
    Output,
    Format,
    Flamechart,
    Abi,
    Verbose,
    Help,
    Version,
}

/// The options, a line each: the help text is the table in which arguments are looked up.
const OPTIONS: &str = concat!(
    "  -p, --pid=PID             the process to profile; a bare PID does as well\n",
    "  -t, --trace               start the rest of the line and profile it\n",
    "  -s, --seconds=TIME        how long: 0.5, 500ms, 2m, inf; 0: one sample (1)\n",
    "  -r, --rate=TIME           from one sample to the next; 0: no pause (1ms)\n",
    "  -d, --dump                print the stacks of all threads once\n",
    "      --json                with -d: as JSON, for programs\n",
    "  -C, --children            its descendants, too\n",
    "      --check               say whether that would work, and why not\n",
    "      --threads             all threads, not just the one with the GIL\n",
    "  -x, --exclude-idle        leave out idle time and waiting threads\n",
    "  -n, --no-line-numbers     functions only\n",
    "      --nonblocking         never stop a thread; unproven is (failed)\n",
    "      --blocking            stop the sampled thread for every sample\n",
    "  -o, --output=FILE         write there, not to standard output\n",
    "  -f, --format=NAME         svg, speedscope, chrome, cpuprofile, pprof, folded\n",
    "  -T, --flamechart          every sample with its time, as text\n",
    "      --abi=NN              assume this Python version, as 27 or 311\n",
    "  -V, --verbose             say on stderr what was found and how it went\n",
    "  -h, --help                this text\n",
    "  -v, --version             the version and the Python versions supported\n"
);

/// What each line of [`OPTIONS`] is about.
static NAMES: [Name; 20] = [
    Name::Pid,
    Name::Trace,
    Name::Seconds,
    Name::Rate,
    Name::Dump,
    Name::Json,
    Name::Children,
    Name::Check,
    Name::Threads,
    Name::ExcludeIdle,
    Name::NoLines,
    Name::Nonblocking,
    Name::Blocking,
    Name::Output,
    Name::Format,
    Name::Flamechart,
    Name::Abi,
    Name::Verbose,
    Name::Help,
    Name::Version,
];

/// The only option that `fits` by its short name, a blank where there is none, and its long one; and whether it takes a value.
fn only(fits: &dyn Fn(u8, &[u8]) -> bool) -> Option<(Name, bool)> {
    let mut only = None;
    for (&name, line) in NAMES.iter().zip(OPTIONS.as_bytes().split(|&byte| byte == b'\n')) {
        let [_, _, _, short, _, _, b'-', b'-', rest @ ..] = line else { continue };
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'='))?;
        let (long, rest) = rest.split_at_checked(end)?;
        if fits(*short, long) && only.replace((name, rest.starts_with(b"="))).is_some() {
            return None;
        }
    }
    only
}

/// The first line of the help text and of a complaint about the arguments.
pub const USAGE: &[u8] = b"Usage: pyflame [options] PID\n       pyflame [options] -p PID\n       pyflame [options] -t command args...\n";

/// Writes the help text.
pub fn help(out: &mut dyn Sink) {
    out.put(USAGE);
    out.put(b"\nStacks of a running Python process, as text for flame graphs.\n\n");
    out.put(OPTIONS.as_bytes());
}

/// Writes the version line: name, version, operating system, processor, and the Python versions that are known.
pub fn version(out: &mut dyn Sink) {
    let this = concat!("pyflame ", env!("CARGO_PKG_VERSION"), " Linux ", env!("PYFLAME_ARCH"), " (ABI list:");
    out.put(this.as_bytes());
    let mut put = |version| {
        fill(b" %%", &[Number(u64::from(version >> 8)), Number(u64::from(version & 0xff))], out);
    };
    versions::ROWS.iter().for_each(|row| put(row.version));
    (versions::FIRST_PUBLISHED..=versions::NEWEST).for_each(put);
    out.put(b")\n");
}

/// Understands the arguments, of which `arg` gives the one at an index; 0 is the program's name. Those that are missing leave
/// `options` as they are.
pub fn parse<'a>(arg: Arg<'_, 'a>, options: &mut Options<'a>) -> Result<(), Error<'a>> {
    let mut parser = Parser { arg, next: 1, options, bare: None, bare_count: 0 };
    parser.run()?;
    parser.finish()
}

type Arg<'p, 'a> = &'p dyn Fn(usize) -> Option<&'a [u8]>;

/// What is done without any.
pub const DEFAULTS: Options<'static> = Options {
    action: Action::Sample,
    pid: 0,
    command: None,
    duration: Some(SECOND),
    period: SECOND / 1000,
    json: false,
    children: false,
    threads: false,
    exclude_idle: false,
    lines: true,
    mode: Mode::Default,
    output: None,
    format: None,
    abi: None,
    verbose: false,
};

struct Parser<'p, 'a> {
    arg: Arg<'p, 'a>,
    next: usize,
    options: &'p mut Options<'a>,
    bare: Option<&'a [u8]>,
    bare_count: usize,
}

impl<'a> Parser<'_, 'a> {
    #[inline(never)] // so that the options stay together, instead of each being a variable of the whole program
    fn run(&mut self) -> Result<(), Error<'a>> {
        let mut only_bare = false;
        while self.options.command.is_none()
            && let Some(arg) = self.take()
        {
            match arg {
                b"--" if !only_bare => only_bare = true,
                [b'-', b'-', long @ ..] if !only_bare => self.long(arg, long)?,
                [b'-', cluster @ ..] if !only_bare && !cluster.is_empty() && !is_negative(cluster) => {
                    self.short(cluster)?
                }
                _ => {
                    self.bare = Some(arg);
                    self.bare_count += 1;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let arg = (self.arg)(self.next)?;
        self.next += 1;
        Some(arg)
    }

    fn long(&mut self, arg: &'a [u8], long: &'a [u8]) -> Result<(), Error<'a>> {
        let end = long.iter().position(|&b| b == b'=').unwrap_or(long.len());
        let (name, value) = long.split_at_checked(end).unwrap_or((long, &[]));
        let value = value.strip_prefix(b"=");
        let found = only(&|_, long| long == name).or_else(|| only(&|_, long| long.starts_with(name)));
        let (name, takes_value) = found.ok_or(Error::Usage(Usage::Unknown(arg)))?;
        let value = match (takes_value, value) {
            (false, None) => Some(&b""[..]),
            (false, Some(_)) => None,
            (true, None) => self.take(),
            (true, value) => value,
        };
        self.set(name, value.ok_or(Error::Usage(Usage::Value(arg)))?)
    }

    fn short(&mut self, cluster: &'a [u8]) -> Result<(), Error<'a>> {
        let mut rest = cluster;
        while let [short, after @ ..] = rest {
            let found = only(&|other, _| other == *short && other != b' ');
            let (name, takes_value) = found.ok_or(Error::Usage(Usage::Unknown(cluster)))?;
            if !takes_value {
                self.set(name, b"")?;
                rest = after;
                continue;
            }
            let value = if after.is_empty() { self.take() } else { Some(after) };
            return self.set(name, value.ok_or(Error::Usage(Usage::Value(cluster)))?);
        }
        Ok(())
    }

    fn set(&mut self, name: Name, value: &'a [u8]) -> Result<(), Error<'a>> {
        let options = &mut *self.options;
        match name {
            Name::Pid => options.pid = pid(value).ok_or(Error::Usage(Usage::Pid(value)))?,
            Name::Trace => {
                let dashes = (self.arg)(self.next) == Some(b"--");
                options.command = Some(self.next + usize::from(dashes));
            }
            Name::Seconds => options.duration = duration(value).ok_or(Error::Usage(Usage::Seconds(value)))?,
            Name::Rate => {
                options.period = duration(value).flatten().ok_or(Error::Usage(Usage::Seconds(value)))?;
            }
            Name::Dump => self.act(Action::Dump)?,
            Name::Json => options.json = true,
            Name::Children => options.children = true,
            Name::Check => self.act(Action::Check)?,
            Name::Threads => options.threads = true,
            Name::ExcludeIdle => options.exclude_idle = true,
            Name::NoLines => options.lines = false,
            Name::Nonblocking => self.stop(Mode::Nonblocking)?,
            Name::Blocking => self.stop(Mode::Blocking)?,
            Name::Output => options.output = (value != b"-").then_some(value),
            Name::Format => {
                options.format = Some(Format::named(value).ok_or(Error::Usage(Usage::Format(value)))?);
            }
            Name::Flamechart => options.format = Some(Format::Flamechart),
            Name::Abi => options.abi = Some(abi(value).ok_or(Error::Abi(value))?),
            Name::Verbose => options.verbose = true,
            Name::Help => options.action = Action::Help,
            Name::Version => options.action = Action::Version,
        }
        // What prints and ends needs no target, so what follows is not looked at.
        if matches!(name, Name::Help | Name::Version) {
            self.options.command = Some(self.next);
        }
        Ok(())
    }

    #[inline(never)] // so that its caller has a small frame
    fn act(&mut self, action: Action) -> Result<(), Error<'a>> {
        let before = core::mem::replace(&mut self.options.action, action);
        let fits = [Action::Sample, action].contains(&before);
        fits.then_some(()).ok_or(Error::Usage(Usage::Exclusive(b"-d and --check")))
    }

    fn stop(&mut self, mode: Mode) -> Result<(), Error<'a>> {
        let before = core::mem::replace(&mut self.options.mode, mode);
        let fits = [Mode::Default, mode].contains(&before);
        fits.then_some(()).ok_or(Error::Usage(Usage::Exclusive(b"--blocking and --nonblocking")))
    }

    fn finish(&mut self) -> Result<(), Error<'a>> {
        let Options { action, json, pid, command, .. } = *self.options;
        Err(Error::Usage(match (self.bare, command) {
            _ if matches!(action, Action::Help | Action::Version) => return Ok(()),
            _ if json && action != Action::Dump => Usage::Exclusive(b"--json and all but -d"),
            (bare, Some(_)) if pid != 0 || bare.is_some() => Usage::Exclusive(b"-p and -t"),
            (_, Some(_)) if action != Action::Sample => Usage::Exclusive(b"-d or --check and -t"),
            (_, Some(first)) if (self.arg)(first).is_none() => Usage::Command,
            (_, Some(_)) => return Ok(()),
            (Some(bare), None) if pid == 0 && self.bare_count == 1 => return self.set(Name::Pid, bare),
            (None, None) if pid != 0 => return Ok(()),
            _ => Usage::Target,
        }))
    }
}

/// A negative number is a bad pid or time, no cluster of options.
fn is_negative(cluster: &[u8]) -> bool {
    cluster.first().is_some_and(u8::is_ascii_digit)
}

fn pid(text: &[u8]) -> Option<u32> {
    let number = decimal(text).filter(|number| (1..=i32::MAX as u64).contains(number))?;
    Some(number as u32)
}

/// `27` is 2.7, `311` is 3.11; `2.7` and `3.11` are understood too.
fn abi(text: &[u8]) -> Option<Minor> {
    let (major, minor) = text.split_first()?;
    let minor = decimal(minor.strip_prefix(b".").unwrap_or(minor)).filter(|&number| number < 100)?;
    let version = Minor::from(major.wrapping_sub(b'0')) << 8 | minor as Minor;
    let known =
        versions::row_of(version).is_some() || version >> 8 == 3 && version >= versions::FIRST_PUBLISHED;
    known.then_some(version)
}

/// A time: digits with or without a fraction, then `s`, `ms`, `us`, `m`, `h` or nothing for seconds; or `inf`, none.
/// Negative times are endless, as they were in Uber's pyflame.
fn duration(text: &[u8]) -> Option<Option<Nanos>> {
    if text == b"inf" {
        return Some(None);
    }
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let nanos = unsigned_duration(unsigned)?;
    Some((unsigned.len() == text.len()).then_some(nanos))
}

fn unsigned_duration(text: &[u8]) -> Option<Nanos> {
    let (whole, rest) = leading_decimal(text).or_else(|| text.starts_with(b".").then_some((0, text)))?;
    let (fraction, unit) = rest.strip_prefix(b".").map_or((&b""[..], rest), split_digits);
    let unit = match unit {
        b"" | b"s" => SECOND,
        b"ms" => SECOND / 1_000,
        b"us" => SECOND / 1_000_000,
        b"m" | b"min" => 60 * SECOND,
        b"h" => 3600 * SECOND,
        _ => return None,
    };
    let (mut nanos, mut place) = (whole.checked_mul(unit)?, unit);
    for digit in fraction.iter().take(9) {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn parse_line(line: &'static str) -> Result<Options<'static>, Error<'static>> {
        let args: Vec<&[u8]> =
            core::iter::once("pyflame").chain(line.split_whitespace()).map(str::as_bytes).collect();
        let mut options = DEFAULTS;
        parse(&|i| args.get(i).copied(), &mut options).map(|()| options)
    }

    fn ok(line: &'static str) -> Options<'static> {
        parse_line(line).unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    #[test]
    fn a_bare_pid_and_an_option_mean_the_same() {
        for line in ["7", "-p 7", "-p7", "--pid=7", "--pid 7", "--pi 7", "-- 7"] {
            assert_eq!(ok(line), Options { pid: 7, ..DEFAULTS }, "{line}");
        }
    }

    #[test]
    fn short_options_cluster_and_long_ones_may_be_cut() {
        let options = ok("7 -xns 0 --thre -o out");
        assert!(options.exclude_idle && !options.lines && options.threads);
        assert_eq!((options.duration, options.output), (Some(0), Some(&b"out"[..])));
    }

    #[test]
    fn times_have_fractions_and_units() {
        for (text, nanos) in [
            ("1", Some(SECOND)),
            ("0.5", Some(SECOND / 2)),
            (".25s", Some(SECOND / 4)),
            ("500ms", Some(SECOND / 2)),
            ("1.5ms", Some(1_500_000)),
            ("10us", Some(10_000)),
            ("2m", Some(120 * SECOND)),
            ("1h", Some(3600 * SECOND)),
            ("0", Some(0)),
            ("inf", None),
            ("-1", None),
            ("0.000000001", Some(1)),
        ] {
            assert_eq!(duration(text.as_bytes()), Some(nanos), "{text}");
        }
        for text in ["", "x", "1x", "1.2.3", "-", "ms", "99999999999999999999", "1e3"] {
            assert!(duration(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        assert_eq!(ok("-d -d 1").action, Action::Dump);
        assert_eq!(ok("--blocking --blocking 1").mode, Mode::Blocking);
        for (line, options) in [
            ("-d --check 1", &b"-d and --check"[..]),
            ("--check -d 1", b"-d and --check"),
            ("--blocking --nonblocking 1", b"--blocking and --nonblocking"),
        ] {
            assert_eq!(parse_line(line), Err(Error::Usage(Usage::Exclusive(options))), "{line}");
        }
    }

    #[test]
    fn a_command_ends_the_options() {
        let options = ok("-s 2 -t python -x 5");
        assert_eq!((options.command, options.exclude_idle), (Some(4), false));
        assert_eq!(ok("-t -- python -x").command, Some(3));
        for line in ["-t", "-t --"] {
            assert_eq!(parse_line(line), Err(Error::Usage(Usage::Command)));
        }
        assert_eq!(parse_line("-p 1 -t x"), Err(Error::Usage(Usage::Exclusive(b"-p and -t"))));
        for line in ["-d -t x", "--check -t x"] {
            assert_eq!(parse_line(line), Err(Error::Usage(Usage::Exclusive(b"-d or --check and -t"))));
        }
    }

    #[test]
    fn versions_are_the_known_ones() {
        for (text, version) in
            [("27", 0x207), ("3.11", 0x30b), ("311", 0x30b), ("36", 0x306), ("315", 0x30f), ("316", 0x310)]
        {
            assert_eq!(abi(text.as_bytes()), Some(version), "{text}");
        }
        for text in ["0", "", "28", "32", "3", "x", "3111"] {
            assert!(abi(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        let mistake = |line| match parse_line(line) {
            Err(Error::Usage(usage)) => usage,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(mistake(""), Usage::Target);
        assert_eq!(mistake("1 2"), Usage::Target);
        assert_eq!(mistake("-p 1 2"), Usage::Target);
        assert_eq!(mistake("-1"), Usage::Pid(b"-1"));
        assert_eq!(mistake("0"), Usage::Pid(b"0"));
        assert_eq!(mistake("4294967297"), Usage::Pid(b"4294967297"));
        assert_eq!(mistake("--no 1"), Usage::Unknown(b"--no"));
        assert_eq!(mistake("-q 1"), Usage::Unknown(b"q"));
        assert_eq!(mistake("--dump=3 1"), Usage::Value(b"--dump=3"));
        assert_eq!(mistake("1 -s"), Usage::Value(b"s"));
        assert_eq!(mistake("1 -s x"), Usage::Seconds(b"x"));
    }

    #[test]
    fn every_prefix_and_mutation_of_a_line_is_refused_or_understood() {
        let line = b"--pid=12\x00-xs\x000.5\x00--rate\x001ms\x00--abi=311\x00-o\x00out\x00-t\x00cmd";
        let mut seed = 1u64;
        for round in 0..100_000usize {
            let mut bytes = line.to_vec();
            bytes.truncate(round % (line.len() + 1));
            for _ in 0..round % 4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if let Some(byte) = bytes.get_mut((seed >> 40) as usize % line.len()) {
                    *byte = (seed >> 32) as u8;
                }
            }
            let args: Vec<&[u8]> = bytes.split(|&b| b == 0).collect();
            let _ = parse(&|i| args.get(i).copied(), &mut DEFAULTS.clone());
        }
    }
}
