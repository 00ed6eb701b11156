//! Every end of a run leaves a profile, and the target as it was.

use super::Setting;
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Sampling ends within so much time of what ends it.
const SOON: Duration = Duration::from_millis(50);
/// What a busy machine may add to it.
const GRACE: Duration = Duration::from_millis(100);

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("ending: target exits", patiently(|| target_ends(setting, None)));
    score.enter("ending: target is killed", patiently(|| target_ends(setting, Some("KILL"))));
    Ok(())
}

/// Signals to the profiler and to the target.
pub fn signals(setting: &Setting, score: &mut Score) -> Checked {
    for name in ["INT", "TERM", "HUP", "QUIT", "USR1"] {
        let result = match name {
            // Whoever runs these tests under nohup(1) wants it ignored, and the profiler takes that over.
            "HUP" if hangup_is_ignored() => Err(Trouble::Skipped("SIGHUP is ignored here".into())),
            _ => patiently(|| interrupted(setting, name)),
        };
        score.enter(&format!("signals: SIG{name}"), result);
    }
    score.enter("signals: SIGPIPE is no reason to end", indifferent(setting));
    score.enter("signals: SIGTSTP stops the profiler alone", suspended(setting));
    score.enter("signals: profiler is killed", killed(setting));
    score.enter("signals: many looks that end early", many_looks(setting));
    score.enter("signals: a debugger comes", patiently(|| debugged(setting)));
    for name in ["STOP", "TSTP", "TTIN"] {
        let check = patiently(|| stopped(setting, name));
        score.enter(&format!("signals: target is stopped by SIG{name} and goes on"), check);
    }
    Ok(())
}

/// Bit 0 of SigIgn (proc_pid_status(5)).
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 != 0)
}

