//! Whether a process still is the one that it was, and not another one that got its number when it had ended.
//!
//! A descriptor of the process says that (pidfd_open(2), Linux 5.3). Where there is none, since the kernel is older, a filter
//! forbids it, or the number is not that of a first thread, the time at which the process started does: that another one
//! starts in the same clock tick of 10 ms would take all numbers to be used up in that.

use super::filter::Risk;
use super::raw::{nr, syscall};
use super::stat::Stat;
use rustix::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process by more than its number.
pub struct Identity {
    pid: Pid,
    descriptor: Option<OwnedFd>,
    /// When it started (see [`Stat`]), where there is no descriptor. 0: not looked at yet.
    start: u64,
}

impl Identity {
    /// The process that has this number now, or without a descriptor when it is first asked for.
    pub fn of(pid: Pid) -> Identity {
        Identity { pid, descriptor: open(pid).ok(), start: 0 }
    }

    /// Whether it has ended with all its threads, its parent may have collected it or not.
    pub fn has_ended(&mut self) -> bool {
        if let Some(Ok(ended)) = self.descriptor.as_ref().map(is_readable) {
            return ended;
        }
        let Ok(stat) = Stat::read(self.pid) else {
            return test_kill_process(self.pid) == Err(Errno::SRCH);
        };
        if self.start == 0 {
            self.start = stat.start;
        }
        stat.start != self.start || stat.is_over()
    }
}

/// A descriptor of process `pid`, closed by `exec`.
fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    let pid = pid.as_raw_nonzero().get() as usize;
    if !Risk::Pidfd.is_none() {
        return Err(Errno::NOSYS);
    }
    // SAFETY: the kernel takes two numbers, and the descriptor that it gives is ours alone.
    unsafe { Ok(OwnedFd::from_raw_fd(syscall(nr::PIDFD_OPEN, [pid, 0, 0, 0, 0, 0])? as i32)) }
}

/// Whether a descriptor is readable, which one of a process becomes when that ends.
fn is_readable(descriptor: &OwnedFd) -> Result<bool, Errno> {
    const POLLIN: i32 = 1; // poll.h
    let mut poll = [descriptor.as_raw_fd(), POLLIN]; // struct pollfd: fd; events and revents, 16 bits each
    let at_once = [0u64; 2]; // struct timespec
    let args = [&raw mut poll as usize, 1, at_once.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel reads one timespec, and reads and writes one pollfd.
    unsafe { syscall(nr::PPOLL, args) }.map(|ready| ready != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        (child, pid)
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let us = rustix::process::getpid();
        let mut identity = Identity { descriptor: None, ..Identity::of(us) };
        assert!(!identity.has_ended() && !identity.has_ended());
        assert!(Identity { start: identity.start + 1, ..identity }.has_ended());
    }

    #[test]
    fn its_end_is_seen_by_both_ways() {
        assert!(Identity::of(rustix::process::getpid()).descriptor.is_some(), "Linux 5.3");
        for known_by_start in [false, true] {
            let (mut child, pid) = sleeper();
            let mut identity = Identity::of(pid);
            if known_by_start {
                identity.descriptor = None;
            }
            assert!(!identity.has_ended());
            child.kill().unwrap();
            while !identity.has_ended() {} // a zombie
            child.wait().unwrap();
            assert!(identity.has_ended());
        }
    }

    #[test]
    fn the_number_of_a_thread_is_known_by_its_start() {
        let thread = std::thread::spawn(|| {
            let mut identity = Identity::of(rustix::thread::gettid());
            assert!(identity.descriptor.is_none() && !identity.has_ended() && identity.start > 0);
        });
        thread.join().unwrap();
    }
}
