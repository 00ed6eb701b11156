//! End-to-end tests: the real binary on real programs under every interpreter that is to be had.
//!
//! ```text
//! cargo test --test e2e                     everything, in a few minutes
//! cargo test --test e2e -- 3.11 churn       interpreters and groups of checks whose names hold these words
//! ```
//!
//! `PYFLAME_PYTHONS_LIST` names a list of interpreters (see `interpreters`), `PYFLAME_EXE` another executable,
//! `PYFLAME_TEST_FULL=1` takes 100,000 samples where it matters, `PYFLAME_TEST_JOBS` says how many groups run at a
//! time. The last lines are a row for each interpreter, the slowest groups and the sums; the exit status is 1 if any check
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
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
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

/// A group on an interpreter, by their numbers, with what it came to.
type Scores = BTreeMap<(usize, usize), Score>;

/// Runs the groups on each interpreter, several of them at a time: one that has more to do than others keeps nobody waiting.
fn run_all(entries: &[&Entry], groups: &[&Group]) -> Vec<Score> {
    let profiler = Profiler::find();
    let chosen = |at| groups_for(at, entries, groups, &profiler);
    let work: Vec<Vec<&Group>> = (0..entries.len()).map(chosen).collect();
    let units =
        || work.iter().enumerate().flat_map(|(at, groups)| (0..groups.len().max(1)).map(move |n| (at, n)));
    let units: Vec<(usize, usize)> = units().collect();
    let next = AtomicUsize::new(0);
    let scores: Mutex<Scores> = Mutex::default();
    let work = || {
        while let Some(&(at, number)) = units.get(next.fetch_add(1, Ordering::Relaxed))
            && let (Some(entry), Some(groups)) = (entries.get(at), work.get(at))
        {
            let score = run(entry, groups.get(number).copied(), &profiler);
            let mut scores = scores.lock().unwrap_or_else(PoisonError::into_inner);
            scores.insert((at, number), score);
            let parts: Vec<&Score> = scores.range((at, 0)..(at + 1, 0)).map(|(_, part)| part).collect();
            if parts.len() == groups.len().max(1) {
                print_remarks(entry, &Score::sum(&parts));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs() {
            scope.spawn(work);
        }
    });
    let scores = scores.into_inner().unwrap_or_else(PoisonError::into_inner);
    let parts = |at| scores.range((at, 0)..(at + 1, 0)).map(|(_, part)| part).collect::<Vec<_>>();
    (0..entries.len()).map(|at| Score::sum(&parts(at))).collect()
}

/// Those of the groups that are to run on interpreter number `at`. A development build has to pass those that are for every
/// interpreter on all, and the others on one, so that `cargo test` takes minutes; what is shipped, all of them where they are for.
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
    first &= profiler.is_shipped || chosen == Some(at) || entries.len() < 3;
    let version = |at| python(at).map(|python| python.version);
    let few = version(at).is_some_and(|version| FEW.contains(&version))
        && (0..at).all(|earlier| version(earlier) != version(at));
    let few = first && (few || !profiler.is_shipped);
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

/// How many groups run at a time: each keeps one processor busy with its target, but waits for a third of its time.
fn jobs() -> usize {
    let asked = env::var("PYFLAME_TEST_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from).min(4) + 1)
}

/// Runs a group on an interpreter, if it is to be had and there is any.
fn run(entry: &Entry, group: Option<&Group>, profiler: &Profiler) -> Score {
    let start = Instant::now();
    let mut score = Score::default();
    match (&entry.python, group) {
        (Err(why), _) => score.enter("interpreter", Err(Trouble::Skipped(why.clone()))),
        (Ok(_), None) => {}
        (Ok(python), Some(group)) => {
            let setting = Setting { python, profiler, full: full() };
            let beside = BUSY.read().unwrap_or_else(PoisonError::into_inner);
            let (mut number, mut last) = (1, once(group, &setting));
            drop(beside);
            while last.failed > 0 && number < TRIES && !last.is_wrong() {
                println!("{}: again, since {}", entry.label, last.remarks.join("; "));
                let _alone = BUSY.write().unwrap_or_else(PoisonError::into_inner);
                (number, last) = (number + 1, once(group, &setting));
            }
            if number > 1 && last.failed == 0 {
                score.remarks.push(format!("{}: passed at try {number}", group.name));
            }
            score.add(&last);
            score.took.push((group.name, start.elapsed()));
        }
    }
    score
}

/// A group of checks that has failed is made again, alone, since the machine may have had other things to do; that it was is
/// printed. A wrong stack is wrong at the first try.
const TRIES: u32 = 3;

/// Held by the groups that run beside others, or by one that runs alone.
static BUSY: RwLock<()> = RwLock::new(());

fn once(group: &Group, setting: &Setting) -> Score {
    let mut score = Score::default();
    (group.run)(setting, &mut score).unwrap_or_else(|trouble| score.enter(group.name, Err(trouble)));
    score
}

/// One write for each interpreter, since several are at work.
fn print_remarks(entry: &Entry, score: &Score) {
    let took: Duration = score.took.iter().map(|(_, took)| *took).sum();
    let mut text = format!("{}: {:.1} s\n", entry.label, took.as_secs_f64());
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
    print_slowest(&sum);
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// So many groups are named as the slowest.
const SLOWEST: usize = 10;

/// The groups that took the longest: seconds in all, and on how many interpreters.
fn print_slowest(sum: &Score) {
    let mut groups: BTreeMap<&str, (Duration, usize)> = BTreeMap::new();
    for (name, took) in &sum.took {
        let sum = groups.entry(name).or_default();
        *sum = (sum.0 + *took, sum.1 + 1);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (took, _))| std::cmp::Reverse(*took));
    let slowest = groups.iter().take(SLOWEST);
    let words = slowest.map(|(name, (took, count))| format!("{name} {:.0} s on {count}", took.as_secs_f64()));
    println!("slowest: {}", words.collect::<Vec<_>>().join(", "));
}
