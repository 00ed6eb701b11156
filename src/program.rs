//! The program: from the arguments to the exit status.

pub mod words;

use crate::children::Family;
use crate::cli::{self, Action, Options};
use crate::dump::Style;
use crate::error::Error;
use crate::profile::Profile;
use crate::python::threads::Which;
use crate::report::timeline::{self, Timeline};
use crate::report::{self, Facts, Format, Sink};
use crate::sampler::Choice;
use crate::session::Session;
use crate::storage::Storage;
use crate::sys::clock::{self, Nanos};
use crate::sys::out::{Failure, File, Output};
use crate::sys::proc::{STATUS, read_of};
use crate::sys::start::Process;
use crate::sys::stat::line;
use crate::sys::{self, spawn, stdout, watch};
use rustix::process::{Pid, geteuid};
use words::{complain, remark, say_written};

/// Runs the program with the arguments of `process`: its exit status.
pub fn run(process: &Process) -> i32 {
    clock::use_vdso(process.vdso());
    sys::seal();
    sys::occupy();
    let arg = |i| process.arg(i).map(core::ffi::CStr::to_bytes);
    let mut options = cli::DEFAULTS;
    let status = cli::parse(&arg, &mut options).and_then(|()| act(process, &options));
    status.unwrap_or_else(|error| {
        complain(&error);
        1
    })
}

#[inline(never)] // what it calls makes a large frame, in which every address takes longer instructions
fn act<'a>(process: &Process, options: &Options<'a>) -> Result<i32, Error<'a>> {
    match options.action {
        Action::Help => print(cli::help),
        Action::Version => print(cli::version),
        Action::Check | Action::Dump | Action::Sample => observe(process, options),
    }
}

fn print(text: fn(&mut dyn Sink)) -> Result<i32, Error<'static>> {
    let mut out = Output::to(stdout());
    text(&mut out);
    written(&mut out, b"standard output").map(|()| 0)
}

/// What is done with a process.
struct Work<'a, 'b> {
    process: &'b Process,
    options: &'b Options<'a>,
    family: Family<'b>,
    /// Where a command writes to.
    early: Option<File>,
    timeline: timeline::Storage,
    profile: Profile,
    /// Since sampling has begun.
    sampling: Option<Sampling>,
}

/// A run, and where it goes.
struct Sampling {
    out: Output,
    timeline: Timeline,
    epoch: Nanos,
    started: Nanos,
}

#[inline(never)] // as above
fn observe<'a>(process: &Process, options: &Options<'a>) -> Result<i32, Error<'a>> {
    let mut storage = Storage::map().map_err(Error::Storage)?;
    let stack = storage.stack();
    let signals = clock::block_signals();
    let (pid, early) = match options.command {
        Some(first) => start(process, first, options)?,
        None => (options.target()?, None),
    };
    let ours = options.command.is_some();
    let (processes, samplers) = storage.processes(options.children);
    let alone = !options.children && options.action == Action::Sample;
    let session = Session::new(pid, ours, alone, storage.images(), signals);
    let mut profile = storage.profile();
    let timeline = storage.timeline();
    if options.format() != Format::Folded {
        report::reserve(&mut profile);
    }
    let family = Family::new(session, storage, options, choice(options), processes, samplers);
    let mut work = Work { process, options, family, early, timeline, profile, sampling: None };
    let status = watch::over(stack, &mut work, Work::go, Work::hung)?;
    work.write()?;
    Ok(if ours { work.family.exit_status() } else { status })
}

