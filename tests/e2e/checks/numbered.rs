//! Threads whose number is not the one that they know: of another PID namespace, or of a child that was forked without a word
//! to Python. Those are stopped that it is about, and nobody else.

use super::{Setting, read};
use crate::stacks::parse_dump;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Samples of a second, at least, on a busy machine.
const LEAST: u64 = 100;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let able = setting.python.command().args(["-c", "import ctypes; ctypes.PyDLL(None).fork"]).output()?;
    if !able.status.success() {
        return Err(Trouble::Skipped("this interpreter has no ctypes".into()));
    }
    score.enter("numbered: forked by the C library", patiently(|| forked(setting)));
    for mode in ["--blocking", "--blocking --threads"] {
        let name = format!("numbered: another PID namespace, {mode}");
        score.enter(&name, patiently(|| apart(setting, mode)));
    }
    Ok(())
}

/// The numbers of the threads that a dump shows, and whether each that computes is said to.
fn numbers(setting: &Setting, pid: u32) -> Result<BTreeSet<u32>, Trouble> {
    let run = setting.profiler.succeed(&format!("-d {pid}"))?;
    let threads = parse_dump(&run.stdout)?;
    let number = |words: &[String]| words.iter().skip_while(|word| *word != "tid").nth(1)?.parse().ok();
    let found: Option<BTreeSet<u32>> = threads.iter().map(|thread| number(&thread.words)).collect();
    found.ok_or_else(|| run.describe().into())
}

/// Every sample has a stack of `compute`, of threads that were stopped for it.
fn blocking(setting: &Setting, mode: &str, pid: u32) -> Checked {
    let run = setting.profiler.run(&format!("-V {mode} -s 1 {pid}"))?;
    let folded = read(&run)?;
    let computing = folded.with(|frame| frame.name() == "compute");
    let stops: u64 =
        run.errors().split(" stops").next().and_then(|e| e.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
    ensure(computing >= LEAST && folded.failed == 0 && stops > 0, || {
        format!("{computing} samples, {} failed: {}", folded.failed, run.describe())
    })
}

/// What the child believes to be its thread is its parent's, which sleeps on.
fn forked(setting: &Setting) -> Checked {
    let target = setting.start("numbered.py", &["forked"])?;
    let told = target.told()?;
    let pids: Vec<u32> = told.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    let [parent, child] = pids[..] else { return Err(format!("no pids: {told:?}").into()) };
    let _child = Killed(child);
    let switches = || target::status(parent, "voluntary_ctxt_switches");
    while target::status(parent, "State").is_none_or(|state| !state.starts_with('S')) {}
    std::thread::sleep(Duration::from_millis(50));
    let before = switches();
    ensure(numbers(setting, child)? == BTreeSet::from([child]), || "another thread than the child's".into())?;
    blocking(setting, "--blocking", child)?;
    ensure(before.is_some() && switches() == before, || {
        format!("the parent was woken: {before:?}, {:?}", switches())
    })
}

/// Inside, the numbers begin at 1, and belong to others here.
fn apart(setting: &Setting, mode: &str) -> Checked {
    let tried = Target::other("unshare", &["-p", "-f", "sleep", "0"])?;
    let outer = match Target::python_in(setting.python, &["unshare", "-p", "-f"], "numbered.py", &["plain"]) {
        Ok(target) => target,
        Err(_) => return Err(Trouble::Skipped("there is no PID namespace to be had".into())),
    };
    drop(tried);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.pid()))?;
    let pid: u32 = children.trim().parse().map_err(|_| format!("not one child: {children:?}"))?;
    let _inner = Killed(pid);
    let inside = target::status(pid, "NSpid").unwrap_or_default();
    ensure(inside == format!("{pid}\t1"), || format!("{pid} is {inside:?}"))?;
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let tasks: BTreeSet<u32> =
        tasks.filter_map(|task| task.file_name().to_string_lossy().parse().ok()).collect();
    let shown = numbers(setting, pid)?;
    ensure(shown == tasks && tasks.len() == 3, || format!("{shown:?} of {tasks:?}"))?;
    blocking(setting, mode, pid)?;
    ensure(target::status(pid, "TracerPid").as_deref() == Some("0"), || "it was left traced".into())
}

/// A process that is killed when this is dropped.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = target::signal(self.0, "KILL");
    }
}
