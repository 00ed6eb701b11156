//! System calls of the target while its threads are stopped: none fails, none ends early.

use super::{Setting, read};
use crate::target::Target;
use crate::verdict::{Checked, Score, ensure};
use std::fs;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for mode in ["--blocking", "--threads"] {
        score.enter(&format!("calls: {mode}"), calls(setting, mode));
    }
    Ok(())
}

fn calls(setting: &Setting, mode: &str) -> Checked {
    let mut target = setting.start("calls.py", &[])?;
    let said = target.told()?;
    let seconds = if setting.full { 100 } else { 1 };
    let run = setting.profiler.run(&format!("--verbose {mode} -s {seconds} {}", target.pid()))?;
    let folded = read(&run)?;
    ensure(folded.samples() + folded.idle > 100 * seconds, || format!("{} samples", folded.samples()))?;
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
        ensure(times.parse().is_ok_and(|times: u64| times >= 3), || format!("{name}: {times} calls"))?;
        ensure(wrong == "0", || format!("{name}: {wrong} of {times} were disturbed: {example}"))?;
    }
    Ok(())
}
