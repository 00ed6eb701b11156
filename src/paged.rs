//! Memory that keeps the pages it read last, so that a parser which asks for one word after the other costs one
//! system call a page.
//!
//! Owns some pages of what lies below it. Only for what does not change while it is looked at (headers, symbol
//! tables, files): a page stays as it was until [`Paged::forget`]. Refuses nothing: what does not fit in one page,
//! or lies in a page that cannot be read whole (the end of a file), is read from below as it was asked for.

use crate::memory::{Addr, Memory, Miss};
use core::cell::RefCell;

/// Bytes of a page: the smallest unit that can be mapped. Larger pages of the kernel consist of whole ones of these.
const PAGE: usize = 4096;
/// What is read at once. No more: who reads a page of a file that is not in memory waits for the file system, which may never
/// answer, and the pages beside those that the process itself has used need not be in memory.
pub type Block = [u8; PAGE];
/// Blocks that are of use. A symbol lookup goes to and fro between five places: dynamic section, hash table, chains,
/// symbols, names.
pub const BLOCKS: usize = 5;

/// A [`Memory`] that remembers pages of the one below.
pub struct Paged<'a, M> {
    below: M,
    kept: RefCell<Kept<'a>>,
}

struct Kept<'a> {
    /// Address of the page that is in each block.
    at: [Option<u64>; BLOCKS],
    blocks: &'a mut [Block],
    /// Block that is read into next, in turn.
    next: usize,
}

impl<'a, M: Memory> Paged<'a, M> {
    /// Nothing read yet. Reads into at most [`BLOCKS`] of `blocks`.
    pub fn new(below: M, blocks: &'a mut [Block]) -> Paged<'a, M> {
        Paged { below, kept: RefCell::new(Kept { at: [None; BLOCKS], blocks, next: 0 }) }
    }

    /// Drops all pages: the next read of each goes below again.
    pub fn forget(&self) {
        self.kept.borrow_mut().at = [None; BLOCKS];
    }
}

impl Kept<'_> {
    /// Fills `into` from a kept block, after reading it if need be. `None`: it has to be read from below.
    fn fill(&mut self, below: &impl Memory, at: u64, into: &mut [u8]) -> Option<()> {
        let offset = at as usize % PAGE;
        if offset + into.len() > PAGE {
            return None;
        }
        let page = at - offset as u64;
        let slot = match self.at.iter().position(|kept| *kept == Some(page)) {
            Some(slot) => slot,
            None => self.read(below, page)?,
        };
        into.copy_from_slice(self.blocks.get(slot)?.get(offset..offset + into.len())?);
        Some(())
    }

    /// Reads `page`: into which block.
    fn read(&mut self, below: &impl Memory, page: u64) -> Option<usize> {
        let slot = self.next;
        let (kept, bytes) = (self.at.get_mut(slot)?, self.blocks.get_mut(slot)?);
        *kept = None;
        below.read(Addr(page), bytes).ok()?;
        *kept = Some(page);
        self.next = (slot + 1) % BLOCKS.min(self.blocks.len());
        Some(slot)
    }
}

impl<M: Memory> Memory for Paged<'_, M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let filled = self.kept.borrow_mut().fill(&self.below, at.0, into);
        filled.map_or_else(|| self.below.read(at, into), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Bytes;
    use crate::testing::zeroed;
    use core::cell::Cell;
    use std::vec::Vec;

    /// Counts what reaches it.
    struct Counted<'a> {
        bytes: Bytes<'a>,
        reads: Cell<usize>,
        bytes_read: Cell<usize>,
    }

    impl Memory for Counted<'_> {
        fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
            self.reads.set(self.reads.get() + 1);
            self.bytes_read.set(self.bytes_read.get() + into.len());
            self.bytes.read(at, into)
        }
    }

    const BASE: u64 = 0x7000;

    const BLOCK: usize = size_of::<Block>();
    const SIZE: usize = (4 * BLOCKS + 4) * PAGE + PAGE / 2;

    /// Pages and a half, each word its own index.
    fn content() -> Vec<u8> {
        (0..SIZE as u32 / 4).flat_map(u32::to_le_bytes).collect()
    }

    fn paged(bytes: &[u8]) -> Paged<'_, Counted<'_>> {
        let bytes = Bytes { base: Addr(BASE), bytes };
        Paged::new(Counted { bytes, reads: Cell::new(0), bytes_read: Cell::new(0) }, zeroed(BLOCKS))
    }

    #[test]
    fn one_read_for_a_page() {
        let content = content();
        let memory = paged(&content);
        for round in 0..2 {
            for index in 0..(BLOCKS * BLOCK / 4) as u32 {
                assert_eq!(memory.word::<u32>(Addr(BASE + 4 * u64::from(index))), Ok(index), "{round}");
            }
        }
        assert_eq!(memory.below.reads.get(), BLOCKS);
        memory.forget();
        assert_eq!(memory.word::<u32>(Addr(BASE)), Ok(0));
        assert_eq!(memory.below.reads.get(), BLOCKS + 1);
    }

    #[test]
    fn the_oldest_block_makes_room() {
        let content = content();
        let memory = paged(&content);
        for block in 0..=BLOCKS as u64 {
            memory.word::<u8>(Addr(BASE + block * BLOCK as u64)).unwrap();
        }
        memory.word::<u8>(Addr(BASE + BLOCK as u64)).unwrap();
        assert_eq!(memory.below.reads.get(), BLOCKS + 1);
        memory.word::<u8>(Addr(BASE)).unwrap();
        assert_eq!(memory.below.reads.get(), BLOCKS + 2);
    }

    #[test]
    fn a_word_costs_its_page_and_no_other() {
        let content = content();
        let memory = paged(&content);
        for at in [0, 4, PAGE - 4, 7 * PAGE + 8] {
            assert_eq!(memory.word::<u32>(Addr(BASE + at as u64)), Ok(at as u32 / 4));
        }
        assert_eq!((memory.below.reads.get(), memory.below.bytes_read.get()), (2, 2 * PAGE));
    }

    #[test]
    fn what_lies_in_no_whole_page_is_read_as_it_is_asked_for() {
        let content = content();
        let memory = paged(&content);
        let last = BASE + (SIZE / PAGE * PAGE) as u64;
        for _ in 0..2 {
            let page = last - PAGE as u64;
            assert_eq!(memory.word::<u32>(Addr(page)), Ok((page - BASE) as u32 / 4));
        }
        assert_eq!(memory.below.reads.get(), 1);
        assert_eq!(memory.word::<u32>(Addr(last)), Ok((last - BASE) as u32 / 4));
        assert_eq!(memory.word::<u32>(Addr(last + PAGE as u64 / 2)), Err(Miss::Fault));
    }

    #[test]
    fn every_read_is_what_lies_below() {
        let content = content();
        let (memory, plain) = (paged(&content), Bytes { base: Addr(BASE), bytes: &content });
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let (mut ours, mut theirs) = ([0; 3 * PAGE], [0; 3 * PAGE]);
        for _ in 0..100_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = Addr(BASE - 64 + (state >> 8) % (SIZE + 2 * PAGE) as u64);
            let size = if state & 7 == 0 {
                (state >> 48) as usize % ours.len()
            } else {
                (state >> 48) as usize % 33
            };
            let (ours, theirs) = (&mut ours[..size], &mut theirs[..size]);
            assert_eq!(memory.read(at, ours), plain.read(at, theirs));
            assert_eq!(ours, theirs);
        }
        assert_eq!(memory.word::<u64>(Addr(u64::MAX)), Err(Miss::Fault));
    }
}
