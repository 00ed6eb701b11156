//! Memory that knows what will be asked for: the walk over threads and frames is naive, and this makes it one
//! system call.
//!
//! [`Prefetch`] remembers which bytes of which pages the last walks asked for and fetches all of them at once. A load
//! that the prediction covers costs nothing more; one that it misses goes to the target and is learned. Owns the plan
//! and the buffer; refuses to know what the bytes mean. What it does know is *how* they have to be read, because a
//! running target changes them meanwhile ([`Sight`]):
//!
//! ```text
//! one call:   roots | edge  deep  still  once  still  once  still | ... the next thread ... | aside | proofs
//!                                 copy 0  ^    copy 1  ^    copy 2
//!                                     moment 0     moment 1
//! ```
//!
//! Ranges are copied in this order. What has the same bytes in the copies before and after a moment held still at
//! that moment; so the stack that begins at the frame pointer read at the moment is the stack of that moment. The
//! second moment is there because a thread that moved at the first one is caught by it: what lives longer than two
//! microseconds is still at one of them, and neither choice prefers long-lived frames. Where threads hardly ever move
//! it is left out, and the call is made of fewer ranges in another order:
//!
//! ```text
//! one call:   roots | still  deep  once  still | ... | aside | proofs
//!             copy 0, with the edge  ^   copy 1
//! ```
//!
//! A deep frame on a page of frames that must hold still is compared like those. Names and lines stand aside, and are there in
//! the sample in which they are learned. Proofs are left out of most samples: what is known is believed until they are
//! read again.

mod plan;

use crate::memory::{Addr, Field, Gather, Memory, Miss, Span, Word};
use core::cell::{Cell, RefCell};
use plan::{NO_COPY, Part};
pub use plan::{Page, Plan};

/// Bytes of a page, the unit in which the kernel charges for a read.
pub const PAGE: u64 = 4096;
/// Frames from the innermost one that have to be seen twice. To change an older one so many returns and as many
/// calls would have to happen while one call reads, and each takes 50 ns at least.
pub const STILL_FRAMES: usize = 16;
/// Pages that are read together, at most.
const TOGETHER: usize = 32;
/// Ranges that become unreadable, one after the other, before a fetch gives up.
const MAX_FAULTS: usize = 16;

/// How a value has to be read to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Once, before everything else: interpreters and who holds the GIL.
    Root,
    /// Once, behind all threads: what tells whether the GIL was handed over meanwhile.
    Last,
    /// Once, at the moment that the stack is taken for: a thread's pointer to its innermost frame.
    Once,
    /// Must hold still around the moment. The number of frames above it.
    Still(u8),
    /// As it was just after the moment: what may change while its frame lives.
    Glimpse,
    /// The oldest `Still` frame, before all that is deeper.
    Edge,
    /// Too old to change while one call reads, as long as the frame at the edge did not.
    Deep,
    /// Once, after the frames, and not with every sample: what proves that something known is still so.
    Proof,
    /// Now, and in the rest of the sample before `Proof`: names and line tables.
    Aside,
}

impl Sight {
    const fn part(self) -> Part {
        match self {
            Sight::Root | Sight::Last => Part::Root,
            Sight::Once => Part::Once,
            Sight::Still(_) | Sight::Glimpse => Part::Still,
            Sight::Edge | Sight::Deep => Part::Deep,
            Sight::Proof => Part::Proof,
            Sight::Aside => Part::Aside,
        }
    }

    const fn depth(self) -> u8 {
        match self {
            Sight::Still(depth) => depth,
            Sight::Deep => u8::MAX,
            _ => 0,
        }
    }
}

/// Which of the two moments of a fetch is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Between the first and the second copy.
    First,
    /// Between the second and the third.
    Second,
}

/// A word of a struct: where it begins and how many bytes it has, at most 8.
#[derive(Clone, Copy)]
pub struct Item {
    /// Bytes from the start of the struct.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// It may change while the struct lives.
    pub moves: bool,
}

impl Item {
    /// A field that holds still.
    pub fn of<T: Word>(field: Field<T>) -> Item {
        Item { offset: field.offset().into(), size: T::SIZE as u32, moves: false }
    }

    /// A field that may move.
    pub fn moving<T: Word>(field: Field<T>) -> Item {
        Item { moves: true, ..Item::of(field) }
    }
}

