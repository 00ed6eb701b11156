//! Reading another process: one vectored `process_vm_readv(2)`, else `pread(2)` on its `/proc/PID/mem`, else
//! `PTRACE_PEEKDATA`. Nothing here writes to another process.

use super::filter::Risk;
use super::peek::Peek;
use super::ptrace;
use super::raw::{nr, syscall};
use super::watch::watched;
use crate::memory::{Addr, Gather, Memory, Miss, Span};
use core::cell::Cell;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;

/// Ranges that one `process_vm_readv` takes at most (IOV_MAX, limits.h).
pub const MAX_RANGES: usize = 1024;

/// By which system call memory is read.
pub enum Way {
    /// `process_vm_readv`.
    Readv,
    /// `pread` on this `/proc/PID/mem`.
    File(OwnedFd),
    /// `PTRACE_PEEKDATA`, which stops a thread.
    Peek(Peek),
}

/// The memory of a process.
pub struct Remote {
    pid: Pid,
    way: Way,
    calls: Cell<u64>,
}

impl Remote {
    /// The memory of the process of thread `pid`, as long as that thread lives.
    pub fn new(pid: Pid, way: Way) -> Remote {
        Remote { pid, way, calls: Cell::new(0) }
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

    /// How memory is read, in words.
    pub fn how(&self) -> &'static [u8] {
        match self.way {
            Way::Readv => b"by process_vm_readv",
            Way::File(_) => b"through /proc/PID/mem",
            Way::Peek(_) => b"by PTRACE_PEEKDATA, which stops a thread each time",
        }
    }

    /// What reads through threads that stand still, if that is the way.
    pub fn peek(&self) -> Option<&Peek> {
        if let Way::Peek(peek) = &self.way { Some(peek) } else { None }
    }

    /// Fills `into` from `ranges`, at most [`MAX_RANGES`], one behind the other and in that order. What was read ends
    /// before the first range of which a part is not readable: the number of bytes until there. Errors: ESRCH when
    /// the process is gone, EPERM when it may not be read, EFAULT when the first range is not readable.
    pub fn read_ranges(&self, ranges: &[Span], into: &mut [u8]) -> Result<usize, Errno> {
        watched(self.pid, || match &self.way {
            Way::Readv => self.readv(ranges, into),
            Way::File(_) => self.each(ranges, into, self.pid),
            Way::Peek(peek) => peek.with(&mut |tid| self.each(ranges, into, tid)),
        })
    }

    fn readv(&self, ranges: &[Span], into: &mut [u8]) -> Result<usize, Errno> {
        let local = Span { base: into.as_mut_ptr() as u64, len: into.len() as u64 };
        self.calls.set(self.calls.get() + 1);
        let pid = self.pid.as_raw_nonzero().get() as usize;
        let (count, ranges) = (ranges.len().min(MAX_RANGES), ranges.as_ptr() as usize);
        let args = [pid, &raw const local as usize, 1, ranges, count, 0];
        if !Risk::Readv.is_none() {
            return Err(Errno::NOSYS);
        }
        // SAFETY: the kernel writes at most `into.len()` bytes to `into` and reads `count` ranges; the remote addresses
        // are its business to check.
        unsafe { syscall(nr::PROCESS_VM_READV, args) }
    }

    /// The same with a call or more for each of them. `still`: a thread that stands still, where one has to.
    fn each(&self, ranges: &[Span], into: &mut [u8], still: Pid) -> Result<usize, Errno> {
        let mut done = 0;
        for range in ranges {
            let end = done + range.len as usize;
            let Some(part) = into.get_mut(done..end) else { return Ok(done) };
            let want = part.len();
            self.calls.set(self.calls.get() + 1);
            let read = match &self.way {
                Way::File(file) => rustix::io::pread(file, part, range.base),
                _ => peek_all(still, part, range.base),
            };
            match read {
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

/// Fills `part` from `at`, in words that do not cross a page.
fn peek_all(tid: Pid, part: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut word = [0; 8];
    for (done, to) in part.iter_mut().enumerate() {
        let place = at.wrapping_add(done as u64);
        if place & 7 == 0 || done == 0 {
            word = ptrace::peek(tid, place & !7)?;
        }
        *to = word[(place & 7) as usize];
    }
    Ok(part.len())
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
