//! Stopping one thread of another process for the moment of a read, by `PTRACE_SEIZE` and `PTRACE_INTERRUPT`
//! (ptrace(2)). It is traced for just that moment, which costs no more than to go on tracing it, and leaves its signals
//! alone for the rest of the time. A state that a thread is not in is a value that nobody has: a [`Stopped`] that is
//! dropped lets its thread go, and no longer traces it.

use super::clock::{self, Nanos};
use super::filter::Risk;
use super::raw::{nr, syscall};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, waitpid};

const PTRACE_PEEKDATA: usize = 2;
const PTRACE_DETACH: usize = 17;
const PTRACE_SEIZE: usize = 0x4206;
const PTRACE_INTERRUPT: usize = 0x4207;
#[cfg(target_arch = "x86_64")]
const PTRACE_GETREGSET: usize = 0x4204;
#[cfg(target_arch = "x86_64")]
const PTRACE_SETREGSET: usize = 0x4205;
/// The register set of general registers (elf.h).
#[cfg(target_arch = "x86_64")]
const NT_PRSTATUS: usize = 1;

/// Whether it is known of a thread that was stopped if it is in a system call.
pub const KNOWS_CALLS: bool = cfg!(target_arch = "x86_64");

/// Event of a PTRACE_INTERRUPT or of a group stop, in the status above the signal (linux/ptrace.h).
const PTRACE_EVENT_STOP: u32 = 128;
const SIGTRAP: u32 = 5;
/// Wait for threads that are no children of ours, too (wait(2)).
const WALL: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);

/// How long to spin before the first look whether a thread has stopped, and between looks: a stop takes a running
/// thread 8 us here, and a look costs a system call.
const FIRST_SPIN: Nanos = 6_000;
const NEXT_SPIN: Nanos = 3_000;
/// Looks before it is taken for granted that the thread is on no processor.
const LOOKS: u32 = 20;

fn ptrace(request: usize, tid: Pid, argument: usize) -> Result<(), Errno> {
    if !Risk::Ptrace.is_none() {
        return Err(Errno::PERM);
    }
    // SAFETY: none of the requests that come here makes the kernel read or write memory of ours.
    unsafe { syscall(nr::PTRACE, [request, tid.as_raw_nonzero().get() as usize, 0, argument, 0, 0]) }
        .map(drop)
}

/// The word at `address` of the process of a thread that was stopped. Errors: IO when it cannot be read, SRCH when the
/// thread is gone.
pub fn peek(tid: Pid, address: u64) -> Result<[u8; 8], Errno> {
    let mut word = [0u8; 8];
    let tid = tid.as_raw_nonzero().get() as usize;
    // SAFETY: the kernel writes one word.
    let result = unsafe {
        let to = word.as_mut_ptr() as usize;
        syscall(nr::PTRACE, [PTRACE_PEEKDATA, tid, address as usize, to, 0, 0])
    };
    result.map(|_| word)
}

/// A thread that stands still until this value is gone.
pub struct Stopped {
    tid: Pid,
    /// The signal whose delivery was intercepted, 0 for none: the thread goes on with it.
    signal: u32,
    /// It was in a system call.
    in_call: bool,
}

impl Stopped {
    /// The thread.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Whether the stop hit it in a system call.
    pub fn in_call(&self) -> bool {
        self.in_call
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // A thread that stopped for job control stays stopped when it is no longer traced.
        let _ = ptrace(PTRACE_DETACH, self.tid, self.signal as usize);
    }
}

/// How a try to stop a thread can end.
pub enum Stop {
    /// It stands still.
    Stopped(Stopped),
    /// It is on no processor: it waits for one, or in the kernel for something that nothing interrupts, or for its
    /// `vfork` child. Before it comes to run any of its own instructions again it will stop, so it stands still, too.
    Late(Tracee),
    /// It has ended.
    Ended,
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

/// A thread that is traced and has been told to stop, which it has not done yet. It has to be polled until it has.
pub struct Tracee {
    tid: Pid,
}

impl Tracee {
    /// The thread.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Takes what has become of it, if anything has.
    pub fn poll(self) -> Stop {
        match waitpid(Some(self.tid), WALL | WaitOptions::NOHANG) {
            Ok(None) => Stop::Late(self),
            Ok(Some((_, status))) if status.stopped() => Stop::Stopped(self.stopped(status)),
            Ok(Some((_, status))) => {
                super::spawn::note_end(self.tid, status);
                Stop::Ended
            }
            Err(_) => Stop::Ended,
        }
    }

    fn stopped(&self, status: WaitStatus) -> Stopped {
        let raw = status.as_raw() as u32;
        let (event, signal) = (raw >> 16, raw >> 8 & 0xff);
        let ours = event == PTRACE_EVENT_STOP && signal == SIGTRAP;
        Stopped {
            tid: self.tid,
            signal: if event == 0 { signal } else { 0 },
            in_call: ours && restart_call(self.tid),
        }
    }
}

/// Stops thread `tid`. Errors: EPERM when it may not be traced or already is, EACCES from a security module, ESRCH when
/// it is gone.
pub fn stop(tid: Pid) -> Result<Stop, Errno> {
    ptrace(PTRACE_SEIZE, tid, 0)?;
    // From here on the kernel lets the thread run on if we end, but not if we forget it.
    let mut tracee = Tracee { tid };
    if ptrace(PTRACE_INTERRUPT, tid, 0).is_err() {
        return Ok(tracee.poll());
    }
    spin(FIRST_SPIN);
    for _ in 0..LOOKS {
        tracee = match tracee.poll() {
            Stop::Late(tracee) => tracee,
            stop => return Ok(stop),
        };
        spin(NEXT_SPIN);
    }
    Ok(Stop::Late(tracee))
}

/// Whether a filter (seccomp(2)) forbids the call itself, whoever it is about: for a process that is not traced, as we
/// are to ourselves, the kernel says ESRCH.
pub fn is_filtered() -> bool {
    ptrace(PTRACE_DETACH, getpid(), 0) != Err(Errno::SRCH)
}

/// Whether thread `tid` may be stopped, which it is not: 0, or the errno that says why not, as of [`stop`]. A child of
/// ours begins to trace it and ends at once, with which the kernel lets it go: to do so ourselves we would have to stop
/// it first.
pub fn may_stop(tid: Pid) -> i32 {
    let Ok(child) = super::spawn::fork() else { return Errno::PERM.raw_os_error() };
    let Some(child) = child else {
        super::exit(ptrace(PTRACE_SEIZE, tid, 0).map_or_else(Errno::raw_os_error, |()| 0))
    };
    let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
    status.map_or(0, |(_, status)| status.as_raw() >> 8)
}
