//! The checks, in groups that share a target program.

mod becoming;
mod blocked;
mod calls;
mod check;
mod children;
mod churn;
mod closing;
mod command;
mod contract;
mod deleted;
mod denied;
mod ending;
mod formats;
mod hands;
mod hostile;
mod leaderless;
mod longtable;
mod many;
mod mixed;
mod numbered;
mod output;
mod passed_on;
mod renamed;
mod servers;
mod shares;
mod spin;
mod truth;
mod ways;

use crate::interpreters::Python;
use crate::profiler::{Profiler, Run};
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
    pub on: Extent,
}

/// On which interpreters a group runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// On all of them.
    Every,
    /// How the interpreter is linked makes no difference: once for each build, in full runs on all.
    EachBuild,
    /// What interpreters have in common makes the difference: once for each of a few versions, in full runs on all.
    FewVersions,
    /// The interpreter makes no difference.
    One,
}

/// All groups, in the order in which they run.
pub const GROUPS: [Group; 31] = [
    Group { name: "blocked", run: blocked::run, on: Extent::Every },
    Group { name: "each way", run: ways::quick, on: Extent::Every },
    Group { name: "ways", run: ways::run, on: Extent::FewVersions },
    Group { name: "deleted", run: deleted::run, on: Extent::Every },
    Group { name: "spin", run: spin::run, on: Extent::Every },
    Group { name: "mixed", run: mixed::run, on: Extent::EachBuild },
    Group { name: "churn", run: churn::run, on: Extent::EachBuild },
    Group { name: "renamed", run: renamed::run, on: Extent::FewVersions },
    Group { name: "shares", run: shares::run, on: Extent::EachBuild },
    Group { name: "many", run: many::run, on: Extent::EachBuild },
    Group { name: "longtable", run: longtable::run, on: Extent::EachBuild },
    Group { name: "calls", run: calls::run, on: Extent::FewVersions },
    Group { name: "formats", run: formats::run, on: Extent::FewVersions },
    Group { name: "peek", run: ways::peek, on: Extent::FewVersions },
    Group { name: "children", run: children::run, on: Extent::FewVersions },
    Group { name: "servers", run: servers::run, on: Extent::FewVersions },
    Group { name: "command", run: command::run, on: Extent::FewVersions },
    Group { name: "closing", run: closing::run, on: Extent::FewVersions },
    Group { name: "check", run: check::run, on: Extent::FewVersions },
    Group { name: "ending", run: ending::run, on: Extent::EachBuild },
    Group { name: "becoming", run: becoming::run, on: Extent::FewVersions },
    Group { name: "passed on", run: passed_on::run, on: Extent::FewVersions },
    Group { name: "numbered", run: numbered::run, on: Extent::FewVersions },
    Group { name: "leaderless", run: leaderless::run, on: Extent::FewVersions },
    Group { name: "signals", run: ending::signals, on: Extent::FewVersions },
    Group { name: "denied", run: denied::run, on: Extent::FewVersions },
    Group { name: "hostile", run: hostile::run, on: Extent::One },
    Group { name: "unserved", run: hostile::files, on: Extent::FewVersions },
    Group { name: "hands", run: hands::run, on: Extent::One },
    Group { name: "output", run: output::run, on: Extent::One },
    Group { name: "contract", run: contract::run, on: Extent::FewVersions },
];

impl Setting<'_> {
    /// Starts a target program under this interpreter.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Target, Trouble> {
        Target::python(self.python, program, arguments)
    }

    /// Starts a target program that computes, and waits until it does.
    pub fn start_busy(&self, program: &str, arguments: &[&str]) -> Result<Target, Trouble> {
        let target = self.start(program, arguments)?;
        target.told()?; // it may say that it cannot be had on this interpreter
        target.computes()?;
        Ok(target)
    }

    /// Profiles the target with these options and reads the profile back.
    pub fn profile(&self, target: &Target, options: &str) -> Result<Folded, Trouble> {
        read(&self.profiler.run(&format!("--verbose {options} {}", target.pid()))?)
    }

    /// Profiles the target until there are so many samples, but not for ever on a busy machine. In each profile
    /// every sample must be accounted for.
    pub fn gather(&self, target: &Target, options: &str, sampling: Sampling) -> Result<Folded, Trouble> {
        let mut sum = Folded::default();
        let mut left = sampling.count;
        for _ in 0..ROUNDS {
            let folded = self
                .profile(target, &format!("{options} {}", Sampling { count: left, ..sampling }.options()))?;
            let (total, missed) = (folded.total() / sampling.threads, folded.missed);
            let accounted = total <= left + 2 && total + missed + 2 >= left;
            ensure(accounted, || format!("{total} samples, {missed} missed, {left} asked for"))?;
            sum.add(folded);
            left = left.saturating_sub(total);
            if left <= 2 {
                break;
            }
        }
        ensure(left * 10 <= sampling.count * 9, || format!("{} samples in {ROUNDS} runs", sum.total()))?;
        Ok(sum)
    }

    /// The larger number in full runs, of one thread.
    pub fn samples(&self, quick: u64, full: u64) -> Sampling {
        Sampling { count: if self.full { full } else { quick }, period: 0.0001, threads: 1 }
    }
}

/// The profile that a run with `--verbose` wrote.
pub fn read(run: &Run) -> Result<Folded, Trouble> {
    ensure(run.status.success(), || run.describe())?;
    let mut folded = Folded::parse(&run.stdout)?;
    folded.read_summary(&run.errors())?;
    Ok(folded)
}

/// How often a profile is taken until there are as many samples as wanted.
const ROUNDS: usize = 10;

/// How many samples, how many seconds apart, of how many threads each time.
#[derive(Clone, Copy)]
pub struct Sampling {
    pub count: u64,
    pub period: f64,
    pub threads: u64,
}

impl Sampling {
    /// The options that ask for it.
    pub fn options(&self) -> String {
        format!("-s {:.5} -r {}", self.count as f64 * self.period, self.period)
    }
}

/// That at most one in a thousand samples was thrown away; a single one can be chance.
pub fn hardly_failed(folded: &Folded) -> Checked {
    let (failed, total) = (folded.failed, folded.total());
    ensure(failed * 1000 <= total + 1000, || format!("{failed} of {total} samples failed"))
}
