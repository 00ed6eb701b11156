//! Where a page is in the buffer; what was not predicted is read now, and planned for the next call.

use super::page::Part;
use super::plan;
use super::{PAGE, Prefetch, STILL_FRAMES, Sight, State};
use crate::memory::{Addr, Gather, Miss, Span};

/// Pages that are read together, at most.
const TOGETHER: usize = 32;

impl<M: Gather> Prefetch<M> {
    /// Plans to read the byte at `at` with `sight`, `Proof` or `Aside`.
    pub fn want(&self, sight: Sight, at: Addr) {
        if self.is_glimpse() {
            return; // it may be no address
        }
        let (number, offset) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let plan = &mut self.state.borrow_mut().plan;
        let found = plan.find(plan::PROOFS, sight.part(), number, 0);
        if let Some(index) = found.or_else(|| plan.add(plan::PROOFS, sight.part(), number)) {
            plan.touch(index, (offset, offset + 1), 0);
        }
    }

    /// Reads with one call what is wanted and not there: late, as each page would be that is read on its own when it is asked
    /// for. What does not fit or cannot be read is left to that.
    #[cold]
    pub fn read_wanted(&self) {
        if self.is_frozen() {
            return;
        }
        let state = &mut *self.state.borrow_mut();
        let room = state.buffer.len().saturating_sub(state.used) / PAGE as usize;
        let (mut spans, mut count) = ([Span::default(); TOGETHER], 0);
        for (span, page) in spans.iter_mut().take(room).zip(state.plan.missing()) {
            (*span, count) = (page.whole(), count + 1);
        }
        if count == 0 {
            return;
        }
        let spans = spans.get(..count).unwrap_or_default();
        let into = state.buffer.get_mut(state.used..state.used + count * PAGE as usize).unwrap_or_default();
        let done = self.target.gather(spans, into).unwrap_or(0) / PAGE as usize;
        for page in state.plan.missing().take(done) {
            page.set_late(state.used as u32);
            state.used += PAGE as usize;
        }
        self.late.set(true);
    }

    /// Bytes of any number, page by page.
    pub(super) fn bytes(&self, sight: Sight, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let (mut at, mut left) = (at, into);
        while !left.is_empty() {
            let room = (PAGE - at.0 % PAGE) as usize;
            let (part, rest) = left.split_at_mut(room.min(left.len()));
            self.bytes_of_page(sight, at, part)?;
            (at, left) = (Addr(at.0.wrapping_add(part.len() as u64)), rest);
        }
        Ok(())
    }

    fn bytes_of_page(&self, sight: Sight, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let (number, offset) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let state = &mut *self.state.borrow_mut();
        let index = self.locate(state, sight, number, (offset, offset + into.len()))?;
        let Some(page) = index.and_then(|index| state.plan.page(index)) else {
            return self.target.read(at, into);
        };
        let start = page.copies[0].wrapping_add(offset as u32) as usize;
        into.copy_from_slice(state.buffer.get(start..start + into.len()).ok_or(Miss::Fault)?);
        Ok(())
    }

    /// The page in the plan, with these bytes of it in the buffer; nothing where there is no room for it.
    pub(super) fn locate(
        &self,
        state: &mut State,
        sight: Sight,
        number: u64,
        bytes: (usize, usize),
    ) -> Result<Option<usize>, Miss> {
        let group = match sight {
            Sight::Root => plan::ROOTS,
            Sight::Last => plan::LAST,
            Sight::Proof | Sight::Aside => plan::PROOFS,
            _ => self.group.get(),
        };
        let among_still = match sight {
            Sight::Deep => state.plan.find(group, Part::Still, number, state.hint),
            _ => None,
        };
        let depth = if among_still.is_some() { sight.depth().max(STILL_FRAMES as u8) } else { sight.depth() };
        let found = among_still.or_else(|| state.plan.find(group, sight.part(), number, state.hint));
        if found.is_none() && self.is_glimpse() {
            return Err(Miss::Fault); // what a mixture of stacks leads to is not to be planned, nor to be read
        }
        if let Some(index) = found.or_else(|| state.plan.add(group, sight.part(), number)) {
            state.hint = index;
            if state.plan.touch(index, bytes, depth) && (group != plan::PROOFS || state.has(index)) {
                // Where it was read late, that may have been after what is to prove it.
                self.late.set(self.late.get() || sight == Sight::Aside && state.is_late(index));
                return Ok(Some(index));
            }
            if let Some(at) = state.late_copy(group, number) {
                self.late.set(true);
                state.plan.set_late(index, at);
                return Ok(Some(index));
            }
            if self.is_frozen() {
                return Err(Miss::Fault);
            }
            let end = state.used + PAGE as usize;
            if let Some(into) = state.buffer.get_mut(state.used..end) {
                self.late.set(true);
                self.target.read(Addr(number * PAGE), into)?;
                state.plan.set_late(index, state.used as u32);
                state.used = end;
                return Ok(Some(index));
            }
        }
        self.late.set(true);
        Ok(None)
    }
}

impl State {
    /// Whether a page of the proofs' group was fetched, not only planned.
    fn has(&self, index: usize) -> bool {
        self.plan.page(index).is_some_and(|page| !(self.fetched..self.total).contains(&page.start()))
    }

    /// Where a page is that was read on its own for something else: for all threads, or for that of this `group`.
    fn late_copy(&self, group: u64, number: u64) -> Option<u32> {
        let places = [
            (plan::ROOTS, Part::Root),
            (group, Part::Still),
            (group, Part::Once),
            (plan::PROOFS, Part::Aside),
            (plan::PROOFS, Part::Proof),
        ];
        let mut found = places.iter().filter_map(|&(group, part)| self.plan.find(group, part, number, 0));
        let late = found.find(|&index| self.is_late(index))?;
        self.plan.page(late).map(|page| page.copies[0])
    }

    /// Whether a page was read on its own.
    fn is_late(&self, index: usize) -> bool {
        self.plan.page(index).is_some_and(|page| page.is_late(self.total))
    }
}
