//! System calls of the target while its threads are stopped: none fails, none ends early.

use super::{Setting, read};
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::time::Duration;
use std::{fs, thread};

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for mode in ["--blocking", "--threads"] {
        score.enter(&format!("calls: {mode}"), calls(setting, mode, &[]));
    }
    score.enter("calls: after work", calls(setting, "--blocking -r 0", &["0.015"]));
    if setting.profiler.below.is_empty() {
        score.enter("calls: runs that end", ends(setting));
    }
    Ok(())
}

/// So many runs end, while so many others take their turns on the processor.
const ENDS: u32 = 200;
const OTHERS: u32 = 8;

/// `work`: how long each call comes after the one before, in seconds.
fn calls(setting: &Setting, mode: &str, work: &[&str]) -> Checked {
    let mut target = setting.start("calls.py", work)?;
    let said = target.told()?;
    let seconds = if setting.full { 100 } else { 1 + work.len() as u64 };
    let run = setting.profiler.run(&format!("--verbose {mode} -s {seconds} {}", target.pid()))?;
    let folded = read(&run)?;
    // By PTRACE_PEEKDATA a thread in a system call is let alone for 10 ms after each stop.
    let wanted = if setting.profiler.below.is_empty() { 100 } else { 20 };
    ensure(folded.samples() + folded.idle > wanted * seconds, || format!("{} samples", folded.samples()))?;
    target.undisturbed()?;
    counts(&target, &said)
}

/// Runs that end while the thread that was told to stop waits for a processor, which it shares with others.
fn ends(setting: &Setting) -> Checked {
    let mut target = setting.start("calls.py", &[])?;
    let said = target.told()?;
    let pin = format!("exec taskset -a -p -c 0 {} >/dev/null", target.pid());
    if !setting.profiler.shell(&pin)?.status.success() {
        return Err(Trouble::Skipped("no taskset(1)".into()));
    }
    let spin = ["-c", "0", "sh", "-c", "while :; do :; done"];
    let others: Result<Vec<Target>, Trouble> = (0..OTHERS).map(|_| Target::other("taskset", &spin)).collect();
    let others = others?;
    for _ in 0..ENDS {
        setting.profiler.run(&format!("--blocking -s 0 {}", target.pid()))?;
    }
    drop(others);
    thread::sleep(Duration::from_secs(1)); // for those that were begun again time and again, to be counted
    target.undisturbed()?;
    counts(&target, &said)
}

/// What the target counted.
fn counts(target: &Target, said: &str) -> Checked {
    fs::write(target.file("ready.ask"), "")?;
    let counts = target.wait_for("ready.counts")?;
    let rows: Vec<Vec<&str>> = counts.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure(said.trim() == format!("calls {}", rows.len()), || format!("{said}: {counts}"))?;
    for row in &rows {
        let [_, name, times, wrong, example] = row[..] else { return Err(format!("{row:?}").into()) };
        ensure(times.parse().is_ok_and(|times: u64| times >= 3), || {
            format!("{name}: {times} calls, of {counts}")
        })?;
        ensure(wrong == "0", || format!("{name}: {wrong} of {times} were disturbed: {example}"))?;
    }
    Ok(())
}
