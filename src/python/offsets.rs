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
use super::lines::LineTable;
use super::strings;
use super::versions::{Minor, minor_of};
use crate::memory::{Addr, Field, Memory, Miss};

/// The first eight bytes.
pub const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
/// Where the GIL's thread state and the rest of an interpreter lie: no struct is as large as this.
const MAX_OFFSET: u64 = 1 << 20;
/// Frames up from this owner are no Python frames (FRAME_OWNED_BY_CSTACK in 3.13, then FRAME_OWNED_BY_INTERPRETER).
const SHIM_OWNER: u8 = 3;

/// Where in the table the entries are, in bytes. 0: this version has no such entry.
struct Shape {
    version: Minor,
    interpreters_head: u16,
    interpreter: [u16; 10], // size, id, next, threads, gil pointer, gil, enabled, locked, holder, code generation
    thread: [u16; 7],       // size, next, interpreter, current frame, ident, native id, status
    frame: [u16; 6],        // size, previous, executable, instruction, owner, index of the bytecode copy
    code: [u16; 8], // size, file name, qualified name, line table, first line, localsplusnames, bytecode, copies
    object_type: u16,
    type_name: u16,
    bytes: [u16; 3],   // size, ob_size, ob_sval
    unicode: [u16; 5], // size, state, length, size of PyASCIIObject, size of PyCompactUnicodeObject
    tag_mask: u64,
    /// Whether a free-threaded build keeps the interned state of a str in a byte of its own.
    wide_string_state: bool,
}

static SHAPES: [Shape; 3] = [
    Shape {
        version: 0x30d,
        interpreters_head: 40,
        interpreter: [48, 56, 64, 72, 112, 120, 128, 136, 144, 0],
        thread: [152, 168, 176, 184, 192, 200, 216],
        frame: [224, 232, 240, 248, 264, 0],
        code: [272, 280, 296, 304, 312, 328, 344, 0],
        object_type: 360,
        type_name: 376,
        bytes: [512, 520, 528],
        unicode: [536, 544, 552, 560, 0],
        tag_mask: 0,
        wide_string_state: false,
    },
    Shape {
        version: 0x30e,
        interpreters_head: 40,
        interpreter: [48, 56, 64, 72, 120, 128, 136, 144, 152, 160],
        thread: [176, 192, 200, 208, 216, 224, 240],
        frame: [248, 256, 264, 272, 288, 304],
        code: [312, 320, 336, 344, 352, 368, 384, 392],
        object_type: 408,
        type_name: 424,
        bytes: [592, 600, 608],
        unicode: [616, 624, 632, 640, 0],
        tag_mask: 3,
        wide_string_state: true,
    },
    Shape {
        version: 0x30f,
        interpreters_head: 40,
        interpreter: [48, 56, 64, 72, 120, 128, 136, 144, 152, 160],
        thread: [176, 192, 200, 208, 240, 248, 264],
        frame: [312, 320, 328, 336, 352, 368],
        code: [376, 384, 400, 408, 416, 432, 448, 456],
        object_type: 472,
        type_name: 488,
        bytes: [688, 696, 704],
        unicode: [712, 720, 728, 736, 744],
        tag_mask: 3,
        wide_string_state: true,
    },
];

/// Bytes of the longest table, of which nothing behind is read.
const TABLE: usize = 888;

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
    if memory.word::<u64>(runtime)? != COOKIE {
        return Ok(None);
    }
    let version = memory.word(runtime.plus(8))?;
    Ok(Some(Header { version, free_threaded: memory.word::<u64>(runtime.plus(16))? != 0 }))
}

/// The layout that the table at `runtime` describes for `version`, and the offset of the list of interpreters in
/// `_PyRuntime`. Errors: `Nonsense` when an entry cannot be right under any shape that the version may have.
pub fn read<M: Memory>(memory: &M, runtime: Addr, header: Header) -> Result<(Layout, u32), Miss> {
    let mut raw = [0; TABLE];
    memory.read(runtime, &mut raw)?;
    let minor = minor_of(header.version);
    // An alpha or beta may still have the shape of the version before (a 3.15.0a0 did).
    let fitting = SHAPES.iter().rev().filter(|shape| shape.version <= minor).take(2);
    let mut layouts = fitting.filter_map(|shape| layout(shape, &Table { raw: &raw }, header.free_threaded));
    layouts.next().ok_or(Miss::Nonsense(runtime))
}

struct Table<'a> {
    raw: &'a [u8; TABLE],
}

