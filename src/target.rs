//! A process to be looked at: whether it may be, how its memory is read, and which images are mapped in it.

use crate::error::Error;
use crate::maps::{Lines, Mapping, hex};
use crate::memory::{Addr, Memory as _, Span};
use crate::paged::Block;
use crate::sys::peek::Peek;
use crate::sys::proc::{self, Path, READ, read_of};
use crate::sys::ptrace;
use crate::sys::remote::{Remote, Way};
use crate::sys::stat::{Stat, behind_name};
use crate::sys::walk::known;
use crate::table::head;
use core::cell::RefCell;
use rustix::fs::{CWD, readlinkat_raw};
use rustix::io::Errno;
use rustix::process::Pid;

/// An ELF image in the target.
#[derive(Clone, Copy)]
pub struct Mapped {
    /// Start and end of the mapping that holds the beginning of the file.
    pub start: Addr,
    /// The byte behind it.
    pub end: Addr,
    /// What it is, as far as its name tells; lower ones are looked at first.
    pub rank: Rank,
    /// Its path in `names`, and where its last part begins.
    path: (u32, u32),
    name: u32,
}

/// What an image is. The dynamic linker resolves a symbol in this order, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// The program itself.
    Executable,
    /// A library called `libpython…`.
    Libpython,
    /// Any other.
    Other,
}

/// The images of a process.
pub struct Images {
    list: &'static mut [Mapped],
    len: usize,
    names: &'static mut [u8],
    names_len: usize,
    /// Room for what is read of them and of their files.
    pub blocks: RefCell<&'static mut [Block]>,
}

/// Bytes that hold any line of `/proc/PID/maps`, and a part of the file at a time.
const MAPS_BUFFER: usize = 32 << 10;

impl Images {
    /// No image yet, and room for some, and for [`BLOCKS`](crate::paged::BLOCKS) of them and as many of their files.
    pub fn new(
        list: &'static mut [Mapped],
        names: &'static mut [u8],
        blocks: &'static mut [Block],
    ) -> Images {
        Images { list, len: 0, names, names_len: 0, blocks: RefCell::new(blocks) }
    }

    /// All of them, by rank.
    #[inline(never)] // smaller
    pub fn iter(&self) -> impl Iterator<Item = &Mapped> + Clone {
        head(self.list, self.len).iter()
    }

    /// The last part of its path.
    #[inline(never)] // smaller
    pub fn name(&self, image: &Mapped) -> &[u8] {
        self.names.get(image.name as usize..image.path.1 as usize).unwrap_or_default()
    }

    /// Its path, as seen from the target's root or from ours. Empty where only the last part was kept.
    #[inline(never)] // smaller
    pub fn path(&self, image: &Mapped) -> &[u8] {
        self.names.get(image.path.0 as usize..image.path.1 as usize).unwrap_or_default()
    }

    /// Reads which images the process of thread `tid` has mapped. What does not fit into the list is left out.
    pub fn read(&mut self, tid: Pid) -> Result<(), Errno> {
        (self.len, self.names_len) = (0, 0);
        let mut link = [0; 4096];
        let executable = executable(tid, &mut link);
        let file = proc::open(&Path::new(tid, &[b"maps"]), READ)?;
        let mut buffer = [0; MAPS_BUFFER];
        let mut have = 0;
        loop {
            let n = rustix::io::read(&file, buffer.get_mut(have..).unwrap_or_default())?;
            let whole = head(&buffer, have + n);
            let mut lines = Lines::new(whole);
            lines.by_ref().for_each(|mapping| self.add(&mapping, executable));
            let taken = lines.taken();
            have = have + n - taken;
            if n == 0 || (taken == 0 && have == buffer.len()) {
                break;
            }
            buffer.copy_within(taken..taken + have, 0);
        }
        Ok(())
    }

