//! Stopping one thread of another process for the moment of a read, by `PTRACE_SEIZE` and `PTRACE_INTERRUPT`
//! (ptrace(2)). A state that a thread is not in is a value that nobody has: only a [`Stopped`] can be let go, and a
//! `Stopped` that is dropped lets its thread go.

use super::clock::{self, Nanos};
use super::raw::{nr, syscall};
use core::cell::Cell;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

const PTRACE_CONT: usize = 7;
const PTRACE_DETACH: usize = 17;
const PTRACE_SEIZE: usize = 0x4206;
const PTRACE_INTERRUPT: usize = 0x4207;
const PTRACE_LISTEN: usize = 0x4208;
#[cfg(target_arch = "x86_64")]
const PTRACE_GETREGSET: usize = 0x4204;
#[cfg(target_arch = "x86_64")]
const PTRACE_SETREGSET: usize = 0x4205;
/// The register set of general registers (elf.h).
#[cfg(target_arch = "x86_64")]
const NT_PRSTATUS: usize = 1;

/// Event of a PTRACE_INTERRUPT or of a group stop, in the status above the signal (linux/ptrace.h).
const PTRACE_EVENT_STOP: u32 = 128;
const SIGTRAP: u32 = 5;
/// Wait for threads that are no children of ours, too (wait(2)).
const WALL: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);

/// How long a stop is waited for. A thread in an uninterruptible sleep, or one whose `vfork` child still runs,
/// does not stop, and one that waits for a processor stops when it gets one.
const PATIENCE: Nanos = 100_000_000;
/// How long to spin before the first look whether a thread has stopped, and between looks: a stop takes a running
/// thread 8 us here, and a look costs a system call.
const FIRST_SPIN: Nanos = 6_000;
const NEXT_SPIN: Nanos = 3_000;
/// Looks before sleeping until the kernel says that something stopped.
const LOOKS: u32 = 10;

fn ptrace(request: usize, tid: Pid, argument: usize) -> Result<(), Errno> {
    // SAFETY: none of the requests above makes the kernel read or write memory of ours.
    unsafe { syscall(nr::PTRACE, [request, tid.as_raw_nonzero().get() as usize, 0, argument, 0, 0]) }
        .map(drop)
}

fn spin(time: Nanos) {
    let end = clock::now() + time;
    while clock::now() < end {
        core::hint::spin_loop();
    }
}

/// A system call that a signal or a stop ended fails with EINTR, or starts again where the kernel knows how. Where our
/// stop would make one fail (epoll_wait, semop and others, signal(7)), it is made to start again, as the kernel does
/// it for the rest: by a result that asks for that. Not if a signal waits to be delivered, since that is what such a
/// call fails for. Whether the thread is in a system call.
#[cfg(target_arch = "x86_64")]
fn restart_call(tid: Pid) -> bool {
    // struct user_regs_struct (sys/user.h): 27 registers, rax the 11th, orig_rax the 16th.
    const RAX: usize = 10;
    const ORIG_RAX: usize = 15;
    const EINTR: i64 = -4;
    const ERESTARTNOINTR: i64 = -513; // linux/errno.h
    let mut registers = [0i64; 27];
    if regset(PTRACE_GETREGSET, tid, &mut registers).is_err() || registers[ORIG_RAX] < 0 {
        return false;
    }
    if registers[RAX] == EINTR && !super::proc::signal_pending(tid) {
        registers[RAX] = ERESTARTNOINTR;
        let _ = regset(PTRACE_SETREGSET, tid, &mut registers); // the thread is stopped, so this works
    }
    true
}

/// The kernel keeps the first argument of an interrupted call to itself on this processor, so none can be restarted.
#[cfg(target_arch = "aarch64")]
fn restart_call(_tid: Pid) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn regset(request: usize, tid: Pid, registers: &mut [i64; 27]) -> Result<(), Errno> {
    let area = [registers.as_mut_ptr() as usize, size_of::<[i64; 27]>()]; // struct iovec
    let tid = tid.as_raw_nonzero().get() as usize;
    // SAFETY: the kernel reads or writes at most the area, which is as large as the register set.
    unsafe { syscall(nr::PTRACE, [request, tid, NT_PRSTATUS, area.as_ptr() as usize, 0, 0]) }.map(drop)
}

/// A thread that this process traces and that runs.
pub struct Tracee {
    tid: Pid,
    /// Its wait status, once it has ended.
    ended: Cell<Option<WaitStatus>>,
}

/// A thread that stands still until this value is gone.
pub struct Stopped<'a> {
    tracee: &'a Tracee,
    /// What makes it go on: nothing, or the signal whose delivery was intercepted.
    signal: usize,
    /// It stopped for job control and is to stay so.
    group_stop: bool,
    /// It was in a system call.
    in_call: bool,
}

impl Stopped<'_> {
    /// Whether the stop hit it in a system call.
    pub fn in_call(&self) -> bool {
        self.in_call
    }
}

impl Tracee {
    /// Begins to trace thread `tid` without stopping it. The kernel lets it run on when this process ends.
    /// Errors: EPERM when it may not be traced or already is, EACCES from a security module, ESRCH when it is gone.
    pub fn seize(tid: Pid) -> Result<Tracee, Errno> {
        ptrace(PTRACE_SEIZE, tid, 0)?;
        Ok(Tracee { tid, ended: Cell::new(None) })
    }

    /// The thread.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Stops the thread. Errors: ESRCH when it has ended, TIMEDOUT when it did not stop in time; [`attend`](Self::attend)
    /// has to be called until it has done so and goes on.
    pub fn interrupt(&self) -> Result<Stopped<'_>, Errno> {
        ptrace(PTRACE_INTERRUPT, self.tid, 0)?;
        spin(FIRST_SPIN);
        for _ in 0..LOOKS {
            if let Some((_, status)) = waitpid(Some(self.tid), WALL | WaitOptions::NOHANG)? {
                return self.stopped(status);
            }
            spin(NEXT_SPIN);
        }
        let end = clock::now() + PATIENCE;
        while clock::now() < end {
            // SIGCHLD tells of a stop; the caller has blocked it, so it is not lost when it came before.
            clock::sleep_until(end.min(clock::now() + 1_000_000), clock::Signals::NONE.and(clock::SIGCHLD));
            if let Some((_, status)) = waitpid(Some(self.tid), WALL | WaitOptions::NOHANG)? {
                return self.stopped(status);
            }
        }
        Err(Errno::TIMEDOUT)
    }

    fn stopped(&self, status: WaitStatus) -> Result<Stopped<'_>, Errno> {
        let raw = status.as_raw() as u32;
        let signal = raw >> 8 & 0xff;
        let event = raw >> 16;
        if !status.stopped() {
            self.ended.set(Some(status));
            return Err(Errno::SRCH);
        }
        let ours = event == PTRACE_EVENT_STOP && signal == SIGTRAP;
        Ok(Stopped {
            tracee: self,
            signal: if event == 0 { signal as usize } else { 0 },
            group_stop: event == PTRACE_EVENT_STOP && !ours,
            in_call: ours && restart_call(self.tid),
        })
    }

    /// How the thread ended, if it has and that was noticed.
    pub fn ended(&self) -> Option<WaitStatus> {
        self.ended.get()
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
        if self.ended.get().is_none() {
            self.release();
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let request = if self.group_stop { PTRACE_LISTEN } else { PTRACE_CONT };
        let _ = ptrace(request, self.tracee.tid, self.signal);
    }
}
