//! Reading another process a word at a time, by `PTRACE_PEEKDATA` (ptrace(2)): what is left where a filter forbids
//! `process_vm_readv(2)` and `/proc/PID/mem` cannot be had. The kernel reads so for the tracer of a thread that stands
//! still; so one is stopped for each read, or held for several, unless somebody has stopped another anyway.

use super::clock::{self, Nanos, Signals};
use super::ptrace::{self, Stop, Stopped, Tracee};
use core::cell::{Cell, RefCell};
use rustix::io::Errno;
use rustix::process::Pid;

/// Looks whether the thread has stopped, and the time from one to the next. It is waited for as long as one may have to
/// wait for a processor where many want one; if that was in vain, each later read waits a twentieth of it. When nobody else
/// will wait for it, twice as long.
const LOOKS: u32 = 2000;
const MORE_LOOKS: u32 = 100;
const LAST_LOOKS: u32 = 4000;
const PAUSE: Nanos = 500_000;
/// The thread is let go when it has been held for so long.
const LONGEST: Nanos = 5_000_000;
/// Between any two stops it is left alone for so long; twice as long each time that it is in a system call, up to the most: a
/// wait in which it is stopped may begin anew, and be never over. Where the kernel counts in ticks of 4 ms, one of 1 ms
/// takes up to 8.
const REST: Nanos = 1_250_000;
const LONGEST_REST: Nanos = 10_000_000;

/// A way to read a process, through one of its threads.
pub struct Peek {
    tid: Pid,
    /// Another thread of it, which somebody has stopped.
    lent: Cell<Option<Pid>>,
    /// The thread while it is held, and until when.
    held: RefCell<Option<(Stopped, Nanos)>>,
    /// The thread while it has been told to stop and has not done so.
    late: Cell<Option<Tracee>>,
    stops: Cell<u64>,
    /// For how long it was left alone the last time, and until when it is now.
    rest: Cell<(Nanos, Nanos)>,
    /// It may run between two reads while it is held.
    renews: Cell<bool>,
}

impl Peek {
    /// Through thread `tid`.
    pub fn new(tid: Pid) -> Peek {
        let (lent, held, late) = (Cell::new(None), RefCell::new(None), Cell::new(None));
        let (stops, rest, renews) = (Cell::new(0), Cell::new((0, 0)), Cell::new(false));
        Peek { tid, lent, held, late, stops, rest, renews }
    }

    /// Says that thread `lent` stands still and is traced by us, from now until something else is said.
    pub fn lend(&self, lent: Option<Pid>) {
        self.lent.set(lent);
    }

    /// Stops the thread for many reads of what does not change, until it is let go.
    pub fn hold_now_and_then(&self) {
        self.hold();
        self.renews.set(true);
    }

    /// Stops the thread for more than one read, until it is let go, unless another one is lent. From here on it stands still.
    pub fn hold(&self) {
        self.renews.set(false);
        if self.lent.get().is_some() {
            return;
        }
        let is_over = self.held.borrow().as_ref().is_some_and(|(_, until)| clock::now() >= *until);
        if is_over {
            self.let_go();
        }
        if self.held().is_none() {
            *self.held.borrow_mut() = self.stop().ok().map(|stopped| (stopped, clock::now() + LONGEST));
        }
    }

    /// Lets the thread go, if it is held.
    pub fn let_go(&self) {
        self.renews.set(false);
        if let Some((stopped, _)) = self.held.take() {
            self.leave(stopped);
        }
    }

    fn leave(&self, stopped: Stopped) {
        let before = if stopped.in_call() { self.rest.get().0 } else { 0 };
        drop(stopped);
        let rest = (2 * before).clamp(REST, LONGEST_REST);
        self.rest.set((rest, clock::now() + rest));
    }

    /// The thread, if it is held.
    pub fn held(&self) -> Option<Pid> {
        self.held.borrow().as_ref().map(|(stopped, _)| stopped.tid())
    }

    /// How often the thread was stopped.
    pub fn stops(&self) -> u64 {
        self.stops.get()
    }

    /// Whether the thread was told to stop and has not done so. One that has is let go.
    pub fn waits(&self) -> bool {
        let late = self.late.take().map(Tracee::poll);
        let Some(Stop::Late(tracee)) = late else { return false };
        self.late.set(Some(tracee));
        true
    }

    /// Calls `read` with a thread that stands still. Errors: as of a stop.
    pub fn with(&self, read: &mut dyn FnMut(Pid) -> Result<usize, Errno>) -> Result<usize, Errno> {
        if self.renews.get() {
            self.hold_now_and_then();
        }
        if let Some(tid) = self.lent.get().or_else(|| self.held()) {
            return read(tid);
        }
        let stopped = self.stop()?;
        let result = read(stopped.tid());
        self.leave(stopped);
        result
    }

    /// Stops the thread. Errors: AGAIN when it does not stop in time, SRCH when it has ended, else as of
    /// [`ptrace::stop`].
    fn stop(&self) -> Result<Stopped, Errno> {
        let (mut stop, looks) = match self.late.take() {
            Some(tracee) => (tracee.poll(), MORE_LOOKS),
            None => {
                clock::sleep_until(self.rest.get().1, Signals::NONE);
                (ptrace::stop(self.tid)?, LOOKS)
            }
        };
        self.stops.set(self.stops.get() + 1);
        for _ in 0..looks {
            let Stop::Late(tracee) = stop else { break };
            clock::wait_for_child(PAUSE);
            stop = tracee.poll();
        }
        match stop {
            Stop::Stopped(stopped) => Ok(stopped),
            Stop::Late(tracee) => {
                self.late.set(Some(tracee));
                Err(Errno::AGAIN)
            }
            Stop::Ended => Err(Errno::SRCH),
        }
    }
}

impl Drop for Peek {
    fn drop(&mut self) {
        for _ in 0..LAST_LOOKS {
            if !self.waits() {
                return;
            }
            clock::wait_for_child(PAUSE);
        }
    }
}
