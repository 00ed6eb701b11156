//! Threads that wait: every stack must be found as the target itself tells it, frame by frame and line by line.

use super::Setting;
use super::truth::Truth;
use crate::stacks::{Frame, Thread, parse_dump};
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::collections::HashMap;

/// `pyflame -d` and samples of all threads, against what `sys._current_frames()` says.
pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let mut target = setting.start("blocked.py", &[])?;
    let truth = Truth::parse(&target.told()?)?;
    score.enter("blocked: dump", dump(setting, &target, &truth));
    score.enter("blocked: samples of all threads", all_threads(setting, &target, &truth));
    score.enter("blocked: nobody holds the GIL", idle(setting, &target));
    score.enter("blocked: idle threads left out", without_idle(setting, &target));
    score.enter("blocked: target undisturbed", target.undisturbed().map(drop));
    Ok(())
}

/// The stacks of all threads at once.
pub fn dump(setting: &Setting, target: &Target, truth: &Truth) -> Checked {
    let run = setting.profiler.succeed(&format!("-d {}", target.pid()))?;
    let threads = parse_dump(&run.stdout)?;
    let wrong: Vec<String> =
        stacks_are_right(truth, &threads).chain(headers_are_right(truth, &threads)).collect();
    ensure(wrong.is_empty(), || {
        format!("{} of {} threads: {}", wrong.len(), truth.threads.len(), wrong.join("\n"))
    })
}

/// What is wrong with the stacks, a line each.
fn stacks_are_right<'a>(truth: &'a Truth, threads: &'a [Thread]) -> impl Iterator<Item = String> + 'a {
    truth.threads.iter().filter_map(|known| {
        let same = threads.iter().filter(|thread| thread.ident == known.ident);
        let found: Vec<&[Frame]> = same.map(|thread| thread.frames.as_slice()).collect();
        match known.is_among(&found) {
            Err(Trouble::Failed(why)) => Some(why),
            _ => None,
        }
    })
}

/// What is wrong with the headers: nobody holds the GIL, no thread is invented, kernel numbers are right.
fn headers_are_right<'a>(truth: &'a Truth, threads: &'a [Thread]) -> impl Iterator<Item = String> + 'a {
    let natives: HashMap<u64, &String> =
        truth.threads.iter().filter_map(|known| Some((known.ident, known.native.as_ref()?))).collect();
    let count = truth.threads.len() + truth.others.len();
    let missing = (threads.len() != count).then(|| format!("{} threads, found {}", count, threads.len()));
    let wrong = threads.iter().filter_map(move |thread| {
        let native = natives.get(&thread.ident);
        let foreign = native.is_some_and(|native| !thread.words.is_empty() && !thread.words.contains(native));
        let unknown =
            !truth.others.contains(&thread.ident) && !truth.threads.iter().any(|t| t.ident == thread.ident);
        (thread.holds_gil || foreign || unknown)
            .then(|| format!("header {}: {:?}", thread.ident, thread.words))
    });
    missing.into_iter().chain(wrong)
}

/// The same as a profile.
pub fn all_threads(setting: &Setting, target: &Target, truth: &Truth) -> Checked {
    let folded = setting.profile(target, "--threads -s 0.2")?;
    ensure(folded.failed + folded.idle + folded.cut == 0, || format!("{} failed", folded.failed))?;
    let found: HashMap<Vec<Frame>, u64> = folded.stacks.into_iter().collect();
    let known = || truth.threads.iter().map(|known| known.frames.iter().rev().cloned().collect::<Vec<_>>());
    if let Some(missing) = known().find(|stack| !found.contains_key(stack)) {
        return Err(format!("not found: {:?}", &missing[missing.len().saturating_sub(4)..]).into());
    }
    ensure(found.len() <= known().count() + truth.others.len(), || format!("{} stacks", found.len()))?;
    let once = found.values().min().copied().unwrap_or(0);
    let uneven = found.values().find(|&&count| count % once.max(1) != 0);
    ensure(once >= 1 && uneven.is_none(), || format!("{once} samples of one thread, {uneven:?} of another"))
}

fn idle(setting: &Setting, target: &Target) -> Checked {
    let folded = setting.profile(target, "-s 0.2")?;
    let (idle, total) = (folded.idle, folded.total());
    ensure(idle == total, || format!("stacks of an idle process: {:?}", folded.stacks))?;
    ensure((2..=202).contains(&total), || format!("{total} samples of 200"))
}

fn without_idle(setting: &Setting, target: &Target) -> Checked {
    for options in ["-x -s 0.1", "-x -s 0.1 --threads"] {
        let folded = setting.profile(target, options)?;
        let total = folded.total();
        ensure(total == 0, || format!("{options}: {total} samples, such as {:?}", folded.stacks.first()))?;
    }
    Ok(())
}
