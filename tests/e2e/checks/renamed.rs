//! Many short runs, in which everything is met for the first time: that is when what is read of a code object can be of two,
//! the one before at its address and itself.

use super::Setting;
use crate::verdict::{Checked, Score, ensure};

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let mut target = setting.start_busy("renamed.py", &[])?;
    let runs = if setting.full { 3000 } else { 120 };
    score.enter("renamed: the name of now, from the start", names(setting, target.pid(), runs));
    target.undisturbed()
}

fn names(setting: &Setting, pid: u32, runs: u32) -> Checked {
    let mut seen = 0;
    for number in 0..runs {
        let run = setting.profiler.run(&format!("-n -s 0.02 {pid}"))?;
        ensure(run.status.success(), || run.describe())?;
        for line in run.output().lines() {
            let Some((stack, _)) = line.rsplit_once(' ') else { continue };
            let mut names = stack.rsplit(';').filter_map(|frame| frame.rsplit(':').next());
            let (Some(function), Some(caller)) = (names.next(), names.next()) else { continue };
            if function.starts_with("fresh_") {
                seen += 1;
                let right = caller.strip_prefix('c') == function.get(function.len() - 1..);
                ensure(right, || {
                    format!("1 impossible of {seen} in run {number}: {caller} calls {function}")
                })?;
            }
        }
    }
    ensure(seen >= runs, || format!("{seen} stacks in {runs} runs"))
}
