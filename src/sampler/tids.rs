//! Which of the kernel's threads one is that says its number itself. What it says is an allegation: it is the number in its
//! own PID namespace, or that of the thread from which a process was forked without a word to Python; and another
//! process may have that number here. Only threads of the process are ever found.

use crate::sys::proc::{Path, STATUS, numbers, read_of};
use crate::sys::stat::{line, number};
use crate::target::is_thread;
use core::cell::Cell;
use rustix::process::Pid;

/// Threads that are remembered, and for how many questions: then they may have ended, and others have their numbers.
const KNOWN: usize = 128;
const TRUSTED: u32 = 64;

/// The threads of one process.
pub struct Tids {
    pid: Pid,
    /// It has a PID namespace that is not ours, once that is known.
    apart: Cell<Option<bool>>,
    /// Numbers there and here, each at a place that the number there tells; 0: nothing yet.
    known: [Cell<(u32, u32)>; KNOWN],
    /// For how many more questions that holds.
    trusted: Cell<u32>,
}

impl Tids {
    /// Those of `pid`.
    pub const fn new(pid: Pid) -> Tids {
        let known = [const { Cell::new((0, 0)) }; KNOWN];
        Tids { pid, apart: Cell::new(None), known, trusted: Cell::new(TRUSTED) }
    }

    /// The thread that has, there, the first of these numbers that is a thread's; 0 is none's.
    pub fn find(&self, there: &[u32]) -> Option<Pid> {
        let left = self.trusted.get().checked_sub(1);
        if left.is_none() {
            self.known.iter().for_each(|known| known.set((0, 0)));
        }
        self.trusted.set(left.unwrap_or(TRUSTED));
        if let Some(tid) = there.iter().find_map(|&tid| self.remembered(tid)) {
            return Some(tid);
        }
        let apart = self.apart.get().unwrap_or_else(|| self.number_of(0).1);
        self.apart.set(Some(apart));
        if apart {
            return self.look_through(there);
        }
        let tid = there.iter().find_map(|&tid| is_thread(self.pid, tid))?;
        let number = tid.as_raw_nonzero().get() as u32;
        self.remember(number, number);
        Some(tid)
    }

    fn remembered(&self, there: u32) -> Option<Pid> {
        let (known, here) = self.known.get(there as usize % KNOWN)?.get();
        Pid::from_raw(here as i32).filter(|_| known == there)
    }

    fn remember(&self, there: u32, here: u32) {
        if let Some(place) = self.known.get(there as usize % KNOWN) {
            place.set((there, here));
        }
    }

    /// All threads, of which the last that has one of the numbers is as good as any: of those that are no thread's, next to
    /// none happens to be another's.
    fn look_through(&self, wanted: &[u32]) -> Option<Pid> {
        let mut found = None;
        let _ = numbers(&Path::new(self.pid, &[b"task"]), &mut |here| {
            let here = here as u32;
            let there = self.number_of(here).0;
            // Not of `.` and `..`, which are 0.
            if here > 0 && there > 0 {
                self.remember(there, here);
                if wanted.contains(&there) {
                    found = Pid::from_raw(here as i32);
                }
            }
        });
        found
    }

    /// The number of a thread, or for 0 the process, in its own PID namespace, and whether that is another one than that of
    /// `/proc` (NSpid of proc_pid_status(5), since Linux 4.1; before, that is not told).
    #[inline(never)] // for its buffer
    fn number_of(&self, tid: u32) -> (u32, bool) {
        let mut buffer = [0; STATUS];
        let status = read_of(self.pid, tid, b"status", &mut buffer).unwrap_or_default();
        let all = line(status, b"\nNSpid:\t");
        let last = all.iter().rposition(|&b| b == b'\t');
        let own = all.get(last.map_or(0, |tab| tab + 1)..).unwrap_or_default();
        (number(own, 10, 0) as u32, last.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpid;
    use rustix::thread::gettid;

    #[test]
    fn only_threads_of_the_process_are_found() {
        let mine = gettid().as_raw_nonzero().get() as u32;
        for apart in [None, Some(true)] {
            let tids = Tids::new(getpid());
            tids.apart.set(apart);
            for _ in 0..2 {
                assert_eq!(tids.find(&[0, 1, u32::MAX, mine]), Some(gettid()));
                assert_eq!(tids.find(&[0, 1, u32::MAX]), None);
            }
            // Where the thread that had the number has ended.
            tids.remember(mine, 1);
            let found = |_| tids.find(&[mine]) == Some(gettid());
            assert!((0..TRUSTED).any(found) && found(0));
        }
    }
}