/// Words of a struct that are read together: at most `N`.
#[derive(Clone, Copy)]
pub struct Items<const N: usize> {
    items: [Item; N],
    used: usize,
    /// The bytes of the struct from the first to behind the last.
    low: u32,
    high: u32,
}

impl<const N: usize> Items<N> {
    /// The first `used` of `items`.
    #[inline]
    pub fn new(items: [Item; N], used: usize) -> Items<N> {
        let (low, high) = items.iter().take(used).fold((u32::MAX, 0), |(low, high), item| {
            (low.min(item.offset), high.max(item.offset + item.size))
        });
        Items { items, used, low, high }
    }

    fn all(&self) -> &[Item] {
        self.items.get(..self.used).unwrap_or_default()
    }
}

/// The fixed storage of a [`Prefetch`].
pub struct Storage {
    /// The plan; its length bounds how many pages one sample can read.
    pub pages: &'static mut [Page],
    /// The ranges of the call.
    pub spans: &'static mut [Span],
    /// What they are read into.
    pub buffer: &'static mut [u8],
}

/// Reads a whole sample with one call, as far as it can be predicted.
pub struct Prefetch<M> {
    target: M,
    state: RefCell<State>,
    group: Cell<u64>,
    moment: Cell<Moment>,
    late: Cell<bool>,
    /// Place in the buffer and address of the frame at the edge, and of the innermost one where it moved.
    edge: Cell<(u32, u64)>,
    moved: Cell<(u32, u64)>,
    /// Where the last frame was found: the next one mostly lies on the same page.
    near: Cell<Near>,
}

/// A page of frames.
#[derive(Clone, Copy)]
struct Near {
    number: u64,
    part: Part,
    /// Bytes of it that are in the buffer and in the plan: from, to.
    have: (u16, u16),
    /// Where its copies are.
    copies: (u32, u32),
}

const NOWHERE: Near = Near { number: u64::MAX, part: Part::Root, have: (0, 0), copies: (0, 0) };

struct State {
    plan: Plan,
    buffer: &'static mut [u8],
    /// Bytes of the buffer that were fetched, and those of the whole call, behind which late reads begin.
    fetched: usize,
    total: usize,
    /// Bytes that are in use: the call's, then a page for each late read.
    used: usize,
    /// Where the last load was found.
    hint: usize,
}

impl<M: Gather> Prefetch<M> {
    /// `room`: bytes behind what was asked for on a page of frames that are fetched too, since a call puts the next
    /// frame there.
    pub fn new(target: M, storage: Storage, room: u16) -> Prefetch<M> {
        let plan = Plan::new(storage.pages, storage.spans, room);
        Prefetch {
            target,
            state: RefCell::new(State {
                plan,
                buffer: storage.buffer,
                fetched: 0,
                total: 0,
                used: 0,
                hint: 0,
            }),
            group: Cell::new(0),
            moment: Cell::new(Moment::First),
            late: Cell::new(false),
            edge: Cell::new((0, 0)),
            moved: Cell::new((0, 0)),
            near: Cell::new(NOWHERE),
        }
    }

    /// The memory below, for what is not part of a sample.
    pub fn target(&self) -> &M {
        &self.target
    }

    /// Reads `target` from now on, which is what it was so far.
    pub fn follow(&mut self, target: M) {
        self.target = target;
    }

    /// Reads `target` from now on, of which nothing is known.
    pub fn adopt(&mut self, target: M, room: u16) {
        self.target = target;
        self.state.get_mut().plan.reset(room);
    }

    /// Whether there is a second moment: for a target that often moves.
    pub fn set_second(&self, second: bool) {
        self.state.borrow_mut().plan.set_second(second);
    }

    /// Begins a new sample: what was not asked for lately will no longer be fetched.
    pub fn next_sample(&self) {
        self.state.borrow_mut().plan.next_sample();
    }

    /// Reads everything that is predicted, of all threads or of `only` this one, with `proofs` or without. False when
    /// the target is gone.
    pub fn fetch(&self, only: Option<Addr>, proofs: bool) -> bool {
        self.late.set(false);
        self.near.set(NOWHERE);
        let state = &mut *self.state.borrow_mut();
        for _ in 0..MAX_FAULTS {
            state.plan.prepare(only.map(|thread| thread.0), state.buffer.len());
            let (spans, wanted) = state.plan.call(proofs);
            let Some(into) = state.buffer.get_mut(..wanted) else { return false };
            match self.target.gather(spans, into) {
                None => return false,
                Some(done) if done < wanted => state.plan.drop_unreadable(done),
                Some(_) => {
                    let (_, total) = state.plan.call(true);
                    (state.fetched, state.total, state.used) = (wanted, total, total);
                    return true;
                }
            }
        }
        state.plan.forget();
        (state.fetched, state.total, state.used) = (0, 0, 0);
        true
    }

