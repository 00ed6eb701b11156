//! Which threads may be stopped, and those that were told to stop and have not done so yet: each of them has to be let
//! go when it does, whatever we do meanwhile.

use crate::sys::clock::{self, Nanos, SECOND};
use crate::sys::ptrace::{self, Stop, Stopped, Tracee};
use crate::sys::stat::Stat;
use rustix::io::Errno;
use rustix::process::Pid;

/// Threads that can be late at the same time; when there are so many, nobody is stopped until one has.
const LATE: usize = 8;
/// The time from one look at them to the next, where there is nothing else to do.
const PAUSE: Nanos = SECOND / 1000;
/// Refusals in a row after which it is not tried again for a while: a debugger keeps a thread, another profiler has it only
/// now and then for some microseconds.
const TOLERATED: u32 = 16;
/// Then, so many samples from one try to the next.
const TRY_AGAIN: u32 = 256;

/// For so long those are waited for in the end that have not stopped: on a busy machine it takes a while until they run. One
/// that is told to stop and then left alone finds in the kernel that something waits for it: the system call that it is in
/// fails with EINTR, and nobody is there to have it started again.
const LAST_WAIT: Nanos = SECOND;

/// A thread that stands still.
pub enum Still {
    /// It was stopped.
    Stopped(Stopped),
    /// It is on no processor, and will stop before it goes on; then it has to be attended to.
    Late,
}

/// Stops threads.
pub struct Stopper {
    late: [Option<Tracee>; LATE],
    allowed: bool,
    /// Tries in a row that were refused, and why the last one was.
    refusals: u32,
    refused: Option<Errno>,
    samples: u32,
}

impl Stopper {
    /// Stops nobody unless `allowed`.
    pub fn new(allowed: bool) -> Stopper {
        Stopper { late: [const { None }; LATE], allowed, refusals: 0, refused: None, samples: 0 }
    }

    /// Whether threads may be stopped, as far as is known.
    pub fn may_stop(&self) -> bool {
        self.allowed && self.refusals < TOLERATED
    }

    /// Now and then it is tried once more, should it always have been refused: who traces the process may have let it go.
    pub fn next_sample(&mut self) {
        self.samples = self.samples.wrapping_add(1);
        if self.samples.is_multiple_of(TRY_AGAIN) {
            self.refusals = self.refusals.min(TOLERATED - 1);
        }
    }

    /// Why the last one that was told to stop was not.
    pub fn refused(&self) -> Option<Errno> {
        self.refused
    }

    /// Makes thread `tid` stand still until what is returned is gone. None when it has ended, when too many are late, or when
    /// that is refused.
    pub fn stop(&mut self, tid: Pid) -> Option<Still> {
        let is_it = |tracee: &Option<Tracee>| tracee.as_ref().is_some_and(|tracee| tracee.tid() == tid);
        if let Some(place) = self.late.iter().position(is_it) {
            let stop = self.late.get_mut(place)?.take()?.poll();
            return self.settle(place, stop);
        }
        self.attend();
        let place = self.late.iter().position(Option::is_none)?;
        match ptrace::stop(tid) {
            Ok(stop) => {
                (self.refusals, self.refused) = (0, None);
                self.settle(place, stop)
            }
            Err(errno) => {
                // Of a thread that is about to end the kernel says EPERM, too.
                if errno != Errno::SRCH && Stat::read(tid).is_ok_and(|stat| !stat.has_ended()) {
                    self.refusals = self.refusals.saturating_add(1);
                    self.refused = Some(errno);
                }
                None
            }
        }
    }

    fn settle(&mut self, place: usize, stop: Stop) -> Option<Still> {
        match stop {
            Stop::Stopped(stopped) => Some(Still::Stopped(stopped)),
            Stop::Late(tracee) => {
                *self.late.get_mut(place)? = Some(tracee);
                Some(Still::Late)
            }
            Stop::Ended => None,
        }
    }

    /// Whether a thread that was told to stop has not done so yet.
    pub fn waits(&self) -> bool {
        self.late.iter().any(Option::is_some)
    }

    /// Lets threads go that have stopped late.
    pub fn attend(&mut self) {
        for place in 0..LATE {
            let Some(tracee) = self.late.get_mut(place).and_then(Option::take) else { continue };
            let stop = tracee.poll();
            drop(self.settle(place, stop));
        }
    }

    /// Nobody is to be stopped any more: waits for those that have not stopped yet.
    pub fn finish(&mut self) {
        let until = clock::now() + LAST_WAIT;
        self.attend();
        while self.waits() && clock::now() < until {
            clock::wait_for_child(PAUSE);
            self.attend();
        }
    }
}
