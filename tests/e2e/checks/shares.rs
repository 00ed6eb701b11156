//! Shares of the time: what the profile says against what the program measured itself.

use super::{Setting, hardly_failed};
use crate::stacks::Folded;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::thread;
use std::time::Duration;

/// By how many percentage points a share may be off.
const TOLERANCE: f64 = 2.0;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for kind in ["long", "middle", "contrast"] {
        score.enter(&format!("shares: {kind} calls"), timed(setting, kind));
    }
    score.enter("shares: short calls", counted(setting));
    score.enter("shares: short calls, when stopped and when not", both_ways(setting));
    Ok(())
}

/// How it is sampled: often enough that chance is a small part of the tolerance.
fn options(setting: &Setting) -> &'static str {
    if setting.full { "-s 20 -r 0.001" } else { "-s 2 -r 0.0002" }
}

/// On a busy machine chance can outweigh the tolerance: then there are more rounds, all of which count.
const ROUNDS: usize = 5;

/// The program tells the time spent in each function up to the start and up to the end of sampling.
fn timed(setting: &Setting, kind: &str) -> Checked {
    let target = setting.start("shares.py", &[kind])?;
    let before = totals(&target, "ready.1")?;
    until_it_fits(setting, &target, |round| {
        let after = totals(&target, &format!("ready.{}", round + 2))?;
        Ok(after.into_iter().zip(&before).map(|((name, b), (_, a))| (name, b - a)).collect())
    })
}

/// Calls of one length in a ratio that the program knows.
fn counted(setting: &Setting) -> Checked {
    let target = setting.start("shares.py", &["short"])?;
    let known = numbers("share", &target.told()?);
    thread::sleep(Duration::from_millis(20));
    until_it_fits(setting, &target, |_| Ok(known.clone()))
}

/// Samples, and compares all samples with what is known after them.
fn until_it_fits(
    setting: &Setting,
    target: &Target,
    known: impl Fn(usize) -> Result<Vec<(String, f64)>, Trouble>,
) -> Checked {
    let mut sum = Folded::default();
    let mut result = Ok(());
    for round in 0..ROUNDS {
        sum.add(setting.profile(target, options(setting))?);
        result = hardly_failed(&sum).and(compare(&known(round)?, &sum));
        if result.is_ok() {
            break;
        }
    }
    result
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

/// The share of a function of 200 ns in its caller's time, as a stopped target shows it, and as a running one does.
fn both_ways(setting: &Setting) -> Checked {
    let target = setting.start("shares.py", &["contrast"])?;
    let (mut stopped, mut running) = (Folded::default(), Folded::default());
    let mut result = Ok(());
    for _ in 0..ROUNDS {
        stopped.add(setting.profile(&target, &format!("--blocking {}", options(setting)))?);
        running.add(setting.profile(&target, options(setting))?);
        result = agree(&stopped, &running);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn agree(stopped: &Folded, running: &Folded) -> Checked {
    let callers = [stopped, running].map(|folded| folded.with(|frame| frame.name() == "many_tiny"));
    let tiny = [stopped, running].map(|folded| folded.in_leaf(|frame| frame.name() == "tiny"));
    let share = |i: usize| 100.0 * tiny[i] as f64 / callers[i] as f64;
    ensure(callers.iter().all(|&samples| samples >= 300), || format!("only {callers:?} samples"))?;
    let (a, b) = (share(0), share(1));
    ensure((a - b).abs() <= 2.0 * TOLERANCE, || {
        format!("{a:.2} % when stopped, {b:.2} % when not, of {callers:?}")
    })
}
