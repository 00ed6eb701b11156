//! The checks, in groups that share a target program.

mod blocked;
mod churn;
mod contract;
mod ending;
mod longtable;
mod many;
mod mixed;
mod shares;
mod spin;
mod truth;

use crate::interpreters::Python;
use crate::profiler::Profiler;
use crate::stacks::Folded;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};

/// What a group of checks works with.
pub struct Setting<'a> {
    pub python: &'a Python,
    pub profiler: &'a Profiler,
    /// Long runs are asked for.
    pub full: bool,
}

/// Checks that belong together.
pub struct Group {
    pub name: &'static str,
    /// Enters each of its checks in the score; an error counts as one more check, which did not pass.
    pub run: fn(&Setting, &mut Score) -> Checked,
    /// The interpreter makes no difference, so one is enough.
    pub once: bool,
}

/// All groups, in the order in which they run.
pub const GROUPS: [Group; 10] = [
    Group { name: "blocked", run: blocked::run, once: false },
    Group { name: "mixed", run: mixed::run, once: false },
    Group { name: "churn", run: churn::run, once: false },
    Group { name: "shares", run: shares::run, once: false },
    Group { name: "spin", run: spin::run, once: false },
    Group { name: "many", run: many::run, once: false },
    Group { name: "longtable", run: longtable::run, once: false },
    Group { name: "ending", run: ending::run, once: false },
    Group { name: "signals", run: ending::signals, once: true },
    Group { name: "contract", run: contract::run, once: true },
];

impl Setting<'_> {
    /// Starts a target program under this interpreter.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Target, Trouble> {
        Target::python(self.python, program, arguments)
    }

    /// Profiles the target with these options and reads the profile back.
    pub fn profile(&self, target: &Target, options: &str) -> Result<Folded, Trouble> {
        let run = self.profiler.succeed(&format!("{options} {}", target.pid()))?;
        Ok(Folded::parse(&run.stdout)?)
    }

    /// The larger number in full runs.
    pub fn samples(&self, quick: u64, full: u64) -> Sampling {
        Sampling { count: if self.full { full } else { quick }, period: 0.0001 }
    }
}

/// How many samples, how many seconds apart.
#[derive(Clone, Copy)]
pub struct Sampling {
    pub count: u64,
    pub period: f64,
}

impl Sampling {
    /// The options that ask for it.
    pub fn options(&self) -> String {
        format!("-s {:.4} -r {}", self.count as f64 * self.period, self.period)
    }

    /// That about as many samples were taken: never more, and not much fewer on a busy machine.
    pub fn has_delivered(&self, folded: &Folded) -> Checked {
        let (total, count) = (folded.total(), self.count);
        ensure(total <= count + count / 50 + 2 && total >= count / 4, || {
            format!("{total} samples of {count}")
        })
    }
}

/// That at most one in a thousand samples was thrown away.
pub fn hardly_failed(folded: &Folded) -> Checked {
    let (failed, total) = (folded.failed, folded.total());
    ensure(failed * 1000 <= total, || format!("{failed} of {total} samples failed"))
}
