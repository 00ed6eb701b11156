//! The monotonic clock, and sleeping until a moment or a signal.

use super::raw::{nr, syscall};
use super::remote::Remote;
use crate::elf::Image;
use crate::memory::{Addr, Memory};
use crate::paged::Paged;
use core::sync::atomic::{AtomicUsize, Ordering};
use rustix::io::Errno;

/// A moment of CLOCK_MONOTONIC, in nanoseconds (clock_gettime(2)).
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;

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
    let own = Remote::new(rustix::process::getpid(), None);
    let memory = Paged::new(&own as &dyn Memory);
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

fn read(clock: usize) -> Nanos {
    let mut time = [0u64; 2]; // struct timespec: seconds, nanoseconds
    // SAFETY: the kernel writes one timespec.
    let _ = unsafe { syscall(nr::CLOCK_GETTIME, [clock, time.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    time[0] * SECOND + time[1]
}

/// A set of signals, bit n - 1 for signal n (sigset_t of the kernel, signal.h).
#[derive(Clone, Copy)]
pub struct Signals(pub u64);

/// Hangs up, interrupt, terminate: all end sampling.
pub const ENDING: Signals = Signals(1 << 0 | 1 << 1 | 1 << 14);
/// A child changed its state.
pub const CHILD: i32 = 17;

impl Signals {
    /// These and signal `n`.
    pub const fn and(self, n: i32) -> Signals {
        Signals(self.0 | 1 << (n - 1))
    }

    /// Keeps these signals pending instead of letting them act, so that [`sleep_until`] receives them.
    pub fn block(self) {
        const SIG_BLOCK: usize = 0;
        // SAFETY: the kernel reads one eight byte set.
        let _ = unsafe { syscall(nr::RT_SIGPROCMASK, [SIG_BLOCK, &raw const self.0 as usize, 0, 8, 0, 0]) };
    }

    /// Makes exactly these the blocked ones.
    pub fn set_mask(self) {
        const SIG_SETMASK: usize = 2;
        // SAFETY: as for `block`.
        let _ = unsafe { syscall(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const self.0 as usize, 0, 8, 0, 0]) };
    }
}

/// Sleeps until `deadline`, or until one of the blocked `signals` arrives: its number. A deadline that has passed
/// only collects a signal that is pending already.
pub fn sleep_until(deadline: Nanos, signals: Signals) -> Option<i32> {
    loop {
        let left = deadline.saturating_sub(now());
        let time = [left / SECOND, left % SECOND];
        // SAFETY: the kernel reads the set and the timespec; no siginfo is asked for.
        let result = unsafe {
            let set = &raw const signals.0 as usize;
            syscall(nr::RT_SIGTIMEDWAIT, [set, 0, time.as_ptr() as usize, 8, 0, 0])
        };
        match result {
            Ok(signal) => return Some(signal as i32),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}
