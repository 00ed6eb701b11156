//! What the headers and the DWARF of each version say (Include/ and Include/internal/pycore_*.h, 64-bit release builds;
//! `t` is the free-threaded build), written down a second time, as numbers in a row: the tests compare `versions` and
//! `offsets` with them.

use crate::memory::Field;
use crate::python::layout::{CurrentFrame, Gil, Layout, Position};
use crate::python::offsets::{self, COOKIE, Header};
use crate::python::strings::{StateBits, Strings};
use crate::python::versions;
use std::vec::Vec;

/// Offsets in bytes; -1 where there is no such field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    pub name: &'static str,
    pub version: u16,
    /// PyInterpreterState: next, tstate_head, id, _code_object_generation.
    pub interpreter: [i32; 4],
    /// PyThreadState: next, interp, frame or cframe or current_frame, current_frame in the cframe, thread_id,
    /// native_thread_id, _status.
    pub thread: [i32; 7],
    /// f_code, f_back, f_lasti, owner, tlbc_index, and what they are called from 3.11 on.
    pub frame: [i32; 5],
    /// co_filename, co_name or co_qualname, co_lnotab or co_linetable, co_firstlineno, co_version,
    /// co_code_adaptive, co_tlbc.
    pub code: [i32; 7],
    /// str: length, state, characters if ASCII, characters if compact, data.any.
    pub strings: [i32; 5],
    /// bytes, str in 2.x: ob_size, ob_sval.
    pub bytes: [i32; 2],
    /// ceval.gil in the interpreter; locked, last_holder, enabled in the GIL.
    pub gil: [i32; 4],
    /// ob_type, tp_name.
    pub object: [i32; 2],
    /// _PyRuntime: interpreters.head, gilstate.tstate_current, the same on aarch64.
    pub runtime: [i32; 3],
}