    fn add(&mut self, mapping: &Mapping<'_>, executable: &[u8]) {
        // The first mapping of a file holds its ELF header. One without a file can hold none.
        if mapping.offset != 0 || mapping.inode == 0 || !mapping.readable {
            return;
        }
        let path = mapping.path();
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        let rank = match () {
            () if mapping.name == executable => Rank::Executable,
            () if name.starts_with(b"libpython") => Rank::Libpython,
            () => Rank::Other,
        };
        // The beginning of a file may be mapped again, for its data.
        let known = |image: &&Mapped| self.name(image) == name && image.rank != Rank::Other;
        if self.iter().any(|image| known(&image)) {
            return;
        }
        let kept = if rank == Rank::Other { name } else { path };
        let path = (self.names_len as u32, (self.names_len + kept.len()) as u32);
        // Mappings come in the order of their addresses, so it is the last one of its rank.
        let at = self.iter().take_while(|image| image.rank <= rank).count();
        let (list, names) = (self.list.get_mut(at..=self.len), path.0 as usize..path.1 as usize);
        let (Some(list), Some(to)) = (list, self.names.get_mut(names)) else { return };
        to.copy_from_slice(kept);
        let name = path.1 - name.len() as u32;
        let mut new = Mapped { start: mapping.start, end: mapping.end, rank, path, name };
        // Each takes the place of the next.
        list.iter_mut().for_each(|place| core::mem::swap(place, &mut new));
        self.len += 1;
        self.names_len += kept.len();
    }
}

/// The path of the program, as the kernel writes it in `maps`, too.
fn executable(tid: Pid, into: &mut [u8]) -> &[u8] {
    let path = Path::new(tid, &[b"exe"]);
    let len = readlinkat_raw(rustix::fs::CWD, path.c_str(), &mut *into).unwrap_or(0);
    head(into, len)
}

/// The memory of process `pid`, of which `tid` is a thread, by the first way that works. Errors: what stands in the way, or
/// that the only way is to stop threads and that is not `allowed`.
pub fn open(pid: Pid, tid: Pid, allowed: bool) -> Result<Remote, Error<'static>> {
    let runs = |stat: Stat| !stat.has_ended() && !stat.is_kernel();
    let attempts = if proc::is_ours() { 3 } else { 0 };
    for attempt in 0..attempts {
        let way = match attempt {
            0 => Way::Readv,
            1 if !Stat::read(tid).is_ok_and(runs) => break,
            1 => match proc::open(&Path::new(tid, &[b"mem"]), READ) {
                Ok(file) => Way::File(file),
                Err(_) => continue,
            },
            _ if allowed => Way::Peek(Peek::new(tid)),
            _ if ptrace::may_stop(tid) != 0 => break,
            _ => return Err(Error::OnlyStopped(pid.as_raw_nonzero().get() as u64)),
        };
        let remote = Remote::new(tid, way);
        if works(&remote) {
            return Ok(remote);
        }
    }
    Err(Error::Denied(pid))
}

/// Whether memory can be read, for which nothing has to be there. Where no process has any, the kernel says EFAULT; what was
/// put in the place of `/proc/PID/mem` says something else.
fn works(remote: &Remote) -> bool {
    remote.read_ranges(&[Span { base: 1 << 62, len: 1 }], &mut [0]) == Err(Errno::FAULT)
}

/// What may be the kernel's thread id of a `pthread_t`, where the C library keeps it: in glibc's `struct pthread`
/// (nptl/descr.h) or in musl's (src/internal/pthread_impl.h). Which of both is told by which is a thread of the process.
pub fn native_ids(remote: &Remote, pthread: u64) -> [u32; 2] {
    [720, 48].map(|place| remote.word::<u32>(Addr(pthread).plus(place)).unwrap_or(0))
}

/// `tid`, if it is a thread of `pid`.
pub fn is_thread(pid: Pid, tid: u32) -> Option<Pid> {
    let exists = known(CWD, Path::of_thread(pid, tid, b"stat").c_str()).inode != 0;
    if exists { Pid::from_raw(tid as i32) } else { None }
}

/// Whether thread `tid` runs or is ready to.
pub fn on_processor(pid: Pid, tid: Pid) -> bool {
    state(pid, tid) == b'R'
}

