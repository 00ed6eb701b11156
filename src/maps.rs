//! Lines of `/proc/PID/maps`, one at a time, borrowed from the caller's buffer.
//!
//! Does no I/O: a line cut by the end of the buffer is left for the next read. A line that cannot be one of the
//! kernel's is skipped. Names are bytes that the target chose; nothing is unescaped or believed.
//!
//! ```text
//! 7f5a3c086000-7f5a3c332000 r-xp 00086000 fe:01 1837  /usr/lib/libpython3.13.so.1.0 (deleted)
//! start        end          mode offset   dev   inode name, up to the newline
//! ```
//!
//! All numbers but the inode are hexadecimal (proc_pid_maps(5), `show_map_vma` in fs/proc/task_mmu.c). The kernel
//! writes a newline in a name as `\012`, and adds ` (deleted)` when the file has no link left. A path has at most
//! 4,095 bytes, each at most four times as long when escaped: a buffer of 20 KiB holds any line.

use crate::memory::Addr;
use crate::text;

/// What the kernel adds to the name of a file that was removed or replaced.
const DELETED: &[u8] = b" (deleted)";

/// One range of the target's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping<'a> {
    /// Its first byte.
    pub start: Addr,
    /// The byte behind its last one, above `start`.
    pub end: Addr,
    /// May be read.
    pub readable: bool,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// Where in the file it begins, in bytes. 0 without a file.
    pub offset: u64,
    /// Major and minor number of the file's device. On overlayfs and btrfs not what `fstat` says.
    pub device: (u32, u32),
    /// Inode of the file; 0 without a file.
    pub inode: u64,
    /// The kernel's name for it, byte for byte: a path, `[heap]`, `anon_inode:…`, or nothing.
    pub name: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// The name without the kernel's ` (deleted)`. A file may itself be called so, and then this is wrong: try the
    /// whole name too.
    pub fn path(&self) -> &'a [u8] {
        self.name.strip_suffix(DELETED).unwrap_or(self.name)
    }

    /// From one line without its newline.
    fn parse(line: &'a [u8]) -> Option<Mapping<'a>> {
        let mut rest = line;
        let start = Addr(take(&mut rest, b'-', 16)?);
        let end = Addr(take(&mut rest, b' ', 16)?);
        let &[read, write, execute, _] = field(&mut rest, b' ')? else { return None };
        let offset = take(&mut rest, b' ', 16)?;
        let major = take(&mut rest, b':', 16)?;
        let minor = take(&mut rest, b' ', 16)?;
        // Kernels pad with blanks after the inode even without a name.
        let inode = take(&mut rest, b' ', 10)?;
        (start < end).then_some(Mapping {
            start,
            end,
            readable: read == b'r',
            writable: write == b'w',
            executable: execute == b'x',
            offset,
            device: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
            inode,
            name: rest.trim_ascii_start(),
        })
    }
}

/// The whole lines of a buffer, as an iterator of [`Mapping`].
pub struct Lines<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Lines<'a> {
    /// Lines of what was read; `buffer` begins at the start of a line.
    pub fn new(buffer: &'a [u8]) -> Lines<'a> {
        Lines { rest: buffer, taken: 0 }
    }

    /// Bytes of the lines that the iterator is through with, skipped ones too. Once it is at its end: of all whole
    /// lines, so what lies behind belongs before the next read.
    pub fn taken(&self) -> usize {
        self.taken
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Mapping<'a>;

    fn next(&mut self) -> Option<Mapping<'a>> {
        loop {
            let line = field(&mut self.rest, b'\n')?;
            self.taken += line.len() + 1;
            if let Some(mapping) = Mapping::parse(line) {
                return Some(mapping);
            }
        }
    }
}

/// Takes what stands before the next `end`, and `end` itself, off the front of `rest`.
fn field<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let (field, behind) = rest.split_at_checked(text::find(end, rest)?)?;
    *rest = behind.get(1..)?;
    Some(field)
}

/// Takes a number off, as [`field`].
#[inline(never)]
fn take(rest: &mut &[u8], end: u8, radix: u32) -> Option<u64> {
    number(field(rest, end)?, radix)
}

/// A hexadecimal number.
pub fn hex(digits: &[u8]) -> Option<u64> {
    number(digits, 16)
}

