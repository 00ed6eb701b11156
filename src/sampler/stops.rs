//! Looks at threads that stand still because they were stopped, and which threads of the kernel they are.

use super::Sampler;
use super::history::{ALL, QUICK_WEIGHT, follow};
use super::look::Look;
use crate::locate::Interpreter;
use crate::memory::Memory;
use crate::prefetch::{Moment, Sight};
use crate::profile::Profile;
use crate::python::threads::{Thread, Turns};
use crate::stopper::Still;
use crate::sys::clock;
use crate::sys::peek::Peek;
use crate::target;
use rustix::process::Pid;

/// Looks at a thread that has been told to stop and has not done so, and the time from one to the next, in ns.
const LATE_LOOKS: u32 = 64;
const LATE_PAUSE: clock::Nanos = 200_000;
/// Stops of one sample that may give no stack: 1 in 60 does on 3.12 where generators call each other.
const STOPS: u32 = 8;

/// For so long the number of a thread need not be checked, in ns: to be given to another process, all numbers would have to be
/// used up meanwhile, 32,768 unless somebody made them fewer (`kernel.pid_max`, proc(5)).
const CHECKED: clock::Nanos = 20_000_000;

/// What was there before a stop in a system call is not to be unproven more often than this, of [`ALL`].
const UNSEEN: u32 = ALL / 5;

impl Sampler {
    /// Why threads cannot be stopped, if that was tried and refused the last time.
    pub fn stop_refused(&self) -> Option<rustix::io::Errno> {
        self.stopper.refused()
    }

    /// Lets threads go that stopped when nobody waited for that any more.
    pub fn attend(&mut self) {
        self.stopper.attend();
    }

    /// Waits for threads that were told to stop and have not done so yet: nobody will any more.
    pub fn part(&mut self) {
        self.stopper.finish();
    }

    /// Whether a thread that was told to stop has not done so yet.
    pub fn waits_for_stop(&self) -> bool {
        self.stopper.waits() || self.remote().peek().is_some_and(Peek::waits)
    }

    /// Stops `thread` for one look. Whether that gave its stack. `seen`: whether the last look is proven, which was one at what
    /// was fetched last; none: nobody has looked at that.
    pub(super) fn stopped_look(
        &mut self,
        profile: &mut Profile,
        thread: Thread,
        mut seen: Option<bool>,
    ) -> bool {
        let Some(mut tid) = self.native_id(thread) else { return false };
        self.note_native(thread, tid);
        if let Some(result) = self.look_as_it_is(profile, thread, tid, &mut seen) {
            return result;
        }
        let mut refused = 0;
        for _ in 0..LATE_LOOKS {
            if self.remote().peek().is_some_and(Peek::waits) {
                return false; // it may be this one, and cannot be told twice
            }
            match self.stopper.stop(tid) {
                // It cannot be stopped now. Word by word, a look that may be in vain is too much to read.
                None if self.remote().peek().is_some() => return false,
                None => match self.native_anew(thread, tid) {
                    Some(now) => {
                        tid = now;
                        continue;
                    }
                    None => return self.look_again(profile, thread, false),
                },
                Some(Still::Stopped(stopped)) => {
                    profile.counts.stopped += 1;
                    self.called = stopped.in_call().then_some(tid);
                    self.steady.note(tid, stopped.in_call());
                    if self.called.is_some() && self.was_seen(profile, thread, seen) {
                        return true;
                    }
                    seen = Some(false);
                    self.lend(Some(tid));
                    let fetched = self.fetch(thread);
                    let accepted = fetched && self.accept(profile, thread);
                    self.lend(None);
                    if accepted || !fetched {
                        return accepted;
                    }
                    refused += 1;
                    if refused == STOPS {
                        return false;
                    }
                    // It stands in the middle of a step from frame to frame. Stopped again at once, it would not have gone
                    // on: that takes more than to let it go, which has also sent a SIGCHLD.
                    clock::wait_for_child(0);
                }
                // It is on no processor, so it does not move; at least not as long as a virtual one is given to it.
                Some(Still::Late) if self.look_again(profile, thread, true) => return true,
                Some(Still::Late) => seen = Some(false),
            }
            clock::wait_for_child(LATE_PAUSE);
        }
        false
    }