/// The state of thread `tid`, a letter of proc_pid_stat(5): R if it runs or is ready to, Z if it has ended.
pub fn state(pid: Pid, tid: Pid) -> u8 {
    let mut buffer = [0; 512];
    let tid = tid.as_raw_nonzero().get() as u32;
    let stat = read_of(pid, tid, b"stat", &mut buffer).unwrap_or_default();
    behind_name(stat).first().copied().unwrap_or_default()
}

/// The first argument of the system call in which thread `tid` waits (proc_pid_syscall(5)): for a lock its address.
pub fn waits_at(pid: Pid, tid: Pid) -> Option<Addr> {
    let mut buffer = [0; 256];
    let call = read_of(pid, tid.as_raw_nonzero().get() as u32, b"syscall", &mut buffer).ok()?;
    let argument = call.split(|&b| b == b' ').nth(1)?;
    hex(argument.strip_prefix(b"0x")?).map(Addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::zeroed;
    use std::vec::Vec;

    /// The images of a process with these mappings: rank, name, path, start.
    fn images(maps: &str, executable: &str, room: usize) -> Vec<(Rank, std::string::String, u64)> {
        let mut images = Images::new(zeroed(room), zeroed(1000), &mut []);
        Lines::new(maps.as_bytes()).for_each(|mapping| images.add(&mapping, executable.as_bytes()));
        let text = |bytes: &[u8]| std::string::String::from_utf8(bytes.to_vec()).unwrap();
        let listed = images.iter().map(|image| {
            assert!(text(images.path(image)).ends_with(&text(images.name(image))));
            (image.rank, text(images.path(image)), image.start.0)
        });
        listed.collect()
    }

    const MAPS: &str = "\
00400000-00410000 r--p 00000000 fe:01 7  /usr/bin/app
00410000-00420000 r-xp 00010000 fe:01 7  /usr/bin/app
00420000-00430000 rw-p 00000000 fe:01 7  /usr/bin/app
01000000-01100000 rw-p 00000000 00:00 0  [heap]
7f0000000000-7f0000100000 r--p 00000000 fe:01 8  /usr/lib/libc.so.6
7f0000200000-7f0000300000 r--p 00000000 fe:01 9  /usr/lib/libpython3.8.so.1.0 (deleted)
7f0000300000-7f0000400000 rw-p 00000000 fe:01 9  /usr/lib/libpython3.8.so.1.0 (deleted)
7f0000400000-7f0000500000 ---p 00000000 fe:01 10 /usr/lib/guarded.so
7f0000500000-7f0000600000 r--p 00000000 fe:01 11 /opt/lib/libpython3.9.so.1.0
7f0000600000-7f0000700000 rw-p 00000000 00:00 0
";

    #[test]
    fn images_come_by_rank_and_each_once() {
        let found = images(MAPS, "/usr/bin/app", 10);
        let expected = [
            (Rank::Executable, "/usr/bin/app", 0x40_0000),
            (Rank::Libpython, "/usr/lib/libpython3.8.so.1.0", 0x7f00_0020_0000),
            (Rank::Libpython, "/opt/lib/libpython3.9.so.1.0", 0x7f00_0050_0000),
            (Rank::Other, "libc.so.6", 0x7f00_0000_0000),
        ];
        assert_eq!(found, expected.map(|(rank, path, start)| (rank, path.into(), start)));
        // What does not fit is left out, whatever its rank.
        assert_eq!(images(MAPS, "/usr/bin/app", 1), found[..1]);
        assert_eq!(images(MAPS, "/usr/bin/app", 0), []);
        // An executable that was replaced.
        let maps = MAPS.replace("/usr/bin/app", "/usr/bin/app (deleted)");
        assert_eq!(images(&maps, "/usr/bin/app (deleted)", 10), found);
    }

    #[test]
    fn our_own_images() {
        let mut images = Images::new(zeroed(1000), zeroed(100_000), &mut []);
        images.read(rustix::process::getpid()).unwrap();
        let first = images.iter().next().unwrap();
        assert_eq!(first.rank, Rank::Executable);
        assert!(images.name(first).starts_with(b"pyflame-"));
        assert!(images.iter().is_sorted_by_key(|image| (image.rank, image.start)));
        assert_eq!(images.iter().filter(|image| image.rank == Rank::Executable).count(), 1);
    }
}
