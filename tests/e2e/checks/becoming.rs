//! What the target becomes while somebody looks: another program, another process of the same number, one without an
//! interpreter; and looks that come before there is one.

use super::{Setting, read};
use crate::profiler::Running;
use crate::stacks::Folded;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Sampling ends so much time after the target, half a second and what a busy machine adds.
const SOON: Duration = Duration::from_secs(2);

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("becoming: the same interpreter", switches(setting, true, "go"));
    score.enter("becoming: the same, by another thread", switches(setting, true, "thread:go"));
    score.enter("becoming: a program without one", switches(setting, false, "go"));
    score.enter("becoming: finished while sampled", finishes(setting));
    score.enter("becoming: finished before", finished(setting));
    score.enter("becoming: threads that end", short_lived(setting));
    for mode in ["--blocking", "--threads --blocking"] {
        score.enter(&format!("becoming: fork, vfork and threads, {mode}"), spawning(setting, mode));
    }
    score.enter("becoming: looked at from the start", early(setting));
    for (name, errno) in
        [("its descriptor", None), ("its start", Some("38")), ("its start, EPERM", Some("1"))]
    {
        score.enter(&format!("becoming: ended, known by {name}"), patiently(|| told_by(setting, errno)));
        let name = format!("becoming: another process of the same number, known by {name}");
        score.enter(&name, reused(setting, errno));
    }
    Ok(())
}

/// Starts the profiler; with an errno, below a filter by which there is no descriptor of another process (pidfd_open(2)).
fn start_without(setting: &Setting, errno: Option<&str>, words: &str) -> Result<Running, Trouble> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/confine.py");
    let (python, program) = (setting.python.path.to_string_lossy(), program.to_string_lossy());
    let filter = format!("pidfd={}", errno.unwrap_or_default());
    let wrapper = [&*python, &program, &filter];
    let running = setting.profiler.start_in(if errno.is_some() { &wrapper } else { &[] }, words)?;
    let is_it = || fs::read_link(format!("/proc/{}/exe", running.pid()));
    let started = Instant::now();
    while is_it()? != setting.profiler.path.canonicalize()? {
        ensure(started.elapsed() < Duration::from_secs(20), || "the profiler is not started".into())?;
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(300));
    let descriptors = fs::read_dir(format!("/proc/{}/fd", running.pid()))?.flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let links: Vec<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let has = links.iter().any(|link| link.contains("pidfd"));
    ensure(has != errno.is_some(), || format!("with a filter of {errno:?} these are open: {links:?}"))?;
    Ok(running)
}

/// The end is noticed in the middle of a long sleep, with a descriptor of the process and without.
fn told_by(setting: &Setting, errno: Option<&str>) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    let running = start_without(setting, errno, &format!("-V -s 30 -r 20 {}", target.pid()))?;
    target.signal("KILL")?;
    let killed = Instant::now();
    let run = running.finish()?;
    let late = killed.elapsed();
    ensure(late < SOON / 10, || format!("ended {late:?} after the target: {}", run.describe()))?;
    ensure(read(&run)?.total() == 1 && target.ended().is_some(), || run.describe())
}

/// The samples in which a function of this name is.
fn samples_of(folded: &Folded, name: &str) -> u64 {
    folded.with(|frame| frame.name() == name)
}

