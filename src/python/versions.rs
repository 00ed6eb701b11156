//! One row a version: where CPython keeps things before it publishes that itself (3.13), and what it never
//! publishes. The offsets are those of 64-bit release builds; they were taken from the headers and the DWARF of each
//! version (Include/pystate.h, frameobject.h, code.h, internal/pycore_*.h) and are the same in every micro release,
//! but for what `micro` says.
//!
//! A new version needs no row when only offsets moved. When a row is needed it goes at the end of [`ROWS`].

use super::layout::*;
use super::lines::LineTable;
use super::strings;
use crate::memory::Field;

/// `major << 8 | minor`, as in the upper half of PY_VERSION_HEX.
pub type Minor = u16;

/// The version in a PY_VERSION_HEX (Include/patchlevel.h: major, minor, micro, level and serial, a byte each).
pub const fn minor_of(hex: u64) -> Minor {
    (hex >> 16) as u16
}

/// A version whose layout is in the table.
pub struct Row {
    /// Which one.
    pub version: Minor,
    /// Its layout.
    pub layout: Layout,
    /// Where the runtime keeps what is the same for all interpreters.
    pub runtime: Runtime,
}

/// The roots of a version.
#[derive(Clone, Copy)]
pub enum Runtime {
    /// Variables of their own: `interp_head`, `_PyThreadState_Current`.
    Variables,
    /// Fields of `_PyRuntime`: the interpreters, and the GIL holder where there is one GIL for all.
    Struct {
        /// `interpreters.head`.
        interpreters: u16,
        /// `gilstate.tstate_current`, and where it is in another build: when the symbol has so many bytes.
        holder: Option<Holder>,
    },
}

/// Offset of `gilstate.tstate_current` in `_PyRuntime`.
#[derive(Clone, Copy)]
pub struct Holder {
    /// On x86_64.
    pub offset: u16,
    /// On aarch64, where pthread_mutex_t is larger.
    pub aarch64: u16,
    /// Early micro releases, told apart by the size of the struct: they have it so many bytes earlier.
    pub early: Option<Early>,
}

impl Holder {
    /// The offset in a `_PyRuntime` of `size` bytes, 0 when its size is not known.
    pub fn offset_in(&self, size: u64, aarch64: bool) -> u16 {
        let offset = if aarch64 { self.aarch64 } else { self.offset };
        let early = self.early.filter(|early| early.sizes.iter().any(|&early| u64::from(early) == size));
        offset - early.map_or(0, |early| early.before)
    }
}

/// How many bytes `ceval.gil.last_holder` comes before `gilstate.tstate_current` (3.7 to 3.11): a mutex, or two, and two
/// condition variables lie between them.
pub const fn last_holder(aarch64: bool) -> u16 {
    if aarch64 { 224 } else { 208 }
}

/// Micro releases that differ.
#[derive(Clone, Copy)]
pub struct Early {
    /// Size of `_PyRuntime` in them, on x86_64 and aarch64.
    pub sizes: [u16; 2],
    /// Bytes by which the holder comes earlier.
    pub before: u16,
}

/// Frames are objects of their own (up to 3.10).
const fn frame_object(lasti: u16, unit: u8) -> Frame {
    Frame {
        code: Field::at(32),
        tag_mask: 0,
        previous: Field::at(24),
        position: Position::Index { lasti: Field::at(lasti), unit },
        owner: None,
        base: None,
        room: 0,
    }
}

const fn code(file_name: u16, name: u16, line_table: u16, first_line: u16, version: Option<u16>) -> Code {
    Code {
        file_name: Field::at(file_name),
        name: Field::at(name),
        line_table: Field::at(line_table),
        first_line: Field::at(first_line),
        version: match version {
            Some(offset) => Some(Field::at(offset)),
            None => None,
        },
    }
}

const fn thread(next: u16, ident: u16, native: Option<u16>) -> Thread {
    Thread {
        next: Field::at(next),
        interpreter: Field::at(next + 8),
        ident: Field::at(ident),
        native: match native {
            Some(offset) => Some(Field::at(offset)),
            None => None,
        },
        native_is_own: false,
        status: None,
    }
}

const fn interpreter(threads: u16, id: Option<u16>) -> Interpreter {
    Interpreter {
        next: Field::at(0),
        threads: Field::at(threads),
        id: match id {
            Some(offset) => Some(Field::at(offset)),
            None => None,
        },
        code_generation: None,
    }
}

