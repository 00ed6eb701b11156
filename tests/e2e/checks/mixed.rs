//! Call chains that never mix: a stack that holds parts of two of them was never there.

use super::{Sampling, Setting, hardly_failed};
use crate::stacks::{Folded, Frame};
use crate::target::Target;
use crate::verdict::{Checked, Score, ensure};
use std::collections::{HashMap, HashSet};

/// The file name that the target gives to its generated source.
const GENERATED: &str = "<chains>";

/// The kinds of chains that `tests/programs/mixed.py` has, for long runs on each alone.
const KINDS: [&str; 6] = ["calls", "short", "generators", "recursion", "callbacks", "methods"];

/// Samples all kinds of chains in every mode; in full runs each kind alone, too.
pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let sampling = setting.samples(3000, 100_000);
    let mut target = setting.start_busy("mixed.py", &["all"])?;
    for mode in ["", "--nonblocking", "--blocking"] {
        score.enter(&format!("mixed: {mode}"), sample(setting, &target, mode, sampling));
    }
    score.enter("mixed: target undisturbed", target.undisturbed());
    drop(target);
    let target = setting.start_busy("mixed.py", &["all", "2"])?;
    for mode in ["", "--threads"] {
        score.enter(&format!("mixed, two threads: {mode}"), two_threads(setting, &target, mode, sampling));
    }
    drop(target);
    for kind in KINDS.iter().filter(|_| setting.full) {
        let target = setting.start_busy("mixed.py", &[kind])?;
        let sampling = Sampling { count: 20_000, ..sampling };
        score.enter(&format!("mixed, {kind} alone"), sample(setting, &target, "", sampling));
    }
    Ok(())
}

/// One computing thread: no impossible stack, never idle, all samples accounted for.
pub fn sample(setting: &Setting, target: &Target, mode: &str, sampling: Sampling) -> Checked {
    let map = Map::parse(&target.told()?)?;
    let folded = setting.gather(target, mode, sampling)?;
    map.allows(&folded)?;
    ensure(folded.idle + folded.cut == 0, || format!("{} idle, {} cut", folded.idle, folded.cut))?;
    // Calls as short as these need not be seen without stopping; what is seen is right.
    if mode == "--nonblocking" { Ok(()) } else { hardly_failed(&folded) }
}

/// Two computing threads that take turns.
pub fn two_threads(setting: &Setting, target: &Target, mode: &str, sampling: Sampling) -> Checked {
    let map = Map::parse(&target.told()?)?;
    let threads = if mode == "--threads" || !setting.python.gil { 2 } else { 1 };
    let folded = setting.gather(target, mode, Sampling { threads, ..sampling })?;
    map.allows(&folded)?;
    hardly_failed(&folded)?;
    let seen = map.roots.iter().map(|root| folded.stacks.iter().any(|(stack, _)| begins_with(stack, root)));
    ensure(seen.clone().all(|seen| seen), || format!("threads seen: {:?}", seen.collect::<Vec<_>>()))
}

/// What the target says is possible.
#[derive(Default)]
struct Map {
    /// How stacks begin: `file:function:line`, the file without its directories.
    roots: Vec<Vec<String>>,
    lines: HashMap<u32, Place>,
}

/// What a line of generated source belongs to, and whom it may call.
struct Place {
    function: String,
    callees: HashSet<String>,
}

impl Map {
    fn parse(text: &str) -> Result<Map, String> {
        let mut map = Map::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("root"), Some(frames)) => map.roots.push(frames.split(';').map(String::from).collect()),
                (Some("at"), Some(number)) => {
                    let number = number.parse().map_err(|_| format!("the target says {line:?}"))?;
                    let function = words.next().unwrap_or_default().to_string();
                    map.lines.insert(number, Place { function, callees: words.map(String::from).collect() });
                }
                _ => return Err(format!("the target says {line:?}")),
            }
        }
        Ok(map)
    }

    /// That every stack of a profile is possible.
    fn allows(&self, folded: &Folded) -> Checked {
        let wrong =
            folded.stacks.iter().filter_map(|(stack, count)| Some((self.objection(stack)?, count, stack)));
        let wrong: Vec<_> = wrong.collect();
        let sum: u64 = wrong.iter().map(|(_, count, _)| *count).sum();
        ensure(wrong.is_empty(), || {
            let shown: Vec<_> =
                wrong.iter().take(3).map(|(why, _, stack)| format!("{why} in {stack:?}")).collect();
            format!("{sum} impossible of {} samples:\n{}", folded.total(), shown.join("\n"))
        })
    }

    /// Why a stack, root first, is impossible; `None` if it is not.
    fn objection(&self, stack: &[Frame]) -> Option<String> {
        let Some(root) = self.roots.iter().find(|root| begins_with(stack, root)) else {
            return Some("no such root".into());
        };
        let mut callees = None;
        for frame in &stack[root.len()..] {
            let place = self.lines.get(&frame.line).filter(|_| frame.file == GENERATED.as_bytes());
            let Some(place) = place.filter(|place| place.function == frame.name()) else {
                return Some(format!("{frame:?} does not exist"));
            };
            let called =
                callees.map_or(frame.name() == "driver", |c: &HashSet<String>| c.contains(frame.name()));
            if !called {
                return Some(format!("{frame:?} is not called there"));
            }
            callees = Some(&place.callees);
        }
        None
    }
}

fn begins_with(stack: &[Frame], root: &[String]) -> bool {
    let same = |(frame, text): (&Frame, &String)| {
        format!("{}:{}:{}", frame.base(), frame.name(), frame.line) == *text
    };
    stack.len() >= root.len() && stack.iter().zip(root).all(same)
}
