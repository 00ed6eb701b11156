//! The program: from the arguments to the exit status.

use crate::children::{Family, Remarks};
use crate::cli::{self, Action, Options};
use crate::denial::{self, Refused};
use crate::dump::Style;
use crate::error::{Error, explain};
use crate::locate::Interpreter;
use crate::profile::Profile;
use crate::python::threads::Which;
use crate::python::versions;
use crate::report::escape::{self, Notation};
use crate::report::timeline::Timeline;
use crate::report::{self, Facts, Format, Sink, put_counts, put_number, put_version};
use crate::sampler::Choice;
use crate::session::Session;
use crate::storage::Storage;
use crate::sys::clock;
use crate::sys::out::{Failure, File, Output};
use crate::sys::proc::{STATUS, read_of};
use crate::sys::remote::Remote;
use crate::sys::start::Process;
use crate::sys::stat::line;
use crate::sys::{self, spawn, stderr, stdout};
use rustix::process::{Pid, geteuid};

/// Runs the program with the arguments of `process`: its exit status.
pub fn run(process: &Process) -> i32 {
    clock::use_vdso(process.vdso());
    sys::seal();
    let arg = |i| process.arg(i).map(core::ffi::CStr::to_bytes);
    let result = cli::parse(&arg).and_then(|options| act(process, &options));
    result.unwrap_or_else(|error| {
        complain(&error);
        1
    })
}

#[inline(never)] // its buffer makes a large frame, in which every address takes longer instructions
fn complain(error: &Error<'_>) {
    let mut out = Output::to(stderr());
    if let Error::Usage(_) = error {
        out.put(cli::USAGE);
    }
    explain(error, &mut out);
    let _ = out.finish(); // there is nowhere left to say so
}

#[inline(never)] // as above
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
    written(&mut out, b"standard output")
}

#[inline(never)] // as above
fn observe<'a>(process: &Process, options: &Options<'a>) -> Result<i32, Error<'a>> {
    let mut storage = Storage::map().map_err(Error::Storage)?;
    let signals = clock::block_signals();
    let (pid, early) = match options.command {
        Some(first) => start(process, first, options)?,
        None => (options.target()?, None),
    };
    let ours = options.command.is_some();
    let (processes, samplers) = storage.processes(options.children);
    let session = Session::new(pid, ours, !options.children, storage.images(), signals);
    let mut profile = storage.profile();
    let lanes = storage.lanes();
    if options.format() != Format::Folded {
        report::reserve(&mut profile);
    }
    let mut family = Family::new(session, storage, options, choice(options), processes, samplers);
    if let Err(error) = family.begin(&mut profile) {
        if ours {
            family.exit_status();
        }
        return Err(error);
    }
    let file = early.map_or_else(|| open(options, is_private(pid, options)), Ok)?;
    if options.action == Action::Check {
        let mut out = Output::new(file);
        let any = family.check(&mut out);
        return finish(options, &mut out).map(|_| i32::from(!any));
    }
    if options.action == Action::Dump {
        let mut out = Output::new(file);
        if !family.dump(&mut profile, style(process, options), &mut out) && !options.children {
            return Err(Error::NoThreads(pid.as_raw_nonzero().get() as u64));
        }
        return finish(options, &mut out);
    }
    let mut out = Output::new(file);
    let (epoch, started) = (clock::wall(), clock::now());
    let mut timeline = Timeline::new(options.format(), options.lines, lanes, started, epoch);
    sys::precise_sleep();
    family.run(&mut profile, &mut timeline, &mut out);
    clock::set_alarm(0);
    let (remarks, title) = (family.remarks(), family.title());
    let facts = Facts {
        title: title.bytes(),
        version: remarks.version,
        started: epoch,
        elapsed: clock::now() - started,
        period: options.period,
        lines: options.lines,
    };
    remark(options, &remarks, &profile, &facts);
    report::write(options.format(), profile, &facts, &mut out);
    finish(options, &mut out)?;
    say_written(options);
    Ok(if ours { family.exit_status() } else { 0 })
}

