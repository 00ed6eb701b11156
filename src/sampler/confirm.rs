//! Looks that confirm one another: until one is proven, and until a call that was never seen before can be believed.

use super::Sampler;
use super::look::{Look, calls_of};
use crate::memory::Miss;
use crate::prefetch::{Moment, SHALLOW};
use crate::profile::Profile;
use crate::python::frames::Seen;
use crate::python::threads::Thread;

/// Looks at one thread before it is stopped, or given up.
pub(super) const TRIES: u32 = 4;
/// The same when it may not be stopped: each costs some microseconds.
const TRIES_NONBLOCKING: u32 = 8;
/// Looks of one sample that may have to learn something although they show the same calls.
const LEARNING: u32 = 16;
/// Frames that a shallow look finds at least: every other one can be a shim.
const TOP: usize = SHALLOW / 2;

impl Sampler {
    /// Looks until a look is proven, or there were too many.
    pub(super) fn look_again(&mut self, profile: &mut Profile, thread: Thread, may_stop: bool) -> bool {
        let (most, calls) = (if may_stop { TRIES } else { TRIES_NONBLOCKING }, calls_of(self.seen.items()));
        let (mut tries, mut learning) = (1, 0);
        while tries < most {
            if !self.fetch_again(thread) {
                return false;
            }
            match self.look(profile, thread, false) {
                Look::Proven => return true,
                Look::New if self.confirm(thread) => return true,
                Look::Unproven if learning < LEARNING && calls_of(self.seen.items()) == calls => {
                    learning += 1
                }
                _ => tries += 1,
            }
        }
        false
    }

    /// Whether further looks show the same frames as the last one, so that the new calls in it can be believed. They are of
    /// the frames alone: names and lines are those of the last look.
    pub(super) fn confirm(&mut self, thread: Thread) -> bool {
        let seen = self.seen.items();
        // To look at all of a deep stack takes longer than some functions; who calls the first new one has to be among what
        // is looked at.
        let shallow = seen.len() > SHALLOW && seen.len() - self.known < TOP;
        let most = if shallow { TOP } else { usize::MAX };
        let (calls, calls_of_top) = (calls_of(seen), calls_of(top(seen, most)));
        let Some(looks) = self.confirm_root(thread, calls) else { return false };
        self.prefetch.set_shallow(shallow);
        let confirmed = self.confirm_calls(thread, (calls_of_top, most), looks);
        self.prefetch.set_shallow(false);
        if confirmed {
            self.learn_calls();
        }
        confirmed
    }

    /// Whether further looks show these `calls` among the innermost so many frames, as `looks` have done.
    fn confirm_calls(&mut self, thread: Thread, (calls, most): (u64, usize), mut looks: u32) -> bool {
        let (mut learning, mut moved) = (0, 0);
        while looks < self.history.confirming() {
            if !self.fetch_frames(thread) {
                return false;
            }
            match self.walk(Moment::At, thread, false) {
                // That says nothing, as long as it is not the rule.
                Err(Miss::Moved) if moved < looks => moved += 1,
                Ok(_) if calls_of(top(self.seen.items(), most)) != calls => return false,
                Ok(_) if !self.prefetch.was_late() => looks += 1,
                Ok(_) if learning < LEARNING => learning += 1,
                _ => return false,
            }
        }
        true
    }

    /// Reads anew what frames `thread` has.
    fn fetch_frames(&mut self, thread: Thread) -> bool {
        self.fetch_with(thread, self.interpreter.layout.frame.has_copies())
    }

    /// How many looks in a row have shown these `calls`, if further looks show that the root of the last one is a root. A
    /// generator changes between having a caller and having none with every item, so that takes more looks; but they need
    /// have nothing in common but the root.
    fn confirm_root(&mut self, thread: Thread, calls: u64) -> Option<u32> {
        // Where a stack has to begin at a shim, the walk has seen that it does.
        let root = self.path.get(0).map(|step| step.found.serial);
        let Some(root) = root.filter(|_| self.interpreter.layout.frame.owner.is_none()) else {
            return Some(1);
        };
        let address = self.seen.items().last()?.code;
        let wanted = self.history.confirming_root();
        let (mut same, mut alike, mut are_alike) = (0, 1, true);
        for _ in 0..4 * wanted {
            if same == wanted || self.codes.is_call(None, root) {
                self.codes.learn_call(None, root);
                return are_alike.then_some(alike);
            }
            if !self.fetch_frames(thread) {
                return None;
            }
            let shown = self.walk(Moment::At, thread, false).is_ok() && !self.prefetch.was_late();
            if shown && self.seen.items().last().map(|seen| seen.code) != Some(address) {
                return None;
            }
            same += u32::from(shown);
            are_alike &= shown && calls_of(self.seen.items()) == calls;
            alike += 1;
        }
        None
    }

    pub(super) fn learn_calls(&mut self) {
        self.known = self.path.len();
        let mut caller = None;
        for step in self.path.items() {
            self.codes.learn_call(caller, step.found.serial);
            caller = Some(&step.found);
        }
    }
}

/// The innermost frames of a stack, at most so many.
fn top(seen: &[Seen], most: usize) -> &[Seen] {
    seen.get(..most).unwrap_or(seen)
}
