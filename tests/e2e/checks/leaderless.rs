//! A process whose first thread has ended, or ends while it is sampled, and whose other threads go on.

use super::{Setting, read};
use crate::profiler::Run;
use crate::stacks::{Folded, parse_dump};
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long each phase of the target lasts, and how many samples of it there are at least, of one in a millisecond.
const PHASE: Duration = Duration::from_millis(400);
const LEAST: u64 = 150;
/// Sampling ends so much time after the target, what a busy machine adds included.
const SOON: Duration = Duration::from_millis(150);
/// A thread that ends takes the sample with it that would have been read by its number.
const FAILED: u64 = 10;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let able = setting.python.command().args(["-c", "import ctypes; ctypes.CDLL(None).syscall"]).output()?;
    if !able.status.success() {
        return Err(Trouble::Skipped("this interpreter has no ctypes".into()));
    }
    score.enter("leaderless: ended before", patiently(|| before(setting)));
    for options in ["", "--blocking", "--threads", "-C", "-r 0.1"] {
        score.enter(
            &format!("leaderless: while sampled {options}"),
            patiently(|| meanwhile(setting, options)),
        );
    }
    score.enter("leaderless: of a command", patiently(|| of_a_command(setting)));
    Ok(())
}

/// Makes a file that the target waits for.
fn tell(target: &Target, what: &str) -> Checked {
    Ok(fs::write(target.file(&format!("ready.{what}")), "")?)
}

/// Ends the first thread, and waits until it has ended.
fn end_leader(target: &Target, pid: u32) -> Checked {
    tell(target, "leader")?;
    let told = Instant::now();
    while target::status(pid, "State").is_none_or(|state| !state.starts_with('Z')) {
        ensure(told.elapsed() < Duration::from_secs(20), || "the first thread does not end".into())?;
        thread::sleep(Duration::from_millis(1)); // the processor is for those that are to end
    }
    Ok(())
}

/// Samples in which the computing thread is in the function of this name.
fn samples_of(folded: &Folded, name: &str) -> u64 {
    folded.in_leaf(|frame| frame.name() == name)
}

/// All that can be done with a process can be done with this one.
fn before(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("leaderless.py", &[])?;
    let pid = target.pid();
    end_leader(&target, pid)?;
    thread::sleep(Duration::from_millis(30));
    for mode in ["", "--blocking", "--threads", "--nonblocking", "-C"] {
        let folded = setting.profile(&target, &format!("{mode} -s 0.3"))?;
        let computing = samples_of(&folded, "without_first");
        ensure(computing >= 100 && folded.failed <= 2, || {
            format!("{mode}: {computing} samples, {} failed", folded.failed)
        })?;
        let title = format!("pid {pid} ");
        let titled = folded.stacks.iter().all(|(stack, _)| stack[0].file.starts_with(title.as_bytes()));
        let named = folded.stacks.iter().any(|(stack, _)| stack[0].base().contains("leaderless.py"));
        ensure((titled && named) == (mode == "-C"), || format!("{mode}: {:?}", folded.stacks))?;
    }
    let run = setting.profiler.succeed(&format!("-d {pid}"))?;
    let threads = parse_dump(&run.stdout)?;
    let has =
        |name: &str| threads.iter().any(|thread| thread.frames.iter().any(|frame| frame.name() == name));
    ensure(threads.len() == 3 && has("computing") && has("main"), || run.describe())?;
    // From 3.11 on the interpreter keeps the kernel's number of the thread that did not tell it of its end.
    let ended = threads.iter().filter(|thread| thread.words.ends_with(&["ended".into()])).count();
    ensure(ended == usize::from(setting.python.version >= (3, 11)), || run.describe())?;
    let run = setting.profiler.succeed(&format!("--check {pid}"))?;
    ensure(run.output().ends_with("threads: 2, each may be stopped\nIt can be profiled\n"), || {
        run.describe()
    })?;
    target.undisturbed()
}

/// The threads end one after the other, the process with the last one.
fn meanwhile(setting: &Setting, options: &str) -> Checked {
    let mut target = setting.start_busy("leaderless.py", &[])?;
    let running = setting.profiler.start(&format!("-V -s 30 {options} {}", target.pid()))?;
    let pid = target.pid();
    phases(&target, pid)?;
    while target.ended().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    let gone = Instant::now();
    let run = running.finish()?;
    let late = gone.elapsed();
    ensure(late <= SOON, || format!("ended {late:?} after the target"))?;
    let least = if options.starts_with("-r") { 2 } else { LEAST };
    has_all(&read(&run)?, least, &run)
}

fn phases(target: &Target, pid: u32) -> Checked {
    thread::sleep(PHASE);
    end_leader(target, pid)?;
    thread::sleep(PHASE);
    tell(target, "sleeper")?;
    thread::sleep(PHASE);
    tell(target, "end")
}

/// Each phase is in the profile.
fn has_all(folded: &Folded, least: u64, run: &Run) -> Checked {
    let phases = ["before", "without_first", "alone"].map(|name| samples_of(folded, name));
    let right = phases.iter().all(|&samples| samples >= least) && folded.failed <= FAILED;
    ensure(right, || format!("{phases:?} samples, {} failed: {}", folded.failed, run.errors()))
}

/// A command that we start: its end is that of its last thread, and its status is passed on.
fn of_a_command(setting: &Setting) -> Checked {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/leaderless.py");
    let python = setting.python.path.to_string_lossy();
    let words = ["-V", "-s", "inf", "-o", "out", "-t", &python, &program.to_string_lossy(), "ready"];
    let mut target = Target::other(&setting.profiler.path, &words)?;
    let pid = target.wait_for("ready")?.trim().parse().map_err(|_| "no pid")?;
    phases(&target, pid)?;
    let told = Instant::now();
    let status = loop {
        match target.ended() {
            None if told.elapsed() < Duration::from_secs(10) => thread::sleep(Duration::from_millis(1)),
            status => break status,
        }
    };
    let late = told.elapsed();
    ensure(status.is_some_and(|status| status.code() == Some(5)), || format!("ended with {status:?}"))?;
    ensure(late <= SOON, || format!("ended {late:?} after the target"))?;
    let folded = Folded::parse(&fs::read(target.file("out"))?)?;
    let phases = ["before", "without_first", "alone"].map(|name| samples_of(&folded, name));
    ensure(phases.iter().all(|&samples| samples >= LEAST), || format!("{phases:?} samples"))
}