/// What changes least, in the values of 3.6 to 3.9; the rows below say where they differ.
const OBJECTS: Layout = Layout {
    interpreter: interpreter(8, None),
    thread: thread(8, 152, None),
    current_frame: CurrentFrame::InThread(Field::at(24)),
    frame: frame_object(120, 1),
    code: code(96, 104, 112, 36, None),
    strings: strings::V3_3,
    bytes: Bytes { size: Field::at(16), first: 32 },
    lines: LineTable::LnotabSigned,
    gil: Gil::Word,
    object_type: Field::at(8),
    type_name: Field::at(24),
};

const V2_6: Layout = Layout {
    thread: thread(0, 144, None),
    current_frame: CurrentFrame::InThread(Field::at(16)),
    code: code(80, 88, 104, 96, None),
    strings: strings::V2,
    bytes: Bytes { size: Field::at(16), first: 36 },
    lines: LineTable::LnotabUnsigned,
    ..OBJECTS
};

const V3_3: Layout = Layout {
    thread: thread(0, 144, None),
    current_frame: CurrentFrame::InThread(Field::at(16)),
    code: code(96, 104, 120, 112, None),
    lines: LineTable::LnotabUnsigned,
    ..OBJECTS
};

const V3_4: Layout = Layout { thread: OBJECTS.thread, current_frame: OBJECTS.current_frame, ..V3_3 };

const V3_7: Layout = Layout {
    interpreter: interpreter(8, Some(16)),
    thread: thread(8, 176, None),
    frame: frame_object(104, 1),
    ..OBJECTS
};

const V3_8: Layout = Layout { code: code(104, 112, 120, 40, None), ..V3_7 };

const V3_9: Layout = Layout { interpreter: interpreter(8, Some(24)), ..V3_8 };

const V3_10: Layout = Layout { frame: frame_object(96, 2), lines: LineTable::Deltas, ..V3_9 };

const V3_11: Layout = Layout {
    interpreter: interpreter(16, Some(48)),
    thread: thread(8, 152, Some(160)),
    current_frame: CurrentFrame::InCFrame { cframe: Field::at(56), current: Field::at(8) },
    frame: Frame {
        code: Field::at(32),
        tag_mask: 0,
        previous: Field::at(48),
        position: Position::Pointer { instruction: Field::at(56), bytecode: 184, copies: None },
        owner: None,
        base: None,
        room: 512,
    },
    code: code(112, 128, 136, 72, None),
    lines: LineTable::Locations,
    ..OBJECTS
};

const V3_12: Layout = Layout {
    interpreter: interpreter(72, Some(8)),
    thread: Thread { status: Some(Field::at(24)), ..thread(8, 136, Some(144)) },
    current_frame: CurrentFrame::InCFrame { cframe: Field::at(56), current: Field::at(0) },
    frame: Frame {
        code: Field::at(0),
        previous: Field::at(8),
        position: Position::Pointer { instruction: Field::at(56), bytecode: 192, copies: None },
        owner: Some(Owner { field: Field::at(70), shim: 3 }),
        ..V3_11.frame
    },
    code: code(112, 128, 136, 68, Some(92)),
    strings: strings::V3_12,
    gil: Gil::PerInterpreter {
        gil: Field::at(384),
        locked: Field::at(16),
        holder: Field::at(8),
        enabled: None,
    },
    ..V3_11
};

const fn holder(offset: u16, aarch64: u16) -> Option<Holder> {
    Some(Holder { offset, aarch64, early: None })
}

const fn row(version: Minor, layout: Layout, runtime: Runtime) -> Row {
    Row { version, layout, runtime }
}

