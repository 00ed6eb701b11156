//! The program: from the arguments to the exit status.

use crate::cli::{self, Action, Mode, Options};
use crate::dump;
use crate::error::{Error, explain};
use crate::locate::{Interpreter, locate};
use crate::prefetch::Prefetch;
use crate::profile::Profile;
use crate::python::code::Codes;
use crate::python::threads::Which;
use crate::report::{Sink, folded, put_number};
use crate::sampler::{self, Choice, Sampler};
use crate::storage::Storage;
use crate::sys::clock::{self, CHILD, ENDING, Nanos};
use crate::sys::out::Output;
use crate::sys::start::Process;
use crate::sys::{stderr, stdout};
use crate::target::{self, Images};
use rustix::process::Pid;

/// Runs the program with the arguments of `process`: its exit status.
pub fn run(process: &Process) -> i32 {
    clock::use_vdso(process.vdso());
    let arg = |i| process.arg(i).map(core::ffi::CStr::to_bytes);
    let result = cli::parse(arg).and_then(|options| act(&options));
    match result {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            1
        }
    }
}

fn complain(error: &Error<'_>) {
    let mut out = Output::to(stderr());
    match error {
        Error::Usage(crate::error::Usage::Target) => {}
        _ => {
            explain(error, &mut out);
            out.put(b"\n");
        }
    }
    if let Error::Usage(_) = error {
        out.put(cli::USAGE);
    }
    let _ = out.finish(); // there is nowhere left to say so
}

fn act<'a>(options: &Options<'a>) -> Result<(), Error<'a>> {
    match options.action {
        Action::Help => print(cli::help),
        Action::Version => print(cli::version),
        Action::Dump | Action::Sample => look(options),
    }
}

fn print(text: impl Fn(&mut Output)) -> Result<(), Error<'static>> {
    let mut out = Output::to(stdout());
    text(&mut out);
    out.finish().map_err(|errno| Error::Write(b"standard output", errno))
}

fn look<'a>(options: &Options<'a>) -> Result<(), Error<'a>> {
    let storage = Storage::map().map_err(Error::Storage)?;
    let pid = options
        .pid
        .and_then(|pid| Pid::from_raw(pid as i32))
        .ok_or(Error::Usage(crate::error::Usage::Target))?;
    let remote = target::open(pid)?;
    let mut images = Images::new(storage.images, storage.image_names);
    images.read(pid).map_err(|errno| Error::Denied(pid.as_raw_nonzero().get() as u64, errno))?;
    let interpreter = locate(pid, &remote, &images, options.abi)?;
    let mut out = match options.output {
        Some(path) => Output::create(path).map_err(|errno| Error::Output(path, errno))?,
        None => Output::to(stdout()),
    };
    let all = options.threads || options.action == Action::Dump;
    let choice = Choice {
        mode: options.mode,
        which: if all { Which::All } else { Which::Running },
        lines: options.lines || options.action == Action::Dump,
        exclude_idle: options.exclude_idle,
    };
    let prefetch = Prefetch::new(remote, storage.prefetch, interpreter.layout.frame.room);
    let mut profile = Profile::new(storage.profile);
    let lists = sampler::Storage {
        threads: storage.threads,
        seen: storage.seen,
        found: storage.found,
        frames: storage.frames,
        before: storage.before,
    };
    let mut sampler = Sampler::new(pid, &interpreter, choice, prefetch, Codes::new(storage.codes), lists);
    if options.action == Action::Dump {
        if !dump::write(pid, &mut sampler, &mut profile, &mut out) {
            return Err(Error::NoProcess(pid.as_raw_nonzero().get() as u64));
        }
    } else {
        let started = clock::now();
        run_samples(&mut sampler, &mut profile, options, started);
        if options.verbose {
            summarize(&interpreter, &sampler, &profile, clock::now() - started);
        }
        warn(&sampler, options.mode);
        folded::write(&profile.sort(), options.lines, &mut out);
    }
    let name = options.output.unwrap_or(b"standard output");
    out.finish().map_err(|errno| Error::Write(name, errno))
}

/// Samples until the time is over, the target is gone, or somebody wants the program to end.
fn run_samples(sampler: &mut Sampler<'_>, profile: &mut Profile, options: &Options<'_>, started: Nanos) {
    let signals = ENDING.and(CHILD);
    signals.block();
    crate::sys::precise_sleep();
    let end = options.duration.map(|duration| started.saturating_add(duration));
    let mut deadline = started;
    loop {
        if !sampler.sample(profile) {
            return;
        }
        deadline += options.period;
        let now = clock::now();
        if deadline < now && options.period > 0 {
            let late = (now - deadline) / options.period;
            profile.counts.missed += late;
            deadline += late * options.period;
        }
        if end.is_some_and(|end| deadline.max(now) >= end) {
            return;
        }
        while let Some(signal) = clock::sleep_until(deadline, signals) {
            if signal != CHILD {
                return;
            }
            sampler.attend();
        }
    }
}

/// One line when the target could not be stopped although that was wanted.
fn warn(sampler: &Sampler<'_>, mode: Mode) {
    let Some(errno) = sampler.stop_refused().filter(|_| mode != Mode::Nonblocking) else { return };
    let mut out = Output::to(stderr());
    out.put(b"pyflame: threads may not be stopped (ptrace: ");
    out.put(crate::error::errno_name(errno));
    out.put(b"), so sampling went on as with --nonblocking\n");
    let _ = out.finish();
}

fn summarize(interpreter: &Interpreter, sampler: &Sampler<'_>, profile: &Profile, elapsed: Nanos) {
    let mut out = Output::to(stderr());
    let counts = &profile.counts;
    out.put(b"pyflame: Python ");
    for (i, shift) in [24, 16, 8].into_iter().enumerate() {
        out.put(if i == 0 { b"" } else { b"." });
        put_number(interpreter.version >> shift & 0xff, &mut out);
    }
    out.put(if interpreter.free_threaded { b" free-threaded, found by " } else { b", found by " });
    out.put(interpreter.how);
    for (name, number) in [
        (&b"\npyflame: samples"[..], counts.samples),
        (b", idle", counts.idle),
        (b", failed", counts.failed),
        (b", missed deadlines", counts.missed),
        (b", stops", counts.stopped),
        (b", truncated", counts.truncated),
        (b", names that did not fit", counts.names_full),
        (b", reads", sampler.remote().calls()),
        (b", ms", elapsed / 1_000_000),
    ] {
        out.put(name);
        out.put(b" ");
        put_number(number, &mut out);
    }
    out.put(b"\n");
    let _ = out.finish();
}
