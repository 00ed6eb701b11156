//! Memory that knows what will be asked for: the walk over threads and frames is naive, and this makes it one
//! system call.
//!
//! [`Prefetch`] remembers which bytes of which pages the last walks asked for and fetches all of them at once. A load
//! that the prediction covers costs nothing more; one that it misses goes to the target and is learned. Owns the plan
//! and the buffer; refuses to know what the bytes mean. What it does know is *how* they have to be read, because a
//! running target changes them meanwhile ([`Sight`]):
//!
//! ```text
//! one call:   roots | edge  deep  still  once  still | ... the next thread ... | aside | proofs
//!                                 copy 0  ^    copy 1
//!                                       moment
//! ```
//!
//! Ranges are copied in this order. What has the same bytes in the copies before and after the moment held still at it;
//! so the stack that begins at the frame pointer read at the moment is the stack of that moment. Either copy alone shows
//! a stack that may be a mixture; where the thread moved but once, one of the two is right ([`Moment`]).
//!
//! A deep frame on a page of frames that must hold still is compared like those. Names and lines stand aside, and are there in
//! the sample in which they are learned. Proofs are left out of most samples: what is known is believed until they are
//! read again.

mod compare;
mod late;
mod page;
mod plan;
mod ranges;
mod sight;

use crate::memory::{Addr, Gather, Memory, Miss, Span};
use compare::{NOWHERE, Near};
use core::cell::{Cell, RefCell};
pub use page::Page;
use plan::Plan;
pub use sight::{Item, Items, Moment, Sight};

/// Bytes of a page, the unit in which the kernel charges for a read.
pub const PAGE: u64 = 4096;
/// Frames from the innermost one that have to be seen twice. To change an older one so many returns and as many
/// calls would have to happen while one call reads, and each takes 50 ns at least.
pub const STILL_FRAMES: usize = 16;
/// Frames of a shallow look.
pub const SHALLOW: usize = 8;
/// Ranges that become unreadable, one after the other, before a fetch gives up.
const MAX_FAULTS: usize = 16;

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
    /// A frame was copied on the wrong side of another one.
    disordered: Cell<bool>,
    /// Nothing is read late.
    frozen: Cell<bool>,
    /// Place in the buffer and address of the frame at the edge, and of the innermost one where it moved.
    edge: Cell<(u32, u64)>,
    moved: Cell<(u32, u64)>,
    /// Where the last frame was found: the next one mostly lies on the same page.
    near: Cell<Near>,
}

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
            moment: Cell::new(Moment::At),
            late: Cell::new(false),
            disordered: Cell::new(false),
            frozen: Cell::new(false),
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

    /// Whether only the innermost [`SHALLOW`] frames are fetched, and a walk ends with them.
    pub fn set_shallow(&self, shallow: bool) {
        self.state.borrow_mut().plan.set_shallow(shallow);
    }

    /// Whether it does.
    pub fn is_shallow(&self) -> bool {
        self.state.borrow().plan.shallow
    }

    /// Begins a new sample: what was not asked for lately will no longer be fetched.
    pub fn next_sample(&self) {
        self.state.borrow_mut().plan.next_sample();
    }

    /// Reads everything that is predicted, of all threads or of `only` this one, with `proofs` or without. False when
    /// the target is gone.
    pub fn fetch(&self, only: Option<Addr>, proofs: bool) -> bool {
        self.late.set(false);
        self.disordered.set(false);
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

    /// From here on thread `thread` is looked at, as `moment` says.
    pub fn enter(&self, thread: Addr, moment: Moment) {
        self.group.set(thread.0);
        self.moment.set(moment);
        self.edge.set((0, 0));
        self.moved.set((0, 0));
        self.near.set(NOWHERE);
    }

    /// Whether nothing of what is looked at is compared.
    pub fn is_glimpse(&self) -> bool {
        self.moment.get() != Moment::At
    }

    /// Whether anything since the last fetch had to be read on its own. Such reads are good to learn from, but prove
    /// nothing, unless the target stands still.
    pub fn was_late(&self) -> bool {
        self.late.get() || self.disordered.get()
    }

    /// Whether all was fetched, but not in an order in which it proves something.
    pub fn was_disordered(&self) -> bool {
        self.disordered.get() && !self.late.get()
    }

    /// Says whether something that is not in this fetch was used for a proof.
    pub fn set_late(&self, late: bool) {
        self.late.set(late);
    }

    /// What was not fetched is not there, instead of being read late.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.set(frozen);
    }

    /// Whether what was not fetched is not there. What a mixture leads to may be no address.
    fn is_frozen(&self) -> bool {
        self.frozen.get() || self.is_glimpse()
    }

    /// Memory as seen with `sight`.
    pub fn with(&self, sight: Sight) -> View<'_, M> {
        View { prefetch: self, sight }
    }
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