/// The versions that do not publish their layout, in order.
pub static ROWS: [Row; 12] = [
    row(0x206, V2_6, Runtime::Variables),
    row(0x207, V2_6, Runtime::Variables),
    row(0x303, V3_3, Runtime::Variables),
    row(0x304, V3_4, Runtime::Variables),
    row(0x305, V3_4, Runtime::Variables),
    row(0x306, OBJECTS, Runtime::Variables),
    row(
        0x307,
        V3_7,
        Runtime::Struct {
            interpreters: 24,
            holder: Some(Holder {
                offset: 1480,
                aarch64: 1496,
                early: Some(Early { sizes: [1424, 1440], before: 88 }), // 3.7.0 to 3.7.3
            }),
        },
    ),
    row(0x308, V3_8, Runtime::Struct { interpreters: 32, holder: holder(1368, 1384) }),
    row(0x309, V3_9, Runtime::Struct { interpreters: 32, holder: holder(568, 584) }),
    row(0x30a, V3_10, Runtime::Struct { interpreters: 32, holder: holder(568, 584) }),
    row(0x30b, V3_11, Runtime::Struct { interpreters: 40, holder: holder(576, 592) }),
    row(0x30c, V3_12, Runtime::Struct { interpreters: 40, holder: None }),
];

/// From here on an interpreter publishes its layout (`offsets`).
pub const FIRST_PUBLISHED: Minor = 0x30d;
/// The newest version that was there when this was written; a later one is read by its own table.
pub const NEWEST: Minor = 0x30f;

const _: () = {
    let mut i = 1;
    while i < ROWS.len() {
        assert!(ROWS[i - 1].version < ROWS[i].version, "rows are in order, none twice");
        i += 1;
    }
    assert!(ROWS[ROWS.len() - 1].version < FIRST_PUBLISHED);
};

/// The row of a version.
pub fn row_of(version: Minor) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.version == version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NUMBERS, numbers, state_bits};

    #[test]
    fn rows_are_the_numbers_of_the_headers() {
        for expected in NUMBERS.iter().filter(|numbers| numbers.version < FIRST_PUBLISHED) {
            let row = row_of(expected.version).unwrap();
            let roots = match row.runtime {
                Runtime::Variables => [-1; 3],
                Runtime::Struct { interpreters, holder } => [
                    interpreters.into(),
                    holder.map_or(-1, |holder| holder.offset_in(0, false).into()),
                    holder.map_or(-1, |holder| holder.offset_in(0, true).into()),
                ],
            };
            let mut found = numbers(expected.name, expected.version, &row.layout);
            found.runtime = roots;
            assert_eq!(found, *expected);
            let bits = (expected.version >= 0x300).then_some(strings::StateBits::NARROW);
            assert_eq!(state_bits(&row.layout), bits, "{}", expected.name);
        }
        let published = NUMBERS.iter().filter(|numbers| numbers.version >= FIRST_PUBLISHED);
        assert_eq!(ROWS.len() + published.count(), NUMBERS.len());
    }

    #[test]
    fn instructions_are_counted_in_units_of_their_version() {
        for row in &ROWS {
            let (unit, lines) = match row.version {
                0x206..=0x305 => (Some(1), LineTable::LnotabUnsigned),
                0x306..=0x309 => (Some(1), LineTable::LnotabSigned),
                0x30a => (Some(2), LineTable::Deltas),
                _ => (None, LineTable::Locations),
            };
            let found = match row.layout.frame.position {
                Position::Index { unit, .. } => Some(unit),
                Position::Pointer { copies, .. } => {
                    assert!(copies.is_none());
                    None
                }
            };
            assert_eq!((found, row.layout.lines), (unit, lines), "{:x}", row.version);
        }
    }

    /// 3.7.0 to 3.7.3 are told by the size of the struct: 1392 and 1408 (aarch64) instead of 1480 and 1496.
    #[test]
    fn early_releases_of_3_7_are_told_by_their_size() {
        let Runtime::Struct { holder: Some(holder), .. } = row_of(0x307).unwrap().runtime else {
            unreachable!()
        };
        for (size, aarch64, offset) in [
            (1424, false, 1392),
            (1440, true, 1408),
            (1520, false, 1480),
            (1536, true, 1496),
            (0, false, 1480),
            (u64::MAX, true, 1496),
        ] {
            assert_eq!(holder.offset_in(size, aarch64), offset, "{size}");
        }
    }

    #[test]
    fn versions_are_found_by_their_upper_half() {
        assert_eq!(minor_of(0x0308_12f0), 0x308);
        assert_eq!(minor_of(0xffff_ffff_030f_00a1), 0x30f);
        assert!(row_of(0x302).is_none() && row_of(FIRST_PUBLISHED).is_none() && row_of(0).is_none());
        assert!(NUMBERS.iter().all(|numbers| numbers.version <= NEWEST));
    }
}
