//! Words of the copies that were fetched: what was the same on both sides of the moment is what was there at it.

use super::page::{Page, Part};
use super::{Item, Items, Moment, PAGE, Prefetch, Sight, State};
use crate::memory::{Addr, Gather, Miss};

/// A page of frames.
#[derive(Clone, Copy)]
pub(super) struct Near {
    number: u64,
    part: Part,
    /// Bytes of it that are in the buffer and in the plan: from, to.
    have: (u16, u16),
    /// Where its copies are.
    copies: (u32, u32),
}

impl Near {
    /// Whether it holds these bytes of page `number` as `sight` needs them.
    #[inline(always)] // for every frame
    fn has(&self, sight: Sight, number: u64, (from, to): (usize, usize)) -> bool {
        self.number == number
            && self.part == sight.part()
            && self.have.0 as usize <= from
            && to <= self.have.1.into()
    }
}

pub(super) const NOWHERE: Near = Near { number: u64::MAX, part: Part::Root, have: (0, 0), copies: (0, 0) };

impl<M: Gather> Prefetch<M> {
    pub(super) fn raw(&self, sight: Sight, at: Addr, size: usize) -> Result<u64, Miss> {
        let item = Item { offset: 0, size: size as u32, moves: false };
        // Room for as many as a frame has, so that there is one function for both.
        self.words(sight, at, &Items::new([item; 5], 1), true).map(|words| words[0])
    }

    /// Several words of the struct at `base`, 0 for those that are not used. `moving`: those that may move need not hold
    /// still.
    #[inline(always)] // so that each word is used from where it was put: a copy of all would wait for that
    pub fn words<const N: usize>(
        &self,
        sight: Sight,
        base: Addr,
        items: &Items<N>,
        moving: bool,
    ) -> Result<[u64; N], Miss> {
        let mut words = [0; N];
        self.fill(sight, base, items, moving, &mut words)?;
        Ok(words)
    }

    fn fill<const N: usize>(
        &self,
        sight: Sight,
        base: Addr,
        items: &Items<N>,
        moving: bool,
        words: &mut [u64; N],
    ) -> Result<(), Miss> {
        let &Items { low, high, .. } = items;
        let at = base.plus(low.into());
        let (number, offset) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let end = offset + (high - low) as usize;
        if end > PAGE as usize {
            return self.words_apart(sight, base, items.all(), moving, words);
        }
        let state = &mut *self.state.borrow_mut();
        let near = self.near.get();
        let (before, after) = if near.has(sight, number, (offset, end)) {
            near.copies
        } else if let Some(copies) = self.place(state, sight, number, (offset, end))? {
            copies
        } else {
            return self.words_alone(base, items.all(), words);
        };
        let (first, place) = ((offset as u32).wrapping_sub(low), after.wrapping_add(offset as u32));
        let (before, after) = (before.wrapping_add(first), after.wrapping_add(first));
        // The innermost loop of all, in which no iterator is inlined.
        let mut index = 0;
        while index < items.used && index < N {
            let Item { offset, size, moves } = items.items[index];
            let value = word(state.buffer, after.wrapping_add(offset), size).ok_or(Miss::Fault)?;
            if before != after && word(state.buffer, before.wrapping_add(offset), size) != Some(value) {
                if !(moving && moves) {
                    return Err(Miss::Moved);
                }
                self.moved.set((place, at.0));
            }
            words[index] = value;
            index += 1;
        }
        if self.is_disordered(sight, before != after, place, at) {
            self.disordered.set(true);
            state.plan.reorder();
        }
        Ok(())
    }

    /// Where the copies of a page are in the buffer that are to be compared, with these bytes of it.
    #[inline(never)] // one for all sizes of structs
    fn place(
        &self,
        state: &mut State,
        sight: Sight,
        number: u64,
        bytes: (usize, usize),
    ) -> Result<Option<(u32, u32)>, Miss> {
        let index = self.locate(state, sight, number, bytes)?;
        let Some(page) = index.and_then(|index| state.plan.page(index)) else { return Ok(None) };
        let copies = self.copies(sight, page);
        if matches!(sight, Sight::Still(_) | Sight::Deep) {
            self.near.set(Near { number, part: sight.part(), have: page.settled(), copies });
        }
        Ok(Some(copies))
    }

    /// Whether a frame was copied on the wrong side of another one. Pages are in order as of the last time that the plan
    /// changed, so that can be.
    fn is_disordered(&self, sight: Sight, compared: bool, place: u32, at: Addr) -> bool {
        match sight {
            // The position of the innermost frame is that of a time at which the ones below were still to be copied. Only
            // within one range, where a few nanoseconds lie between them, they may have been.
            Sight::Still(_) => {
                let (moved, address) = self.moved.get();
                place < moved && address.wrapping_sub(at.0) != u64::from(moved - place)
            }
            Sight::Edge => {
                self.edge.set((place, at.0));
                false
            }
            Sight::Deep if !compared => {
                let (edge, address) = self.edge.get();
                place < edge && address / PAGE != at.0 / PAGE
            }
            _ => false,
        }
    }

    /// Words for which there is no room in the plan or in the buffer.
    #[cold]
    fn words_alone(&self, base: Addr, items: &[Item], words: &mut [u64]) -> Result<(), Miss> {
        for (value, item) in words.iter_mut().zip(items) {
            *value = self.target.raw(base.plus(item.offset.into()), item.size as usize)?;
        }
        Ok(())
    }

    /// The same for a struct that lies on two pages.
    #[cold]
    fn words_apart(
        &self,
        sight: Sight,
        base: Addr,
        items: &[Item],
        moving: bool,
        words: &mut [u64],
    ) -> Result<(), Miss> {
        for (value, item) in words.iter_mut().zip(items) {
            let at = base.plus(item.offset.into());
            if at.0 % PAGE + u64::from(item.size) > PAGE {
                self.late.set(true);
                *value = self.target.raw(at, item.size as usize)?; // not aligned, so nothing of CPython's
            } else {
                let item = Item { offset: 0, ..*item };
                *value = self.words(sight, at, &Items::new([item; 5], 1), moving)?[0];
            }
        }
        Ok(())
    }

    /// Where the copies of a page are that `sight` compares; the same twice where it needs one.
    #[inline(always)] // called once a frame from one place
    fn copies(&self, sight: Sight, page: &Page) -> (u32, u32) {
        let [first, second] = page.copies;
        let compared = match sight {
            Sight::Still(_) => true,
            // On a page that is copied around the moment anyway, that tells more than the order of the ranges.
            Sight::Deep => page.part == Part::Still,
            _ => false,
        };
        match self.moment.get() {
            Moment::At if compared => (first, second),
            Moment::After if compared => (second, second),
            _ => (first, first),
        }
    }
}

/// `size` bytes of `buffer` from `start`, at most 8, as a little endian number. The buffer is longer than what is read
/// into it by more than a word.
#[inline(always)] // in the innermost loop, and a call costs more than it
fn word(buffer: &[u8], start: u32, size: u32) -> Option<u64> {
    let word = buffer.get(start as usize..)?.first_chunk()?;
    let unused = 64 - 8 * size;
    Some(u64::from_le_bytes(*word) << unused >> unused)
}
