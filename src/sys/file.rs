//! Files of the target, as memory whose addresses are offsets: regular ones only, opened without waiting for anybody,
//! read and never mapped, and below the target's root without a link that could lead out of there.

use super::proc::{Path, READ, open};
use super::walk::{self, Known, LOOK, known};
use super::watch::watched;
use crate::memory::{Addr, Memory, Miss};
use crate::text::Decimal;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// A file that is open for reading.
pub struct Open {
    file: OwnedFd,
    /// Whose it is.
    pid: Pid,
}

impl Open {
    /// The program that `pid` runs.
    pub fn executable(pid: Pid) -> Result<Open, Errno> {
        Open::regular(pid, &Path::new(pid, &[b"exe"]))
    }

    /// The regular file at `path`. Errors: NODEV when it is something else.
    fn regular(pid: Pid, path: &Path) -> Result<Open, Errno> {
        watched(pid, || Open::checked(pid, open(path, LOOK)?))
    }

    /// The file behind the mapping of `pid` from `start` to `end`, even if it has no name any more. Errors: EPERM
    /// without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (proc_pid_map_files(5)).
    pub fn mapped(pid: Pid, start: Addr, end: Addr) -> Result<Open, Errno> {
        Open::regular(pid, &Path::of_mapping(pid, start.0, end.0))
    }

    /// The file at `path` in the root directory of `pid`. What the kernel calls a file in `maps` has no link in it, so none
    /// is followed, which could lead out of there. Errors: LOOP for one.
    pub fn in_root(pid: Pid, path: &[u8]) -> Result<Open, Errno> {
        watched(pid, || {
            let root = open(&Path::new(pid, &[b"root"]), LOOK | OFlags::DIRECTORY)?;
            Open::checked(pid, walk::along(path, Some(root))?.there.ok_or(Errno::NOENT)?)
        })
    }

    /// Opens what so far was only looked at: to open a device, or a file that the kernel makes up, is to do something to it.
    /// Those take no room: who reads `/proc/kmsg` takes its messages from others, and a target can have it stand anywhere in
    /// a mount namespace of its own. A file system in user space need not say what its files take.
    fn checked(pid: Pid, seen: OwnedFd) -> Result<Open, Errno> {
        let Known { mode, blocks, .. } = known(seen.as_fd(), c"");
        if FileType::from_raw_mode(mode) != FileType::RegularFile || blocks == 0 && !walk::is_served(&seen) {
            return Err(Errno::NODEV);
        }
        let number = Decimal::new(seen.as_raw_fd() as u64);
        let file = open(&Path::of(&[b"/proc/self/fd/", number.bytes()]), READ)?;
        Ok(Open { file, pid })
    }
}

impl Memory for Open {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match watched(self.pid, || rustix::io::pread(&self.file, rest, at.0.wrapping_add(done as u64))) {
                Ok(n) if n > 0 => done += n,
                _ => return Err(Miss::Fault),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_put_in_place_of_a_file_is_not_waited_for() {
        let directory = std::env::temp_dir().join(std::format!("pyflame-file-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let make = |command: &str, name: &str| {
            let path = directory.join(name);
            let made = std::process::Command::new("sh").args(["-c", command, "sh"]).arg(&path).status();
            assert!(made.unwrap().success(), "{command}");
            let us = rustix::process::getpid();
            Open::in_root(us, path.to_str().unwrap().as_bytes()).err()
        };
        assert_eq!(make("mkfifo $1", "fifo"), Some(Errno::NODEV));
        assert_eq!(make("ln -s /dev/zero $1", "device"), Some(Errno::LOOP));
        assert_eq!(make("mkdir $1", "directory"), Some(Errno::NODEV));
        assert_eq!(make("ln -s /proc/self/exe $1", "magic"), Some(Errno::LOOP));
        assert_eq!(make(": >$1", "nothing"), Some(Errno::NODEV));
        assert_eq!(make("seq 10000 >$1", "file"), None);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn only_regular_files_are_opened() {
        let us = rustix::process::getpid();
        assert_eq!(Open::regular(us, &Path::from(b"/dev/zero")).err(), Some(Errno::NODEV));
        assert_eq!(Open::regular(us, &Path::from(b"/proc")).err(), Some(Errno::NODEV));
        assert_eq!(Open::regular(us, &Path::from(b"/proc/version")).err(), Some(Errno::NODEV));
        let file = Open::executable(us).expect("the test program");
        assert_eq!(file.word::<u32>(Addr(0)), Ok(u32::from_le_bytes(*b"\x7fELF")));
        assert!(file.word::<u8>(Addr(1 << 40)).is_err());
    }
}