/// All of `digits` as one number: nothing for none, for another byte, or for more than 64 bits.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let mut value = (!digits.is_empty()).then_some(0u64)?;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix)?;
        value = value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const LIBRARY: &[u8] =
        b"7f5a3c086000-7f5a3c332000 r-xp 00086000 fe:01 1837                       /usr/lib/libpython3.13.so (deleted)\n";
    const ANONYMOUS: &[u8] = b"00e1f000-01a2b000 rw-p 00000000 00:00 0 \n";
    const STACK: &[u8] =
        b"7ffd1c0e5000-7ffd1c106000 rw-p 00000000 00:00 0                          [stack]\n";
    const VSYSCALL: &[u8] =
        b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
    const ODD: &[u8] =
        b"400000-401000 r--s 00000000 103:00002 18446744073709551615 /a b\\012c (deleted) (deleted)\n";

    fn all(buffer: &[u8]) -> (Vec<Mapping<'_>>, usize) {
        let mut lines = Lines::new(buffer);
        let found = lines.by_ref().collect();
        (found, lines.taken())
    }

    #[test]
    fn the_worked_example() {
        let (found, taken) = all(LIBRARY);
        assert_eq!(taken, LIBRARY.len());
        let library = Mapping {
            start: Addr(0x7f5a_3c08_6000),
            end: Addr(0x7f5a_3c33_2000),
            readable: true,
            writable: false,
            executable: true,
            offset: 0x86000,
            device: (0xfe, 1),
            inode: 1837,
            name: b"/usr/lib/libpython3.13.so (deleted)",
        };
        assert_eq!(found, [library]);
        assert_eq!(library.path(), b"/usr/lib/libpython3.13.so");
    }

    #[test]
    fn names_are_as_the_kernel_writes_them() {
        let text = [ANONYMOUS, STACK, VSYSCALL, ODD].concat();
        let (found, taken) = all(&text);
        assert_eq!(taken, text.len());
        let names: Vec<_> = found.iter().map(|mapping| mapping.name).collect();
        assert_eq!(names, [&b""[..], b"[stack]", b"[vsyscall]", b"/a b\\012c (deleted) (deleted)"]);
        let odd = found.last().unwrap();
        assert_eq!(odd.path(), b"/a b\\012c (deleted)");
        assert_eq!((odd.device, odd.inode), ((0x103, 2), u64::MAX));
        assert_eq!(found.first().unwrap().path(), b"");
    }

    #[test]
    fn malformed_lines_are_skipped_and_counted_as_taken() {
        for bad in [
            &b"\n"[..],
            b"-\n",
            b"2000-1000 r--p 0 0:0 0 /a\n",
            b"1000-2000 r-- 0 0:0 0 /a\n",
            b"1000-2000 r--p 0 0:0 x /a\n",
            b"1000-2000 r--p 0 100000000:0 0 /a\n",
            b"10000000000000000-20000000000000000 r--p 0 0:0 0 /a\n",
            b"1000-2000 r--p  0 0:0 0 /a\n",
        ] {
            let text = [bad, STACK].concat();
            let (found, taken) = all(&text);
            assert_eq!((found.len(), taken), (1, text.len()), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_cut_line_is_left_for_the_next_read() {
        let text = [LIBRARY, ANONYMOUS, STACK, VSYSCALL, ODD].concat();
        let (whole, _) = all(&text);
        for end in 0..=text.len() {
            let (found, taken) = all(&text[..end]);
            assert_eq!(taken, text[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
            assert_eq!(found, whole[..found.len()]);
            assert_eq!(found.len(), text[..end].iter().filter(|&&byte| byte == b'\n').count());
        }
    }

    #[test]
    fn mutations_neither_panic_nor_loop() {
        let valid = [LIBRARY, ANONYMOUS, STACK, ODD].concat();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut text = valid.clone();
        for round in 0..100_000 {
            if round % 8 == 0 {
                text.copy_from_slice(&valid);
            }
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % text.len();
            text[at] =
                if state & 1 == 0 { b"-: \n09afrwxp"[(state >> 40) as usize % 12] } else { state as u8 };
            let (found, taken) = all(&text);
            assert!(taken <= text.len() && found.iter().all(|mapping| mapping.start < mapping.end));
        }
    }

    #[test]
    fn our_own_mappings() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let (found, taken) = all(&text);
        assert_eq!(taken, text.len());
        assert_eq!(found.len(), text.iter().filter(|&&byte| byte == b'\n').count());
        let code = our_own_mappings as fn() as usize as u64;
        let ours = found.iter().find(|mapping| (mapping.start.0..mapping.end.0).contains(&code)).unwrap();
        assert!(ours.executable && ours.inode != 0);
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(ours.path(), exe.as_os_str().as_encoded_bytes());
    }
}
