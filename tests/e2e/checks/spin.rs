//! Threads that compute beside threads that sleep: who holds the GIL, and who is sampled.

use super::Setting;
use crate::stacks::{Folded, Thread, parse_dump};
use crate::target::Target;
use crate::verdict::{Checked, Score, ensure};
use std::thread;
use std::time::Duration;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let target = setting.start("spin.py", &["2"])?;
    target.told()?;
    thread::sleep(Duration::from_millis(100)); // until those that sleep do
    score.enter("spin: holder of the GIL", holder(setting, &target));
    score.enter("spin: only what computes", computing(setting, &target, "-s 0.3", false));
    score.enter("spin: all threads", all_threads(setting, &target));
    score.enter("spin: all threads but idle ones", computing(setting, &target, "-s 0.3 --threads -x", true));
    drop(target);
    let target = setting.start("spin.py", &["0"])?;
    score.enter("spin: nothing computes", nothing(setting, &target));
    drop(target);
    let target = setting.start("spin.py", &["30"])?;
    score.enter("spin: more threads than can be stopped at a time", many(setting, &target));
    Ok(())
}

/// The star in dumps is at one of the computing threads, and at one only; without a GIL nobody is asked.
fn holder(setting: &Setting, target: &Target) -> Checked {
    let told = target.told()?;
    let computes = |ident: u64| told.lines().any(|line| line == format!("spins {ident}"));
    let (mut stars, mut rounds, mut waits) = (0, 0, 0);
    while rounds < 10 {
        rounds += 1;
        let threads = parse_dump(&setting.profiler.succeed(&format!("--dump {}", target.pid()))?.stdout)?;
        ensure(threads.len() == 6, || format!("{} threads", threads.len()))?;
        let holders: Vec<u64> =
            threads.iter().filter(|thread| thread.holds_gil).map(|thread| thread.ident).collect();
        let most = if setting.python.gil { 1 } else { 2 };
        ensure(holders.len() <= most && holders.iter().all(|&h| computes(h)), || {
            format!("held by {holders:?}: {told}")
        })?;
        stars += holders.len();
        let for_gil = |thread: &&Thread| thread.words.join(" ").ends_with("waiting for the GIL");
        for thread in threads.iter().filter(for_gil) {
            // One that sleeps may not have come to it yet.
            let is_asleep = rounds > 5 && !computes(thread.ident);
            ensure(!is_asleep && !thread.holds_gil, || format!("{:?} sleeps", thread.words))?;
            waits += 1;
        }
    }
    // Of two that compute, one mostly waits. Before 3.7 that is not known, nor where condition variables are musl's, which
    // waits at an address on the stack.
    let known = setting.python.gil && setting.python.version >= (3, 7) && !setting.python.musl;
    ensure(if known { waits > 0 } else { waits == 0 }, || {
        format!("in {waits} of {rounds} dumps a thread waits for the GIL")
    })?;
    ensure(stars >= 3 || !setting.python.gil, || format!("only {stars} of {rounds} dumps have a holder"))
}

/// No thread that sleeps is in the profile.
fn computing(setting: &Setting, target: &Target, options: &str, several: bool) -> Checked {
    let folded = setting.profile(target, options)?;
    let (spinning, all) = (folded.in_leaf(|frame| frame.name() == "spinner"), folded.samples());
    ensure(spinning == all, || {
        format!("{} of {all} samples elsewhere: {:?}", all - spinning, elsewhere(&folded))
    })?;
    ensure(folded.failed + folded.cut == 0, || format!("{} failed", folded.failed))?;
    let each = if several || !setting.python.gil { 2 } else { 1 };
    ensure(all >= 5 && all <= 302 * each, || format!("{all} samples and {} idle of 300", folded.idle))?;
    let handed_over = if setting.python.version < (3, 0) { 40 } else { 10 };
    ensure(folded.idle * 100 <= all * handed_over, || format!("{} idle beside {all}", folded.idle))
}

fn elsewhere(folded: &Folded) -> Option<&[crate::stacks::Frame]> {
    let other =
        folded.stacks.iter().find(|(stack, _)| stack.last().is_none_or(|frame| frame.name() != "spinner"));
    other.map(|(stack, _)| stack.as_slice())
}

/// Each thread is in the profile as often as any other.
fn all_threads(setting: &Setting, target: &Target) -> Checked {
    let folded = setting.profile(target, "-s 0.3 --threads")?;
    let sleeping = folded.in_leaf(|frame| frame.name() == "sleeper");
    let main = folded.in_leaf(|frame| frame.name() == "main");
    let spinning = folded.in_leaf(|frame| frame.name() == "spinner");
    let sums = || {
        format!(
            "{spinning} computing, {sleeping} sleeping, {main} in the main thread, {} failed",
            folded.failed
        )
    };
    ensure(main >= 5 && sleeping == 3 * main && spinning == 2 * main, sums)
}

/// Without a GIL most of them wait for a processor, and stop only when they get one; until then they stand still as well.
fn many(setting: &Setting, target: &Target) -> Checked {
    target.told()?;
    let folded = setting.profile(target, "-s 0.3 --blocking")?;
    let (all, failed) = (folded.samples(), folded.failed);
    ensure(all >= 5 && failed * 100 <= all, || format!("{all} samples, {failed} failed"))
}

fn nothing(setting: &Setting, target: &Target) -> Checked {
    let folded = setting.profile(target, "-s 0.2")?;
    ensure(folded.samples() == 0 && folded.idle >= 5, || {
        format!("{} samples, {} idle", folded.samples(), folded.idle)
    })?;
    let run = setting.profiler.succeed(&format!("-s 0.1 --exclude-idle {}", target.pid()))?;
    ensure(run.stdout.is_empty(), || run.describe())
}
