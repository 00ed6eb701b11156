//! Writing to a descriptor through a buffer. The first error is kept and returned at the end; nothing is written
//! after it. A regular file gets its name when it is complete, so whoever finds a file of that name has all of it.

use super::proc::Path;
use super::walk::{self, Place};
use crate::report::Sink;
use crate::table::head;
use crate::text::Decimal;
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fstat, ftruncate, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::{geteuid, getpid};

/// Where the profile or a message goes.
#[expect(clippy::large_enum_variant, reason = "there are two at most, and no heap to put them on")]
pub enum File {
    /// Standard output or standard error.
    Standard(BorrowedFd<'static>),
    /// One that we opened, and what it is called until it is complete.
    Own(OwnedFd, Option<Draft>),
}

/// The name of a file that is not complete. Without another one the file is gone when this is.
pub struct Draft {
    place: Place,
    is_kept: bool,
}

impl Draft {
    /// The name that it has meanwhile.
    #[inline(never)] // smaller
    fn name(&self) -> Path {
        let number = Decimal::new(getpid().as_raw_nonzero().get() as u64);
        Path::of(&[b".", self.place.name().to_bytes(), b".pyflame-", number.bytes()])
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = unlinkat(self.place.directory(), self.name().c_str(), AtFlags::empty());
        }
    }
}

/// How a file is opened that is written.
const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl File {
    /// The file at `path`. A new one can be read by all, or if it `is_private` by us alone. Where we can make files and
    /// there is none or one that is ours alone, what is written goes into a new one beside it, to take its place in the end;
    /// else into what is there, which is emptied. Errors: those of [`walk::along`] and of `open(2)`.
    #[inline(never)] // the paths make a large frame, in which every address takes longer instructions
    pub fn create(path: &[u8], is_private: bool) -> Result<File, Errno> {
        let mut draft = Draft { place: walk::along(path, None)?, is_kept: true };
        let place = &mut draft.place;
        let mut mode = if is_private { 0o600 } else { 0o644 };
        let mut replaced = true;
        if place.there.is_some() {
            let links = if place.is_magic { OFlags::empty() } else { OFlags::NOFOLLOW };
            // Whether what is there may be written is not asked of its directory.
            let old = place.there.insert(place.open(WRITE | links)?);
            replaced = is_ours(old) && !place.is_magic;
            mode = walk::seen(old).1 & 0o777;
        }
        if replaced && let Ok(file) = create(&draft.place, draft.name().c_str(), mode) {
            // The mode of one that was there is not changed by our umask.
            if draft.place.there.is_some() {
                let _ = fchmod(&file, Mode::from_raw_mode(mode));
            }
            draft.is_kept = false;
            return Ok(File::Own(file, Some(draft)));
        }
        let place = &mut draft.place;
        let there = place.there.take();
        let file = there.map_or_else(|| create(place, place.name(), mode), Ok)?;
        let _ = ftruncate(&file, 0); // what is no regular file has no length
        Ok(File::Own(file, None))
    }
}

fn create(place: &Place, name: &CStr, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = WRITE | OFlags::NOFOLLOW | OFlags::CREATE | OFlags::EXCL;
    openat(place.directory(), name, flags, Mode::from_raw_mode(mode))
}

/// Whether it is a regular file that nobody else has under another name.
fn is_ours(file: &OwnedFd) -> bool {
    let (kind, _, owner) = walk::seen(file);
    let links = fstat(file).map_or(0, |stat| stat.st_nlink);
    kind == FileType::RegularFile && owner == geteuid().as_raw() && links == 1
}

/// Why there is no file, or not under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not everything could be written.
    Write(Errno),
    /// Everything is there, but still bears the name that it had meanwhile.
    Name(Errno),
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
    #[inline(never)] // smaller
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
            File::Own(fd, _) => fd.as_fd(),
        };
        let mut rest = head(&self.buffer, self.len);
        while !rest.is_empty() && self.error.is_none() {
            match rustix::io::write(fd, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => self.error = Some(errno),
            }
        }
        self.len = 0;
    }

    /// Writes what is left, and gives the file its name. Errors: the first that happened.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.write();
        if let Some(errno) = self.error {
            return Err(Failure::Write(errno));
        }
        if let File::Own(_, Some(draft)) = &mut self.file {
            draft.is_kept = true;
            let directory = draft.place.directory();
            renameat(directory, draft.name().c_str(), directory, draft.place.name())
                .map_err(Failure::Name)?;
        }
        Ok(())
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