/// Starts the command. Its output file is opened before, so that a mistake in it costs nothing.
fn start<'a>(
    process: &Process,
    first: usize,
    options: &Options<'a>,
) -> Result<(Pid, Option<File>), Error<'a>> {
    let name = process.arg(first).map_or(&b""[..], |name| name.to_bytes());
    if name.ends_with(b"pyflame") {
        return Err(Error::Oneself);
    }
    let file = open(options, false)?;
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

fn open<'a>(options: &Options<'a>, private: bool) -> Result<File, Error<'a>> {
    match options.output {
        Some(path) => File::create(path, private).map_err(|errno| Error::Output(path, errno)),
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

fn finish<'a>(options: &Options<'a>, out: &mut Output) -> Result<i32, Error<'a>> {
    let name = options.output.unwrap_or(b"standard output");
    written(out, name)
}

fn written<'a>(out: &mut Output, name: &'a [u8]) -> Result<i32, Error<'a>> {
    out.finish().map(|()| 0).map_err(|failure| match failure {
        Failure::Write(errno) => Error::Write(name, errno),
        Failure::Name(errno) => Error::Name(name, errno),
    })
}

/// Says what there is to say besides the profile.
#[inline(never)] // so that its caller has a small frame
fn remark(options: &Options<'_>, remarks: &Remarks, profile: &Profile, facts: &Facts<'_>) {
    let mut words = Output::to(stderr());
    if let Some(pid) = remarks.refused {
        words.put(b"pyflame: went on as with --nonblocking, none may be stopped: ");
        denial::put(pid, Refused::Stopping, &mut words);
        words.put(b"\n");
    }
    if remarks.left_out > 0 {
        words.put(b"pyflame: processes left out: ");
        put_number(remarks.left_out, &mut words);
        words.put(b"\n");
    }
    if let Some(pid) = remarks.denied {
        explain(&Error::Denied(pid), &mut words);
    }
    if options.verbose || sys::is_terminal(stderr()) {
        words.put(b"pyflame: ");
        put_counts(&profile.counts, facts.elapsed, &mut words);
        if remarks.stops > 0 {
            words.put(b", ");
            put_number(remarks.stops, &mut words);
            words.put(b" stops to read");
        }
        if remarks.reads > 0 {
            words.put(b", ");
            put_number(remarks.reads, &mut words);
            words.put(b" reads");
        }
        words.put(b"\n");
    }
    let _ = words.finish();
}

/// Says to a person where the profile is and what opens it.
#[inline(never)] // its buffer makes a large frame
fn say_written(options: &Options<'_>) {
    let Some(path) = options.output.filter(|_| sys::is_terminal(stderr())) else { return };
    let mut words = Output::to(stderr());
    words.put(b"pyflame: wrote ");
    escape::put(&mut words, Notation::Text, path);
    words.put(b"; it opens in ");
    words.put(options.format().viewers());
    words.put(b"\n");
    let _ = words.finish();
}

/// One line when the layout of this version was never seen before, and one about what was found.
#[inline(never)] // its buffer makes a large frame
pub fn say_found(pid: Pid, interpreter: &Interpreter, remote: &Remote, verbose: bool) {
    let mut out = Output::to(stderr());
    if versions::minor_of(interpreter.version) > versions::NEWEST {
        out.put(b"pyflame: Python ");
        put_version(interpreter.version, &mut out);
        out.put(b" is newer than this program and read by the layout that it publishes itself\n");
    }
    if verbose {
        out.put(b"pyflame: pid ");
        put_number(pid.as_raw_nonzero().get() as u64, &mut out);
        out.put(b": ");
        put_interpreter(interpreter, remote, &mut out);
    }
    let _ = out.finish();
}

/// Writes its version, how it was found and how it is read, as a line.
pub fn put_interpreter(interpreter: &Interpreter, remote: &Remote, out: &mut dyn Sink) {
    out.put(b"Python ");
    put_version(interpreter.version, out);
    out.put(if interpreter.free_threaded { b" free-threaded, found by " } else { b", found by " });
    out.put(interpreter.how);
    out.put(b", read ");
    out.put(remote.how());
    out.put(b"\n");
}
