//! Folded stacks, what flamegraph.pl and its kin read: one line a stack, from the root to the innermost frame, then
//! a space and how often it was seen.
//!
//! ```text
//! (idle) 17
//! app.py:<module>:30;app.py:serve:12;lib/http.py:parse:88 214
//! ```

use super::escape::{self, Notation};
use super::{Sink, put_number};
use crate::profile::{Frame, PROCESS, Profile, Window};

/// Writes `profile`, in the order of `LC_ALL=C sort`. `lines`: with line numbers.
pub fn write(profile: Profile, lines: bool, out: &mut dyn Sink) {
    let sorted = profile.sort(&|profile, frame, window| put_frame(profile, frame, lines, window));
    let profile = &sorted.profile;
    let counts = &profile.counts;
    put_own(b"(idle)", counts.idle, out);
    put_own(b"(failed)", counts.failed, out);
    put_own(b"(truncated)", counts.truncated, out);
    for (id, node) in sorted.stacks() {
        for depth in 1..=node.depth {
            if depth > 1 {
                out.put(b";");
            }
            put_frame(profile, profile.node(profile.ancestor(id, depth)).frame, lines, out);
        }
        put_count(node.count, out);
    }
}

impl Sink for Window {
    fn put(&mut self, bytes: &[u8]) {
        Window::put(self, bytes);
    }
}

/// `file:function:line`, or without the line; of a process nothing but its title.
pub fn put_frame(profile: &Profile, frame: Frame, lines: bool, out: &mut dyn Sink) {
    let (file, name) = profile.function_names(frame.function);
    if frame.line == PROCESS {
        return escape::put(out, Notation::FoldedFile, file);
    }
    // What we say ourselves stands in brackets and in no file. No function is called so.
    if !file.is_empty() || !name.starts_with(b"(") {
        escape::put(out, Notation::FoldedFile, file);
        out.put(b":");
    }
    escape::put(out, Notation::FoldedFunction, name);
    if lines {
        out.put(b":");
        put_number(frame.line.into(), out);
    }
}

/// A line of what we say ourselves, if there is anything to say.
fn put_own(name: &[u8], count: u64, out: &mut dyn Sink) {
    if count > 0 {
        out.put(name);
        put_count(count, out);
    }
}

fn put_count(count: u64, out: &mut dyn Sink) {
    out.put(b" ");
    put_number(count, out);
    out.put(b"\n");
}
