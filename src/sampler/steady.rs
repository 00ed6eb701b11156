//! Where threads are stopped, one that has held the GIL for long without being met in a system call is stopped before
//! anything is read, so that one read finds out that it still holds it and gets its stack.
//!
//! A stop comes some microseconds after it is asked for, and what a thread calls in that time is where it stops; only a
//! read before that would show where it was. Who makes many system calls is met in one before it is taken for steady.

use super::Sampler;
use crate::cli::Mode;
use crate::profile::Profile;
use crate::python::threads::Thread;
use crate::stopper::Still;
use crate::sys::clock::{self, Nanos, SECOND};
use crate::sys::ptrace::{KNOWS_CALLS, Stopped};
use rustix::process::Pid;

/// Stops in a row outside of system calls. Where one stop in a hundred meets a call, 1 row in 13 has none.
const LONG: u32 = 256;
/// In the default mode this is for deeper stacks than this. What is read for the first time since the sample before takes some
/// 10 us longer, which is better not while a thread stands still; but to read a deep stack makes it slower where it returns.
const DEEP: usize = 32;
/// After this it may have ended, and another process have its number.
const RECENT: Nanos = SECOND / 10;

/// The thread that was stopped last, and how it went.
pub(super) struct Steady {
    tid: Option<Pid>,
    /// Stops of it in a row that were not in a system call.
    stops: u32,
    at: Nanos,
    /// It stands still for this sample.
    ahead: Option<Stopped>,
}

impl Steady {
    /// Nobody was stopped yet.
    pub const fn new() -> Steady {
        Steady { tid: None, stops: 0, at: 0, ahead: None }
    }

    /// Notes a stop of thread `tid`.
    pub fn note(&mut self, tid: Pid, in_call: bool) {
        let goes_on = self.tid == Some(tid) && !in_call;
        self.stops = if goes_on { self.stops.saturating_add(1) } else { 0 };
        (self.tid, self.at) = (Some(tid), clock::now());
    }

    /// The thread to be stopped before anything is read.
    fn next(&self) -> Option<Pid> {
        self.tid.filter(|_| self.stops >= LONG && clock::now() - self.at < RECENT)
    }
}

impl Sampler {
    /// Stops the steady thread, if there is one.
    pub(super) fn stop_ahead(&mut self, profile: &mut Profile) {
        if !KNOWS_CALLS
            || !self.history.will_stop()
            || self.choice.mode != Mode::Blocking && self.path.len() <= DEEP
        {
            return;
        }
        // Word by word, one look at what stands still is all there is.
        let Some(tid) = self.steady.next().filter(|_| self.remote().peek().is_none()) else { return };
        match self.stopper.stop(tid) {
            Some(Still::Stopped(stopped)) => {
                profile.counts.stopped += 1;
                self.called = stopped.in_call().then_some(tid);
                self.steady.note(tid, stopped.in_call());
                self.steady.ahead = Some(stopped).filter(|_| self.called.is_none());
            }
            // It waits for a processor.
            Some(Still::Late) => {}
            None => self.steady.stops = 0,
        }
    }

    /// Whether what was fetched while `thread` stood still, stopped ahead, gave its stack. From here on it does not stand
    /// still any more. None when it did not.
    pub(super) fn accept_ahead(&mut self, profile: &mut Profile, thread: Thread, tid: Pid) -> Option<bool> {
        let _ahead = self.steady.ahead.take().filter(|stopped| stopped.tid() == tid)?;
        (self.threads.len() == 1).then(|| self.accept(profile, thread))
    }

    /// The sample is over: who stands still and was not the one to be looked at is not steady.
    pub(super) fn end_ahead(&mut self) {
        if self.steady.ahead.take().is_some() || self.threads.len() != 1 {
            self.steady.stops = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::gettid;

    #[test]
    fn a_thread_is_steady_after_many_stops_outside_of_system_calls_and_only_then() {
        let (me, other) = (gettid(), Pid::INIT);
        let mut steady = Steady::new();
        let mut stop = |tid, times, in_call| {
            (0..times).for_each(|_| steady.note(tid, in_call));
            steady.next()
        };
        assert_eq!(stop(me, LONG, false), None);
        assert_eq!(stop(me, 1, false), Some(me));
        assert_eq!(stop(me, 1, true), None);
        assert_eq!(stop(me, LONG, false), Some(me));
        assert_eq!(stop(other, LONG, false), None);
        assert_eq!(stop(other, 1, false), Some(other));
        steady.at -= RECENT;
        assert_eq!(steady.next(), None);
    }
}
