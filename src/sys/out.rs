//! Writing to a descriptor through a buffer. The first error is kept and returned at the end; nothing is written
//! after it.

use super::proc::{Path, open};
use crate::report::Sink;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Where the profile or a message goes.
pub enum File {
    /// Standard output or standard error.
    Standard(BorrowedFd<'static>),
    /// One that we opened.
    Own(OwnedFd),
}

impl File {
    /// The file at `path`, made or emptied.
    pub fn create(path: &[u8]) -> Result<File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOCTTY;
        open(&Path::from(path), flags).map(File::Own)
    }
}

/// A file that is written.
pub struct Output {
    file: File,
    buffer: [u8; 4096],
    len: usize,
    error: Option<Errno>,
}

impl Output {
    /// Standard output or standard error.
    pub fn to(standard: BorrowedFd<'static>) -> Output {
        Output::new(File::Standard(standard))
    }

    /// Any file.
    pub fn new(file: File) -> Output {
        Output { file, buffer: [0; 4096], len: 0, error: None }
    }

    fn write(&mut self) {
        let fd = match &self.file {
            File::Standard(fd) => *fd,
            File::Own(fd) => fd.as_fd(),
        };
        let mut rest = self.buffer.get(..self.len).unwrap_or_default();
        while !rest.is_empty() && self.error.is_none() {
            match rustix::io::write(fd, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => self.error = Some(errno),
            }
        }
        self.len = 0;
    }

    /// Writes what is left. Errors: the first that happened.
    pub fn finish(&mut self) -> Result<(), Errno> {
        self.write();
        self.error.map_or(Ok(()), Err)
    }
}

impl Sink for Output {
    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.len == self.buffer.len() {
                self.write();
            }
            if let Some(slot) = self.buffer.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
        }
    }
}