    /// Plans to read the byte at `at` with `sight`, `Proof` or `Aside`.
    pub fn want(&self, sight: Sight, at: Addr) {
        let (number, offset) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let plan = &mut self.state.borrow_mut().plan;
        if plan.find(plan::PROOFS, sight.part(), number, 0).is_none()
            && let Some(index) = plan.add(plan::PROOFS, sight.part(), number)
        {
            plan.touch(index, (offset, offset + 1), 0);
        }
    }

    /// Reads with one call what is wanted and not there: late, as each page would be that is read on its own when it is asked
    /// for. What does not fit or cannot be read is left to that.
    #[cold]
    pub fn read_wanted(&self) {
        let state = &mut *self.state.borrow_mut();
        let room = state.buffer.len().saturating_sub(state.used) / PAGE as usize;
        let (mut spans, mut count) = ([Span::default(); TOGETHER], 0);
        for (span, page) in spans.iter_mut().take(room).zip(state.plan.missing()) {
            (*span, count) = (page.whole(), count + 1);
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

    /// From here on thread `thread` is looked at, at `moment`.
    pub fn enter(&self, thread: Addr, moment: Moment) {
        self.group.set(thread.0);
        self.moment.set(moment);
        self.edge.set((0, 0));
        self.moved.set((0, 0));
        self.near.set(NOWHERE);
    }

    /// Whether anything since the last fetch had to be read on its own. Such reads are good to learn from, but prove
    /// nothing, unless the target stands still.
    pub fn was_late(&self) -> bool {
        self.late.get()
    }

    /// Says whether something that is not in this fetch was used for a proof.
    pub fn set_late(&self, late: bool) {
        self.late.set(late);
    }

    /// Memory as seen with `sight`.
    pub fn with(&self, sight: Sight) -> View<'_, M> {
        View { prefetch: self, sight }
    }

    fn raw(&self, sight: Sight, at: Addr, size: usize) -> Result<u64, Miss> {
        let item = Item { offset: 0, size: size as u32, moves: sight == Sight::Glimpse };
        // Room for as many as a frame has, so that there is one function for both.
        self.words(sight, at, &Items::new([item; 5], 1), true).map(|words| words[0])
    }

    /// Several words of the struct at `base`, 0 for those that are not used. `moving`: those that may move need not hold
    /// still.
    #[inline]
    pub fn words<const N: usize>(
        &self,
        sight: Sight,
        base: Addr,
        items: &Items<N>,
        moving: bool,
    ) -> Result<[u64; N], Miss> {
        let &Items { low, high, .. } = items;
        let at = base.plus(low.into());
        let (number, offset) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        let end = offset + (high - low) as usize;
        let mut words = [0; N];
        if end > PAGE as usize {
            self.words_apart(sight, base, items.all(), moving, &mut words)?;
            return Ok(words);
        }
        let state = &mut *self.state.borrow_mut();
        let Some((before, after)) = self.place(state, sight, number, (offset, end))? else {
            return self.words_alone(base, items);
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
        if self.is_disordered(sight, before != after, place, at)
            && !self.held_on(state, number, (after, first), (low, high))
        {
            self.late.set(true);
            state.plan.reorder();
        }
        Ok(words)
    }

    /// Whether a frame that was copied on the wrong side of the innermost one has the same `bytes` in the third copy of its
    /// page, `number`, behind that of the innermost one: then it had them when the position of that was copied.
    #[cold]
    fn held_on(&self, state: &State, number: u64, (after, of_page): (u32, u32), bytes: (u32, u32)) -> bool {
        let page = state.plan.find(self.group.get(), Part::Still, number, state.hint);
        let third = page.and_then(|index| state.plan.page(index)).map_or(NO_COPY, |page| page.copies[2]);
        let place = |copy: u32| copy.wrapping_add(bytes.0) as usize..copy.wrapping_add(bytes.1) as usize;
        let later = place(third.wrapping_add(of_page));
        third != NO_COPY
            && later.start > self.moved.get().0 as usize
            && state.buffer.get(later) == state.buffer.get(place(after))
    }

    /// Where the copies of a page are in the buffer that are to be compared, with these bytes of it.
    #[inline(never)] // one for all sizes of structs
    fn place(
        &self,
        state: &mut State,
        sight: Sight,
        number: u64,
        (from, to): (usize, usize),
    ) -> Result<Option<(u32, u32)>, Miss> {
        let near = self.near.get();
        let part = sight.part();
        if near.number == number
            && near.part == part
            && near.have.0 as usize <= from
            && to <= near.have.1.into()
        {
            return Ok(Some(near.copies));
        }
        let index = self.locate(state, sight, number, (from, to))?;
        let Some(page) = index.and_then(|index| state.plan.page(index)) else { return Ok(None) };
        let copies = self.copies(sight, page)?;
        if matches!(sight, Sight::Still(_) | Sight::Deep) {
            self.near.set(Near { number, part, have: page.settled(), copies });
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
    fn words_alone<const N: usize>(&self, base: Addr, items: &Items<N>) -> Result<[u64; N], Miss> {
        let mut words = [0; N];
        for (value, item) in words.iter_mut().zip(items.all()) {
            *value = self.target.raw(base.plus(item.offset.into()), item.size as usize)?;
        }
        Ok(words)
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

    /// Where the copies of a page are that `sight` compares at this moment; the same twice where it needs one.
    #[inline(always)] // called once a frame from one place
    fn copies(&self, sight: Sight, page: &Page) -> Result<(u32, u32), Miss> {
        let [first, second, third] = page.copies;
        let later = self.moment.get() == Moment::Second;
        let compared = match sight {
            Sight::Still(_) | Sight::Glimpse => true,
            // On a page that is copied around the moment anyway, that tells more than the order of the ranges.
            Sight::Deep => page.part == Part::Still,
            _ => false,
        };
        Ok(match sight {
            _ if compared && later && third != NO_COPY => (second, third),
            // What is looked at then has to be seen around the second moment: a frame that held still around the first
            // one may have called something else since, by way of the same function.
            _ if compared && later => return Err(Miss::Moved),
            _ if compared => (first, second),
            Sight::Once if later => (second, second),
            _ => (first, first),
        })
    }

    /// Bytes of any number, page by page.
    fn bytes(&self, sight: Sight, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
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
    fn locate(
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
        let is_among_still = match sight {
            Sight::Deep => true,
            Sight::Edge => !state.plan.has_second(),
            _ => false,
        };
        let among_still =
            if is_among_still { state.plan.find(group, Part::Still, number, state.hint) } else { None };
        let found = among_still.or_else(|| state.plan.find(group, sight.part(), number, state.hint));
        if let Some(index) = found.or_else(|| state.plan.add(group, sight.part(), number)) {
            state.hint = index;
            if state.plan.touch(index, bytes, sight.depth()) && (group != plan::PROOFS || state.has(index)) {
                // Where it was read late, that may have been after what is to prove it.
                self.late.set(self.late.get() || sight == Sight::Aside && state.is_late(index));
                return Ok(Some(index));
            }
            if let Some(at) = state.late_copy(group, number) {
                self.late.set(true);
                state.plan.set_late(index, at);
                return Ok(Some(index));
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

/// `size` bytes of `buffer` from `start`, at most 8, as a little endian number. The buffer is longer than what is read
/// into it by more than a word.
#[inline(always)] // in the innermost loop, and a call costs more than it
fn word(buffer: &[u8], start: u32, size: u32) -> Option<u64> {
    let word = buffer.get(start as usize..)?.first_chunk()?;
    let unused = 64 - 8 * size;
    Some(u64::from_le_bytes(*word) << unused >> unused)
}

/// The target's memory, seen in one way.
pub struct View<'a, M> {
    prefetch: &'a Prefetch<M>,
    sight: Sight,
}

impl<M: Gather> Memory for View<'_, M> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        self.prefetch.bytes(self.sight, at, into)
    }

    #[inline]
    fn raw(&self, at: Addr, size: usize) -> Result<u64, Miss> {
        self.prefetch.raw(self.sight, at, size)
    }
}

#[cfg(test)]
mod tests;
