//! All memory that the program ever uses: a handful of regions, mapped once. Each bound is here.

use crate::prefetch;
use crate::profile;
use crate::python::code;
use crate::sampler;
use crate::sys::region::Arena;
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

/// What all of it takes of the address space, in bytes.
const ADDRESS_SPACE: usize = 384 << 20;

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
    /// The sampler's.
    pub lists: sampler::Storage,
}

impl Storage {
    /// Maps them.
    pub fn map() -> Result<Storage, Errno> {
        let mut arena = Arena::map(ADDRESS_SPACE)?;
        Ok(Storage {
            images: arena.region(IMAGES),
            image_names: arena.region(IMAGES * 64),
            prefetch: prefetch::Storage {
                pages: arena.region(PAGES),
                spans: arena.region(3 * PAGES),
                buffer: arena.region(3 * PAGES * prefetch::PAGE as usize),
            },
            profile: profile::Storage {
                name_bytes: arena.region(NAMES * 128),
                name_spans: arena.region(NAMES),
                name_index: arena.region(NAMES * SLOTS),
                functions: arena.region(NAMES),
                function_index: arena.region(NAMES * SLOTS),
                nodes: arena.region(NODES),
                node_index: arena.region(NODES * SLOTS),
                last: arena.region(DEPTH),
            },
            codes: code::Storage {
                known: arena.region(CODES),
                known_index: arena.region(CODES * SLOTS),
                located: arena.region(POSITIONS),
                located_index: arena.region(POSITIONS * SLOTS),
                calls: arena.region(POSITIONS),
                call_index: arena.region(POSITIONS * SLOTS),
                text: arena.region(NAME),
                text2: arena.region(NAME),
            },
            lists: sampler::Storage {
                threads: arena.region(THREADS),
                seen: arena.region(DEPTH),
                path: arena.region(DEPTH),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_space_holds_all_regions() {
        assert!(Storage::map().is_ok());
    }
}
