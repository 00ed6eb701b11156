//! For tests only: a target that changes while it is read, and CPython objects to put into it.

mod objects;
mod target;
mod versions;

pub use objects::*;
pub use target::*;
pub use versions::*;

use crate::prefetch;
use crate::profile;
use crate::sys::region::{Arena, Zeroed};
use std::boxed::Box;
use std::vec;

/// `count` values that live for as long as the tests.
pub fn leaked<T: Clone>(value: T, count: usize) -> &'static mut [T] {
    Box::leak(vec![value; count].into_boxed_slice())
}

/// `count` zeros that live for as long as the tests.
pub fn zeroed<T: Zeroed>(count: usize) -> &'static mut [T] {
    Arena::map((count * size_of::<T>()).next_multiple_of(64).max(64)).unwrap().region(count)
}

/// An empty folder, which is gone when this is.
pub struct Folder(std::path::PathBuf);

impl Folder {
    /// One whose name holds `name`, which no other test uses.
    pub fn new(name: &str) -> Folder {
        let path = std::format!("pyflame-{}-{name}", std::process::id());
        let path = std::fs::canonicalize(std::env::temp_dir()).unwrap().join(path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// The path of `name` in it.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Storage for so many names and functions, nodes, and frames of a stack; the first two are powers of two.
pub fn profile_storage(names: usize, nodes: usize, depth: usize) -> profile::Storage {
    profile::Storage {
        name_bytes: zeroed(names * 32),
        name_spans: zeroed(names),
        name_index: zeroed(4 * names),
        functions: zeroed(names),
        function_index: zeroed(4 * names),
        nodes: zeroed(nodes),
        node_index: zeroed(4 * nodes),
        last: zeroed(depth),
    }
}

/// Storage for `pages` pages, each of which can be read three times.
pub fn prefetch_storage(pages: usize) -> prefetch::Storage {
    prefetch::Storage {
        pages: zeroed(pages),
        spans: zeroed(3 * pages),
        buffer: zeroed(3 * pages * prefetch::PAGE as usize),
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
