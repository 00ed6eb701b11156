//! All memory that the program ever uses: a handful of regions, mapped once. Each bound is here.

use crate::prefetch;
use crate::profile;
use crate::python::code;
use crate::python::frames::Seen;
use crate::python::threads::Thread;
use crate::sys::region::region;
use crate::target::Mapped;
use rustix::io::Errno;

/// Frames of one stack. Deeper ones keep their innermost frames.
const DEPTH: usize = 1 << 14;
/// Threads of one sample.
const THREADS: usize = 1 << 14;
/// Pages that one sample can read; each can take part three times.
const PAGES: usize = 1 << 12;
/// Images of a process.
const IMAGES: usize = 1 << 12;
/// Bytes of the longest name that is kept whole, its mark of being cut included.
const NAME: usize = (64 << 10) + 3;
/// Different names and functions.
const NAMES: usize = 1 << 18;
/// Nodes of the tree.
const NODES: usize = 1 << 22;
/// Code objects and positions in them that are remembered.
const CODES: usize = 1 << 14;
const POSITIONS: usize = 1 << 16;
/// Slots of an index, for each item it takes.
const SLOTS: usize = 4;

/// The regions, handed out once.
pub struct Storage {
    /// Images of the target.
    pub images: &'static mut [Mapped],
    /// Their names.
    pub image_names: &'static mut [u8],
    /// The prefetching memory's.
    pub prefetch: prefetch::Storage,
    /// The profile's.
    pub profile: profile::Storage,
    /// The code objects'.
    pub codes: code::Storage,
    /// Threads of a sample.
    pub threads: &'static mut [Thread],
    /// Frames of a stack as found.
    pub seen: &'static mut [Seen],
    /// Frames of a stack by name.
    pub frames: &'static mut [profile::Frame],
}

impl Storage {
    /// Maps them.
    pub fn map() -> Result<Storage, Errno> {
        Ok(Storage {
            images: region(IMAGES)?,
            image_names: region(IMAGES * 64)?,
            prefetch: prefetch::Storage {
                pages: region(PAGES)?,
                spans: region(3 * PAGES)?,
                buffer: region(3 * PAGES * prefetch::PAGE as usize)?,
            },
            profile: profile::Storage {
                name_bytes: region(NAMES * 128)?,
                name_spans: region(NAMES)?,
                name_index: region(NAMES * SLOTS)?,
                functions: region(NAMES)?,
                function_index: region(NAMES * SLOTS)?,
                nodes: region(NODES)?,
                node_index: region(NODES * SLOTS)?,
                last: region(DEPTH)?,
            },
            codes: code::Storage {
                known: region(CODES)?,
                known_index: region(CODES * SLOTS)?,
                located: region(POSITIONS)?,
                located_index: region(POSITIONS * SLOTS)?,
                text: region(NAME)?,
                text2: region(NAME)?,
            },
            threads: region(THREADS)?,
            seen: region(DEPTH)?,
            frames: region(DEPTH)?,
        })
    }
}
