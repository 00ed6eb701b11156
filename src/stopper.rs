//! The threads that are traced so that they can be stopped. A thread is traced from the first time that it has to be
//! stopped on; while it is, its signals come to us first and are handed on at once.

use crate::sys::ptrace::Tracee;
use rustix::io::Errno;
use rustix::process::{Pid, WaitStatus};

/// Threads traced at the same time; the one that was stopped least lately makes room.
const TRACEES: usize = 32;

/// Traced threads.
pub struct Stopper {
    tracees: [Option<Tracee>; TRACEES],
    next: usize,
    allowed: bool,
    child: Option<Pid>,
    ended: Option<(Pid, WaitStatus)>,
    refused: Option<Errno>,
}

impl Stopper {
    /// Traces nobody yet, and never will unless `allowed`. `child`: a process that we started ourselves.
    pub fn new(allowed: bool, child: Option<Pid>) -> Stopper {
        Stopper { tracees: [const { None }; TRACEES], next: 0, allowed, child, ended: None, refused: None }
    }

    /// Whether threads may be stopped, as far as is known.
    pub fn may_stop(&self) -> bool {
        self.allowed && self.refused.is_none()
    }

    /// Why they may not.
    pub fn refused(&self) -> Option<Errno> {
        self.refused
    }

    /// Traces thread `tid`: its place. None when it has ended, or when that is refused, which is then not tried again.
    pub fn trace(&mut self, tid: Pid) -> Option<usize> {
        let is_it = |tracee: &Option<Tracee>| tracee.as_ref().is_some_and(|tracee| tracee.tid() == tid);
        if let Some(index) = self.tracees.iter().position(is_it) {
            return Some(index);
        }
        match Tracee::seize(tid) {
            Ok(tracee) => {
                let index = self.next;
                self.next = (self.next + 1) % TRACEES;
                self.put_back(index, tracee);
                Some(index)
            }
            Err(Errno::SRCH) => None,
            Err(errno) => {
                self.refused = Some(errno);
                None
            }
        }
    }

    /// Lends the tracee at `index` out.
    pub fn take(&mut self, index: usize) -> Option<Tracee> {
        self.tracees.get_mut(index)?.take()
    }

    /// Takes it back.
    pub fn put_back(&mut self, index: usize, tracee: Tracee) {
        if let Some(place) = self.tracees.get_mut(index) {
            *place = Some(tracee);
        }
    }

    /// Hands on what arrived at the traced threads.
    pub fn attend(&mut self) {
        for place in &mut self.tracees {
            let Some(tracee) = place else { continue };
            tracee.attend();
            if let Some(status) = tracee.ended() {
                self.ended =
                    self.ended.or(Some((tracee.tid(), status)).filter(|(tid, _)| Some(*tid) == self.child));
                *place = None;
            }
        }
    }

    /// How `child` ended, if that came to be known here: a tracer is told in place of the parent.
    pub fn ended(&mut self) -> Option<WaitStatus> {
        self.attend();
        self.ended.map(|(_, status)| status)
    }
}
