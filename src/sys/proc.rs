//! Paths, files below `/proc` of a process, and the numbers in their names. Opened without blocking, read into the
//! caller's buffer.

use super::raw::{nr, syscall};
use super::stat::{line, number};
use super::walk::{Known, known};
use super::watch::watched;
use crate::table::head;
use core::ffi::CStr;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

/// A path, built in place: what is longer than the kernel takes (PATH_MAX, limits.h) is none, and leads nowhere.
pub struct Path {
    /// Ends with a NUL.
    bytes: [u8; 4096],
    len: usize,
}

impl Path {
    /// `path` as it is.
    pub fn from(path: &[u8]) -> Path {
        Path::of(&[path])
    }

    /// What `parts` are one behind the other.
    pub fn of(parts: &[&[u8]]) -> Path {
        let mut path = Path { bytes: [0; 4096], len: 0 };
        parts.iter().for_each(|part| path.push(part));
        path
    }

    /// `/proc/PID`, then each of `parts` behind a slash.
    pub fn new(pid: Pid, parts: &[&[u8]]) -> Path {
        let mut path = Path::from(b"/proc/");
        path.push(crate::text::Decimal::new(pid.as_raw_nonzero().get() as u64).bytes());
        for part in parts {
            path.push(b"/");
            path.push(part);
        }
        path
    }

    /// `/proc/PID/task/TID/NAME`.
    pub fn of_thread(pid: Pid, tid: u32, name: &[u8]) -> Path {
        Path::new(pid, &[b"task", crate::text::Decimal::new(tid.into()).bytes(), name])
    }

    /// `/proc/PID/map_files/START-END`, in hexadecimal.
    pub fn of_mapping(pid: Pid, start: u64, end: u64) -> Path {
        let mut path = Path::new(pid, &[b"map_files"]);
        for (before, number) in [(b'/', start), (b'-', end)] {
            path.push(&[before]);
            for digit in (0..16).rev().filter(|&digit| digit == 0 || number >> (4 * digit) != 0) {
                path.push(&[b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]]);
            }
        }
        path
    }

    fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(to) = self.bytes.get_mut(self.len..end).filter(|_| end < 4096) {
            to.copy_from_slice(part);
            self.len = end;
        }
    }

    /// Its bytes, without the NUL.
    pub fn bytes(&self) -> &[u8] {
        head(&self.bytes, self.len)
    }

    /// The path as system calls take it.
    pub fn c_str(&self) -> &CStr {
        self.c_str_from(0)
    }

    /// The same from byte `at` on, to the next NUL.
    pub fn c_str_from(&self, at: usize) -> &CStr {
        let rest = self.bytes.get(at..).unwrap_or_default();
        // SAFETY: the last byte of all is never written, so there is a NUL unless nothing is left.
        if rest.is_empty() { c"" } else { unsafe { CStr::from_ptr(rest.as_ptr().cast()) } }
    }

    /// Puts a NUL in place of byte `at`.
    pub fn end_at(&mut self, at: usize) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte = 0;
        }
    }
}

/// Bytes that hold a `status` of a process, unless it belongs to hundreds of groups.
pub const STATUS: usize = 4096;

/// How files are opened for reading: never waits for a writer of a FIFO, never makes a terminal ours.
pub const READ: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens the file at `path`. One that is made can be read by all.
pub fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, path.c_str(), flags, Mode::from_raw_mode(0o644))
}

/// Reads a small file of `/proc` into `into`: the part that it filled. The kernel makes such a file anew for each read
/// from its start and gives as much as there is room for, so one read is enough.
pub fn read_file<'a>(path: &Path, into: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let len = rustix::io::read(open(path, READ)?, &mut *into)?;
    Ok(head(into, len))
}

/// Reads file `name` of process `pid`, or of its thread `tid` unless that is 0, into `into`: the part that it filled.
#[inline(never)] // the path makes a large frame, in which every address takes longer instructions
pub fn read_of<'a>(pid: Pid, tid: u32, name: &[u8], into: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let path = if tid == 0 { Path::new(pid, &[name]) } else { Path::of_thread(pid, tid, name) };
    watched(pid, || read_file(&path, into)) // the command line lies in its memory
}

/// Calls `visit` with the number that each entry of the directory `path` has for a name, such as those of all processes in
/// `/proc`; something else is no process.
pub fn numbers(path: &Path, visit: &mut dyn FnMut(u64)) -> Result<(), Errno> {
    let directory = open(path, OFlags::CLOEXEC | OFlags::DIRECTORY)?;
    let mut buffer = [0; 4096];
    loop {
        let len = super::raw::getdents(&directory, &mut buffer);
        let mut rest = head(&buffer, len);
        // struct linux_dirent64 (getdents64(2)): its own length at 16, the name from 19 on.
        while let Some((head, name)) = rest.split_at_checked(19) {
            visit(number(name, 10, 0));
            rest = rest.get(u16::from_le_bytes([head[16], head[17]]).into()..).unwrap_or_default();
        }
        if len == 0 {
            return Ok(());
        }
    }
}

