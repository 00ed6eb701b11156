//! CPython objects as bytes to be written into a target, for any layout.

use super::target::Image;
use crate::memory::{Addr, Field};
use crate::python::frames::Seen;
use crate::python::layout::{CurrentFrame, Gil, Layout, Position};
use crate::python::strings::Strings;
use std::vec;
use std::vec::Vec;

/// Where the type `code` is.
pub const CODE_TYPE: u64 = 0x5_0000;

/// A frame and where it is. `None`: one of those that the interpreter puts between C code and Python code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    pub at: u64,
    pub seen: Option<Seen>,
}

/// A Python frame.
pub const fn link(at: u64, code: u64, position: i64) -> Link {
    Link { at, seen: Some(Seen { code: Addr(code), position }) }
}

/// The frames that a walk shall find, the innermost first, of a stack that is given from the outermost on.
pub fn seen(stack: &[Link]) -> Vec<Seen> {
    stack.iter().rev().filter_map(|link| link.seen).collect()
}

/// Where the shim lies through which C code enters Python: on the C stack.
const ENTRY_FRAME: u64 = 0x7ffe_0000_0f28;

/// What a code object says.
#[derive(Clone)]
pub struct CodeObject {
    pub file_name: u64,
    pub name: u64,
    pub line_table: u64,
    pub first_line: i32,
    pub version: u32,
}

fn put<T>(image: &mut Image, base: u64, field: Field<T>, bytes: &[u8]) {
    image.push((field.of(Addr(base)).0, bytes.to_vec()));
}

fn put_word<T>(image: &mut Image, base: u64, field: Field<T>, word: u64) {
    put(image, base, field, &word.to_le_bytes());
}

impl Layout {
    /// A frame, as it is while `previous` is the one that called it.
    pub fn frame_object(&self, link: &Link, previous: u64) -> Image {
        let mut image = vec![(link.at, vec![0; 88])];
        let fields = &self.frame;
        put_word(&mut image, link.at, fields.previous, previous);
        let Some(Seen { code, position }) = link.seen else {
            let owner = fields.owner.expect("a layout with shims");
            put(&mut image, link.at, owner.field, &[owner.shim]);
            return image;
        };
        // Some references are tagged, some are not.
        let tag = if link.at & 8 == 0 { 0 } else { u64::from(fields.tag_mask & 1) };
        put_word(&mut image, link.at, fields.code, code.0 | tag);
        match fields.position {
            Position::Index { lasti, unit } => {
                put(&mut image, link.at, lasti, &((position / i64::from(unit)) as i32).to_le_bytes());
            }
            Position::Pointer { instruction, bytecode, copies } => {
                let index = copies.map_or(0, |_| link.at >> 4 & 1);
                let start = if index == 0 { code.plus(bytecode.into()) } else { code.plus(0x800) };
                put_word(&mut image, link.at, instruction, start.0.wrapping_add(position as u64));
                if let Some(copies) = copies {
                    put(&mut image, link.at, copies.index, &(index as i32).to_le_bytes());
                    // The array of the code object: two copies, the first is its own.
                    put_word(&mut image, code.0, copies.array, code.0 + 0x400);
                    let own = code.plus(bytecode.into()).0;
                    for (at, word) in [2, own, code.0 + 0x800].into_iter().enumerate() {
                        image.push((code.0 + 0x400 + 8 * at as u64, word.to_le_bytes().to_vec()));
                    }
                }
            }
        }
        image
    }

    /// The stack of a thread, from the outermost frame on, below which there is a shim where the layout has any, and where
    /// it has a base, that.
    pub fn stack(&self, thread: u64, stack: &[Link]) -> Image {
        let mut previous = 0;
        let mut image = Image::new();
        if let Some(base) = self.frame.base {
            previous = thread + 888;
            put_word(&mut image, thread, base, previous);
            image.extend(self.frame_object(&Link { at: previous, seen: None }, 0));
        }
        if self.frame.owner.is_some() && stack.first().is_some_and(|link| link.seen.is_some()) {
            image.extend(self.frame_object(&Link { at: ENTRY_FRAME, seen: None }, previous));
            previous = ENTRY_FRAME;
        }
        for link in stack {
            image.extend(self.frame_object(link, previous));
            previous = link.at;
        }
        image.extend(self.innermost(thread, previous));
        image
    }

