//! What one build of CPython looks like in memory: where the fields are, and as which variant each thing that differs
//! between versions is done. Holds no version number and no offset of its own: `versions` and `offsets` fill it.

use super::lines::LineTable;
use super::strings::Strings;
use crate::memory::{Addr, Field};

/// All that a walk over threads, frames and code objects has to know.
#[derive(Clone, Copy)]
pub struct Layout {
    /// PyInterpreterState.
    pub interpreter: Interpreter,
    /// PyThreadState.
    pub thread: Thread,
    /// How a thread names its innermost frame.
    pub current_frame: CurrentFrame,
    /// PyFrameObject, or from 3.11 on _PyInterpreterFrame.
    pub frame: Frame,
    /// PyCodeObject.
    pub code: Code,
    /// str.
    pub strings: Strings,
    /// The bytes object (str in 2.x) that holds a line table.
    pub bytes: Bytes,
    /// How a line table is written.
    pub lines: LineTable,
    /// Who holds the GIL.
    pub gil: Gil,
    /// Type pointer of every object.
    pub object_type: Field<Addr>,
    /// Name of a type, a C string.
    pub type_name: Field<Addr>,
}

/// Fields of PyInterpreterState.
#[derive(Clone, Copy)]
pub struct Interpreter {
    /// The next, older one.
    pub next: Field<Option<Addr>>,
    /// The newest of its threads.
    pub threads: Field<Option<Addr>>,
    /// Its number; before 3.7 there is none.
    pub id: Option<Field<i64>>,
    /// Changes whenever a code object is freed (3.14+).
    pub code_generation: Option<Field<u64>>,
}

/// Fields of PyThreadState.
#[derive(Clone, Copy)]
pub struct Thread {
    /// The next, older one.
    pub next: Field<Option<Addr>>,
    /// Its interpreter.
    pub interpreter: Field<Addr>,
    /// `threading.get_ident()`, a `pthread_t`.
    pub ident: Field<u64>,
    /// The kernel's thread id. Before 3.11 only the C library knows it.
    pub native: Option<Field<u64>>,
    /// Whether the native id is the thread's own even in a sub-interpreter (3.13+); before, it is that of the
    /// thread that made the state.
    pub native_is_own: bool,
    /// A word whose bit 4 says that the thread is attached to its interpreter (3.12+).
    pub status: Option<Field<u32>>,
}

/// Bit of `Thread::status` that is set while the thread may run Python code (cpython/pystate.h, `active`).
pub const ATTACHED: u32 = 1 << 4;

/// How a thread names its innermost frame.
#[derive(Clone, Copy)]
pub enum CurrentFrame {
    /// By a pointer in the thread state.
    InThread(Field<Option<Addr>>),
    /// By a pointer in a `_PyCFrame` on the C stack, to which the thread state points (3.11, 3.12).
    InCFrame {
        /// In the thread state.
        cframe: Field<Addr>,
        /// In the `_PyCFrame`.
        current: Field<Option<Addr>>,
    },
}

/// Fields of a frame.
#[derive(Clone, Copy)]
pub struct Frame {
    /// Its code object, and in the lowest bits what `tag_mask` covers.
    pub code: Field<u64>,
    /// Bits of `code` that are no part of the address (_PyStackRef, 3.14+).
    pub tag_mask: u8,
    /// The frame that called this one.
    pub previous: Field<Option<Addr>>,
    /// Which instruction it is at.
    pub position: Position,
    /// Who owns the memory of the frame. An owner from `shim` on means that it is no Python frame, but what the
    /// interpreter puts between C code and Python code.
    pub owner: Option<Owner>,
    /// In the thread state: the outermost frame, which is such a one (3.15+).
    pub base: Option<Field<Addr>>,
    /// Bytes behind a frame in which the next one may begin: frames lie one behind the other (3.11+).
    pub room: u16,
}

impl Frame {
    /// Whether a frame's position depends on what its code object says now.
    pub fn has_copies(&self) -> bool {
        matches!(self.position, Position::Pointer { copies: Some(_), .. })
    }
}

/// `_PyInterpreterFrame.owner`.
#[derive(Clone, Copy)]
pub struct Owner {
    /// One byte.
    pub field: Field<u8>,
    /// The lowest value that marks a frame to skip.
    pub shim: u8,
}

/// How a frame tells the instruction it is at.
#[derive(Clone, Copy)]
pub enum Position {
    /// By an index into the bytecode, in units of so many bytes; -1 before the first instruction.
    Index {
        /// `f_lasti`.
        lasti: Field<i32>,
        /// Bytes of a unit.
        unit: u8,
    },
    /// By a pointer to the instruction.
    Pointer {
        /// `prev_instr` or `instr_ptr`.
        instruction: Field<Addr>,
        /// Where the bytecode begins in the code object (`co_code_adaptive`).
        bytecode: u16,
        /// The per-thread copies of the bytecode (free-threaded builds from 3.14 on).
        copies: Option<Copies>,
    },
}

/// Per-thread copies of a code object's bytecode.
#[derive(Clone, Copy)]
pub struct Copies {
    /// In the code object: `co_tlbc`, an array of a length word and pointers.
    pub array: Field<Addr>,
    /// In the frame: which of them it runs.
    pub index: Field<i32>,
}

/// Fields of PyCodeObject.
#[derive(Clone, Copy)]
pub struct Code {
    /// str.
    pub file_name: Field<Addr>,
    /// str: `co_qualname` where there is one (3.11+), else `co_name`.
    pub name: Field<Addr>,
    /// bytes.
    pub line_table: Field<Addr>,
    /// Line of the `def`.
    pub first_line: Field<i32>,
    /// A number that no other code object gets, unless it is 0 (3.12+).
    pub version: Option<Field<u32>>,
}

/// A bytes object.
#[derive(Clone, Copy)]
pub struct Bytes {
    /// `ob_size`.
    pub size: Field<i64>,
    /// Offset of the first byte.
    pub first: u16,
}

/// Who holds the GIL.
#[derive(Clone, Copy)]
pub enum Gil {
    /// One word for the process points to the thread state of the holder (up to 3.11).
    Word,
    /// Each interpreter points to a GIL, its own or another's (3.12+).
    PerInterpreter {
        /// In the interpreter: `ceval.gil`.
        gil: Field<Option<Addr>>,
        /// In the GIL: 1 while it is held.
        locked: Field<i32>,
        /// In the GIL: the thread state that holds it, or held it last.
        holder: Field<Option<Addr>>,
        /// In the GIL: 0 when this interpreter runs without one (free-threaded builds).
        enabled: Option<Field<i32>>,
    },
}
