//! Functions that come and go at the same addresses: none may show the name, file or line of another.

use super::{Sampling, Setting};
use crate::stacks::{Folded, Frame};
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::collections::HashSet;

/// The kinds that `tests/programs/churn.py` has.
const KINDS: [&str; 3] = ["files", "names", "copies"];

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for kind in KINDS {
        score.enter(&format!("churn: {kind}"), sample(setting, kind));
    }
    Ok(())
}

/// What mode, and how often each of two loops of a function goes round: some 40 us. To come to a stop takes a thread up to 10,
/// and where it makes a system call or faults on a page in that time, it stops there: the ends of functions are lost.
/// Without stopping, what is called only once has to last for as long as it takes to learn its names and to believe that it is called.
const MODES: [(&str, &str); 3] = [("", "1600"), ("--blocking", "1600"), ("--nonblocking", "40000")];
/// The same where the share of the time is not looked at.
const SHORT: [(&str, &str); 1] = [("", "400")];

fn sample(setting: &Setting, kind: &str) -> Checked {
    // In short runs the other kinds only show that it does not matter what differs.
    let modes = if setting.full || kind == KINDS[0] { &MODES[..] } else { &SHORT[..] };
    for &(mode, loops) in modes {
        let mut target = setting.start_busy("churn.py", &[kind, loops])?;
        let rule = Rule::parse(&target.told()?)?;
        // Oftener, and the stops would show: what has to be brought back into the caches takes longer.
        let (quick, period) = if mode == "--nonblocking" { (5000, 0.0001) } else { (1500, 0.001) };
        let sampling = Sampling { period, ..setting.samples(quick, 100_000) };
        let before = spent(&target, "ready.1")?;
        let folded = setting.gather(&target, mode, sampling)?;
        let after = spent(&target, "ready.2")?;
        rule.holds_for(&folded, mode)?;
        if mode != "--nonblocking" && loops != SHORT[0].1 {
            shares(&folded, mode, (after.0 - before.0) / (after.1 - before.1))?;
        }
        target.undisturbed()?;
    }
    Ok(())
}

/// What the target has spent so far, in seconds: in functions that come and go, and in all.
fn spent(target: &Target, file: &str) -> Result<(f64, f64), Trouble> {
    target.signal("USR1")?;
    let text = target.wait_for(file)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [inside, all] = numbers[..] else { return Err(format!("the target has spent {text:?}").into()) };
    Ok((inside, all))
}

/// Whether as many samples are in the functions as there is time spent in them meanwhile, by the target's own account.
fn shares(folded: &Folded, mode: &str, inside: f64) -> Checked {
    let known = (1000.0 * inside) as u32;
    let samples = folded.with(|frame| number(frame.name(), "f", "").is_some());
    let share = (1000 * samples / folded.samples().max(1)) as u32;
    ensure(share.abs_diff(known) <= TOLERANCE, || {
        format!("{mode}: {share} of 1,000 samples in the functions, {known} of the time")
    })
}

/// How the line of a function follows from its number.
struct Rule {
    first: u32,
    span: u32,
}

/// By so much, in parts of 1,000, that share may be missed.
const TOLERANCE: u32 = 80;

impl Rule {
    fn parse(text: &str) -> Result<Rule, Trouble> {
        let numbers: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, span] = numbers[..] else { return Err(format!("the target says {text:?}").into()) };
        Ok(Rule { first, span })
    }

    fn holds_for(&self, folded: &Folded, mode: &str) -> Checked {
        let frames: HashSet<&Frame> = folded.stacks.iter().flat_map(|(stack, _)| stack).collect();
        let wrong: Vec<_> = frames.iter().filter(|frame| !self.allows(frame)).collect();
        ensure(wrong.is_empty(), || {
            format!("{mode}: {} wrong frames, such as {:?}", wrong.len(), wrong.first())
        })?;
        let seen = frames.iter().filter(|frame| number(frame.name(), "f", "").is_some()).count();
        ensure(seen >= 20, || format!("{mode}: only {seen} of the functions were seen"))
    }

    /// Whether file, function and line of a frame belong together.
    fn allows(&self, frame: &Frame) -> bool {
        let file = number(frame.base(), "file", ".py");
        let function = number(frame.name(), "f", "");
        let line = |n: u32| self.first + n % self.span;
        match (file, function) {
            (Some(file), Some(function)) => {
                file == function && (line(file)..=line(file) + 2).contains(&frame.line)
            }
            (None, Some(function)) => {
                frame.base() == "same.py" && (line(function)..=line(function) + 2).contains(&frame.line)
            }
            (Some(file), None) => frame.name() == "<module>" && frame.line <= line(file),
            (None, None) => true,
        }
    }
}

/// The number in a name of this shape.
fn number(name: &str, before: &str, after: &str) -> Option<u32> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    (digits.len() == 7).then(|| digits.parse().ok()).flatten()
}
