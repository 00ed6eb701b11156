//! `--check` says what profiling would find, and nobody notices that it did.

use super::Setting;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::fs;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("check: a process that can be profiled", good(setting));
    score.enter("check: one that is none", bad(setting));
    score.enter("check: a stopped process stays so", stopped(setting));
    score.enter("check: no system call fails", unnoticed(setting));
    Ok(())
}

fn good(setting: &Setting) -> Checked {
    let mut target = setting.start("spin.py", &["1"])?;
    let run = setting.profiler.succeed(&format!("--check {}", target.pid()))?;
    let text = run.output();
    let right = text.starts_with(&begin(setting))
        && text.contains(", found by ")
        && text.contains(", read by process_vm_readv\nin /")
        && text.ends_with("\nthreads: 5, each may be stopped\nIt can be profiled\n");
    ensure(right, || run.describe())?;
    ensure(text.lines().count() == 4, || run.describe())?;
    target.undisturbed()
}

/// How the version begins: before 3.11 an interpreter does not tell its micro release, and none is made up.
pub fn begin(setting: &Setting) -> String {
    let (major, minor) = setting.python.version;
    format!("Python {major}.{minor}{}", if (major, minor) < (3, 11) { ", found by " } else { "." })
}

fn bad(setting: &Setting) -> Checked {
    let target = Target::other("sleep", &["1000"])?;
    setting.profiler.run(&format!("--check {}", target.pid()))?.has_refused("no CPython interpreter")
}

/// A process that is stopped for job control, before, while and after it is looked at.
fn stopped(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    target.signal("STOP")?;
    while target.status("State").is_some_and(|state| !state.starts_with('T')) {}
    for _ in 0..30 {
        setting.profiler.succeed(&format!("--check {}", target.pid()))?;
        let state = target.status("State").unwrap_or_default();
        ensure(state.starts_with('T'), || format!("a stopped target is in state {state}"))?;
    }
    target.signal("CONT")?;
    target.undisturbed()?;
    target.computes()
}

/// `epoll_wait` is what every stop makes fail.
fn unnoticed(setting: &Setting) -> Checked {
    let has_ctypes = setting.python.command().args(["-c", "import ctypes; ctypes.CDLL(None)"]).output()?;
    if !has_ctypes.status.success() {
        return Err(Trouble::Skipped("this interpreter has no ctypes".into()));
    }
    let target = setting.start("guest.py", &["epoll"])?;
    for _ in 0..50 {
        setting.profiler.succeed(&format!("--check {}", target.pid()))?;
    }
    fs::write(target.file("stop"), "")?;
    let failures = target.wait_for("failures")?;
    ensure(failures.trim() == "0", || format!("{failures} calls failed"))
}