    /// Looks at a thread that stands still already; none: it has to be stopped.
    fn look_as_it_is(
        &mut self,
        profile: &mut Profile,
        thread: Thread,
        tid: Pid,
        seen: &mut Option<bool>,
    ) -> Option<bool> {
        if let Some(accepted) = self.accept_ahead(profile, thread, tid) {
            *seen = Some(false);
            if !accepted {
                clock::wait_for_child(0); // it stands in the middle of a step, and is to go on
            }
            return accepted.then_some(true);
        }
        match self.remote().peek().map(Peek::held) {
            // One that waits in a system call holds still anyway, and it is not to be woken time and again.
            None if (!thread.running || self.called == Some(tid)) && !target::on_processor(self.pid, tid) => {
                Some(self.look_again(profile, thread, false))
            }
            Some(held) if held == Some(tid) => {
                if self.fetch(thread) && self.accept(profile, thread) {
                    return Some(true);
                }
                self.let_go();
                None
            }
            _ => None,
        }
    }

    /// Whether what was fetched before `thread` stopped in a system call gave its stack. It is told to stop some microseconds
    /// before it does, and a call that it makes in that time is where it stops: one that took a fiftieth of the time was in
    /// half of the stops. To look before the stop would take longer where something is new, and show less of that;
    /// and where such looks are often not proven, to count those that are would, too.
    fn was_seen(&mut self, profile: &mut Profile, thread: Thread, seen: Option<bool>) -> bool {
        let seen = seen.unwrap_or_else(|| self.look(profile, thread, false) == Look::Proven);
        self.unseen = follow(self.unseen, !seen, QUICK_WEIGHT);
        seen && self.unseen < UNSEEN
    }

    /// Reads through thread `tid`, which stands still, where that is the way to read.
    fn lend(&self, tid: Option<Pid>) {
        if let Some(peek) = self.remote().peek() {
            peek.lend(tid);
        }
    }

    /// A look at a thread that stands still: new calls and all.
    pub(super) fn accept(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let look = self.look(profile, thread, true);
        if look == Look::New {
            self.learn_calls();
        }
        matches!(look, Look::Proven | Look::New)
    }

    /// Remembers where before 3.11 the kernel's id of a thread has to be looked up.
    pub(super) fn note_native(&mut self, thread: Thread, tid: Pid) {
        let fields = &self.interpreter.layout.thread;
        if fields.native.is_none() {
            let pthread = self.prefetch.with(Sight::Once).load(thread.state, fields.ident);
            let native = pthread.ok().map(|pthread| (pthread, tid));
            let now = clock::now();
            if now >= self.checked || native != self.native {
                self.checked = now + CHECKED;
            }
            self.native = native;
        }
    }

    /// The kernel's id of `thread`, where it no longer is `tid`: that has ended, and another one has its `pthread_t`.
    fn native_anew(&mut self, thread: Thread, tid: Pid) -> Option<Pid> {
        self.checked = 0;
        let now = self.native_id(thread).filter(|now| *now != tid)?;
        self.note_native(thread, now);
        Some(now)
    }

    /// Whether thread `tid` waits for the GIL by which all threads take turns. Not known before 3.7.
    pub fn waits_for_gil(&self, tid: Pid) -> bool {
        let Interpreter { layout, roots, .. } = &self.interpreter;
        let turns = Turns::of(layout, roots, self.only);
        turns.is_some_and(|turns| target::waits_at(self.pid, tid).is_some_and(|at| turns.has(at)))
    }

    /// `threading.get_ident()` of a thread, if that can be read.
    pub fn ident(&self, thread: Thread) -> Option<u64> {
        self.prefetch.enter(thread.state, Moment::At);
        self.prefetch.with(Sight::Once).load(thread.state, self.interpreter.layout.thread.ident).ok()
    }

    /// The kernel's id of a thread.
    pub fn native_id(&self, thread: Thread) -> Option<Pid> {
        let fields = &self.interpreter.layout.thread;
        self.prefetch.enter(thread.state, Moment::At);
        let memory = self.prefetch.with(Sight::Once);
        // Before 3.13 a sub-interpreter's thread state has the id of the thread that made it.
        let field = fields.native.filter(|_| thread.in_main || fields.native_is_own);
        let said = field.and_then(|native| memory.load(thread.state, native).ok());
        if let Some(tid) = said.and_then(|tid| self.tids.find(&[u32::try_from(tid).ok()?])) {
            return Some(tid);
        }
        let pthread = self.ident(thread)?;
        let known = self.native.filter(|(known, _)| *known == pthread).map(|(_, tid)| tid);
        // It may have ended, and the next thread of the process have its pthread_t, and some other process its number.
        let is_thread = |tid: Pid| target::is_thread(self.pid, tid.as_raw_nonzero().get() as u32).is_some();
        let known = known.filter(|&tid| clock::now() < self.checked || is_thread(tid));
        known.or_else(|| self.tids.find(&target::native_ids(self.remote(), pthread)))
    }
}
