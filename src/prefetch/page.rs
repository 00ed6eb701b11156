//! A page of the plan: what it is fetched for, which bytes of it, and where they are.

use super::PAGE;
use crate::memory::Span;

/// What a page is fetched for, in the order of the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Part {
    /// Interpreters and GILs.
    Root,
    /// Old frames.
    Deep,
    /// Frames that are read before and after the moment.
    Still,
    /// What is read at the moment.
    Once,
    /// What is fetched in one sample only: before what proves that it belongs to something known.
    Aside,
    /// What proves that something known is still so.
    Proof,
}

/// A page of the plan.
#[derive(Clone, Copy)]
pub struct Page {
    pub(super) group: u64,
    pub(super) number: u64,
    /// What it is fetched for.
    pub part: Part,
    /// The fewest frames above one on this page when it was last used.
    pub(super) depth: u8,
    /// Bytes to fetch, and bytes that are in the buffer: from, to.
    pub(super) wanted: (u16, u16),
    pub(super) have: (u16, u16),
    /// Where byte 0 of each copy of the page is in the buffer, or would be. Wraps below 0.
    pub copies: [u32; 2],
    pub(super) used: u32,
}

impl Page {
    /// A page that nobody asked for.
    pub const UNUSED: Page = Page {
        group: 0,
        number: 0,
        part: Part::Root,
        depth: 0,
        wanted: (0, 0),
        have: (0, 0),
        copies: [0; 2],
        used: 0,
    };

    /// Bytes that are in the buffer and will be in the next one: from, to.
    pub(super) fn settled(&self) -> (u16, u16) {
        (self.have.0.max(self.wanted.0), self.have.1.min(self.wanted.1))
    }

    /// Where what is wanted of the first copy begins in the buffer.
    pub(super) fn start(&self) -> usize {
        self.copies[0].wrapping_add(self.have.0.into()) as usize
    }

    /// Whether it was read on its own, behind a call of so many bytes.
    pub(super) fn is_late(&self, total: usize) -> bool {
        self.have.1 > 0 && self.start() >= total
    }

    /// All of it.
    pub(super) fn whole(&self) -> Span {
        Span { base: self.number * PAGE, len: PAGE }
    }

    /// It is in the buffer at `at`, read on its own.
    pub(super) fn set_late(&mut self, at: u32) {
        (self.have, self.copies) = ((0, PAGE as u16), [at; 2]);
    }

    pub(super) fn key(&self) -> (u64, Part, u64) {
        (self.group, self.part, self.number)
    }

    #[inline(always)] // for every load
    pub(super) fn is(&self, (group, part, number): (u64, Part, u64)) -> bool {
        self.number == number && self.group == group && self.part == part
    }
}
