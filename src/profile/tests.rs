use super::finished::{Finished, Stack};
use super::*;
use crate::report::{Sink, folded};
use crate::testing::{Random, profile_storage};
use core::cmp::Ordering;
use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

fn profile(names: usize, nodes: usize, depth: usize) -> Profile {
    Profile::new(profile_storage(names, nodes, depth))
}

fn frame(function: u32, line: u32) -> Frame {
    Frame { function, line }
}

/// An order that needs no names.
fn by_number(_: &Profile, a: (Frame, bool), b: (Frame, bool)) -> Ordering {
    (a.0.function, a.0.line).cmp(&(b.0.function, b.0.line))
}

/// A stack, from the root, of small random frames.
fn random_stack(random: &mut Random, depth: u64) -> Vec<Frame> {
    (0..1 + random.below(depth)).map(|_| frame(random.below(3) as u32, random.below(2) as u32)).collect()
}

/// What is in the tree: stacks and their counts.
fn stacks(profile: &Profile) -> HashMap<Vec<Frame>, u64> {
    let mut stacks = HashMap::new();
    for (id, node) in profile.nodes().iter().enumerate().filter(|(_, node)| node.count > 0) {
        let path = (1..=node.depth).map(|depth| profile.node(profile.ancestor(id as u32, depth)).frame);
        assert!(stacks.insert(path.collect(), node.count).is_none(), "a stack that is there twice");
    }
    stacks
}

impl core::hash::Hash for Frame {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.function, self.line).hash(state);
    }
}

#[test]
fn stacks_are_counted_as_a_table_would() {
    for (seed, depth, last) in [(1, 3, 64), (2, 12, 64), (3, 40, 64), (4, 12, 0), (5, 12, 3), (6, 40, 11)] {
        let mut random = Random(seed);
        let mut profile = profile(16, 1 << 16, last);
        let mut oracle: HashMap<Vec<Frame>, u64> = HashMap::new();
        let mut stack = random_stack(&mut random, depth);
        for _ in 0..4000 {
            // Most of the time only the innermost frames change, as in a program.
            match random.below(4) {
                0 => stack = random_stack(&mut random, depth),
                1 => {
                    stack.truncate(1 + random.below(stack.len() as u64) as usize);
                    stack.extend(random_stack(&mut random, 3));
                    stack.truncate(64);
                }
                2 => stack.truncate(1 + random.below(stack.len() as u64) as usize),
                _ => {}
            }
            let by = 1 + random.below(3);
            profile.count(stack.iter().copied(), by);
            *oracle.entry(stack.clone()).or_default() += by;
        }
        assert_eq!(profile.counts.truncated, 0);
        assert_eq!(stacks(&profile), oracle, "{seed}");
        // A node comes behind its parent and has one frame more.
        for (id, node) in profile.nodes().iter().enumerate().skip(1) {
            assert!((node.parent as usize) < id);
            assert_eq!(node.depth, profile.node(node.parent).depth + 1);
        }
    }
}

#[test]
fn the_last_stack_is_followed_without_new_nodes() {
    let mut profile = profile(16, 64, 16);
    let stack: Vec<Frame> = (0..10).map(|line| frame(1, line)).collect();
    for depth in [10, 4, 10, 1, 7, 10] {
        profile.count(stack[..depth].iter().copied(), 1);
        assert_eq!(profile.nodes().len(), 11);
    }
    // An empty stack is the root's.
    profile.count([].into_iter(), 5);
    assert_eq!(profile.node(ROOT).count, 5);
    assert_eq!(stacks(&profile).values().sum::<u64>(), 11);
}

