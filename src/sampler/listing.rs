//! Which threads a sample is of, and fetching them.

use super::confirm::TRIES;
use super::look::Runners;
use super::{LONGEST, Sampler, Unlisted};
use crate::locate::Interpreter;
use crate::memory::Addr;
use crate::profile::Profile;
use crate::python::threads::{self, Thread, Which};
use crate::sys::clock;
use crate::target;

/// Threads that are cheaper to read all at once than one by one.
const MANY: usize = 8;
/// Threads that may run one after the other and give no stack.
const NEXT: u32 = 4;
/// Threads that are cheaper to read at once than one now and the others in a second call.
const FEW: usize = 3;

impl Sampler {
    /// Looks at every thread chosen and calls `visit` with its number and whether [`frames`](Self::frames) is its
    /// stack. Errors: when the threads cannot be listed.
    pub fn each_thread(
        &mut self,
        profile: &mut Profile,
        visit: &mut dyn FnMut(&mut Self, &mut Profile, usize, bool),
    ) -> Result<(), Unlisted> {
        self.prefetch.next_sample();
        self.stop_ahead(profile);
        let listed = self.list();
        if listed.is_ok() {
            self.each_listed(profile, visit);
        }
        self.end_ahead();
        self.let_go();
        listed
    }

    fn each_listed(
        &mut self,
        profile: &mut Profile,
        visit: &mut dyn FnMut(&mut Self, &mut Profile, usize, bool),
    ) {
        if !self.belief.on {
            self.settle(profile);
        }
        let slow = self.remote().peek().is_some();
        let until = clock::now() + if slow { 8 * LONGEST } else { LONGEST };
        let mut late = false;
        for index in 0..self.threads.len() {
            let Some(&thread) = self.threads.get(index as u32) else { break };
            late |= index % 16 == 15 && clock::now() > until;
            self.left = self.threads.len() - index;
            let proven = !late && (slow || self.have(thread)) && self.stack_of(profile, thread);
            match if proven { Some(true) } else { self.stack_of_next(profile, thread) } {
                Some(proven) => visit(self, profile, index, proven),
                None => return, // nobody runs any more
            }
        }
    }

    /// Gets the stack of the thread that runs by now, after the only one that did gave none: one that has ended has no stack,
    /// nor can it be stopped, and the next one may have its thread state. Whether it is proven; none: nobody runs.
    fn stack_of_next(&mut self, profile: &mut Profile, mut last: Thread) -> Option<bool> {
        for _ in 0..NEXT {
            if self.choice.which != Which::Running || self.threads.len() != 1 || self.list().is_err() {
                break;
            }
            let thread = match self.threads.items() {
                [] => return None,
                &[thread] => thread,
                _ => break, // without a GIL: a sample is of all of them
            };
            if thread.state == last.state && !self.stopper.may_stop() {
                break;
            }
            if self.stack_of(profile, thread) {
                return Some(true);
            }
            last = thread;
        }
        Some(false)
    }

    /// Sees to it that `thread` is in what was fetched last, if that was another one alone; with all others, where many are
    /// left.
    fn have(&mut self, thread: Thread) -> bool {
        match self.fetched {
            Some(state) if state != thread.state => {
                self.fetch_of((self.left < MANY).then_some(thread.state), !self.belief.on)
            }
            _ => true,
        }
    }

    /// Reads `thread` anew; with the others where few are left, which would have to be read anew after it.
    pub(super) fn fetch_again(&mut self, thread: Thread) -> bool {
        match self.left {
            2..=FEW => self.fetch_of(None, !self.belief.on),
            _ => self.fetch(thread),
        }
    }

    /// Where memory can only be read while a thread stands still, has one do so until it is let go.
    fn hold(&self) {
        if let Some(peek) = self.remote().peek() {
            peek.hold();
        }
    }

    /// Lets go whom `hold` holds.
    pub fn let_go(&self) {
        if let Some(peek) = self.remote().peek() {
            peek.let_go();
        }
    }

    /// Lists the threads in what is fetched for that. A list that grows or shrinks just now is read again.
    pub(super) fn list(&mut self) -> Result<(), Unlisted> {
        let mut is_list = false;
        for _ in 0..TRIES {
            if !self.fetch_of(None, !self.belief.on) {
                return Err(Unlisted::Gone);
            }
            let Interpreter { layout, roots, .. } = &self.interpreter;
            let which = self.choice.which;
            let listed = match self.only.take() {
                Some(only) if self.belief.on && which == Which::Running => {
                    threads::list_holder(&self.prefetch, layout, only, &mut self.threads).map(|()| Some(only))
                }
                _ => threads::list(&self.prefetch, layout, roots, which, &mut self.threads),
            };
            is_list = listed.is_ok();
            self.only = listed.ok().flatten();
            // Where the GIL was handed over meanwhile, another fetch of all is cheaper than one for each that waits.
            if is_list && (which == Which::Running || self.runners() != Runners::Any) {
                break;
            }
        }
        if is_list { Ok(()) } else { Err(Unlisted::Changing) }
    }

    /// Reads `thread` anew; with all the others where it is the only one.
    pub(super) fn fetch(&mut self, thread: Thread) -> bool {
        self.fetch_with(thread, !self.belief.on)
    }

    /// The same, with what proves code objects or without.
    pub(super) fn fetch_with(&mut self, thread: Thread, proofs: bool) -> bool {
        self.fetch_of((self.threads.len() > 1).then_some(thread.state), proofs)
    }

    fn fetch_of(&mut self, only: Option<Addr>, proofs: bool) -> bool {
        self.codes.next_fetch();
        self.runners = None;
        self.fetched = only;
        self.hold();
        self.prefetch.fetch(only, proofs)
    }

    /// Whether a thread waits in a system call, where that is to be left out.
    pub(super) fn leave_out(&self, index: usize) -> bool {
        if !self.choice.exclude_idle || self.choice.which == Which::Running {
            return false;
        }
        let Some(&thread) = self.threads.get(index as u32) else { return false };
        !thread.running && self.native_id(thread).is_none_or(|tid| !target::on_processor(self.pid, tid))
    }
}