/// A number that tells the program that `pid` runs from another one: its inode and its device. 0 when that may not be
/// known.
#[inline(never)] // for its path
pub fn executable_id(pid: Pid) -> u64 {
    let Known { inode, device, .. } = known(CWD, Path::new(pid, &[b"exe"]).c_str());
    inode ^ device.rotate_left(32)
}

/// Whether a signal that thread `tid` does not block waits for it or for its process (SigPnd, ShdPnd, SigBlk of
/// proc_pid_status(5), in hexadecimal).
pub fn signal_pending(tid: Pid) -> bool {
    let mut buffer = [0; STATUS];
    let status = read_of(tid, 0, b"status", &mut buffer).unwrap_or_default();
    let mask = |name| number(line(status, name), 16, 0);
    (mask(&b"\nSigPnd:\t"[..]) | mask(b"\nShdPnd:\t")) & !mask(b"\nSigBlk:\t") != 0
}

/// How many files we may have open at the same time (getrlimit(2); prlimit(2) could change that of others).
pub fn files_limit() -> u64 {
    const RLIMIT_NOFILE: usize = 7; // asm-generic/resource.h
    let mut limits = [u64::MAX; 2]; // struct rlimit: the soft one, the hard one
    // SAFETY: the kernel writes one rlimit.
    let _ = unsafe { syscall(nr::GETRLIMIT, [RLIMIT_NOFILE, limits.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    limits[0]
}

/// Whether the pids in `/proc` are ours: it is mounted, and not for another PID namespace.
pub fn is_ours() -> bool {
    let mut link = [0; 16];
    let len = readlinkat_raw(CWD, c"/proc/self", &mut link[..]).unwrap_or(0);
    super::stat::number(head(&link, len), 10, 0) == getpid().as_raw_nonzero().get() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn paths_are_made_of_their_parts() {
        let pid = Pid::from_raw(4_194_304).unwrap();
        assert_eq!(Path::new(pid, &[]).c_str(), c"/proc/4194304");
        assert_eq!(Path::new(pid, &[b"task", b"17", b"stat"]).c_str(), c"/proc/4194304/task/17/stat");
        assert_eq!(Path::of_thread(pid, 17, b"stat").c_str(), c"/proc/4194304/task/17/stat");
        let mapping = |start, end| Path::of_mapping(pid, start, end);
        let name = c"/proc/4194304/map_files/400000-7ffffffff000";
        assert_eq!(mapping(0x40_0000, 0x7fff_ffff_f000).c_str(), name);
        assert_eq!(mapping(0, u64::MAX).c_str(), c"/proc/4194304/map_files/0-ffffffffffffffff");
        assert_eq!(Path::from(b"").c_str(), c"");
        assert_eq!(Path::from(b"a/b").c_str(), c"a/b");
    }

    #[test]
    fn paths_that_are_too_long_lead_nowhere() {
        let long = vec![b'x'; 4095];
        assert_eq!(Path::from(&long).c_str().to_bytes(), long);
        assert_eq!(Path::from(&vec![b'x'; 4096]).c_str(), c"");
        assert_eq!(open(&Path::from(&vec![b'/'; 5000]), READ).err(), Some(Errno::NOENT));
    }

    #[test]
    fn our_own_threads_are_numbers() {
        let pid = rustix::process::getpid();
        let mut threads = Vec::new();
        numbers(&Path::new(pid, &[b"task"]), &mut |number| threads.push(number)).unwrap();
        assert!(threads.contains(&(rustix::thread::gettid().as_raw_nonzero().get() as u64)));
        assert!(!signal_pending(rustix::thread::gettid()));
        assert!(is_ours());
        let none = Path::new(pid, &[b"nothing"]);
        assert_eq!(numbers(&none, &mut |_| panic!()).err(), Some(Errno::NOENT));
    }

    #[test]
    fn the_limit_of_open_files_is_that_of_the_shell() {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let soft = line.split_whitespace().next().unwrap();
        assert_eq!(files_limit(), soft.parse().unwrap_or(u64::MAX));
    }

    #[test]
    fn files_are_read_as_far_as_there_is_room() {
        let path = Path::new(rustix::process::getpid(), &[b"stat"]);
        let mut buffer = [0; 4096];
        let whole = read_file(&path, &mut buffer).unwrap();
        assert!(whole.len() > 50 && whole.ends_with(b"\n"));
        assert_eq!(read_file(&path, &mut [0; 10]).unwrap(), &whole[..10]);
        assert_eq!(read_file(&path, &mut []).unwrap(), b"");
        assert!(executable_id(rustix::process::getpid()) != 0);
    }
}