#[test]
fn a_profile_has_the_stacks_of_its_samples_and_their_beginnings() {
    let mut profile = profile(16, 64, 16);
    let stacks = [[1, 2, 3], [1, 4, 3]].map(|stack| stack.map(|line| frame(line, line)));
    for stack in stacks {
        profile.count(stack.into_iter(), 1);
    }
    let nodes = profile.nodes().len();
    for stack in stacks {
        for end in 0..=3 {
            assert!(profile.has(stack[..end].iter().copied()), "{end}");
        }
    }
    for mixed in [&[2][..], &[1, 3], &[1, 2, 4], &[1, 4, 2], &[1, 2, 3, 3]] {
        assert!(!profile.has(mixed.iter().map(|&line| frame(line, line))), "{mixed:?}");
        // What the last stack was is not mistaken for what was asked for.
        assert_eq!(profile.count(stacks[1].into_iter(), 1), Some(5));
    }
    assert_eq!(profile.nodes().len(), nodes);
}

#[test]
fn two_hundred_thousand_stacks() {
    let mut profile = profile(16, 1 << 20, 64);
    let half = 100_000;
    for i in (0..half).chain(0..2 * half).chain(half..2 * half) {
        // 50 functions at three levels, lines below them.
        let stack = [i % 50, i / 50 % 50, i / 2500 % 50, i].map(|line| frame(line % 7, line));
        profile.count(stack.into_iter(), 1);
    }
    let counted = profile.nodes().iter().filter(|node| node.count == 2).count();
    assert_eq!((counted, profile.counts.truncated), (200_000, 0));
    let mut finished = profile.finish(&by_number);
    let mut sum = 0;
    finished.each_stack(&mut |profile, stack| sum += profile.node(stack.last).count);
    assert_eq!(sum, 400_000);
}

#[test]
fn what_does_not_fit_is_counted_and_what_fits_stays() {
    for nodes in [1, 2, 16, 64, 256] {
        let mut random = Random(nodes as u64);
        let mut profile = profile(16, nodes, 16);
        let mut oracle: HashMap<Vec<Frame>, u64> = HashMap::new();
        for _ in 0..5000 {
            let stack = random_stack(&mut random, 8);
            let before = profile.counts.truncated;
            profile.count(stack.iter().copied(), 1);
            if profile.counts.truncated == before {
                *oracle.entry(stack).or_default() += 1;
            } else {
                assert_eq!(profile.counts.truncated, before + 1);
            }
        }
        assert!(profile.counts.truncated > 0);
        assert_eq!(profile.nodes().len(), nodes, "all of the storage is used");
        assert_eq!(stacks(&profile), oracle, "{nodes}");
        assert_eq!(oracle.values().sum::<u64>() + profile.counts.truncated, 5000);
        assert_eq!(profile.finish(&by_number).stacks().len(), oracle.len());
    }
}

#[test]
fn functions_and_names_that_do_not_fit_are_one() {
    let few_bytes = || Storage { name_bytes: vec![0; 100].leak(), ..profile_storage(1024, 16, 16) };
    for storage in [profile_storage(16, 16, 16), few_bytes()] {
        let mut profile = Profile::new(storage);
        let mut kept = 0;
        for i in 0..200 {
            let (file, name) = (format!("file_{}", i % 7), format!("function_{i}"));
            let before = profile.counts.names_full;
            let id = profile.function(file.as_bytes(), name.as_bytes());
            if profile.counts.names_full == before {
                assert_eq!(profile.function_names(id), (file.as_bytes(), name.as_bytes()));
                assert_eq!(profile.function(file.as_bytes(), name.as_bytes()), id, "the same again");
                kept += 1;
            } else {
                assert_eq!(profile.function_names(id), (&b""[..], &b"(names full)"[..]));
            }
        }
        assert!((1..16).contains(&kept), "{kept}");
        assert_eq!(profile.counts.names_full, 200 - kept);
        // What fitted once is still known.
        assert_eq!(profile.function_names(1), (&b"file_0"[..], &b"function_0"[..]));
        assert_eq!(profile.function(b"file_0", b"function_0"), 1);
    }
}

