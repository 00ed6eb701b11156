//! `_Py_DebugOffsets`: the table with which `_PyRuntime` begins from 3.13 on, where an interpreter says itself where
//! its fields are (Include/internal/pycore_debug_offsets.h). Reads it, believes nothing of it before it was checked,
//! and turns it into a [`Layout`].
//!
//! ```text
//! 78 64 65 62 75 67 70 79   "xdebugpy"
//! f0 00 0d 03 00 00 00 00   0x030d00f0: 3.13.0 final
//! 00 00 00 00 00 00 00 00   not free-threaded
//! ...                       sizes of structs and offsets in them, eight bytes each
//! ```
//!
//! Each minor version inserts entries, so everything behind them moves; the table has no length. `SHAPES` holds a row
//! for each of them. A version that is newer than the last row is read as if it had the shape of that row.

use super::layout::*;
use super::strings::{StateBits, Strings};
use super::versions::{Minor, ROWS, Row, minor_of};
use crate::memory::{Addr, Field, Memory, Miss};

/// The first eight bytes.
pub const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
/// No struct is as large as this, and no field is as far into one as a [`Field`] can say.
const MAX_SIZE: u64 = 1 << 20;
/// Frames up from this owner are no Python frames (FRAME_OWNED_BY_CSTACK in 3.13, then FRAME_OWNED_BY_INTERPRETER).
const SHIM_OWNER: u8 = 3;

/// Entries of the table that are used.
const ENTRIES: usize = 46;

/// What each of them is: the size of a struct (0), or the offset in it of a field of so many bytes.
#[rustfmt::skip] // a line a struct
static WIDTHS: [u8; ENTRIES] = [
    0, 8, // _PyRuntime: list of interpreters
    0, 8, 8, 8, 8, 8, 4, 4, 8, 8, // interpreter: id, next, threads, GIL, its own GIL with enabled, locked, holder; code generation
    0, 8, 8, 8, 8, 8, 8, 4, // thread: next, interpreter, current frame, base frame, ident, native id, status
    0, 8, 8, 8, 1, 4, // frame: previous, executable, instruction, owner, index of the bytecode copy
    0, 8, 8, 8, 4, 8, 2, 8, // code: file name, qualified name, line table, first line, localsplusnames, bytecode, copies
    0, 8, // object: type
    0, 8, // type: name
    0, 8, 1, // bytes: size, data
    0, 4, 8, 8, 8, // str: state, length, size of PyASCIIObject, of PyCompactUnicodeObject
];

/// Where in the table the entries are, in words of eight bytes. 0: this version has no such entry.
struct Shape {
    version: Minor,
    entries: [u8; ENTRIES],
    tag_mask: u8,
    /// Whether a free-threaded build keeps the interned state of a str in a byte of its own.
    wide_string_state: bool,
}

#[rustfmt::skip] // a line a struct, as above
static SHAPES: [Shape; 3] = [
    Shape {
        version: 0x30d,
        entries: [
            3, 5,
            6, 7, 8, 9, 14, 15, 16, 17, 18, 0,
            19, 21, 22, 23, 0, 24, 25, 27,
            28, 29, 30, 31, 33, 0,
            34, 35, 37, 38, 39, 41, 43, 0,
            44, 45,
            46, 47,
            64, 65, 66,
            67, 68, 69, 70, 0,
        ],
        tag_mask: 0,
        wide_string_state: false,
    },
    Shape {
        version: 0x30e,
        entries: [
            3, 5,
            6, 7, 8, 9, 15, 16, 17, 18, 19, 20,
            22, 24, 25, 26, 0, 27, 28, 30,
            31, 32, 33, 34, 36, 38,
            39, 40, 42, 43, 44, 46, 48, 49,
            50, 51,
            52, 53,
            74, 75, 76,
            77, 78, 79, 80, 0,
        ],
        tag_mask: 3,
        wide_string_state: true,
    },
    Shape {
        version: 0x30f,
        entries: [
            3, 5,
            6, 7, 8, 9, 15, 16, 17, 18, 19, 20,
            22, 24, 25, 26, 27, 30, 31, 33,
            39, 40, 41, 42, 44, 46,
            47, 48, 50, 51, 52, 54, 56, 57,
            58, 59,
            60, 61,
            86, 87, 88,
            89, 90, 91, 92, 93,
        ],
        tag_mask: 3,
        wide_string_state: true,
    },
];

/// Words of the longest table, of which nothing behind is read.
const TABLE: usize = 111;

/// What the table says of itself in its first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// PY_VERSION_HEX.
    pub version: u64,
    /// Built to run without a GIL.
    pub free_threaded: bool,
}

/// The header at `runtime`, the address of `_PyRuntime`; nothing where there is no table.
pub fn header<M: Memory>(memory: &M, runtime: Addr) -> Result<Option<Header>, Miss> {
    let [cookie, version, free_threaded] = memory.words(runtime)?;
    Ok((cookie == COOKIE).then_some(Header { version, free_threaded: free_threaded != 0 }))
}

