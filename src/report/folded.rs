//! Folded stacks, what flamegraph.pl and its kin read: one line a stack, from the root to the innermost frame, then
//! a space and how often it was seen.
//!
//! ```text
//! (idle) 17
//! app.py:<module>:30;app.py:serve:12;lib/http.py:parse:88 214
//! ```

use super::escape::{self, Notation};
use super::template::{Value::Number, fill};
use super::{Sink, put_some};
use crate::profile::{Frame, Profile};
use core::cmp::Ordering;

/// Writes `profile`, in the order of `LC_ALL=C sort`. `lines`: with line numbers.
pub fn write(profile: &mut Profile, lines: bool, out: &mut dyn Sink) {
    let counts = profile.counts;
    put_some(counts.idle, b"(idle) %\n", out);
    put_some(counts.failed, b"(failed) %\n", out);
    put_some(counts.truncated, b"(truncated) %\n", out);
    let mut finished = profile.finish(&|profile, a, b| compare(profile, a, b, lines));
    finished.each_stack(&mut |profile, stack| {
        for (depth, &id) in stack.nodes.iter().enumerate() {
            if depth > 0 {
                out.put(b";");
            }
            put_frame(profile, profile.node(id).frame, lines, out);
        }
        fill(b" %\n", &[Number(profile.node(stack.last).count)], out);
    });
}

/// `file:function:line`, or without the line; of a process nothing but its title.
pub fn put_frame(profile: &Profile, frame: Frame, lines: bool, out: &mut dyn Sink) {
    put_named(frame, profile.function_names(frame.function), lines, out);
}

/// The same for a frame whose file and function are called so.
fn put_named(frame: Frame, (file, name): (&[u8], &[u8]), lines: bool, out: &mut dyn Sink) {
    if frame.is_root() {
        return escape::put(out, Notation::FoldedFile, file);
    }
    // What we say ourselves stands in brackets and in no file. No function is called so.
    if !file.is_empty() || !name.starts_with(b"(") {
        escape::put(out, Notation::FoldedFile, file);
        out.put(b":");
    }
    escape::put(out, Notation::FoldedFunction, name);
    if lines {
        fill(b":%", &[Number(frame.line.into())], out);
    }
}

/// How lines are ordered that differ in these frames, which end their stacks or not.
fn compare(profile: &Profile, a: (Frame, bool), b: (Frame, bool), lines: bool) -> Ordering {
    let names = |(frame, _): (Frame, bool)| profile.function_names(frame.function);
    let ((file_a, name_a), (file_b, name_b)) = (names(a), names(b));
    let (name_a, name_b) =
        if file_a == file_b { differing(name_a, name_b) } else { (beginning(name_a), beginning(name_b)) };
    let (file_a, file_b) = differing(file_a, file_b);
    let (mut window_a, mut window_b) = (Window::EMPTY, Window::EMPTY);
    let show = |window: &mut Window, (frame, is_last), names, skip| {
        (window.skip, window.len) = (skip, 0);
        put_named(frame, names, lines, window);
        // What follows a frame in its line: another frame, or the count.
        window.put(if is_last { b" " } else { b";" });
    };
    let mut skip = 0;
    loop {
        show(&mut window_a, a, (file_a, name_a), skip);
        show(&mut window_b, b, (file_b, name_b), skip);
        let order = window_a.bytes().cmp(window_b.bytes());
        if order.is_ne() || window_a.len < WINDOW {
            return order;
        }
        skip += WINDOW;
    }
}

/// The parts of two names that decide which comes first: a name may be long, and is not to be written whole for that. What
/// both begin with is left out, but for so much as may belong to the first character that differs; and since no character
/// is written as the beginning of what another is, not much more is looked at.
fn differing<'a>(a: &'a [u8], b: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(3);
    let part = |name: &'a [u8]| name.get(start..name.len().min(same + 8)).unwrap_or_default();
    (part(a), part(b))
}

/// Of a name whatever has to be looked at behind files of which one is the beginning of the other, such as `a` and `a:b`.
fn beginning(name: &[u8]) -> &[u8] {
    name.get(..1024).unwrap_or(name)
}

/// Bytes of a frame that are compared at once.
const WINDOW: usize = 128;

/// A part of what a frame is written as.
struct Window {
    /// Bytes of it that come before.
    skip: usize,
    bytes: [u8; WINDOW],
    len: usize,
}

impl Window {
    const EMPTY: Window = Window { skip: 0, bytes: [0; WINDOW], len: 0 };

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Sink for Window {
    fn put(&mut self, bytes: &[u8]) {
        let (_, rest) = bytes.split_at(self.skip.min(bytes.len()));
        self.skip -= bytes.len() - rest.len();
        let place = self.bytes.get_mut(self.len..).unwrap_or_default();
        place.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.len += place.len().min(rest.len());
    }
}