/// One row a version.
pub const NUMBERS: [Numbers; 18] = [
    Numbers {
        name: "2.6",
        version: 0x206,
        interpreter: [0, 8, -1, -1],
        thread: [0, 8, 16, -1, 144, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [80, 88, 104, 96, -1, -1, -1],
        strings: [16, -1, 36, -1, -1],
        bytes: [16, 36],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "2.7",
        version: 0x207,
        interpreter: [0, 8, -1, -1],
        thread: [0, 8, 16, -1, 144, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [80, 88, 104, 96, -1, -1, -1],
        strings: [16, -1, 36, -1, -1],
        bytes: [16, 36],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "3.3",
        version: 0x303,
        interpreter: [0, 8, -1, -1],
        thread: [0, 8, 16, -1, 144, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [96, 104, 120, 112, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "3.4",
        version: 0x304,
        interpreter: [0, 8, -1, -1],
        thread: [8, 16, 24, -1, 152, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [96, 104, 120, 112, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "3.5",
        version: 0x305,
        interpreter: [0, 8, -1, -1],
        thread: [8, 16, 24, -1, 152, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [96, 104, 120, 112, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "3.6",
        version: 0x306,
        interpreter: [0, 8, -1, -1],
        thread: [8, 16, 24, -1, 152, -1, -1],
        frame: [32, 24, 120, -1, -1],
        code: [96, 104, 112, 36, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [-1, -1, -1],
    },
    Numbers {
        name: "3.7",
        version: 0x307,
        interpreter: [0, 8, 16, -1],
        thread: [8, 16, 24, -1, 176, -1, -1],
        frame: [32, 24, 104, -1, -1],
        code: [96, 104, 112, 36, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [24, 1480, 1496],
    },
    Numbers {
        name: "3.8",
        version: 0x308,
        interpreter: [0, 8, 16, -1],
        thread: [8, 16, 24, -1, 176, -1, -1],
        frame: [32, 24, 104, -1, -1],
        code: [104, 112, 120, 40, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [32, 1368, 1384],
    },
    Numbers {
        name: "3.9",
        version: 0x309,
        interpreter: [0, 8, 24, -1],
        thread: [8, 16, 24, -1, 176, -1, -1],
        frame: [32, 24, 104, -1, -1],
        code: [104, 112, 120, 40, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [32, 568, 584],
    },
    Numbers {
        name: "3.10",
        version: 0x30a,
        interpreter: [0, 8, 24, -1],
        thread: [8, 16, 24, -1, 176, -1, -1],
        frame: [32, 24, 96, -1, -1],
        code: [104, 112, 120, 40, -1, -1, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [32, 568, 584],
    },
    Numbers {
        name: "3.11",
        version: 0x30b,
        interpreter: [0, 16, 48, -1],
        thread: [8, 16, 56, 8, 152, 160, -1],
        frame: [32, 48, 56, -1, -1],
        code: [112, 128, 136, 72, -1, 184, -1],
        strings: [16, 32, 48, 72, 72],
        bytes: [16, 32],
        gil: [-1, -1, -1, -1],
        object: [8, 24],
        runtime: [40, 576, 592],
    },
    Numbers {
        name: "3.12",
        version: 0x30c,
        interpreter: [0, 72, 8, -1],
        thread: [8, 16, 56, 0, 136, 144, 24],
        frame: [0, 8, 56, 70, -1],
        code: [112, 128, 136, 68, 92, 192, -1],
        strings: [16, 32, 40, 56, 56],
        bytes: [16, 32],
        gil: [384, 16, 8, -1],
        object: [8, 24],
        runtime: [40, -1, -1],
    },
    Numbers {
        name: "3.13",
        version: 0x30d,
        interpreter: [7264, 7344, 7272, -1],
        thread: [8, 16, 72, -1, 152, 160, 32],
        frame: [0, 8, 56, 70, -1],
        code: [112, 128, 136, 68, 92, 200, -1],
        strings: [16, 32, 40, 56, 56],
        bytes: [16, 32],
        gil: [16, 16, 8, -1],
        object: [8, 24],
        runtime: [632, -1, -1],
    },
    Numbers {
        name: "3.13t",
        version: 0x30d,
        interpreter: [7264, 7344, 7272, -1],
        thread: [8, 16, 72, -1, 152, 160, 32],
        frame: [0, 8, 56, 70, -1],
        code: [128, 144, 152, 84, 108, 216, -1],
        strings: [32, 48, 56, 72, 72],
        bytes: [32, 48],
        gil: [16, 24, 16, 0],
        object: [24, 40],
        runtime: [632, -1, -1],
    },
    Numbers {
        name: "3.14",
        version: 0x30e,
        interpreter: [7272, 7344, 7280, 7992],
        thread: [8, 16, 72, -1, 152, 160, 32],
        frame: [0, 8, 56, 74, -1],
        code: [112, 128, 136, 68, 92, 208, -1],
        strings: [16, 32, 40, 56, 56],
        bytes: [16, 32],
        gil: [16, 16, 8, -1],
        object: [8, 24],
        runtime: [808, -1, -1],
    },
    Numbers {
        name: "3.14t",
        version: 0x30e,
        interpreter: [7272, 7344, 7280, 8024],
        thread: [8, 16, 72, -1, 152, 160, 32],
        frame: [0, 8, 56, 78, 72],
        code: [128, 144, 152, 84, 108, 232, 224],
        strings: [32, 48, 56, 72, 72],
        bytes: [32, 48],
        gil: [16, 24, 16, 0],
        object: [24, 40],
        runtime: [808, -1, -1],
    },
    Numbers {
        name: "3.15",
        version: 0x30f,
        interpreter: [7264, 7336, 7272, 7944],
        thread: [8, 16, 72, -1, 176, 184, 32],
        frame: [0, 8, 56, 74, -1],
        code: [112, 128, 136, 68, 92, 208, -1],
        strings: [16, 32, 40, 56, 56],
        bytes: [16, 32],
        gil: [16, 16, 8, -1],
        object: [8, 24],
        runtime: [936, -1, -1],
    },
    Numbers {
        name: "3.15t",
        version: 0x30f,
        interpreter: [7264, 7336, 7272, 7952],
        thread: [8, 16, 72, -1, 176, 184, 32],
        frame: [0, 8, 56, 78, 72],
        code: [128, 144, 152, 84, 108, 232, 224],
        strings: [32, 48, 56, 72, 72],
        bytes: [32, 48],
        gil: [16, 24, 16, 0],
        object: [24, 40],
        runtime: [936, -1, -1],
    },
];

/// A `_Py_DebugOffsets` from the word behind `free_threaded` on.
pub struct Published {
    pub name: &'static str,
    /// PY_VERSION_HEX.
    pub version: u64,
    words: &'static [u64],
}

/// Those of 3.13.0, 3.13.15t, 3.14.8 and 3.15.0 as running interpreters have them, and two that no build at hand has,
/// with the numbers of its headers.
pub const PUBLISHED: [Published; 6] = [
    Published {
        name: "3.13",
        version: 0x030d00f0,
        words: &[
            283320, 608, 632, 194968, 7272, 7264, 7344, 7400, 7656, 7640, 7648, 16, 7752, 0, 7768, 7760, 304,
            0, 8, 16, 72, 152, 160, 232, 32, 80, 8, 0, 56, 72, 70, 208, 112, 120, 128, 136, 68, 52, 96, 104,
            200, 16, 8, 416, 24, 88, 168, 32, 24, 16, 40, 24, 16, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32,
            64, 32, 16, 40, 240, 200,
        ],
    },
    Published {
        name: "3.13t",
        version: 0x030d0ff0,
        words: &[
            328384, 608, 632, 215616, 7272, 7264, 7344, 7400, 7664, 7648, 7656, 16, 7760, 0, 7784, 7776, 312,
            0, 8, 16, 72, 152, 160, 232, 32, 80, 8, 0, 56, 72, 70, 224, 128, 136, 144, 152, 84, 68, 112, 120,
            216, 32, 24, 432, 40, 104, 184, 48, 40, 32, 56, 40, 32, 64, 48, 56, 40, 32, 48, 32, 40, 56, 32,
            48, 80, 48, 32, 56, 248, 200,
        ],
    },
    Published {
        name: "3.14",
        version: 0x030e08f0,
        words: &[
            316616, 784, 808, 225864, 7280, 7272, 7344, 7360, 7408, 7688, 7672, 7680, 16, 7784, 0, 7800,
            7792, 7992, 0, 832, 0, 8, 16, 72, 152, 160, 232, 32, 88, 8, 0, 56, 80, 74, 64, 0, 216, 112, 120,
            128, 136, 68, 52, 96, 104, 208, 0, 16, 8, 416, 24, 88, 168, 40, 32, 16, 40, 24, 16, 200, 24, 40,
            32, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32, 64, 32, 16, 40, 264, 192, 160, 24, 72, 67, 0, 8,
            24, 304, 8076, 0, 4, 512,
        ],
    },
    Published {
        name: "3.14t",
        version: 0x030e08f0,
        words: &[
            362368, 784, 808, 246720, 7280, 7272, 7344, 7360, 7408, 7688, 7696, 7704, 16, 7808, 0, 7832,
            7824, 8024, 17628, 832, 0, 8, 16, 72, 152, 160, 232, 32, 88, 8, 0, 56, 80, 78, 64, 72, 240, 128,
            136, 144, 152, 84, 68, 112, 120, 232, 224, 32, 24, 432, 40, 88, 184, 40, 32, 16, 40, 24, 16, 200,
            24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24, 56, 32, 48, 80, 48, 32, 56, 264, 192, 160, 24, 72,
            67, 0, 8, 24, 304, 8076, 0, 4, 512,
        ],
    },
    Published {
        name: "3.15",
        version: 0x030f00f0,
        words: &[
            346568, 912, 936, 226240, 7272, 7264, 7336, 7352, 7400, 7592, 7576, 7584, 16, 7736, 0, 7752,
            7744, 7944, 0, 888, 0, 8, 16, 72, 80, 88, 96, 176, 184, 256, 32, 36, 40, 136, 288, 0, 88, 8, 0,
            56, 80, 74, 64, 0, 216, 112, 120, 128, 136, 68, 52, 96, 104, 208, 0, 16, 8, 424, 24, 88, 168, 32,
            288, 944, 888, 40, 32, 16, 40, 24, 16, 200, 24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16,
            32, 64, 32, 16, 40, 56, 176, 112, 120, 1112, 104, 160, 24, 72, 67, 0, 8, 24, 344, 8028, 0, 4,
            512,
        ],
    },
    Published {
        name: "3.15t",
        version: 0x030f00f0,
        words: &[
            406016, 912, 936, 247040, 7272, 7264, 7336, 7352, 7400, 7592, 7576, 7584, 16, 7736, 0, 7760,
            7752, 7952, 17564, 888, 0, 8, 16, 72, 80, 88, 96, 176, 184, 256, 32, 36, 40, 136, 288, 0, 88, 8,
            0, 56, 80, 78, 64, 72, 240, 128, 136, 144, 152, 84, 68, 112, 120, 232, 224, 32, 24, 440, 40, 88,
            184, 48, 304, 944, 888, 40, 32, 16, 40, 24, 16, 200, 24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24,
            56, 32, 48, 80, 48, 32, 56, 72, 176, 112, 120, 1112, 104, 160, 24, 72, 67, 0, 8, 24, 344, 8028,
            0, 4, 512,
        ],
    },
];

impl Published {
    /// Whether it is a free-threaded build's.
    pub fn free_threaded(&self) -> bool {
        self.name.ends_with('t')
    }

    /// The table and the words behind it, as they are in memory.
    pub fn bytes(&self) -> Vec<u8> {
        let head = [COOKIE, self.version, u64::from(self.free_threaded())];
        let behind = [1, 0x1_0000_0001, 1, 0, 0, 0, 0x5555_5570_0000, 0x5555_5570_0000, 1, 0x7f00_1234_5678];
        let words = head.iter().chain(self.words).chain(&behind).chain(&[0; 111]);
        words.take(111).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The layout that the program makes of it.
    pub fn layout(&self) -> Layout {
        let header = Header { version: self.version, free_threaded: self.free_threaded() };
        let bytes = self.bytes();
        let memory = crate::memory::Bytes { base: crate::memory::Addr(0x1000), bytes: &bytes };
        offsets::read(&memory, memory.base, header).unwrap().0
    }
}

/// Every layout that the program knows.
pub fn layouts() -> Vec<(&'static str, Layout)> {
    let rows = versions::ROWS.iter().map(|row| {
        let numbers = NUMBERS.iter().find(|numbers| numbers.version == row.version).unwrap();
        (numbers.name, row.layout)
    });
    rows.chain(PUBLISHED.iter().map(|table| (table.name, table.layout()))).collect()
}

/// The layout of version `name`.
pub fn layout(name: &str) -> Layout {
    layouts().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn number<T>(field: Field<T>) -> i32 {
    field.offset().into()
}

fn or_none<T>(field: Option<Field<T>>) -> i32 {
    field.map_or(-1, number)
}

/// A layout as a row of numbers, without the roots in the runtime.
pub fn numbers(name: &'static str, version: u16, layout: &Layout) -> Numbers {
    let (interpreter, thread, frame, code) =
        (&layout.interpreter, &layout.thread, &layout.frame, &layout.code);
    let (current, in_cframe) = match layout.current_frame {
        CurrentFrame::InThread(field) => (number(field), -1),
        CurrentFrame::InCFrame { cframe, current } => (number(cframe), number(current)),
    };
    let (position, bytecode, copies) = match frame.position {
        Position::Index { lasti, .. } => (number(lasti), -1, None),
        Position::Pointer { instruction, bytecode, copies } => (number(instruction), bytecode.into(), copies),
    };
    Numbers {
        name,
        version,
        interpreter: [
            number(interpreter.next),
            number(interpreter.threads),
            or_none(interpreter.id),
            or_none(interpreter.code_generation),
        ],
        thread: [
            number(thread.next),
            number(thread.interpreter),
            current,
            in_cframe,
            number(thread.ident),
            or_none(thread.native),
            or_none(thread.status),
        ],
        frame: [
            number(frame.code),
            number(frame.previous),
            position,
            or_none(frame.owner.map(|owner| owner.field)),
            or_none(copies.map(|copies| copies.index)),
        ],
        code: [
            number(code.file_name),
            number(code.name),
            number(code.line_table),
            number(code.first_line),
            or_none(code.version),
            bytecode,
            or_none(copies.map(|copies| copies.array)),
        ],
        strings: match layout.strings {
            Strings::Bytes { length, data } => [number(length), -1, data.into(), -1, -1],
            Strings::Unicode { length, state, ascii, compact, .. } => {
                [number(length), number(state), ascii.into(), compact.into(), compact.into()]
            }
        },
        bytes: [number(layout.bytes.size), layout.bytes.first.into()],
        gil: match layout.gil {
            Gil::Word => [-1; 4],
            Gil::PerInterpreter { gil, locked, holder, enabled } => {
                [number(gil), number(locked), number(holder), or_none(enabled)]
            }
        },
        object: [number(layout.object_type), number(layout.type_name)],
        runtime: [-1; 3],
    }
}

/// Where the bits of a str's state are in a layout.
pub fn state_bits(layout: &Layout) -> Option<StateBits> {
    match layout.strings {
        Strings::Bytes { .. } => None,
        Strings::Unicode { bits, .. } => Some(bits),
    }
}
