//! The monotonic clock, and sleeping until a moment or a signal.

use super::raw::{nr, syscall};
use super::remote::{Remote, Way};
use crate::elf::Image;
use crate::memory::{Addr, Memory};
use crate::paged::{Block, Paged};
use core::sync::atomic::{AtomicUsize, Ordering};
use rustix::io::Errno;

/// A moment of CLOCK_MONOTONIC, in nanoseconds (clock_gettime(2)).
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;
const CLOCK_PROCESS_CPUTIME_ID: usize = 2;

/// The kernel's code that reads a clock without a system call (vdso(7)), or 0.
static VDSO_GETTIME: AtomicUsize = AtomicUsize::new(0);

/// Where the kernel mapped that code into this process, by the name it has there.
#[cfg(target_arch = "x86_64")]
const VDSO_NAME: &[u8] = b"__vdso_clock_gettime";
#[cfg(target_arch = "aarch64")]
const VDSO_NAME: &[u8] = b"__kernel_clock_gettime";

/// Finds the clock in the image that the kernel mapped at `vdso`. Without it, or without the right to read our own
/// memory in this way, the clock is read by system calls.
pub fn use_vdso(vdso: Option<Addr>) {
    let own = Remote::new(rustix::process::getpid(), Way::Readv);
    let mut blocks = [[0; size_of::<Block>()]; 2];
    let memory = Paged::new(&own as &dyn Memory, &mut blocks);
    let image = vdso.and_then(|vdso| Image::in_memory(&memory, vdso).ok());
    if let Some(Ok(Some(symbol))) = image.map(|image| image.symbol(VDSO_NAME)) {
        VDSO_GETTIME.store(symbol.address.0 as usize, Ordering::Relaxed);
    }
}

/// Now.
pub fn now() -> Nanos {
    let mut time = [0u64; 2]; // struct timespec: seconds, nanoseconds
    let address = VDSO_GETTIME.load(Ordering::Relaxed);
    if address == 0 {
        return read(CLOCK_MONOTONIC);
    }
    // SAFETY: only `use_vdso` stores here, and what it stores is the address of the kernel's function.
    let gettime = unsafe { core::mem::transmute::<usize, extern "C" fn(usize, *mut u64) -> i32>(address) };
    gettime(CLOCK_MONOTONIC, time.as_mut_ptr());
    time[0] * SECOND + time[1]
}

/// Nanoseconds since 1970.
pub fn wall() -> Nanos {
    read(CLOCK_REALTIME)
}

/// Nanoseconds of a processor that this program has taken.
pub fn processor_time() -> Nanos {
    read(CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: usize) -> Nanos {
    let mut time = [0u64; 2]; // struct timespec: seconds, nanoseconds
    // SAFETY: the kernel writes one timespec.
    let _ = unsafe { syscall(nr::CLOCK_GETTIME, [clock, time.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    time[0] * SECOND + time[1]
}

/// A set of signals, bit n - 1 for signal n (sigset_t of the kernel, signal.h).
#[derive(Clone, Copy)]
pub struct Signals(pub u64);

/// A child, or a thread that is traced, changed its state.
pub const SIGCHLD: i32 = 17;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGPIPE: i32 = 13;
const SIGALRM: i32 = 14;
const SIGTERM: i32 = 15;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// The terminal's wish that we stop.
pub const SIGTSTP: i32 = 20;

impl Signals {
    /// None.
    pub const NONE: Signals = Signals(0);

    /// These and signal `n`.
    pub const fn and(self, n: i32) -> Signals {
        Signals(self.0 | 1 << (n - 1))
    }

    /// These but signal `n`.
    pub const fn but(self, n: i32) -> Signals {
        Signals(self.0 & !(1 << (n - 1)))
    }

    /// Makes exactly these the blocked ones, which stay pending instead of acting.
    pub fn set_mask(self) {
        const SIG_SETMASK: usize = 2;
        // SAFETY: the kernel reads one eight byte set.
        let _ = unsafe { syscall(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const self.0 as usize, 0, 8, 0, 0]) };
    }
}

/// Blocks what ends or stops sampling, so that [`sleep_until`] receives it at a moment when nobody is held, and SIGPIPE and
/// SIGXFSZ, so that a write fails instead: what to wait for. A hangup that is ignored (nohup(1)) stays so.
pub fn block_signals() -> Signals {
    const ENDING: Signals = Signals::NONE
        .and(SIGINT)
        .and(SIGQUIT)
        .and(SIGUSR1)
        .and(SIGUSR2)
        .and(SIGALRM)
        .and(SIGTERM)
        .and(SIGXCPU);
    let mut signals = ENDING.and(SIGCHLD);
    for signal in [SIGHUP, SIGTSTP] {
        if !is_ignored(signal) {
            signals = signals.and(signal);
        }
    }
    signals.and(SIGPIPE).and(SIGXFSZ).set_mask();
    signals
}

fn is_ignored(signal: i32) -> bool {
    const SIG_IGN: u64 = 1;
    let mut action = [0u64; 4]; // struct sigaction of the kernel: handler, flags, restorer, mask
    // SAFETY: the kernel writes one sigaction.
    let result =
        unsafe { syscall(nr::RT_SIGACTION, [signal as usize, 0, action.as_mut_ptr() as usize, 8, 0, 0]) };
    result.is_ok() && action[0] == SIG_IGN
}

/// A signal that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// A process sent it, to us alone perhaps; else the kernel did, a terminal for example, to all that it concerns.
    pub sent: bool,
}

/// Sleeps for `time`, or until a child or a thread that is traced changes its state.
pub fn wait_for_child(time: Nanos) {
    sleep_until(now() + time, Signals::NONE.and(SIGCHLD));
}

/// Sleeps until `deadline`, or until one of the blocked `signals` arrives: its number. A deadline that has passed
/// only collects a signal that is pending already.
pub fn sleep_until(deadline: Nanos, signals: Signals) -> Option<Signal> {
    loop {
        let left = deadline.saturating_sub(now());
        let time = [left / SECOND, left % SECOND];
        let mut info = [0i32; 32]; // siginfo_t: number, errno, code
        // SAFETY: the kernel reads the set and the timespec and writes one siginfo, 128 bytes.
        let result = unsafe {
            let set = &raw const signals.0 as usize;
            syscall(nr::RT_SIGTIMEDWAIT, [set, info.as_mut_ptr() as usize, time.as_ptr() as usize, 8, 0, 0])
        };
        match result {
            // Codes of the kernel are positive (sigaction(2)).
            Ok(number) => return Some(Signal { number: number as i32, sent: info[2] <= 0 }),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}
