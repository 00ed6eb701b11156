//! Shares of the time: what the profile says against what the program measured itself.

use super::{Setting, hardly_failed, read};
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::time::{Duration, Instant};

/// By how many percentage points a share may be off.
const TOLERANCE: f64 = 2.0;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for kind in ["long", "middle", "contrast"] {
        score.enter(&format!("shares: {kind} calls"), timed(setting, kind));
    }
    score.enter("shares: short calls", counted(setting));
    let tiny = both_ways(setting, "contrast", ["many_tiny", "tiny"], 2.0 * TOLERANCE);
    score.enter("shares: short calls, when stopped and when not", tiny);
    let rare = both_ways(setting, "seldom", ["seldom", "rare"], 1.5 * TOLERANCE);
    score.enter("shares: a short call now and then, when stopped and when not", rare);
    let between = both_ways(setting, "scattered", ["scattered", "between"], 1.5 * TOLERANCE);
    score.enter("shares: frames in thousands of places, when stopped and when not", between);
    score.enter("shares: system calls, when stopped", asking(setting));
    Ok(())
}

/// How it is sampled: often enough that chance is a small part of the tolerance, or nearly; there can be several rounds.
fn options(setting: &Setting) -> &'static str {
    if setting.full { "-s 20 -r 0.001" } else { "-s 1 -r 0.0002" }
}

/// Starts the target, and lets it go before what else runs on the machine, where that is allowed: what delays
/// target and profiler differently changes the shares.
fn start(setting: &Setting, kind: &str) -> Result<Target, Trouble> {
    let target = setting.start_busy("shares.py", &[kind])?;
    target::go_first(target.pid());
    Ok(target)
}

/// Profiles the target, with the profiler going first, too.
fn profile(setting: &Setting, target: &Target, mode: &str) -> Result<Folded, Trouble> {
    let running =
        setting.profiler.start(&format!("--verbose {mode} {} {}", options(setting), target.pid()))?;
    target::go_first(running.pid());
    read(&running.finish()?)
}

/// On a busy machine chance can outweigh the tolerance: then there are more rounds, all of which count.
const ROUNDS: usize = 5;

/// Repeats `round`, which adds samples and compares, until they fit. Where they do not, and the target was kept waiting
/// for a processor for a tenth of the time or more, that tells nothing about the profiler.
fn until_it_fits(target: &Target, mut round: impl FnMut(usize) -> Checked) -> Checked {
    let (start, waited) = (Instant::now(), target.waited()?);
    let mut result = Ok(());
    for number in 0..ROUNDS {
        result = round(number);
        if result.is_ok() {
            return Ok(());
        }
    }
    let waited = (target.waited()? - waited).as_secs_f64() / start.elapsed().as_secs_f64();
    match result {
        Err(Trouble::Failed(why)) if waited >= 0.1 => Err(Trouble::Skipped(format!(
            "too busy, the target waited {:.0} % of the time: {why}",
            waited * 100.0
        ))),
        result => result,
    }
}

/// The program tells the time spent in each function up to the start and up to the end of sampling.
fn timed(setting: &Setting, kind: &str) -> Checked {
    let target = start(setting, kind)?;
    let before = totals(&target, "ready.1")?;
    let mut sum = Folded::default();
    until_it_fits(&target, |round| {
        sum.add(profile(setting, &target, "")?);
        let after = totals(&target, &format!("ready.{}", round + 2))?;
        let spent: Vec<_> = after.into_iter().zip(&before).map(|((name, b), (_, a))| (name, b - a)).collect();
        hardly_failed(&sum).and(compare(&spent, &sum))
    })
}

/// Calls of one length in a ratio that the program knows.
fn counted(setting: &Setting) -> Checked {
    let target = start(setting, "short")?;
    let known = numbers("share", &target.told()?);
    let mut sum = Folded::default();
    until_it_fits(&target, |_| {
        sum.add(profile(setting, &target, "")?);
        hardly_failed(&sum).and(compare(&known, &sum))
    })
}

