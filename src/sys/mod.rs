//! Linux, and nothing of Python: every effect that the program has. All `unsafe` is in here and in the entry point.

pub mod children;
pub mod clock;
pub mod file;
mod filter;
pub mod identity;
pub mod mem;
pub mod out;
pub mod peek;
pub mod proc;
pub mod ptrace;
pub mod raw;
pub mod region;
pub mod remote;
pub mod spawn;
pub mod start;
pub mod stat;
pub mod state;
pub mod walk;
pub mod watch;

use core::cell::UnsafeCell;
use rustix::fd::{AsRawFd as _, BorrowedFd, IntoRawFd as _};
use rustix::fs::{CWD, Mode, openat};
use rustix::mm::{MprotectFlags, mprotect};

/// Whether this program, and so every process that it can look at, is one for 64-bit ARM.
pub const AARCH64: bool = cfg!(target_arch = "aarch64");

/// Ends the process with `status`.
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group takes a number and does not return.
    let _ = unsafe { raw::syscall(raw::nr::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]) };
    unreachable!("exit_group does not return")
}

/// Says `text` on standard error and ends the process as `abort(3)` would (status 134).
pub fn abort(text: &[u8]) -> ! {
    let _ = rustix::io::write(stderr(), text);
    exit(134)
}

const PAGE: usize = 4096;

/// What the program runs on: the stack that the kernel gives is as short as whoever has started us likes it to be
/// (`ulimit -s`).
#[repr(C, align(4096))]
pub struct Stack(UnsafeCell<[u8; Stack::PAGES * PAGE]>);

// SAFETY: nobody but the entry point takes its address to use what is there.
unsafe impl Sync for Stack {}

impl Stack {
    /// Its size; a development build copies what is large several times.
    pub const PAGES: usize = 512;
}

/// The stack, behind what [`seal`] makes read-only: to run over its end is a fault.
pub static STACK: Stack = Stack(UnsafeCell::new([0; Stack::PAGES * PAGE]));

/// Makes read-only what of the program itself can be written: addresses of functions and texts, which the start of the
/// process has moved to where they are. No static may change after that but the stack: what does is [`state`].
pub fn seal() {
    unsafe extern "C" {
        static etext: u8;
    }
    // Between the code and the stack lies one segment, on pages of its own (build.rs).
    let (start, end) = ((&raw const etext as usize).next_multiple_of(PAGE), &raw const STACK as usize);
    // SAFETY: nothing in there is written from here on. What larger pages do not allow is left as it is.
    let _ = unsafe { mprotect(start as *mut _, end.saturating_sub(start), MprotectFlags::READ) };
}

/// Takes the places of standard streams that are closed: else the next file that is opened would stand there, and be
/// written to as if it were one. What stands there now cannot be read or written, and is closed in a command that we start.
pub fn occupy() {
    const POLLNVAL: u64 = 0x20; // poll.h
    let mut polls = [0u64, 1, 2]; // struct pollfd: fd; events and revents, 16 bits each
    let at_once = [0u64; 2]; // struct timespec
    let args = [polls.as_mut_ptr() as usize, polls.len(), at_once.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel reads one timespec, and reads and writes three pollfds.
    let known = unsafe { raw::syscall(raw::nr::PPOLL, args) };
    if known.is_ok() && polls.iter().all(|poll| poll >> 48 & POLLNVAL == 0) {
        return;
    }
    while let Ok(place) = openat(CWD, c"/", walk::LOOK, Mode::empty()) {
        if place.as_raw_fd() > 2 {
            return;
        }
        let _ = place.into_raw_fd(); // stays open
    }
}

/// Standard output.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: this program never closes descriptor 1; if it was closed at the start, writes fail with EBADF (`occupy`).
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Standard error.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for `stdout`.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Prints what `core` knows of a panic; development builds only, since it needs `core::fmt`.
#[cfg(debug_assertions)]
pub fn report_panic(info: &core::panic::PanicInfo<'_>) {
    use core::fmt::Write as _;
    struct Stderr;
    impl core::fmt::Write for Stderr {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            rustix::io::write(stderr(), text.as_bytes()).map(drop).map_err(|_| core::fmt::Error)
        }
    }
    let _ = writeln!(Stderr, "pyflame: {info}");
}

/// Makes sleeps end on time instead of up to 50 microseconds later (PR_SET_TIMERSLACK, prctl(2)).
pub fn precise_sleep() {
    if let Some(one) = core::num::NonZeroU64::new(1) {
        let _ = rustix::thread::set_current_timer_slack(Some(one));
    }
}

/// Whether somebody may read along.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}