impl Table<'_> {
    fn entry(&self, at: u16) -> Option<u64> {
        let bytes = self.raw.get(at as usize..at as usize + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// An offset of a field of `width` bytes that lies within its struct of `size` bytes and is aligned.
    fn offset(&self, at: u16, size: u64, width: u64) -> Option<u32> {
        let offset = self.entry(at)?;
        (size <= MAX_OFFSET && offset.is_multiple_of(width) && offset.checked_add(width)? <= size)
            .then_some(offset as u32)
    }

    fn field<T: crate::memory::Word>(&self, at: u16, size: u64) -> Option<Field<T>> {
        self.offset(at, size, T::SIZE as u64).map(Field::at)
    }

    /// A field that a version or a build may be without: no entry, or an entry of 0. `None` when it cannot be right.
    fn absent_or<T: crate::memory::Word>(&self, at: u16, size: u64) -> Option<Option<Field<T>>> {
        if at == 0 || self.entry(at)? == 0 { Some(None) } else { self.field(at, size).map(Some) }
    }
}

fn layout(shape: &Shape, table: &Table<'_>, free_threaded: bool) -> Option<(Layout, u32)> {
    let object_type = table.field(shape.object_type, 64)?;
    let layout = Layout {
        interpreter: interpreter(shape, table)?,
        thread: thread(shape, table)?,
        current_frame: CurrentFrame::InThread(table.field(shape.thread[3], table.entry(shape.thread[0])?)?),
        frame: frame(shape, table)?,
        code: code(shape, table)?,
        strings: unicode(shape, table, free_threaded)?,
        bytes: Bytes {
            size: table.field(shape.bytes[1], table.entry(shape.bytes[0])?)?,
            first: table.offset(shape.bytes[2], table.entry(shape.bytes[0])?, 1)?,
        },
        lines: LineTable::Locations,
        gil: gil(shape, table, free_threaded)?,
        object_type,
        type_name: table.field(shape.type_name, MAX_OFFSET)?,
    };
    Some((layout, table.offset(shape.interpreters_head, MAX_OFFSET, 8)?))
}

fn interpreter(shape: &Shape, table: &Table<'_>) -> Option<Interpreter> {
    let [size, id, next, threads, .., generation] = shape.interpreter;
    let size = table.entry(size)?;
    Some(Interpreter {
        next: table.field(next, size)?,
        threads: table.field(threads, size)?,
        id: Some(table.field(id, size)?),
        code_generation: table.absent_or(generation, size)?,
    })
}

fn thread(shape: &Shape, table: &Table<'_>) -> Option<Thread> {
    let [size, next, interpreter, _, ident, native, status] = shape.thread;
    let size = table.entry(size)?;
    Some(Thread {
        next: table.field(next, size)?,
        interpreter: table.field(interpreter, size)?,
        ident: table.field(ident, size)?,
        native: Some(table.field(native, size)?),
        native_is_own: true,
        status: Some(table.field(status, size)?),
    })
}

fn frame(shape: &Shape, table: &Table<'_>) -> Option<Frame> {
    let [size, previous, executable, instruction, owner, index] = shape.frame;
    let size = table.entry(size)?;
    let [code_size, .., bytecode, copies] = shape.code;
    let code_size = table.entry(code_size)?;
    let copies = match (table.absent_or(copies, code_size)?, table.absent_or(index, size)?) {
        (Some(array), Some(index)) => Some(Copies { array, index }),
        _ => None,
    };
    Some(Frame {
        code: table.field(executable, size)?,
        tag_mask: shape.tag_mask,
        previous: table.field(previous, size)?,
        position: Position::Pointer {
            instruction: table.field(instruction, size)?,
            bytecode: table.offset(bytecode, code_size.checked_add(8)?, 2)?,
            copies,
        },
        owner: Some(Owner { field: table.field(owner, size)?, shim: SHIM_OWNER }),
        room: 512,
    })
}

fn code(shape: &Shape, table: &Table<'_>) -> Option<Code> {
    let [size, file_name, name, line_table, first_line, names, ..] = shape.code;
    let size = table.entry(size)?;
    // co_version is the int right before co_localsplusnames (cpython/code.h, _PyCode_DEF).
    let version = table.offset(names, size, 8)?.checked_sub(4)?;
    Some(Code {
        file_name: table.field(file_name, size)?,
        name: table.field(name, size)?,
        line_table: table.field(line_table, size)?,
        first_line: table.field(first_line, size)?,
        version: Some(Field::at(version)),
    })
}

fn unicode(shape: &Shape, table: &Table<'_>, free_threaded: bool) -> Option<strings::Strings> {
    let [size, state, length, ascii, compact] = shape.unicode;
    let size = table.entry(size)?;
    let ascii = table.offset(ascii, MAX_OFFSET, 8)?;
    // PyCompactUnicodeObject adds a length and a pointer to PyASCIIObject (cpython/unicodeobject.h).
    let compact = if compact == 0 { ascii + 16 } else { table.offset(compact, MAX_OFFSET, 8)? };
    let any = u32::try_from(size.checked_sub(8).filter(|any| *any < MAX_OFFSET)?).ok()?;
    let bits = if free_threaded && shape.wide_string_state {
        strings::StateBits::WIDE
    } else {
        strings::StateBits::NARROW
    };
    Some(strings::Strings::Unicode {
        length: table.field(length, size)?,
        state: table.field(state, size)?,
        bits,
        ascii,
        compact,
        any: Field::at(any),
    })
}

fn gil(shape: &Shape, table: &Table<'_>, free_threaded: bool) -> Option<Gil> {
    let [size, _, _, _, pointer, inside, enabled, locked, holder, _] = shape.interpreter;
    let size = table.entry(size)?;
    // Given as offsets into the interpreter's own GIL; the pointer may lead to another interpreter's.
    let base = table.offset(inside, size, 8)?;
    Some(Gil::PerInterpreter {
        gil: table.field(pointer, size)?,
        locked: Field::at(table.offset(locked, size, 4)?.checked_sub(base)?),
        holder: Field::at(table.offset(holder, size, 8)?.checked_sub(base)?),
        enabled: if free_threaded { Some(table.field(enabled, MAX_OFFSET)?) } else { None },
    })
}