    /// A thread whose innermost frame is `frame`.
    pub fn innermost(&self, thread: u64, frame: u64) -> Image {
        let mut image = Image::new();
        match self.current_frame {
            CurrentFrame::InThread(field) => put_word(&mut image, thread, field, frame),
            CurrentFrame::InCFrame { cframe, current } => {
                let at = thread + 0x2_0010;
                put_word(&mut image, thread, cframe, at);
                put_word(&mut image, at, current, frame);
            }
        }
        image
    }

    /// A compact ASCII string, or one of 2.x.
    pub fn string(&self, at: u64, text: &str, hash: i64) -> Image {
        let mut image = vec![(at, vec![0; 64 + text.len()])];
        let length = text.len() as u64;
        match self.strings {
            Strings::Bytes { length: field, data } => {
                put_word(&mut image, at, field, length);
                image.push((at + u64::from(data), text.into()));
            }
            Strings::Unicode { length: field, state, bits, ascii, .. } => {
                put_word(&mut image, at, field, length);
                let word: u32 = 1 << bits.kind | 1 << bits.compact | 1 << bits.ascii;
                put(&mut image, at, state, &word.to_le_bytes());
                image.push((at + u64::from(ascii), text.into()));
            }
        }
        image.push((at + u64::from(self.bytes.size.offset()) + 8, hash.to_le_bytes().to_vec()));
        image
    }

    /// A bytes object.
    pub fn bytes_object(&self, at: u64, bytes: &[u8]) -> Image {
        let mut image = vec![(at, vec![0; 64 + bytes.len()])];
        put_word(&mut image, at, self.bytes.size, bytes.len() as u64);
        image.push((at + u64::from(self.bytes.size.offset()) + 8, (-1i64).to_le_bytes().to_vec()));
        image.push((at + u64::from(self.bytes.first), bytes.to_vec()));
        image
    }

    /// A code object.
    pub fn code_object(&self, at: u64, code: &CodeObject) -> Image {
        let mut image = Image::new();
        put_word(&mut image, at, self.object_type, CODE_TYPE);
        put_word(&mut image, at, self.code.file_name, code.file_name);
        put_word(&mut image, at, self.code.name, code.name);
        put_word(&mut image, at, self.code.line_table, code.line_table);
        put(&mut image, at, self.code.first_line, &code.first_line.to_le_bytes());
        if let Some(version) = self.code.version {
            put(&mut image, at, version, &code.version.to_le_bytes());
        }
        image
    }

    /// The type `code`.
    pub fn code_type(&self) -> Image {
        let mut image = Image::new();
        put_word(&mut image, CODE_TYPE, self.type_name, CODE_TYPE + 0x800);
        image.push((CODE_TYPE + 0x800, b"code\0".to_vec()));
        image
    }

    /// An interpreter: its number, its threads and the next one. It runs with the GIL at `gil`, where there is one for
    /// each.
    pub fn interpreter_state(&self, at: u64, (id, threads, next, gil): (i64, u64, u64, u64)) -> Image {
        let mut image = Image::new();
        let fields = &self.interpreter;
        put_word(&mut image, at, fields.next, next);
        put_word(&mut image, at, fields.threads, threads);
        if let Some(field) = fields.id {
            put_word(&mut image, at, field, id as u64);
        }
        if let Some(field) = fields.code_generation {
            put_word(&mut image, at, field, 7);
        }
        if let Gil::PerInterpreter { gil: field, .. } = self.gil {
            put_word(&mut image, at, field, gil);
        }
        image
    }

    /// A GIL that `holder` holds or held last.
    pub fn gil_object(&self, at: u64, is_locked: i32, last: u64, is_enabled: i32) -> Image {
        let mut image = Image::new();
        if let Gil::PerInterpreter { locked, holder, enabled, .. } = self.gil {
            put(&mut image, at, locked, &is_locked.to_le_bytes());
            put_word(&mut image, at, holder, last);
            if let Some(enabled) = enabled {
                put(&mut image, at, enabled, &is_enabled.to_le_bytes());
            }
        }
        image
    }

    /// A thread state of `interpreter`, before the thread `next`.
    pub fn thread_state(&self, at: u64, interpreter: u64, next: u64, status: u32) -> Image {
        let mut image = self.innermost(at, 0);
        put_word(&mut image, at, self.thread.next, next);
        put_word(&mut image, at, self.thread.interpreter, interpreter);
        put_word(&mut image, at, self.thread.ident, at ^ 0x7f00_0000_0000);
        if let Some(field) = self.thread.status {
            put(&mut image, at, field, &status.to_le_bytes());
        }
        image
    }
}
