//! System calls that a filter (seccomp(2)) may answer with our end. Where there may be a filter, a child makes such a call
//! first and ends in our place; without one there is no child. Knows nothing of what the calls are for.

use super::raw::{nr, syscall};
use super::spawn::fork;
use super::state;
use core::sync::atomic::Ordering;
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{SecureComputingMode, secure_computing_mode};

const SAFE: u8 = 1;
const DEADLY: u8 = 2;

/// A system call that may be deadly. Whether it is, is found out once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Risk {
    /// `process_vm_readv`.
    Readv,
    /// `ptrace`.
    Ptrace,
    /// `kcmp`.
    Kcmp,
    /// `pidfd_open`.
    Pidfd,
}

impl Risk {
    fn number(self) -> usize {
        match self {
            Risk::Readv => nr::PROCESS_VM_READV,
            Risk::Ptrace => nr::PTRACE,
            Risk::Kcmp => nr::KCMP,
            Risk::Pidfd => nr::PIDFD_OPEN,
        }
    }

    /// Whether it can be made without harm.
    #[inline(never)] // smaller
    pub fn is_none(self) -> bool {
        let place = &state::get().risks[self as usize];
        let mut known = place.load(Ordering::Relaxed);
        if known == 0 {
            // To ask for the filter is not without risk itself, but where prctl(2) is deadly no sampler lives.
            if secure_computing_mode() == Ok(SecureComputingMode::Disabled) {
                state::get().risks.iter().for_each(|place| place.store(SAFE, Ordering::Relaxed));
                return true;
            }
            known = if survives(self.number()) { SAFE } else { DEADLY };
            place.store(known, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn what_can_be_made_is_no_risk() {
        for risk in [Risk::Readv, Risk::Ptrace, Risk::Kcmp, Risk::Pidfd] {
            assert!(survives(risk.number()), "{risk:?}");
            assert!(risk.is_none() && risk.is_none(), "{risk:?}");
        }
    }
}
