//! What tells a code object from another one at the same address.

use super::super::layout::Layout;
use super::super::strings::Strings;
use super::Known;
use crate::memory::{Addr, Gather, Memory, Miss};
use crate::prefetch::{Item, Items, Prefetch, Sight};
use crate::table::hash_words;

/// Bytes of a line table, at most: more than any compiler makes.
pub(super) const MAX_LINE_TABLE: i64 = 1 << 28;
/// So far into a string or a line table is what is asked for first.
pub(super) const HEAD: u64 = 16;

/// What tells a code object from another one at the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Print {
    pub(super) kind: Addr,
    pub(super) file_name: Addr,
    pub(super) name: Addr,
    pub(super) line_table: Addr,
    pub(super) first_line: i32,
    pub(super) version: u32,
    pub(super) digest: u64,
}

/// Plans to read what proves a code object together with the rest, when that is settled.
#[cold]
pub(super) fn want_proof<M: Gather>(prefetch: &Prefetch<M>, layout: &Layout, known: &Known) {
    let Known { address, print, .. } = known;
    prefetch.want(Sight::Proof, layout.code.file_name.of(*address));
    if print.version == 0 {
        for object in [print.file_name, print.name, print.line_table] {
            prefetch.want(Sight::Proof, object.plus(HEAD));
        }
    }
}

pub(super) fn print<M: Gather>(prefetch: &Prefetch<M>, layout: &Layout, code: Addr) -> Result<Print, Miss> {
    let fields = &layout.code;
    let items = [
        Item::of(layout.object_type),
        Item::of(fields.file_name),
        Item::of(fields.name),
        Item::of(fields.line_table),
        Item::of(fields.first_line),
    ];
    // As many as a frame has, so that they share a function.
    let [kind, file_name, name, line_table, first_line] =
        prefetch.words(Sight::Proof, code, &Items::new(items, items.len()), false)?;
    let memory = &prefetch.with(Sight::Proof);
    let mut print = Print {
        kind: Addr(kind),
        file_name: Addr(file_name),
        name: Addr(name),
        line_table: Addr(line_table),
        first_line: first_line as i32,
        version: fields.version.map_or(Ok(0), |version| memory.load(code, version))?,
        digest: 0,
    };
    if print.version == 0 {
        let text = match layout.strings {
            Strings::Bytes { data, .. } => data,
            Strings::Unicode { ascii, .. } => ascii,
        };
        print.digest = hash_words(&[
            digest(memory, layout, print.file_name, text)?,
            digest(memory, layout, print.name, text)?,
            digest(memory, layout, print.line_table, layout.bytes.first)?,
        ]);
    }
    Ok(print)
}

/// A digest of an object with a length and a hash in its head and at least as many bytes from `first` on: of its head
/// and of its first and last words. The last word may reach beyond the object, but not beyond the memory it was given.
pub(super) fn digest<M: Memory>(memory: &M, layout: &Layout, object: Addr, first: u16) -> Result<u64, Miss> {
    const FIRST: u64 = 4;
    const LAST: u64 = 3;
    let start = layout.bytes.size.of(object);
    let length = memory.word::<u64>(start)?.min(MAX_LINE_TABLE as u64);
    let head = first.saturating_sub(layout.bytes.size.offset());
    let words = (u64::from(head) + length).div_ceil(8);
    let head = 0..words.min(FIRST);
    let tail = words.saturating_sub(LAST).max(head.end)..words;
    let mut digest = length;
    for word in head.chain(tail) {
        digest = hash_words(&[digest, memory.word(start.plus(8 * word))?]);
    }
    Ok(digest)
}
