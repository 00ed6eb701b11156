//! For tests only: a target that changes while it is read, and CPython objects to put into it.

mod objects;
mod target;
mod versions;

pub use objects::*;
pub use target::*;
pub use versions::*;

use crate::prefetch;
use std::boxed::Box;
use std::vec;

/// `count` values that live for as long as the tests.
pub fn leaked<T: Clone>(value: T, count: usize) -> &'static mut [T] {
    Box::leak(vec![value; count].into_boxed_slice())
}

/// Storage for `pages` pages, each of which can be read three times.
pub fn prefetch_storage(pages: usize) -> prefetch::Storage {
    prefetch::Storage {
        pages: leaked(prefetch::Page::UNUSED, pages),
        spans: leaked(crate::memory::Span::default(), 3 * pages),
        buffer: leaked(0, 3 * pages * prefetch::PAGE as usize),
    }
}

/// A plain generator (Vigna's splitmix64), so that a failure comes back.
pub struct Random(pub u64);

impl Random {
    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