/// The target calls `exec`; what was sampled before is kept, and what comes after is sampled, too.
fn switches(setting: &Setting, again: bool, when: &str) -> Checked {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let (ending, python) = (programs.join("ending.py"), setting.python.path.display().to_string());
    let ending = ending.display().to_string();
    let next: &[&str] = if again { &[&python, &ending, "again", "1"] } else { &["/bin/sleep", "1"] };
    let target = setting.start_busy("switching.py", &[&[when], next].concat())?;
    let running = setting.profiler.start(&format!("-V -s 30 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(600));
    fs::write(target.file("go"), "")?;
    let run = running.finish()?;
    ensure(run.took < Duration::from_secs(15), || run.describe())?;
    let folded = read(&run)?;
    let (before, after) = (samples_of(&folded, "before"), samples_of(&folded, "compute"));
    ensure(before >= 20 && (after >= 50) == again, || format!("{before}, {after}: {}", run.describe()))?;
    // The names in the last 15 samples before can no longer be proven, and some meet a process that is neither.
    ensure(folded.failed <= 25, || format!("{} failed", folded.failed))
}

/// The interpreter is no more, the process is: idle, not garbage.
fn finishes(setting: &Setting) -> Checked {
    let target = start_finishing(setting, "0.5")?;
    let run = setting.profiler.run(&format!("-V -s 1 {}", target.pid()))?;
    let folded = read(&run)?;
    let computing = samples_of(&folded, "compute");
    // The names in the last 15 samples can no longer be proven, and some meet an interpreter that is being taken apart.
    ensure(computing >= 10 && folded.failed <= 30, || run.describe())?;
    let known = |name: &str| ["compute", "main", "<module>"].contains(&name);
    let strange = folded.with(|frame| !known(frame.name()));
    ensure(strange <= 10, || format!("{strange} strange samples: {}", run.describe()))
}

fn finished(setting: &Setting) -> Checked {
    let target = start_finishing(setting, "0")?;
    thread::sleep(Duration::from_millis(1500));
    for options in ["", "--check"] {
        let run = setting.profiler.run(&format!("{options} {}", target.pid()))?;
        run.has_refused("no threads; is it still starting, or ending?")?;
        ensure(run.took > Duration::from_millis(900), || format!("did not wait: {}", run.describe()))?;
    }
    Ok(())
}

fn start_finishing(setting: &Setting, seconds: &str) -> Result<Target, Trouble> {
    let able = setting.python.command().args(["-c", "import ctypes; ctypes.CDLL(None).on_exit"]).output()?;
    if !able.status.success() {
        return Err(Trouble::Skipped("no ctypes, or a C library without on_exit".into()));
    }
    setting.start("finished.py", &[seconds])
}

/// A process that is looked at while it starts is profiled all the same, and shows nothing that is not there.
fn early(setting: &Setting) -> Checked {
    const PROGRAM: &str =
        "import time\ndef compute():\n  end = time.time() + 3\n  while time.time() < end: pass\ncompute()";
    for delay in (0..30).step_by(6).map(Duration::from_millis) {
        let mut command = setting.python.command();
        let child = Started(command.args(["-S", "-c", PROGRAM]).stdin(Stdio::null()).spawn()?);
        thread::sleep(delay);
        let run = setting.profiler.run(&format!("-V -s 0.5 {}", child.0.id()))?;
        let folded = read(&run)?;
        ensure(folded.failed <= folded.total() / 4 + 5, || {
            format!("after {delay:?} {} failed: {}", folded.failed, run.describe())
        })?;
        let computing = samples_of(&folded, "compute");
        ensure(computing >= 5, || format!("after {delay:?}: {}", run.describe()))?;
    }
    Ok(())
}

/// Children that are forked, in the same memory, too, and new threads come to be and work as if nobody stopped anyone.
fn spawning(setting: &Setting, mode: &str) -> Checked {
    let mut target = setting.start_busy("spawning.py", &[])?;
    let run = setting.profiler.run(&format!("-V {mode} -s 2 {}", target.pid()))?;
    let folded = read(&run)?;
    ensure(samples_of(&folded, "compute") >= 100 && run.errors().contains(" stops"), || run.describe())?;
    target.undisturbed()?;
    fs::write(target.file("ready.ask"), "")?;
    let counts = target.wait_for("ready.counts")?;
    let rows: Vec<Vec<&str>> = counts.lines().map(|line| line.split(' ').collect()).collect();
    let right = |row: &Vec<&str>| row.len() == 3 && row[1] != "0" && row[2] == "0";
    ensure(rows.len() == 3 && rows.iter().all(right), || format!("{counts}: {}", run.describe()))
}

/// That a thread is about to end when it is to be stopped is no reason to stop nobody any more; and where only who holds the
/// GIL is asked for, it is the next one then.
fn short_lived(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("shortlived.py", &[])?;
    let run = setting.profiler.succeed(&format!("--blocking --threads -r 0.0002 -s 2 {}", target.pid()))?;
    ensure(run.output().contains("compute"), || run.describe())?;
    for mode in ["", "--blocking"] {
        let folded = setting.profile(&target, &format!("{mode} -s 1"))?;
        let (all, stacks) = (folded.total(), folded.samples());
        ensure(stacks >= 20 && folded.failed * 200 <= all, || {
            format!("{mode}: {all} samples, {stacks} stacks, {} failed", folded.failed)
        })?;
    }
    target.undisturbed()
}

/// A process that is killed when this is dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The target ends and another Python gets its number before the next sample: that is noticed at the next look whether
/// the process has ended, a tenth of a second later at most, even where all that is read is at the same addresses in both.
fn reused(setting: &Setting, errno: Option<&str>) -> Checked {
    const MOST: u64 = 8; // a tenth of a second of samples, and a bit
    const NEWCOMER: &str = "def newcomer():\n  while True: pass\nnewcomer()";
    let mut target = setting.start_busy("ending.py", &["60"])?;
    let pid = target.pid();
    let running = start_without(setting, errno, &format!("-V -s 4 -r 0.02 {pid}"))?;
    target.signal("KILL")?;
    while target.ended().is_none() {}
    let ended = Instant::now();
    let mut newcomer = None;
    for _ in 0..100 {
        if fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
            return Err(Trouble::Skipped("the next pid cannot be set here".into()));
        }
        let mut command = Command::new(&setting.python.path);
        command.envs(setting.python.environment.iter().map(|(name, value)| (name, value)));
        let child = Started(command.args(["-S", "-c", NEWCOMER]).stdin(Stdio::null()).spawn()?);
        if child.0.id() == pid {
            newcomer = Some(child);
            break;
        }
    }
    let newcomer = newcomer.ok_or_else(|| Trouble::Skipped("somebody else always got the number".into()))?;
    let came = ended.elapsed();
    let run = running.finish()?;
    let late = ended.elapsed();
    let folded = read(&run)?;
    let (ours, theirs) = (samples_of(&folded, "compute"), samples_of(&folded, "newcomer"));
    ensure(ours >= 1 && theirs <= MOST, || format!("{theirs} of the newcomer: {}", run.describe()))?;
    ensure(late < SOON, || format!("ended {late:?} after the target, {came:?}"))?;
    ensure(crate::target::status(newcomer.0.id(), "TracerPid").as_deref() == Some("0"), || "traced".into())
}
