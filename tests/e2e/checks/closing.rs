//! Memory that may be read at first, and then no more: that process is left out, and named, and the others go on.

use super::{Setting, read};
use crate::profiler::{Profiler, Run, Running};
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use std::{fs, thread};

/// Runs a command as the user that `closing.py` becomes.
const AS_USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
/// Samples of half a second, of one in 2 ms, at least on a busy machine.
const LEAST: u64 = 20;
/// Samples that meet the very moment.
const FAILED: u64 = 5;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    if target::status(std::process::id(), "Uid").is_none_or(|uid| !uid.starts_with("0\t")) {
        return Err(Trouble::Skipped("only root can become another user".into()));
    }
    let able = setting.python.command().args(["-c", "import ctypes; ctypes.CDLL(None).prctl"]).output()?;
    if !able.status.success() {
        return Err(Trouble::Skipped("this interpreter has no ctypes".into()));
    }
    for mode in ["", "--blocking", "--threads"] {
        score.enter(&format!("closing: one of two {mode}"), patiently(|| one_of_two(setting, mode)));
    }
    score.enter("closing: for a while", patiently(|| for_a_while(setting)));
    score.enter("closing: the only one", patiently(|| the_only_one(setting)));
    Ok(())
}

/// The target, its child, and the profiler at work on it as a user who needs permission.
fn start(setting: &Setting, options: &str, child: bool) -> Result<(Target, u32, Running), Trouble> {
    let target = setting.start_busy("closing.py", &[])?;
    let pid = target.told()?.trim().parse().map_err(|_| "no pid")?;
    let path = target.file("pyflame");
    fs::copy(&setting.profiler.path, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let profiler = Profiler { path, is_shipped: setting.profiler.is_shipped, below: Vec::new() };
    let looked_at = if child { pid } else { target.pid() };
    let running = profiler.start_in(&AS_USER, &format!("-V -r 0.002 {options} {looked_at}"))?;
    thread::sleep(Duration::from_millis(600));
    fs::write(target.file("ready.close"), "")?;
    Ok((target, pid, running))
}

fn samples_of(folded: &Folded, name: &str) -> u64 {
    folded.with(|frame| frame.name() == name)
}

/// What was sampled of the child is there, nothing of it is made up, and the profile says what is missing.
fn is_named(run: &Run, folded: &Folded, child: u32) -> Checked {
    let (before, after) = (samples_of(folded, "child"), samples_of(folded, "closed"));
    ensure(before >= LEAST && after == 0 && folded.failed <= FAILED, || {
        format!("{before} before, {after} after, {} failed: {}", folded.failed, run.errors())
    })?;
    let words = run.errors();
    let said = words.contains("processes left out: 1\n")
        && words.contains(&format!("PID {child}: it is not dumpable"));
    ensure(said, || words)
}

fn one_of_two(setting: &Setting, mode: &str) -> Checked {
    let (mut target, child, running) = start(setting, &format!("-C -s 1.2 {mode}"), false)?;
    let run = running.finish()?;
    let folded = read(&run)?;
    is_named(&run, &folded, child)?;
    let parent = samples_of(&folded, "parent");
    let missed = folded.missed;
    ensure(parent >= 4 * LEAST && parent + missed >= 540, || {
        format!("{parent} of the parent, {missed} missed")
    })?;
    target.undisturbed()?;
    ensure(target::status(child, "TracerPid").as_deref() == Some("0"), || "the child is traced".into())
}

/// One that may be read again is sampled again, and not left out.
fn for_a_while(setting: &Setting) -> Checked {
    let (target, _child, running) = start(setting, "-C -s 2", false)?;
    thread::sleep(Duration::from_millis(200));
    fs::remove_file(target.file("ready.close"))?;
    let run = running.finish()?;
    let folded = read(&run)?;
    let phases = ["child", "closed", "opened"].map(|name| samples_of(&folded, name));
    let right = phases[0] >= LEAST && phases[1] == 0 && phases[2] >= LEAST;
    ensure(right && folded.failed <= FAILED, || format!("{phases:?}, {} failed", folded.failed))?;
    ensure(!run.errors().contains("left out"), || run.describe())
}

/// The same without others, which then is all that there is.
fn the_only_one(setting: &Setting) -> Checked {
    let (_target, child, running) = start(setting, "-s 1.2", true)?;
    let run = running.finish()?;
    is_named(&run, &read(&run)?, child)
}
