//! The parts of JSON (RFC 8259) that the formats made of it have in common.

use super::template::Value::{Bytes, Number, String};
use super::template::fill;
use super::{Sink, put_number};

/// Writes `text` as a string.
pub fn put_string(text: &[u8], out: &mut dyn Sink) {
    fill(b"%", &[String(text)], out);
}

/// Writes what stands between this item and the one before, if there was any: nothing the first time.
pub fn separate(is_first: &mut bool, out: &mut dyn Sink) {
    if !core::mem::take(is_first) {
        out.put(b",");
    }
}

/// Writes the next number of a list.
pub fn put_next(number: u64, is_first: &mut bool, out: &mut dyn Sink) {
    separate(is_first, out);
    put_number(number, out);
}

/// Writes `,"name":number`.
pub fn put_field(name: &[u8], number: u64, out: &mut dyn Sink) {
    fill(b",\"%\":%", &[Bytes(name), Number(number)], out);
}
