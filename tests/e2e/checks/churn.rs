//! Functions that come and go at the same addresses: none may show the name, file or line of another.

use super::Setting;
use crate::stacks::{Folded, Frame};
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

fn sample(setting: &Setting, kind: &str) -> Checked {
    let mut target = setting.start_busy("churn.py", &[kind])?;
    let rule = Rule::parse(&target.told()?)?;
    let sampling = setting.samples(5000, 100_000);
    for mode in ["", "--nonblocking"] {
        rule.holds_for(&setting.gather(&target, mode, sampling)?, mode)?;
    }
    target.undisturbed()
}

/// How the line of a function follows from its number.
struct Rule {
    first: u32,
    span: u32,
}

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
        ensure(seen >= 5, || format!("{mode}: only {seen} of the functions were seen"))
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
