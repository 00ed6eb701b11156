//! System calls that a filter (seccomp(2)) may answer with our end. Where there may be a filter, a child makes such a call
//! first and ends in our place; without one there is no child. Knows nothing of what the calls are for.

use super::raw::syscall;
use super::spawn::fork;
use core::sync::atomic::{AtomicU8, Ordering};
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{SecureComputingMode, secure_computing_mode};

const SAFE: u8 = 1;
const DEADLY: u8 = 2;

/// A system call that may be deadly, by its number. Whether it is, is found out once.
pub struct Risk(usize, AtomicU8);

impl Risk {
    /// Not known yet.
    pub const fn of(nr: usize) -> Risk {
        Risk(nr, AtomicU8::new(0))
    }

    /// Whether it can be made without harm.
    #[inline(never)] // smaller
    pub fn is_none(&self) -> bool {
        let mut known = self.1.load(Ordering::Relaxed);
        if known == 0 {
            // To ask for the filter is not without risk itself, but where prctl(2) is deadly no sampler lives.
            let free = secure_computing_mode() == Ok(SecureComputingMode::Disabled);
            known = if free || survives(self.0) { SAFE } else { DEADLY };
            self.1.store(known, Ordering::Relaxed);
        }
        known == SAFE
    }
}

/// Whether a child that makes the call lives on. It leaves no core file.
fn survives(nr: usize) -> bool {
    let Ok(child) = fork() else { return false };
    let Some(child) = child else {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        // SAFETY: what is asked for with such arguments is refused: no pid, no pointer, no request or flag is -1. And it
        // would be done to a process that is about to end.
        let _ = unsafe { syscall(nr, [usize::MAX; 6]) };
        super::exit(0)
    };
    let ended = waitpid(Some(child), WaitOptions::empty());
    matches!(ended, Ok(Some((_, status))) if status.exited())
}

#[cfg(test)]
mod tests {
    use super::super::raw::nr;
    use super::*;

    #[test]
    fn what_ends_a_child_is_deadly() {
        for call in [nr::PTRACE, nr::KCMP, nr::PROCESS_VM_READV, nr::OPENAT2] {
            assert!(survives(call));
            let risk = Risk::of(call);
            assert!(risk.is_none() && risk.is_none());
        }
    }

    #[test]
    fn what_is_known_is_not_asked_again() {
        let risk = Risk(nr::EXIT_GROUP, AtomicU8::new(DEADLY));
        assert!(!risk.is_none() && !risk.is_none());
    }
}
