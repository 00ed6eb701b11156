//! Stopping one thread of another process for the moment of a read, by `PTRACE_SEIZE` and `PTRACE_INTERRUPT`
//! (ptrace(2)). A state that a thread is not in is a value that nobody has: only a [`Stopped`] can be let go, and a
//! `Stopped` that is dropped lets its thread go.

use super::clock::{self, Nanos};
use super::raw::{nr, syscall};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

const PTRACE_CONT: usize = 7;
const PTRACE_DETACH: usize = 17;
const PTRACE_SEIZE: usize = 0x4206;
const PTRACE_INTERRUPT: usize = 0x4207;
const PTRACE_LISTEN: usize = 0x4208;

/// Event of a PTRACE_INTERRUPT or of a group stop, in the status above the signal (linux/ptrace.h).
const PTRACE_EVENT_STOP: u32 = 128;
const SIGTRAP: u32 = 5;
/// Wait for threads that are no children of ours, too (wait(2)).
const WALL: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);

/// How long a stop is waited for. A thread in an uninterruptible sleep, or one whose `vfork` child still runs,
/// does not stop; it cannot run Python either.
const PATIENCE: Nanos = 20_000_000;
/// Looks at the state of a thread before sleeping between them: a running thread stops within some microseconds.
const SPINS: u32 = 2_000;

fn ptrace(request: usize, tid: Pid, argument: usize) -> Result<(), Errno> {
    // SAFETY: none of the requests above makes the kernel read or write memory of ours.
    unsafe { syscall(nr::PTRACE, [request, tid.as_raw_nonzero().get() as usize, 0, argument, 0, 0]) }
        .map(drop)
}

/// A thread that this process traces and that runs.
pub struct Tracee {
    tid: Pid,
}

/// A thread that stands still until this value is gone.
pub struct Stopped<'a> {
    tracee: &'a Tracee,
    /// What makes it go on: nothing, or the signal whose delivery was intercepted.
    signal: usize,
    /// It stopped for job control and is to stay so.
    group_stop: bool,
}

impl Tracee {
    /// Begins to trace thread `tid` without stopping it. The kernel lets it run on when this process ends.
    /// Errors: EPERM when it may not be traced or already is, EACCES from a security module, ESRCH when it is gone.
    pub fn seize(tid: Pid) -> Result<Tracee, Errno> {
        ptrace(PTRACE_SEIZE, tid, 0)?;
        Ok(Tracee { tid })
    }

    /// The thread.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Stops the thread. Errors: ESRCH when it has ended, TIMEDOUT when it did not stop in time; it is not, and will
    /// not be, left stopped then.
    pub fn interrupt(&self) -> Result<Stopped<'_>, Errno> {
        ptrace(PTRACE_INTERRUPT, self.tid, 0)?;
        let mut deadline = None;
        let mut spins = 0;
        loop {
            match waitpid(Some(self.tid), WALL | WaitOptions::NOHANG)? {
                Some((_, status)) => return self.stopped(status),
                None if spins < SPINS => spins += 1,
                None => {
                    let now = clock::now();
                    let end = *deadline.get_or_insert(now + PATIENCE);
                    if now > end {
                        return Err(Errno::TIMEDOUT);
                    }
                    clock::sleep_until(now + 50_000, clock::Signals(0));
                }
            }
        }
    }

    fn stopped(&self, status: WaitStatus) -> Result<Stopped<'_>, Errno> {
        let raw = status.as_raw() as u32;
        let signal = raw >> 8 & 0xff;
        let event = raw >> 16;
        if !status.stopped() {
            return Err(Errno::SRCH);
        }
        Ok(Stopped {
            tracee: self,
            signal: if event == 0 { signal as usize } else { 0 },
            group_stop: event == PTRACE_EVENT_STOP && signal != SIGTRAP,
        })
    }

    /// Takes a stop that nobody asked for, a signal on its way to the thread for example, and lets the thread go on.
    pub fn attend(&self) {
        if let Ok(Some((_, status))) = waitpid(Some(self.tid), WALL | WaitOptions::NOHANG) {
            drop(self.stopped(status));
        }
    }

    fn release(&self) {
        // Only a stopped thread can be let go; what cannot be stopped has ended, or is let go by the kernel when
        // this process ends.
        if let Ok(stopped) = self.interrupt() {
            let signal = stopped.signal;
            core::mem::forget(stopped);
            let _ = ptrace(PTRACE_DETACH, self.tid, signal);
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let request = if self.group_stop { PTRACE_LISTEN } else { PTRACE_CONT };
        let _ = ptrace(request, self.tracee.tid, self.signal);
    }
}
