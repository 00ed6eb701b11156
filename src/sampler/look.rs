//! One look at a thread in what was fetched: its frames, and what they are called.

use super::{Sampler, Step};
use crate::locate::Interpreter;
use crate::memory::{Addr, Miss};
use crate::prefetch::Moment;
use crate::profile::Profile;
use crate::python::code::Context;
use crate::python::frames::{self, End, Seen};
use crate::python::threads::{Thread, Turns};
use crate::table::hash_words;

/// What a look at a thread gave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// `path` is its stack.
    Proven,
    /// The same, with a call that was never seen before.
    New,
    /// It moved.
    Moved,
    /// Something had to be learned first, or was not what it should be.
    Unproven,
}

/// Which threads can have run while a fetch read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runners {
    /// Nothing says that.
    Unknown,
    /// The GIL was handed over several times.
    Any,
    /// No others than these.
    These([Addr; 2]),
}

impl Sampler {
    /// One look at `thread` in what was fetched. `stopped`: nothing of it can move.
    pub(super) fn look(&mut self, profile: &mut Profile, thread: Thread, stopped: bool) -> Look {
        self.strange = false;
        let end = match self.walk(Moment::At, thread, stopped) {
            Ok(end) => end,
            Err(Miss::Moved) if !stopped && thread.running && self.is_familiar(profile, thread) => {
                return Look::Proven;
            }
            Err(Miss::Moved) => return Look::Moved,
            Err(_) => return Look::Unproven,
        };
        self.cut = end == End::Cut;
        let read = self.codes.read_so_far();
        let look = self.resolve(profile, thread).unwrap_or(Look::Unproven);
        self.strange = look == Look::New || self.codes.read_so_far() != read;
        match look {
            Look::Proven if self.prefetch.was_disordered() && self.is_in(profile) => look,
            _ if stopped || !self.prefetch.was_late() => look,
            _ => Look::Unproven,
        }
    }

    /// Whether the stack in which `thread` seems to be just after a moment at which it moved, or just before, is one of those
    /// that are in the profile: then it is taken for that. A mixture of two stacks is none of them; and to show what the
    /// thread is in later instead would show too little of what lives for a short time.
    fn is_familiar(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let familiar = [Moment::After, Moment::Before].iter().any(|&moment| {
            let walk = self.walk(moment, thread, false);
            if self.seemed == Addr(0) {
                self.seemed = self.seen.get(0).map_or(Addr(0), |seen| seen.code);
            }
            self.cut = walk == Ok(End::Cut);
            walk.is_ok()
                && !self.seen.is_empty()
                && self.resolve(profile, thread) == Ok(Look::Proven)
                && !self.prefetch.was_late()
                && self.is_in(profile)
        });
        self.prefetch.enter(thread.state, Moment::At); // what is read from here on is no mixture
        familiar
    }

    /// Whether the last stack, that of the thread that is looked at, is in the profile.
    fn is_in(&mut self, profile: &mut Profile) -> bool {
        let roots = self.roots(profile, self.threads.len().wrapping_sub(self.left));
        profile.has(roots.chain(self.frames()))
    }

    /// The frames of `thread` in what was fetched, into `seen`.
    pub(super) fn walk(&mut self, moment: Moment, thread: Thread, stopped: bool) -> Result<End, Miss> {
        let runners = if thread.running { Runners::Unknown } else { self.runners() };
        let moves = match runners {
            Runners::Unknown => true,
            Runners::Any if !stopped => return Err(Miss::Moved),
            Runners::Any => false,
            Runners::These(states) => states.contains(&thread.state),
        };
        self.prefetch.enter(thread.state, moment);
        let layout = &self.interpreter.layout;
        let walk = frames::walk(&self.prefetch, layout, (thread.state, moves), &mut self.seen);
        if moment == Moment::At {
            self.torn = walk == Err(Miss::Moved);
            self.seemed = self.seen.get(0).map_or(Addr(0), |seen| seen.code);
            if thread.running && !stopped {
                self.history.note_moment(self.torn);
            }
        }
        walk
    }