/// The layout that the table at `runtime` describes for `version`, and the offset of the list of interpreters in
/// `_PyRuntime`. Errors: `Nonsense` when an entry cannot be right under any shape that the version may have.
#[inline(never)] // or all offsets are copied one by one wherever the layout goes
pub fn read<M: Memory>(memory: &M, runtime: Addr, header: Header) -> Result<(Layout, u16), Miss> {
    let mut table = [[0; 8]; TABLE];
    memory.read(runtime, table.as_flattened_mut())?;
    let minor = minor_of(header.version);
    // An alpha or beta may still have the shape of the version before (a 3.15.0a0 did).
    let mut fitting = SHAPES.iter().rev().filter(|shape| shape.version <= minor).take(2);
    // What the table does not tell is as it was in the last version without one.
    let [.., Row { mut layout, .. }] = ROWS;
    let interpreters = fitting
        .find_map(|shape| fill(&mut layout, shape, &offsets(shape, &table)?, header.free_threaded))
        .ok_or(Miss::Nonsense)?;
    Ok((layout, interpreters))
}

/// What the entries say, 0 where there is none. Nothing if a field is not aligned or does not lie within its struct.
fn offsets(shape: &Shape, table: &[[u8; 8]; TABLE]) -> Option<[u16; ENTRIES]> {
    let mut offsets = [0; ENTRIES];
    let mut size = 0;
    for ((offset, &at), &width) in offsets.iter_mut().zip(&shape.entries).zip(&WIDTHS) {
        let (said, width) = (u64::from_le_bytes(*table.get(usize::from(at))?), u64::from(width));
        if width == 0 {
            size = said.min(MAX_SIZE);
        } else if at != 0 {
            *offset = u16::try_from(said).ok()?;
            if said & (width - 1) != 0 || said + width > size {
                return None;
            }
        }
    }
    Some(offsets)
}

/// Puts the offsets into `layout`: that of the list of interpreters in `_PyRuntime`. A struct is assigned at a time, or all
/// offsets would be kept on the stack until the last is known.
#[inline(never)]
fn fill(layout: &mut Layout, shape: &Shape, offsets: &[u16; ENTRIES], free_threaded: bool) -> Option<u16> {
    let [_, interpreters, rest @ ..] = offsets;
    let [_, id, next_interpreter, threads, gil, own_gil, enabled, locked, holder, generation, rest @ ..] =
        rest;
    let [_, next_thread, interpreter, current_frame, base_frame, ident, native, status, rest @ ..] = rest;
    let [_, previous, executable, instruction, owner, index, rest @ ..] = rest;
    let [_, file_name, name, line_table, first_line, names, bytecode, copies, rest @ ..] = rest;
    let [_, object_type, _, type_name, _, bytes_size, bytes_first, rest @ ..] = rest;
    let [_, state, length, ascii, compact] = rest;
    layout.interpreter = Interpreter {
        next: Field::at(*next_interpreter),
        threads: Field::at(*threads),
        id: Some(Field::at(*id)),
        code_generation: optional(*generation),
    };
    layout.thread = Thread {
        next: Field::at(*next_thread),
        interpreter: Field::at(*interpreter),
        ident: Field::at(*ident),
        native: Some(Field::at(*native)),
        native_is_own: true,
        status: Some(Field::at(*status)),
    };
    layout.current_frame = CurrentFrame::InThread(Field::at(*current_frame));
    layout.frame = Frame {
        code: Field::at(*executable),
        tag_mask: shape.tag_mask,
        previous: Field::at(*previous),
        position: pointer(*instruction, *bytecode, (*copies, *index)),
        owner: Some(Owner { field: Field::at(*owner), shim: SHIM_OWNER }),
        base: optional(*base_frame),
        room: layout.frame.room,
    };
    layout.code = Code {
        file_name: Field::at(*file_name),
        name: Field::at(*name),
        line_table: Field::at(*line_table),
        first_line: Field::at(*first_line),
        // co_version is the int right before co_localsplusnames (cpython/code.h, _PyCode_DEF).
        version: Some(Field::at(names.checked_sub(4)?)),
    };
    let bits = if free_threaded && shape.wide_string_state { StateBits::WIDE } else { StateBits::NARROW };
    // PyCompactUnicodeObject adds a length and a pointer to PyASCIIObject (cpython/unicodeobject.h).
    let compact = if *compact == 0 { ascii.checked_add(16)? } else { *compact };
    layout.strings = Strings::unicode(*length, *state, bits, [*ascii, compact]);
    layout.bytes = Bytes { size: Field::at(*bytes_size), first: *bytes_first };
    layout.gil = Gil::PerInterpreter {
        gil: Field::at(*gil),
        // Given as offsets into the interpreter's own GIL; the pointer may lead to another interpreter's.
        locked: Field::at(locked.checked_sub(*own_gil)?),
        holder: Field::at(holder.checked_sub(*own_gil)?),
        enabled: free_threaded.then_some(Field::at(*enabled)),
    };
    layout.object_type = Field::at(*object_type);
    layout.type_name = Field::at(*type_name);
    Some(*interpreters)
}

/// A position in a bytecode, or in the copy of it that a frame runs: an array of them and its index, which builds with a
/// GIL do not have.
fn pointer(instruction: u16, bytecode: u16, (array, index): (u16, u16)) -> Position {
    let copies = optional(array).zip(optional(index)).map(|(array, index)| Copies { array, index });
    Position::Pointer { instruction: Field::at(instruction), bytecode, copies }
}

/// The field at an offset, unless that is 0: this version has no such entry.
fn optional<T>(offset: u16) -> Option<Field<T>> {
    (offset != 0).then_some(Field::at(offset))
}

#[cfg(test)]
mod tests;
