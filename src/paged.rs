//! Memory that keeps the pages it read last, so that a parser which asks for one word after the other costs one
//! system call a page.
//!
//! Owns eight pages of what lies below it. Only for what does not change while it is looked at (headers, symbol
//! tables, files): a page stays as it was until [`Paged::forget`]. Refuses nothing: what does not fit in one page,
//! or lies in a page that cannot be read whole (the end of a file), is read from below as it was asked for.

use crate::memory::{Addr, Memory, Miss};
use core::cell::RefCell;

/// Bytes of a page: the smallest unit that can be mapped. Larger pages of the kernel consist of whole ones of these.
const PAGE: usize = 4096;
/// Pages kept. A symbol lookup goes to and fro between five places: dynamic section, hash table, chains, symbols,
/// names.
const PAGES: usize = 8;

/// A [`Memory`] that remembers pages of the one below.
pub struct Paged<M> {
    below: M,
    pages: RefCell<Pages>,
}

struct Pages {
    /// Address of each page; `None` where there is none.
    at: [Option<Addr>; PAGES],
    bytes: [[u8; PAGE]; PAGES],
    /// Slot that is read into next, in turn.
    next: usize,
}

impl<M: Memory> Paged<M> {
    /// Nothing read yet. 32 KiB: keep it off small stacks.
    pub const fn new(below: M) -> Paged<M> {
        let pages = Pages { at: [None; PAGES], bytes: [[0; PAGE]; PAGES], next: 0 };
        Paged { below, pages: RefCell::new(pages) }
    }

    /// Drops all pages: the next read of each goes below again.
    pub fn forget(&self) {
        if let Ok(mut pages) = self.pages.try_borrow_mut() {
            pages.at = [None; PAGES];
        }
    }

    /// Fills `into` from a kept page, after reading it if need be. `None`: it has to be read from below.
    fn kept(&self, at: Addr, into: &mut [u8]) -> Option<()> {
        let offset = at.0 as usize % PAGE;
        let end = offset.checked_add(into.len()).filter(|&end| end <= PAGE)?;
        let mut pages = self.pages.try_borrow_mut().ok()?;
        let page = pages.page(&self.below, Addr(at.0 - offset as u64))?;
        into.copy_from_slice(page.get(offset..end)?);
        Some(())
    }
}

impl Pages {
    /// The page at `at`; `None` if it cannot be read whole.
    fn page(&mut self, below: &impl Memory, at: Addr) -> Option<&[u8; PAGE]> {
        if let Some(slot) = self.at.iter().position(|&kept| kept == Some(at)) {
            return self.bytes.get(slot);
        }
        let slot = self.next;
        let (kept, bytes) = (self.at.get_mut(slot)?, self.bytes.get_mut(slot)?);
        *kept = None;
        below.read(at, bytes).ok()?;
        *kept = Some(at);
        self.next = (slot + 1) % PAGES;
        Some(bytes)
    }
}

impl<M: Memory> Memory for Paged<M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        self.kept(at, into).map_or_else(|| self.below.read(at, into), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Bytes;
    use core::cell::Cell;
    use std::vec::Vec;

    /// Counts what reaches it.
    struct Counted<'a> {
        bytes: Bytes<'a>,
        reads: Cell<usize>,
    }

    impl Memory for Counted<'_> {
        fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
            self.reads.set(self.reads.get() + 1);
            self.bytes.read(at, into)
        }
    }

    const BASE: u64 = 0x7000;

    /// Twelve pages and a half, each word its own index.
    fn content() -> Vec<u8> {
        (0..(12 * PAGE + PAGE / 2) as u32 / 4).flat_map(u32::to_le_bytes).collect()
    }

    fn paged(bytes: &[u8]) -> Paged<Counted<'_>> {
        Paged::new(Counted { bytes: Bytes { base: Addr(BASE), bytes }, reads: Cell::new(0) })
    }

    #[test]
    fn one_read_a_page() {
        let content = content();
        let memory = paged(&content);
        for round in 0..2 {
            for index in 0..(PAGES * PAGE / 4) as u32 {
                assert_eq!(memory.word::<u32>(Addr(BASE + 4 * u64::from(index))), Ok(index), "{round}");
            }
        }
        assert_eq!(memory.below.reads.get(), PAGES);
        memory.forget();
        assert_eq!(memory.word::<u32>(Addr(BASE)), Ok(0));
        assert_eq!(memory.below.reads.get(), PAGES + 1);
    }

    #[test]
    fn the_oldest_page_makes_room() {
        let content = content();
        let memory = paged(&content);
        for page in 0..=PAGES as u64 {
            memory.word::<u8>(Addr(BASE + page * PAGE as u64)).unwrap();
        }
        memory.word::<u8>(Addr(BASE + PAGE as u64)).unwrap();
        assert_eq!(memory.below.reads.get(), PAGES + 1);
        memory.word::<u8>(Addr(BASE)).unwrap();
        assert_eq!(memory.below.reads.get(), PAGES + 2);
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
            let at = Addr(BASE - 64 + (state >> 8) % (14 * PAGE as u64));
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
