//! Reading another process: one vectored `process_vm_readv(2)`, or `pread(2)` on its `/proc/PID/mem` where the
//! first is denied. Nothing here writes to another process.

use super::filter::Risk;
use super::raw::{nr, syscall};
use crate::memory::{Addr, Gather, Memory, Miss, Span};
use core::cell::Cell;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;

/// Ranges that one `process_vm_readv` takes at most (IOV_MAX, limits.h).
pub const MAX_RANGES: usize = 1024;

/// The memory of a process.
pub struct Remote {
    pid: Pid,
    /// Set when `process_vm_readv` is refused; then everything is read through it.
    file: Option<OwnedFd>,
    calls: Cell<u64>,
}

impl Remote {
    /// The memory of thread `pid`'s process, as long as that thread lives. `file` is its `/proc/PID/mem`, to be used instead of `process_vm_readv`.
    pub fn new(pid: Pid, file: Option<OwnedFd>) -> Remote {
        Remote { pid, file, calls: Cell::new(0) }
    }

    /// The thread by whose number it is read.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Goes on with the count of `before`, which was read in its place.
    pub fn follow(&self, before: &Remote) {
        self.calls.set(self.calls.get() + before.calls());
    }

    /// Read calls made so far.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Whether memory is read through `/proc/PID/mem`.
    pub fn through_file(&self) -> bool {
        self.file.is_some()
    }

    /// Fills `into` from `ranges`, at most [`MAX_RANGES`], one behind the other and in that order. What was read ends
    /// before the first range of which a part is not readable: the number of bytes until there. Errors: ESRCH when
    /// the process is gone, EPERM when it may not be read, EFAULT when the first range is not readable.
    pub fn read_ranges(&self, ranges: &[Span], into: &mut [u8]) -> Result<usize, Errno> {
        match &self.file {
            None => self.readv(ranges, into),
            Some(file) => self.pread_all(file, ranges, into),
        }
    }

    fn readv(&self, ranges: &[Span], into: &mut [u8]) -> Result<usize, Errno> {
        let local = Span { base: into.as_mut_ptr() as u64, len: into.len() as u64 };
        self.calls.set(self.calls.get() + 1);
        let pid = self.pid.as_raw_nonzero().get() as usize;
        let (count, ranges) = (ranges.len().min(MAX_RANGES), ranges.as_ptr() as usize);
        let args = [pid, &raw const local as usize, 1, ranges, count, 0];
        static RISK: Risk = Risk::of(nr::PROCESS_VM_READV);
        if !RISK.is_none() {
            return Err(Errno::NOSYS);
        }
        // SAFETY: the kernel writes at most `into.len()` bytes to `into` and reads `count` ranges; the remote addresses
        // are its business to check.
        unsafe { syscall(nr::PROCESS_VM_READV, args) }
    }

    fn pread_all(&self, file: &OwnedFd, ranges: &[Span], into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        for range in ranges {
            let end = done + range.len as usize;
            let Some(part) = into.get_mut(done..end) else { return Ok(done) };
            let want = part.len();
            self.calls.set(self.calls.get() + 1);
            match rustix::io::pread(file, part, range.base) {
                // No byte: the address space is gone, the process has ended or called exec.
                Ok(0) => return if done == 0 { Err(Errno::SRCH) } else { Ok(done) },
                Ok(n) if n == want => done = end,
                Ok(_) | Err(Errno::IO) if done > 0 => return Ok(done),
                Ok(_) | Err(Errno::IO) => return Err(Errno::FAULT),
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }
}

impl Memory for Remote {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let want = into.len();
        match self.read_ranges(&[Span { base: at.0, len: want as u64 }], into) {
            Ok(n) if n == want => Ok(()),
            _ => Err(Miss::Fault),
        }
    }
}

impl Gather for Remote {
    fn gather(&self, spans: &[Span], into: &mut [u8]) -> Option<usize> {
        let mut done = 0;
        for batch in spans.chunks(MAX_RANGES) {
            let want = batch.iter().map(|span| span.len as usize).sum::<usize>();
            let part = into.get_mut(done..done + want)?;
            match self.read_ranges(batch, part) {
                Ok(n) => done += n,
                Err(Errno::FAULT) => return Some(done),
                Err(_) => return None,
            }
            if done < want {
                break;
            }
        }
        Some(done)
    }
}