impl<'a, 'b> Work<'a, 'b> {
    /// All but the writing of a profile.
    fn go(&mut self) -> Result<i32, Error<'a>> {
        let Work { options, family, profile, .. } = self;
        let ours = options.command.is_some();
        if let Err(error) = family.begin(profile) {
            if ours {
                family.exit_status();
            }
            return Err(error);
        }
        let pid = family.pid();
        let file = self.early.take().map_or_else(|| open(options, Some(pid)), Ok)?;
        let mut out = Output::new(file);
        if options.action == Action::Check {
            let any = family.check(&mut out);
            return finish(options, &mut out).map(|()| i32::from(!any));
        }
        if options.action == Action::Dump {
            if !family.dump(profile, style(self.process, options), &mut out) && !options.children {
                return Err(Error::NoThreads(pid.as_raw_nonzero().get() as u64));
            }
            return finish(options, &mut out).map(|()| 0);
        }
        let (epoch, started) = (clock::wall(), clock::now());
        let storage = core::mem::take(&mut self.timeline);
        let timeline = Timeline::new(options.format(), options.lines, storage, started, epoch);
        let Sampling { out, timeline, .. } = self.sampling.insert(Sampling { out, timeline, epoch, started });
        if options.duration != Some(0) {
            sys::precise_sleep();
        }
        family.run(profile, timeline, out);
        Ok(0)
    }

    /// What is left to do when process `pid` cannot be read any more: the exit status.
    fn hung(mut self, pid: Pid) -> i32 {
        complain(&Error::Hung(pid.as_raw_nonzero().get() as u64));
        if let Some(Sampling { out, timeline, .. }) = &mut self.sampling {
            self.family.give_up(&mut self.profile, timeline, out);
            if let Err(error) = self.write() {
                complain(&error);
            }
        }
        1
    }

    /// Writes the profile, if there is one, and what there is to say besides.
    fn write(&mut self) -> Result<(), Error<'a>> {
        let Some(Sampling { out, epoch, started, .. }) = &mut self.sampling else { return Ok(()) };
        let (remarks, title) = (self.family.remarks(), self.family.title());
        let facts = Facts {
            title: title.bytes(),
            version: remarks.version,
            started: *epoch,
            elapsed: clock::now() - *started,
            period: self.options.period,
            lines: self.options.lines,
        };
        remark(self.options, &remarks, &self.profile, &facts);
        report::write(self.options.format(), &mut self.profile, &facts, out);
        let finished = finish(self.options, out);
        self.sampling = None; // its file is closed, whatever there is still to wait for
        finished?;
        say_written(self.options);
        Ok(())
    }
}

/// Starts the command. Its output file is opened before, so that a mistake in it costs nothing.
#[inline(never)] // its file makes a large frame
fn start<'a>(
    process: &Process,
    first: usize,
    options: &Options<'a>,
) -> Result<(Pid, Option<File>), Error<'a>> {
    let name = process.arg(first).map_or(&b""[..], |name| name.to_bytes());
    if name.ends_with(b"pyflame") {
        return Err(Error::Oneself);
    }
    let file = open(options, None)?;
    let pid = spawn::spawn(process, first).map_err(|errno| Error::Exec(name, errno))?;
    Ok((pid, Some(file)))
}

/// Whether the profile is for root's eyes alone: it is root who reads it out of a process that is, or may be, another's.
#[inline(never)] // for its buffer
fn is_private(pid: Pid, options: &Options<'_>) -> bool {
    let mut buffer = [0; STATUS];
    let status = read_of(pid, 0, b"status", &mut buffer).unwrap_or_default();
    geteuid().is_root() && (options.children || line(status, b"\nUid:\t") != b"0\t0\t0\t0")
}

/// The file to write to. `pid`: the process that it is about, if we did not start it.
fn open<'a>(options: &Options<'a>, pid: Option<Pid>) -> Result<File, Error<'a>> {
    match options.output {
        Some(path) => File::create(path, pid.is_some_and(|pid| is_private(pid, options)))
            .map_err(|errno| Error::Output(path, errno)),
        None => Ok(File::Standard(stdout())),
    }
}

fn choice(options: &Options<'_>) -> Choice {
    let dump = options.action == Action::Dump;
    Choice {
        mode: options.mode,
        which: if options.threads || dump { Which::All } else { Which::Running },
        lines: options.lines || dump,
        exclude_idle: options.exclude_idle && !dump,
        by_thread: options.format().by_thread() && options.action == Action::Sample,
        at_once: options.format().is_timed(),
    }
}

/// How stacks are shown: with colours on a terminal, unless NO_COLOR (<https://no-color.org>) says otherwise.
fn style(process: &Process, options: &Options<'_>) -> Style {
    let plain = process.env(b"NO_COLOR").is_some_and(|value| !value.is_empty())
        || process.env(b"TERM") == Some(b"dumb")
        || options.output.is_some()
        || !sys::is_terminal(stdout());
    match options.json {
        true => Style::Json,
        false if plain => Style::Plain,
        false => Style::Colour,
    }
}

fn finish<'a>(options: &Options<'a>, out: &mut Output) -> Result<(), Error<'a>> {
    let name = options.output.unwrap_or(b"standard output");
    written(out, name)
}

fn written<'a>(out: &mut Output, name: &'a [u8]) -> Result<(), Error<'a>> {
    out.finish().map_err(|failure| match failure {
        Failure::Write(errno) => Error::Write(name, errno),
        Failure::Name(errno) => Error::Name(name, errno),
    })
}
