//! End-to-end tests: the real binary on real programs under every interpreter that is to be had.
//!
//! ```text
//! cargo test --test e2e                     everything, in a few minutes
//! cargo test --test e2e -- 3.11 churn       interpreters and groups of checks whose names hold these words
//! ```
//!
//! `PYFLAME_PYTHONS_LIST` names a list of interpreters (see `interpreters`), `PYFLAME_EXE` another executable,
//! `PYFLAME_TEST_FULL=1` takes 100,000 samples where it matters, `PYFLAME_TEST_JOBS` says how many interpreters are
//! tested at a time. The last lines are a row for each interpreter and the sums; the exit status is 1 if any check
//! failed. The truth always comes from inside the target, never from code that reads memory as the profiler does.

mod checks;
mod interpreters;
mod options;
mod profiler;
mod stacks;
mod target;
mod verdict;

use checks::{Extent, GROUPS, Group, Setting};
use interpreters::Entry;
use options::Options;
use profiler::Profiler;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{env, thread};
use verdict::{Score, Trouble};

fn main() -> ExitCode {
    let options = Options::parse(env::args().skip(1));
    if options.list {
        return ExitCode::SUCCESS;
    }
    let entries = interpreters::find();
    let labels: Vec<&str> = entries.iter().map(|entry| entry.label.as_str()).collect();
    let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    let unknown = options.unknown(&[&labels[..], &groups[..]].concat());
    if !unknown.is_empty() {
        eprintln!("neither an interpreter nor a group of checks: {unknown:?}\n{labels:?}\n{groups:?}");
        return ExitCode::FAILURE;
    }
    let (labels, groups) = (options.choose(&labels), options.choose(&groups));
    let entries: Vec<&Entry> =
        entries.iter().filter(|entry| labels.contains(&entry.label.as_str())).collect();
    let groups: Vec<&Group> = GROUPS.iter().filter(|group| groups.contains(&group.name)).collect();
    report(&entries, &run_all(&entries, &groups))
}

/// Runs the groups on each interpreter, several interpreters at a time.
fn run_all(entries: &[&Entry], groups: &[&Group]) -> Vec<Score> {
    let profiler = Profiler::find();
    let next = AtomicUsize::new(0);
    let scores = Mutex::new(BTreeMap::new());
    let work = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(entry) = entries.get(at)
        {
            let groups = groups_for(at, entries, groups, &profiler);
            let score = run(entry, &groups, &profiler);
            scores.lock().unwrap_or_else(PoisonError::into_inner).insert(at, score);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs() {
            scope.spawn(work);
        }
    });
    scores.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Those of the groups that are to run on interpreter number `at`.
/// A development build is tested on one build in three, and what is to run on few versions on one, so that `cargo test` takes
/// minutes; what is shipped, on all.
fn groups_for<'a>(
    at: usize,
    entries: &[&Entry],
    groups: &[&'a Group],
    profiler: &Profiler,
) -> Vec<&'a Group> {
    let python = |at: usize| entries.get(at).and_then(|entry| entry.python.as_ref().ok());
    let build = |at| python(at).map(|python| &python.build);
    let ordinary = |at: &usize| python(*at).is_some_and(|python| python.gil && python.version >= (3, 8));
    let any = |at: &usize| python(*at).is_some();
    let chosen = (0..entries.len()).find(ordinary).or((0..entries.len()).find(any));
    let mut first = (0..at).all(|earlier| build(earlier) != build(at));
    first &= profiler.is_shipped || at.is_multiple_of(3) || entries.len() < 3;
    let version = |at| python(at).map(|python| python.version);
    let few = first
        && (profiler.is_shipped || chosen == Some(at) || entries.len() < 3)
        && version(at).is_some_and(|version| FEW.contains(&version))
        && (0..at).all(|earlier| version(earlier) != version(at));
    let runs = |group: &&&Group| match group.on {
        Extent::Every => true,
        Extent::EachBuild => first || full(),
        Extent::FewVersions => few || full() || entries.len() < 3,
        Extent::One => chosen == Some(at),
    };
    groups.iter().filter(runs).copied().collect()
}

/// Versions of which each keeps its threads and frames in a way of its own.
const FEW: [(u32, u32); 5] = [(2, 7), (3, 8), (3, 11), (3, 13), (3, 14)];

/// Whether long runs are asked for.
fn full() -> bool {
    env::var_os("PYFLAME_TEST_FULL").is_some_and(|value| value != "0")
}

/// How many interpreters are tested at a time: each keeps one processor busy with its target.
fn jobs() -> usize {
    let asked = env::var("PYFLAME_TEST_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from).min(4))
}

/// Runs the groups on one interpreter and prints what did not pass.
fn run(entry: &Entry, groups: &[&Group], profiler: &Profiler) -> Score {
    let start = Instant::now();
    let mut score = Score::default();
    match &entry.python {
        Err(why) => score.enter("interpreter", Err(Trouble::Skipped(why.clone()))),
        Ok(python) => {
            let setting = Setting { python, profiler, full: full() };
            for group in groups {
                let (mut number, mut last) = (1, once(group, &setting));
                while last.failed > 0 && number < TRIES && !last.is_wrong() {
                    println!("{}: again, since {}", entry.label, last.remarks.join("; "));
                    (number, last) = (number + 1, once(group, &setting));
                }
                if number > 1 && last.failed == 0 {
                    score.remarks.push(format!("{}: passed at try {number}", group.name));
                }
                score.add(&last);
                score.remarks.extend(last.remarks);
            }
        }
    }
    print_remarks(entry, &score, start);
    score
}

/// A group of checks that has failed is made again, since the machine may have had other things to do; that it was is
/// printed. A wrong stack is wrong at the first try.
const TRIES: u32 = 3;

fn once(group: &Group, setting: &Setting) -> Score {
    let mut score = Score::default();
    (group.run)(setting, &mut score).unwrap_or_else(|trouble| score.enter(group.name, Err(trouble)));
    score
}

/// One write for each interpreter, since several are at work.
fn print_remarks(entry: &Entry, score: &Score, start: Instant) {
    let mut text = format!("{}: {:.1} s\n", entry.label, start.elapsed().as_secs_f64());
    for remark in &score.remarks {
        text += &format!("  {}: {}\n", entry.label, remark.trim_end().replace('\n', "\n    "));
    }
    print!("{text}");
}

/// The last lines: a row for each interpreter, and the sums.
fn report(entries: &[&Entry], scores: &[Score]) -> ExitCode {
    let widest =
        |column: fn(&Entry) -> &str| entries.iter().map(|entry| column(entry).len()).max().unwrap_or(0);
    let (wide, broad) = (widest(|entry| &entry.label).max(11), widest(|entry| &entry.linkage).max(7));
    println!(
        "\n{:wide$}  {:broad$}  {:>6} {:>6} {:>7}",
        "interpreter", "linkage", "passed", "failed", "skipped"
    );
    let mut sum = Score::default();
    for (entry, score) in entries.iter().zip(scores) {
        let Score { passed, failed, skipped, .. } = score;
        println!("{:wide$}  {:broad$}  {passed:6} {failed:6} {skipped:7}", entry.label, entry.linkage);
        sum.add(score);
    }
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
