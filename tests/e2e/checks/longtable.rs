//! A function whose line table is over 100 KB long: samples are all there, with the right lines.

use super::{Sampling, Setting};
use crate::stacks::Frame;
use crate::verdict::{Checked, Score, ensure};
use std::collections::HashMap;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("longtable", sample(setting));
    Ok(())
}

fn sample(setting: &Setting) -> Checked {
    let target = setting.start_busy("longtable.py", &[])?;
    let told = target.told()?;
    let words = told.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let calls: HashMap<&str, u32> =
        words.filter_map(|w| Some((*w.get(2)?, w.get(1)?.parse().ok()?))).collect();
    let folded = setting.gather(&target, "", Sampling { count: 1000, period: 0.0005, threads: 1 })?;
    super::hardly_failed(&folded)?;
    ensure(folded.cut + folded.idle == 0, || format!("{} cut, {} idle", folded.cut, folded.idle))?;
    let wrong = folded.stacks.iter().find(|(stack, _)| !right(stack, &calls));
    ensure(wrong.is_none(), || format!("wrong line: {wrong:?}"))?;
    let steps = folded.with(|frame| frame.name().starts_with("step"));
    ensure(steps * 20 >= folded.total(), || format!("only {steps} samples in calls"))
}

/// Whether the line of `huge` is the one that calls what is above it.
fn right(stack: &[Frame], calls: &HashMap<&str, u32>) -> bool {
    let huge = stack.iter().position(|frame| frame.name() == "huge");
    let pair = huge.and_then(|at| Some((stack.get(at)?, stack.get(at + 1)?)));
    pair.is_none_or(|(huge, callee)| calls.get(callee.name()) == Some(&huge.line))
}