/// The target ends, by itself or by a signal, while it is sampled.
fn target_ends(setting: &Setting, signal: Option<&str>) -> Checked {
    let life = if signal.is_some() { "60" } else { "1" };
    let mut target = setting.start_busy("ending.py", &[life])?;
    let running = setting.profiler.start(&format!("-s 30 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(300));
    if let Some(name) = signal {
        target.signal(name)?;
    }
    while !is_gone(&mut target) {
        thread::sleep(Duration::from_millis(1));
    }
    let gone = Instant::now();
    let run = running.finish()?;
    let late = gone.elapsed();
    run.has_succeeded()?;
    ensure(late <= SOON + GRACE, || format!("ended {late:?} after the target"))?;
    has_samples(&run.stdout, 5)
}

fn is_gone(target: &mut Target) -> bool {
    target.ended().is_some()
}

/// A signal to the profiler ends sampling early.
fn interrupted(setting: &Setting, name: &str) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    let running = setting.profiler.start(&format!("--blocking -s inf {}", target.pid()))?;
    thread::sleep(Duration::from_millis(200));
    target::signal(running.pid(), name)?;
    let sent = Instant::now();
    let run = running.finish()?;
    let late = sent.elapsed();
    run.has_succeeded()?;
    ensure(late <= SOON + GRACE, || format!("ended {late:?} after the signal"))?;
    has_samples(&run.stdout, 5)?;
    target.undisturbed()
}

/// A signal that says that nobody reads any more is not to be taken from whoever happens to send it.
fn indifferent(setting: &Setting) -> Checked {
    let target = setting.start_busy("ending.py", &["60"])?;
    let running = setting.profiler.start(&format!("-s 0.5 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(100));
    target::signal(running.pid(), "PIPE")?;
    let run = running.finish()?;
    run.has_succeeded()?;
    ensure(run.took >= Duration::from_millis(450), || run.describe())?;
    has_samples(&run.stdout, 50)
}

/// The terminal stops the profiler (Ctrl-Z) at a moment when it holds nobody, and lets it go on.
fn suspended(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    let running = setting.profiler.start(&format!("--blocking -r 0.0001 -s 2 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(100));
    for _ in 0..20 {
        target::signal(running.pid(), "TSTP")?;
        let sent = Instant::now();
        while target::status(running.pid(), "State").is_none_or(|state| !state.starts_with('T')) {
            ensure(sent.elapsed() < Duration::from_secs(1), || "the profiler did not stop".into())?;
        }
        target.undisturbed()?;
        target::signal(running.pid(), "CONT")?;
        thread::sleep(Duration::from_millis(7));
    }
    let run = running.finish()?;
    run.has_succeeded()?;
    has_samples(&run.stdout, 1000)?;
    target.undisturbed()
}

/// Another process begins to trace the target while it is sampled: who it is is said, and sampling goes on.
fn debugged(setting: &Setting) -> Checked {
    let target = setting.start_busy("ending.py", &["60"])?;
    let running = setting.profiler.start(&format!("--blocking -r 0.005 -s 2 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(200));
    let tracer = setting.start("tracer.py", &[&target.pid().to_string()])?;
    tracer.told()?;
    let run = running.finish()?;
    let who = format!("PID {} (", tracer.pid());
    ensure(run.status.success() && run.errors().contains(&who), || run.describe())?;
    has_samples(&run.stdout, 100)
}

fn has_samples(output: &[u8], least: u64) -> Checked {
    let folded = Folded::parse(output)?;
    let samples = folded.with(|frame| frame.name() == "compute");
    ensure(samples >= least && folded.failed <= 2, || format!("{samples} samples, {} failed", folded.failed))
}

/// The kernel lets the target go when the profiler cannot.
fn killed(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    for wait in [40, 41, 42, 43, 44] {
        let running = setting.profiler.start(&format!("--blocking -r 0.0001 -s 30 {}", target.pid()))?;
        thread::sleep(Duration::from_millis(wait));
        target::signal(running.pid(), "KILL")?;
        running.finish()?;
        target.undisturbed()?;
    }
    target.computes()
}

/// Looks at several threads, in all modes, one after the other, each ended at another moment: all threads work on.
fn many_looks(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("spin.py", &["4"])?;
    let modes = ["", "--blocking", "--threads", "--threads --blocking"];
    for number in 0..if setting.full { 1000 } else { 40 } {
        let mode = modes[number % modes.len()];
        let running = setting.profiler.start(&format!("{mode} -s 30 {}", target.pid()))?;
        thread::sleep(Duration::from_millis(number as u64 * 37 % 61));
        let name = ["KILL", "INT", "TERM"][number % 3];
        target::signal(running.pid(), name)?;
        let run = running.finish()?;
        ensure(run.took < Duration::from_secs(5), || format!("{mode} SIG{name}: {}", run.describe()))?;
        target.undisturbed()?;
        all_are_free(target.pid())?;
    }
    target.computes()
}

/// No thread of the process is traced or stopped.
pub fn all_are_free(pid: u32) -> Checked {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let status = fs::read_to_string(thread.path().join("status"))?;
        let held = ["State:\tT", "State:\tt"].iter().any(|state| status.contains(state));
        ensure(!held && status.contains("TracerPid:\t0\n"), || status)?;
    }
    Ok(())
}

/// A stopped target stays stopped, and one that goes on is sampled on.
pub fn stopped(setting: &Setting, name: &str) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    for mode in ["", "--blocking"] {
        target.signal(name)?;
        let sent = Instant::now();
        while target.status("State").is_none_or(|state| !state.starts_with('T')) {
            if sent.elapsed() > Duration::from_secs(1) {
                return Err(Trouble::Skipped(
                    "an orphaned process group is not stopped by a terminal".into(),
                ));
            }
        }
        let running = setting.profiler.start(&format!("{mode} -s 0.6 {}", target.pid()))?;
        thread::sleep(Duration::from_millis(200));
        let state = target.status("State").unwrap_or_default();
        ensure(state.starts_with(['T', 't']), || format!("{mode}: a stopped target is in state {state}"))?;
        target.signal("CONT")?;
        let run = running.finish()?;
        run.has_succeeded()?;
        has_samples(&run.stdout, 10)?;
    }
    target.undisturbed()
}
