//! Google's `profile.proto`, compressed with gzip as its readers expect it: what `go tool pprof`, Pyroscope and Parca read.
//! The numbers of the fields are those of
//! <https://github.com/google/pprof/blob/main/proto/profile.proto>.
//!
//! A field is a key, its number and how its value is written, and the value: a varint, or a length and so many bytes
//! (<https://protobuf.dev/programming-guides/encoding>). The stack `app.py:parse:88`, seen twice, of 1 ms each, is
//!
//! ```text
//! 12 08        sample, 8 bytes:
//!   08 01        location 1
//!   10 02        2 samples
//!   10 80 89 7a  2,000,000 ns
//! 22 08        location, 8 bytes:
//!   08 01        it is 1
//!   22 04        line, 4 bytes: function 1, line 88
//!     08 01 10 58
//! ```

mod gzip;

use super::escape::{self, Notation};
use super::{Facts, Sink};
use crate::profile::finished::{Finished, Stack, by_names};
use crate::profile::{Frame, PROCESS, Profile};
use gzip::Gzip;

/// Strings before the names of the profile; the first has to be empty.
const STRINGS: [&[u8]; 7] = [b"", b"samples", b"count", b"wall", b"nanoseconds", b"process", b"thread"];
/// Where they are in it.
const SAMPLES: u64 = 1;
const COUNT: u64 = 2;
const WALL: u64 = 3;
const NANOSECONDS: u64 = 4;
const IS_PROCESS: u64 = 5;
const IS_THREAD: u64 = 6;

/// Writes `profile`.
pub fn write(profile: &mut Profile, facts: &Facts<'_>, out: &mut dyn Sink) {
    let weight = facts.weight(&profile.counts);
    let mut finished = profile.finish(&by_names);
    let out = &mut Gzip::new(out);
    message(1, out, &mut |out| put_type(SAMPLES, COUNT, out));
    message(1, out, &mut |out| put_type(WALL, NANOSECONDS, out));
    finished.number_frames(&mut |_, number, frame| {
        if !frame.is_root() {
            message(4, out, &mut |out| put_location(number, frame, out));
        }
    });
    finished.each_stack(&mut |profile, stack| {
        message(2, out, &mut |out| put_sample(profile, &stack, weight, out));
    });
    put_functions(&finished, out);
    let profile = &finished.profile;
    STRINGS.iter().for_each(|text| put_text(6, text, out));
    (0..profile.names()).for_each(|id| put_text(6, profile.name(id), out));
    put_text(6, facts.title, out);
    number(9, facts.started, out);
    number(10, facts.elapsed, out);
    message(11, out, &mut |out| put_type(WALL, NANOSECONDS, out));
    number(12, if facts.period > 0 { facts.period } else { weight }, out);
    number(13, string(profile.names()), out);
    out.finish();
}

/// The number of the string that name `id` of the profile is.
fn string(id: u32) -> u64 {
    u64::from(id) + STRINGS.len() as u64
}

fn put_type(what: u64, unit: u64, out: &mut dyn Sink) {
    number(1, what, out);
    number(2, unit, out);
}

fn put_sample(profile: &Profile, stack: &Stack<'_>, weight: u64, out: &mut dyn Sink) {
    let count = profile.node(stack.last).count;
    for &id in stack.nodes.iter().rev() {
        if !profile.node(id).frame.is_root() {
            number(1, u64::from(stack.number(id)) + 1, out);
        }
    }
    number(2, count, out);
    number(2, count * weight, out);
    for &id in stack.nodes.iter().take(2) {
        let frame = profile.node(id).frame;
        if frame.is_root() {
            let key = if frame.line == PROCESS { IS_PROCESS } else { IS_THREAD };
            let title = string(profile.functions().get(frame.function as usize).map_or(0, |f| f.file));
            message(3, out, &mut |out| {
                number(1, key, out);
                number(2, title, out);
            });
        }
    }
}

fn put_location(frames: u32, frame: Frame, out: &mut dyn Sink) {
    number(1, u64::from(frames) + 1, out);
    message(4, out, &mut |out| {
        number(1, u64::from(frame.function) + 1, out);
        number(2, frame.line.into(), out);
    });
}

fn put_functions(finished: &Finished<'_>, out: &mut dyn Sink) {
    for (id, function) in finished.profile.functions().iter().enumerate() {
        message(5, out, &mut |out| {
            number(1, id as u64 + 1, out);
            number(2, string(function.name), out); // without a system name, or <module> is taken for one of C++
            number(4, string(function.file), out);
        });
    }
}

/// Writes field `field`, a string.
fn put_text(field: u64, text: &[u8], out: &mut dyn Sink) {
    message(field, out, &mut |out| escape::put(out, Notation::Text, text));
}

/// Writes field `field` with what `body` writes, which it does twice: its length comes first.
fn message(field: u64, out: &mut dyn Sink, body: &mut dyn FnMut(&mut dyn Sink)) {
    let mut length = Length(0);
    body(&mut length);
    varint(field << 3 | 2, out);
    varint(length.0, out);
    body(out);
}

/// Writes field `field`, a number.
fn number(field: u64, value: u64, out: &mut dyn Sink) {
    varint(field << 3, out);
    varint(value, out);
}

/// Writes seven bits a byte, the lowest first; all but the last have the eighth set.
fn varint(mut value: u64, out: &mut dyn Sink) {
    while value >= 0x80 {
        out.put(&[value as u8 | 0x80]);
        value >>= 7;
    }
    out.put(&[value as u8]);
}

/// Bytes that were put.
struct Length(u64);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}