    /// The threads that can have run while the last fetch read.
    pub(super) fn runners(&mut self) -> Runners {
        let Interpreter { layout, roots, .. } = &self.interpreter;
        *self.runners.get_or_insert_with(|| {
            let turns = Turns::of(layout, roots, self.only);
            match turns.and_then(|turns| turns.runners(&self.prefetch).ok()) {
                None => Runners::Unknown,
                Some(None) => Runners::Any,
                Some(Some(states)) => Runners::These(states),
            }
        })
    }

    /// Names and lines of the frames found: `Proven`, or `New` when there is a new call between them. As far as the
    /// last stack was the same, its names and its calls are used again.
    pub(super) fn resolve(&mut self, profile: &mut Profile, thread: Thread) -> Result<Look, Miss> {
        let layout = &self.interpreter.layout;
        let generation = match thread.interpreter_state {
            Some(state) => self.generation(state)?,
            None => None,
        };
        let context = Context { generation, believe: self.belief.on, lines: self.choice.lines };
        let mut look = Look::Proven;
        let (known, mut same) = (self.known, true);
        self.known = self.seen.len();
        let trusted = if self.belief.on { self.trusted } else { 0 };
        self.trusted = 0;
        // Nothing has to be asked of what is trusted and the same.
        let pairs = self.path.items().iter().zip(self.seen.items().iter().rev()).take(trusted.min(known));
        let settled = pairs.take_while(|(step, seen)| step.seen == **seen).count();
        let mut caller =
            settled.checked_sub(1).and_then(|last| self.path.get(last as u32)).map(|step| step.found);
        for (depth, seen) in self.seen.items().iter().enumerate().rev().skip(settled) {
            let place = self.seen.len() - 1 - depth;
            let last = self.path.get(place as u32).filter(|step| same && place < known && step.seen == *seen);
            let last = match last.map(|step| step.found) {
                Some(found) if self.codes.is_still(&self.prefetch, layout, &found, context)? => Some(found),
                _ => None,
            };
            if last.is_none() && same {
                same = false;
                self.path.truncate(place);
            }
            let found = match last {
                Some(found) => found,
                None => {
                    let at = (self.seen.items(), depth);
                    let found = self.codes.locate(&self.prefetch, layout, profile, at, context)?;
                    let _ = self.path.push(Step { seen: *seen, found }); // as long as `seen`
                    found
                }
            };
            // The calls of the part that is the same are known.
            if last.is_none() && !self.codes.is_call(caller.as_ref(), found.serial) {
                look = Look::New;
                self.known = self.known.min(place);
            }
            caller = Some(found);
        }
        self.path.truncate(self.seen.len());
        if self.belief.on && !self.codes.is_unsettled() {
            self.trusted = self.path.len();
        }
        Ok(look)
    }
}

/// A digest of a stack but for the position of its innermost frame.
pub(super) fn calls_of(seen: &[Seen]) -> u64 {
    let mut digest = 0;
    for (depth, frame) in seen.iter().enumerate() {
        let position = if depth == 0 { 0 } else { frame.position };
        digest = hash_words(&[digest, frame.code.0, position as u64]);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_compared_but_for_where_the_innermost_frame_is() {
        let seen = |frames: &[(u64, i64)]| -> std::vec::Vec<Seen> {
            frames.iter().map(|&(code, position)| Seen { code: Addr(code), position }).collect()
        };
        let stack = seen(&[(1, 2), (3, 4), (5, 6)]);
        assert!(calls_of(&stack) == calls_of(&seen(&[(1, 7), (3, 4), (5, 6)])));
        for other in [&[][..], &[(1, 2)], &[(2, 2), (3, 4), (5, 6)], &[(1, 2), (3, 5), (5, 6)]] {
            assert!(calls_of(&stack) != calls_of(&seen(other)), "{other:?}");
        }
    }
}
