//! Fixed storage: vectors and a hash index over memory that the caller provides. Nothing grows beyond it: what does
//! not fit is refused, and the caller counts it.

/// The storage is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The first `len` items, or all where there are not so many.
#[inline(always)] // few instructions: that a minimum is no more than the length need not be checked
pub fn head<T>(items: &[T], len: usize) -> &[T] {
    items.get(..len.min(items.len())).unwrap_or_default()
}

/// A vector in fixed storage.
pub struct List<T: 'static> {
    slots: &'static mut [T],
    len: usize,
}

impl<T: Copy> List<T> {
    /// An empty list that holds as much as `slots` does.
    pub fn new(slots: &'static mut [T]) -> List<T> {
        List { slots, len: 0 }
    }

    /// Appends `item`: its number.
    pub fn push(&mut self, item: T) -> Result<u32, Full> {
        let slot = self.slots.get_mut(self.len).ok_or(Full)?;
        *slot = item;
        self.len += 1;
        Ok((self.len - 1) as u32)
    }

    /// The items.
    #[inline(always)] // few instructions
    pub fn items(&self) -> &[T] {
        head(self.slots, self.len)
    }

    /// The items, to be changed.
    pub fn items_mut(&mut self) -> &mut [T] {
        let used = self.len.min(self.slots.len());
        self.slots.get_mut(..used).unwrap_or_default()
    }

    /// Item `id`, if there is one.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.items().get(id as usize)
    }

    /// Item `id`, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.items_mut().get_mut(id as usize)
    }

    /// Takes item `id` out: the last one gets its number.
    pub fn swap_remove(&mut self, id: u32) {
        if let Some(&last) = self.items().last()
            && let Some(item) = self.get_mut(id)
        {
            *item = last;
            self.len -= 1;
        }
    }

    /// Keeps the first `len` items.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many there can be.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Finds the number of an item by a hash of its key: open addressing, linear probing. It begins small and doubles
/// within its storage, so that few items touch few pages.
pub struct Index {
    /// Number + 1 of an item, 0 in a free slot.
    slots: &'static mut [u32],
    /// A power of two.
    size: usize,
    count: usize,
}

const SMALLEST: usize = 256;

impl Index {
    /// An empty index over `slots`, a power of two many, all zero. It takes a quarter as many items.
    pub fn new(slots: &'static mut [u32]) -> Index {
        let size = SMALLEST.min(slots.len());
        Index { slots, size, count: 0 }
    }

    /// The item under `hash` that `is_it` accepts.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.size.wrapping_sub(1);
        let mut at = hash as usize & mask;
        for _ in 0..self.size {
            let id = self.slots.get(at)?.checked_sub(1)?;
            if is_it(id) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Adds item `id` under `hash`: the one behind the last that was added, or any first one. `hash_of` gives the hash of
    /// every item that was added before.
    pub fn insert(&mut self, hash: u64, id: u32, hash_of: &dyn Fn(u32) -> u64) -> Result<(), Full> {
        if 2 * (self.count + 1) > self.size {
            self.double()?;
            for before in id.saturating_sub(self.count as u32)..id {
                self.place(hash_of(before), before);
            }
        }
        self.place(hash, id);
        self.count += 1;
        Ok(())
    }

    fn place(&mut self, hash: u64, id: u32) {
        let mask = self.size - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = id + 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Twice the slots, all free.
    fn double(&mut self) -> Result<(), Full> {
        if 4 * self.size > self.slots.len() {
            return Err(Full);
        }
        self.slots.get_mut(..self.size).unwrap_or_default().fill(0);
        self.size *= 2;
        Ok(())
    }

    /// The storage, for another use.
    pub fn into_storage(self) -> &'static mut [u32] {
        self.slots
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if let Some(used) = self.slots.get_mut(..self.size) {
            used.fill(0);
        }
        self.size = SMALLEST.min(self.slots.len());
        self.count = 0;
    }
}

/// Puts `items` in the order of `less` (heapsort: no recursion, and no input is slow).
pub fn sort(items: &mut [u32], less: &dyn Fn(u32, u32) -> bool) {
    for start in (0..items.len() / 2).rev() {
        sink(items, start, less);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sink(items.get_mut(..end).unwrap_or_default(), 0, less);
    }
}

/// Moves the item at `at` down a heap until nothing below it is larger.
fn sink(heap: &mut [u32], mut at: usize, less: &dyn Fn(u32, u32) -> bool) {
    while let Some(&left) = heap.get(2 * at + 1) {
        let right = heap.get(2 * at + 2).filter(|&&right| less(left, right));
        let (child, largest) = right.map_or((2 * at + 1, left), |&right| (2 * at + 2, right));
        if !less(heap[at], largest) {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// A hash of some words: each is mixed in by a multiplication whose upper half is folded down.
#[inline]
pub fn hash_words(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| mix(hash ^ word))
}

/// A hash of bytes.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let whole = chunks.by_ref().filter_map(|chunk| chunk.try_into().ok().map(u64::from_le_bytes));
    let hash = whole.fold(bytes.len() as u64, |hash, word| mix(hash ^ word));
    chunks.remainder().iter().fold(hash, |hash, &byte| mix(hash ^ u64::from(byte)))
}

#[inline(always)] // a multiplication
fn mix(word: u64) -> u64 {
    let wide = u128::from(word ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    wide as u64 ^ (wide >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{boxed::Box, vec, vec::Vec};

    fn slots(count: usize) -> &'static mut [u32] {
        Box::leak(vec![0; count].into_boxed_slice())
    }

    #[test]
    fn every_item_is_found_again_while_the_index_grows() {
        let mut index = Index::new(slots(1 << 14));
        let keys: Vec<u64> = (0..1 << 12).map(|i| i * 0x1_0000).collect();
        let hash = |id: u32| hash_words(&[keys[id as usize]]);
        for id in 0..keys.len() as u32 {
            assert_eq!(index.find(hash(id), |other| other == id), None);
            index.insert(hash(id), id, &hash).unwrap();
            for known in (0..=id).step_by(97) {
                assert_eq!(index.find(hash(known), |other| other == known), Some(known));
            }
        }
        assert_eq!(index.insert(0, 1 << 12, &hash), Err(Full));
        index.clear();
        assert_eq!(index.find(hash(5), |other| other == 5), None);
    }

    #[test]
    fn a_list_says_when_it_is_full() {
        let mut list = List::new(slots(2));
        assert_eq!((list.push(7), list.push(8), list.push(9)), (Ok(0), Ok(1), Err(Full)));
        assert_eq!(list.items(), [7, 8]);
        list.truncate(1);
        assert_eq!(list.get(1), None);
        list.push(8).unwrap();
        list.swap_remove(2);
        assert_eq!(list.items(), [7, 8]);
        list.swap_remove(0);
        assert_eq!(list.items(), [8]);
        list.swap_remove(0);
        list.swap_remove(0);
        assert!(list.is_empty());
    }

    #[test]
    fn sorting_puts_everything_in_order() {
        for len in 0..200u64 {
            let mut items: Vec<u32> = (0..len).map(|i| (hash_words(&[i]) % (len / 2 + 1)) as u32).collect();
            let mut want = items.clone();
            want.sort();
            sort(&mut items, &|a, b| a < b);
            assert_eq!(items, want);
        }
    }

    #[test]
    fn hashes_tell_lengths_and_tails_apart() {
        let texts: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"abcdefgh", b"abcdefgh\0", b"abcdefgi"];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[i + 1..] {
                assert_ne!(hash_bytes(a), hash_bytes(b));
            }
        }
    }
}
