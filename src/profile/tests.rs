use super::*;
use crate::report::{Sink, folded};
use crate::testing::{Random, profile_storage};
use std::format;
use std::string::String;
use std::vec::Vec;

fn profile(names: usize, nodes: usize, depth: usize) -> Profile {
    Profile::new(profile_storage(names, nodes, depth))
}

fn frame(function: u32, line: u32) -> Frame {
    Frame { function, line }
}

struct Text(Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// The lines of a folded profile.
fn lines(profile: Profile, with_numbers: bool) -> Vec<String> {
    let mut text = Text(Vec::new());
    folded::write(profile, with_numbers, &mut text);
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