/// Asks the target for its totals, in seconds.
fn totals(target: &Target, file: &str) -> Result<Vec<(String, f64)>, Trouble> {
    target.signal("USR1")?;
    Ok(numbers("total", &target.wait_for(file)?))
}

/// Lines `WORD NAME NUMBER`, in the order of the names.
fn numbers(word: &str, text: &str) -> Vec<(String, f64)> {
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [first, name, number] if first == word => Some((name.to_string(), number.parse().ok()?)),
        _ => None,
    };
    let mut numbers: Vec<_> = text.lines().filter_map(line).collect();
    numbers.sort_by(|a, b| a.0.cmp(&b.0));
    numbers
}

/// Shares among the functions named, of all samples in any of them.
fn compare(known: &[(String, f64)], folded: &Folded) -> Checked {
    let counts: Vec<u64> = known.iter().map(|(name, _)| folded.with(|frame| frame.name() == name)).collect();
    let (time, samples) = (known.iter().map(|(_, n)| n).sum::<f64>(), counts.iter().sum::<u64>() as f64);
    for ((name, part), count) in known.iter().zip(&counts) {
        let (right, found) = (100.0 * part / time, 100.0 * *count as f64 / samples);
        let off = (right - found).abs();
        ensure(off <= TOLERANCE, || {
            format!("{name}: {found:.2} % of {samples} samples instead of {right:.2} %")
        })?;
    }
    ensure(known.len() == 3, || format!("the target told of {} functions", known.len()))
}

/// Where a thread is told to stop, and makes a system call before it does, it stops in that call. The function with the call
/// takes a hundredth of the time, and would be in a fifth of the stacks.
fn asking(setting: &Setting) -> Checked {
    let target = start(setting, "asking")?;
    std::thread::sleep(Duration::from_millis(300));
    // Each stop takes its time in that call, so what is known is from before the first one.
    let spent = totals(&target, "ready.1")?;
    let part = spent.iter().find(|(name, _)| name == "asking").map_or(0.0, |(_, seconds)| *seconds);
    let right = 100.0 * part / spent.iter().map(|(_, seconds)| seconds).sum::<f64>();
    let mut sum = Folded::default();
    until_it_fits(&target, |_| {
        sum.add(profile(setting, &target, "--blocking")?);
        let found = 100.0 * sum.with(|frame| frame.name() == "asking") as f64 / sum.samples() as f64;
        ensure((right - found).abs() <= 2.0 * TOLERANCE, || {
            format!("{found:.2} % of {} samples instead of {right:.2} %", sum.samples())
        })
    })
}

/// The share of a short function in its caller's time, as a stopped target shows it, and as a running one does.
fn both_ways(setting: &Setting, kind: &str, names: [&str; 2], tolerance: f64) -> Checked {
    let target = start(setting, kind)?;
    let (mut stopped, mut running) = (Folded::default(), Folded::default());
    until_it_fits(&target, |_| {
        stopped.add(profile(setting, &target, "--blocking")?);
        running.add(profile(setting, &target, "")?);
        agree([&stopped, &running], names, tolerance)
    })
}

fn agree(profiles: [&Folded; 2], [caller, called]: [&str; 2], tolerance: f64) -> Checked {
    let callers = profiles.map(|folded| folded.with(|frame| frame.name() == caller));
    let leaves = profiles.map(|folded| folded.in_leaf(|frame| frame.name() == called));
    let share = |i: usize| 100.0 * leaves[i] as f64 / callers[i] as f64;
    ensure(callers.iter().all(|&samples| samples >= 300), || format!("only {callers:?} samples"))?;
    let (a, b) = (share(0), share(1));
    ensure((a - b).abs() <= tolerance, || {
        format!("{called}: {a:.2} % when stopped, {b:.2} % when not, of {callers:?}")
    })
}