#[test]
fn names_of_any_bytes_are_kept_apart() {
    let mut profile = profile(1024, 16, 16);
    let names: [&[u8]; 9] =
        [b"", b"\0", b"\0\0", b"a", b"a\0", b"\xff\xfe", b"ab", &[b'x'; 5000], &[b'x'; 4999]];
    let mut function = |file, name| profile.function(file, name);
    let ids: Vec<[u32; 9]> = names.iter().map(|file| names.map(|name| function(file, name))).collect();
    for (file, ids) in names.iter().zip(&ids) {
        for (name, &id) in names.iter().zip(ids) {
            assert_eq!(profile.function_names(id), (*file, *name));
        }
    }
    assert_eq!(profile.function_names(u32::MAX), (&b""[..], &b""[..]));
}

struct Text(Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// The lines of a folded profile.
fn lines(mut profile: Profile, with_numbers: bool) -> Vec<String> {
    let mut text = Text(Vec::new());
    folded::write(&mut profile, with_numbers, &mut text);
    String::from_utf8(text.0).unwrap().lines().map(Into::into).collect()
}

/// Names that lines could be out of order for: parts of each other, and with bytes below and above what follows a name.
const NAMES: [&str; 16] = [
    "a",
    "ab",
    "a b",
    "a.b",
    "a-",
    "a0",
    "a:",
    "a;",
    "a\n",
    "a\u{7f}",
    "aé",
    "a\u{200e}",
    "\u{10ffff}",
    "<lambda>",
    "(x)",
    "",
];

fn random_profile(seed: u64, names: &[&str], with_numbers: bool) -> Profile {
    let mut random = Random(seed);
    let mut profile = profile(1024, 1 << 14, 64);
    for _ in 0..500 {
        let stack: Vec<Frame> = (0..1 + random.below(4))
            .map(|_| {
                let [file, name] = [0; 2].map(|_| names[random.below(names.len() as u64) as usize]);
                let line = [0, 1, 2, 10, 19, 100, 1_000_000][random.below(7) as usize];
                let function = profile.function(file.as_bytes(), name.as_bytes());
                frame(function, if with_numbers { line } else { 0 })
            })
            .collect();
        profile.count(stack.into_iter(), 1 + random.below(200));
    }
    profile
}

/// As `LC_ALL=C sort` would put them.
#[test]
fn stacks_come_in_the_order_of_their_lines() {
    // Ordinary names, few of them, then any; an empty file name is that of a function without a file.
    let ordinary = ["app.py", "app", "app.pyc", "lib/a.py", "f", "f1", "<module>"];
    for (names, seed) in
        [&ordinary[..], &NAMES[..3], &NAMES].into_iter().flat_map(|n| [1, 2, 3].map(|s| (n, s)))
    {
        for with_numbers in [true, false] {
            let lines = lines(random_profile(seed, names, with_numbers), with_numbers);
            let mut sorted = lines.clone();
            sorted.sort();
            let first = lines.iter().zip(&sorted).find(|(a, b)| a != b);
            assert_eq!(first, None, "{seed} {with_numbers}");
            assert!(lines.len() > 100);
        }
    }
}

#[test]
fn long_names_are_compared_to_their_ends() {
    // So many bytes are compared at once.
    const WINDOW: usize = 128;
    let mut profile = profile(1024, 1024, 64);
    for length in [WINDOW - 20, WINDOW - 2, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW - 8, 10 * WINDOW] {
        for end in ["", "a", "b", "ab", ";", "é"] {
            let name = format!("{}{end}", "x".repeat(length));
            let function = profile.function(b"a.py", name.as_bytes());
            for line in [9, 10] {
                profile.count([frame(function, line)].into_iter(), 1);
                profile.count([frame(function, line), frame(function, line)].into_iter(), 1);
            }
        }
    }
    let lines = lines(profile, true);
    assert!(lines.is_sorted() && lines.len() == 7 * 6 * 4, "{}", lines.len());
}

#[test]
fn what_was_counted_can_be_taken_back() {
    let mut profile = profile(16, 1 << 10, 64);
    let (short, long) = ([frame(1, 1), frame(2, 5)], [frame(1, 1), frame(2, 5), frame(3, 1)]);
    let ids = [&short[..], &long].map(|stack| {
        profile.count(stack.iter().copied(), 2);
        profile.count(stack.iter().copied(), 1).unwrap()
    });
    for (function, there) in [(1, [true, true]), (2, [true, true]), (3, [false, true]), (4, [false, false])] {
        assert_eq!(ids.map(|id| profile.is_in(function, id)), there);
    }
    profile.take_back(ids[1]);
    assert_eq!(stacks(&profile), [(short.to_vec(), 3), (long.to_vec(), 2)].into());
    assert_eq!(profile.counts.failed, 1);
    // Not more than there is, and nothing of the root.
    (0..5).for_each(|_| profile.take_back(ids[1]));
    profile.take_back(ROOT);
    assert_eq!((stacks(&profile), profile.counts.failed), ([(short.to_vec(), 3)].into(), 3));
    assert!(!profile.is_in(0, ROOT));
}

/// The finished profile of some random stacks, and what was counted.
fn finished(seed: u64, depth: u64) -> (Finished<'static>, HashMap<Vec<Frame>, u64>) {
    let mut random = Random(seed);
    let profile = std::boxed::Box::leak(std::boxed::Box::new(profile(16, 1 << 14, 64)));
    for _ in 0..300 {
        profile.count(random_stack(&mut random, depth).into_iter(), 1 + random.below(3));
    }
    let stacks = stacks(profile);
    (profile.finish(&by_number), stacks)
}

#[test]
fn each_stack_is_visited_with_what_it_shares_with_the_one_before() {
    for (seed, depth) in [(1, 1), (2, 3), (3, 12)] {
        let (mut finished, oracle) = finished(seed, depth);
        let (mut all, mut last, mut nodes) = (HashMap::new(), Vec::new(), 0);
        finished.each_stack(&mut |profile, Stack { nodes: path, shared, .. }| {
            let frames: Vec<Frame> = path.iter().map(|&id| profile.node(id).frame).collect();
            assert_eq!(path[..shared], last[..shared]);
            assert!(path.get(shared) != last.get(shared), "no more is the same");
            nodes += path.len() - shared;
            last = path.to_vec();
            all.insert(frames, profile.node(*path.last().unwrap()).count);
        });
        assert_eq!(all, oracle);
        assert_eq!(nodes + 1, finished.profile.nodes().len(), "each node is met once");
        // A part of them begins anew.
        let (from, mut seen) = (finished.stacks().len() / 2, Vec::new());
        finished.each(from, from + 2, &mut |_, stack| seen.push((stack.last, stack.shared)));
        assert_eq!(
            seen.iter().map(|(last, _)| *last).collect::<Vec<_>>(),
            finished.stacks()[from..][..seen.len()]
        );
        assert_eq!(seen[0].1, 0);
        assert_eq!(finished.add_up(), oracle.values().sum::<u64>());
    }
}

#[test]
fn equal_frames_have_one_number_and_nodes_know_whom_they_call() {
    let (mut finished, _) = finished(7, 9);
    let mut frames = Vec::new();
    finished.number_frames(&mut |_, number, frame| {
        assert_eq!(number as usize, frames.len());
        assert!(!frames.contains(&frame));
        frames.push(frame);
    });
    finished.each_stack(&mut |profile, stack| {
        assert!(stack.nodes.iter().all(|&id| frames[stack.number(id) as usize] == profile.node(id).frame));
    });
    let (mut next, mut called) = (0, 0);
    finished.each_node(&mut |profile, id, children| {
        assert_eq!(core::mem::replace(&mut next, id + 1), id);
        assert!(children.iter().all(|&child| profile.node(child).parent == id));
        called += children.len();
    });
    assert_eq!(next as usize, called + 1, "each but the root is called by one");
}
