//! Looks that confirm one another: until one is proven, and until a call that was never seen before can be believed.

use super::Sampler;
use super::look::{Look, calls_of};
use crate::profile::Profile;
use crate::python::threads::Thread;

/// Looks at one thread before it is stopped, or given up.
pub(super) const TRIES: u32 = 4;
/// The same when it may not be stopped: each costs some microseconds.
const TRIES_NONBLOCKING: u32 = 8;
/// Looks of one sample that may have to learn something although they show the same calls.
const LEARNING: u32 = 16;

impl Sampler {
    /// Looks until a look is proven, or there were too many.
    pub(super) fn look_again(&mut self, profile: &mut Profile, thread: Thread, may_stop: bool) -> bool {
        let (most, calls) = (if may_stop { TRIES } else { TRIES_NONBLOCKING }, calls_of(self.seen.items()));
        let (mut tries, mut learning) = (1, 0);
        while tries < most {
            if !self.fetch(thread) {
                return false;
            }
            match self.look(profile, thread, false) {
                Look::Proven => return true,
                Look::New if self.confirm(profile, thread) => return true,
                Look::Unproven if learning < LEARNING && calls_of(self.seen.items()) == calls => {
                    learning += 1
                }
                _ => tries += 1,
            }
        }
        false
    }

    /// Whether further looks show the same frames, so that the new calls in it can be believed.
    pub(super) fn confirm(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let Some(mut looks) = self.confirm_root(profile, thread) else { return false };
        let calls = calls_of(self.seen.items());
        let mut learning = 0;
        while looks < self.history.confirming() {
            if !self.fetch(thread) {
                return false;
            }
            let look = self.look(profile, thread, false);
            match look {
                _ if calls_of(self.seen.items()) != calls => return false,
                Look::New => looks += 1,
                // The innermost frame was at a line that had to be learned.
                Look::Unproven if learning < LEARNING => learning += 1,
                _ => return false,
            }
        }
        self.learn_calls();
        true
    }

    /// Whether the root of the last look is one, as further looks show, and then how many of them in a row have shown the
    /// calls that the last one does. A generator changes between having a caller and having none with every item, so that
    /// takes more looks; but they need have nothing in common but the root.
    pub(super) fn confirm_root(&mut self, profile: &mut Profile, thread: Thread) -> Option<u32> {
        // Where a stack has to begin at a shim, the walk has seen that it does.
        let root = self.path.get(0).map(|step| step.found.serial);
        let Some(root) = root.filter(|_| self.interpreter.layout.frame.owner.is_none()) else {
            return Some(1);
        };
        let wanted = self.history.confirming_root();
        let (mut same, mut calls, mut alike) = (0, calls_of(self.seen.items()), 1);
        for _ in 0..4 * wanted {
            if same == wanted || self.codes.is_call(None, root) {
                self.codes.learn_call(None, root);
                return Some(alike);
            }
            if !self.fetch(thread) {
                return None;
            }
            if matches!(self.look(profile, thread, false), Look::Proven | Look::New) {
                if self.path.get(0).map(|step| step.found.serial) != Some(root) {
                    return None;
                }
                let last = core::mem::replace(&mut calls, calls_of(self.seen.items()));
                alike = if last == calls { alike + 1 } else { 1 };
                same += 1;
            } else {
                alike = 0;
            }
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
