//! The monotonic clock, and sleeping until a moment or a signal.

use super::raw::{nr, syscall};
use rustix::io::Errno;

/// A moment of CLOCK_MONOTONIC, in nanoseconds (clock_gettime(2)).
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;

/// Now.
pub fn now() -> Nanos {
    read(CLOCK_MONOTONIC)
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
