use super::*;
use crate::elf::sample::{self, PIE, put};
use crate::memory::Bytes;
use crate::testing::zeroed;
use std::vec::Vec;
use std::{format, vec};

const BASE: u64 = 0x7f00_0000_0000;
/// Where the second segment of the small image begins, and where its size and its flags stand in the file.
const SEGMENT: usize = 0x2000;
const SIZE: usize = 64 + 56 + 40;
const FLAGS: usize = 64 + 56 + 4;
const READ: u8 = 4;
const READ_WRITE: u8 = 6;

/// The memory of the small image, its second segment `size` bytes long, with `parts` written into it.
fn memory(size: usize, flags: u8, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = PIE.file();
    put(&mut file, SIZE, &(size as u64).to_le_bytes());
    put(&mut file, FLAGS, &[flags]);
    let (_, mut memory) = sample::mapped(&file);
    for (at, bytes) in parts {
        put(&mut memory, SEGMENT + at, bytes);
    }
    memory
}

fn with_search<T>(memory: &[u8], ask: impl Fn(&Search<'_>, &Mapped) -> T) -> T {
    let bytes = Bytes { base: Addr(BASE), bytes: memory };
    let paged = Paged::new(&bytes as &dyn Memory, zeroed(BLOCKS));
    let mut image: Mapped = zeroed(1)[0];
    (image.start, image.end) = (Addr(BASE), Addr(BASE + 0x1000));
    let images = Images::new(zeroed(1), zeroed(64), &mut []);
    let pid = Pid::from_raw(1).unwrap();
    ask(&Search { tid: pid, memory: &paged, images: &images, blocks: RefCell::new(&mut []) }, &image)
}

/// The offset in the second segment at which the cookie is found.
fn cookie(memory: &[u8]) -> Option<usize> {
    with_search(memory, |search, image| {
        assert_eq!(cookie_in_memory(search, image, b"Py_Version"), None);
        let found = cookie_in_memory(search, image, RUNTIME)?;
        Some((found.address.0 - BASE) as usize - SEGMENT)
    })
}

fn table(version: u64) -> Vec<u8> {
    [COOKIE, version, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Around the edges of the pieces in which a segment of some of them is read.
fn edges(step: usize) -> Vec<usize> {
    const PIECE: usize = 16 << 10;
    let edges = [0, PIECE - 64, PIECE, 2 * PIECE - 128, 2 * PIECE - 64, 2 * PIECE].into_iter();
    edges.flat_map(|edge| (edge.saturating_sub(64)..edge + 64).step_by(step)).collect()
}

#[test]
fn the_cookie_is_found_wherever_it_is() {
    let size = 40 << 10;
    let table = table(0x030d_00f0);
    for at in edges(8).into_iter().chain([size - 24]) {
        assert_eq!(cookie(&memory(size, READ_WRITE, &[(at, &table)])), Some(at));
    }
    // Not aligned, not writable, cut off by the end of the segment.
    assert_eq!(cookie(&memory(size, READ_WRITE, &[(1004, &table)])), None);
    assert_eq!(cookie(&memory(size, READ, &[(1000, &table)])), None);
    assert_eq!(cookie(&memory(1000, READ_WRITE, &[(1000, &table)])), None);
    assert_eq!(cookie(&memory(0x1000, READ_WRITE, &[(0x1000 - 8, &table[..8])])), None);
}

fn spelled(memory: &[u8]) -> Option<u64> {
    with_search(memory, |search, image| {
        let symbols = Symbols { runtime: None, current: None, head: None, look: exported, image };
        text_version(search, &symbols)
    })
}

#[test]
fn the_version_string_is_found_wherever_it_is() {
    for (text, version) in [
        (&b" 3.8.18\0"[..], 0x0308_12f0),
        (b"Python 3.10.13\0", 0x030a_0df0),
        (b"\x002.7.18+\0", 0x0207_12f0),
    ] {
        for at in edges(1) {
            let memory = memory(40 << 10, READ, &[(at + 8, text)]);
            assert_eq!(spelled(&memory), Some(version), "{at}");
        }
    }
    // In what can be written it proves nothing.
    assert_eq!(spelled(&memory(0x4000, READ_WRITE, &[(0x100, b" 3.8.18\0")])), None);
}

#[test]
fn versions_are_spelled_like_this() {
    for (text, version) in [
        (&b"3.8.18\0"[..], Some(0x0308_12f0)),
        (b"2.7.0+\0more", Some(0x0207_00f0)),
        (b"3.10.13\0", Some(0x030a_0df0)),
        (b"3.8.18", None),
        (b"3.8.18+", None),
        (b"3.8.18++\0", None),
        (b"3.8\0", None),
        (b".8.18\0", None),
        (b"", None),
        (b"10.8.18\0", None),
        (b"3.100.1\0", None),
        (b"3.8.99999999999999999999\0", None),
    ] {
        assert_eq!(spelled_version(text), version, "{text:?}");
    }
}

#[test]
fn names_tell_versions() {
    for (name, version) in [
        (&b"python3.8"[..], Some(0x0308_0000)),
        (b"python2.7", Some(0x0207_0000)),
        (b"python3.13t", Some(0x030d_0000)),
        (b"libpython3.7m.so.1.0", Some(0x0307_0000)),
        (b"libpython3.11d.so.1.0", Some(0x030b_0000)),
        (b"python3", None),
        (b"python", None),
        (b"libpython3.so", None),
        (b"python38", None),
        (b"python4.0", None),
        (b"python3.100", None),
        (b"uwsgi", None),
        (b"ipython3.8", None),
        (b"python3.", None),
        (b"python99999999999999999999.1", None),
        (b"", None),
    ] {
        assert_eq!(name_version(name), version, "{name:?}");
    }
}

fn decode(at: u64, code: &[u8]) -> Option<Addr> {
    let mut code = code.to_vec();
    code.resize(64, 0xcc);
    let bytes = Bytes { base: Addr(at), bytes: &code };
    decode_accessor(&Paged::new(&bytes as &dyn Memory, zeroed(BLOCKS)), Addr(at))
}

#[test]
fn the_variable_is_read_out_of_the_function() {
    for prefix in [&b""[..], b"\xf3\x0f\x1e\xfa"] {
        let at = 0x5555_0000_1000 + prefix.len() as u64;
        let with = |code: &[u8]| decode(0x5555_0000_1000, &[prefix, code].concat());
        // mov rax, [rip + disp]; ret
        assert_eq!(with(b"\x48\x8b\x05\x10\x20\x30\x00\xc3"), Some(Addr(at + 7 + 0x30_2010)));
        assert_eq!(with(b"\x48\x8b\x05\xf9\xff\xff\xff\xc3"), Some(Addr(at)));
        assert_eq!(with(b"\x48\x8b\x05\x00\x00\x00\x80\xc3"), Some(Addr(at + 7 - (1 << 31))));
        // mov rax, [address]; ret
        assert_eq!(with(b"\x48\x8b\x04\x25\x40\x7d\x8f\x00\xc3"), Some(Addr(0x8f_7d40)));
        assert_eq!(with(b"\x48\x8b\x04\x25\xff\xff\xff\xff\xc3"), Some(Addr(0xffff_ffff)));
        // Something else: push rbp, mov rbp, rsp; mov eax, [rip + disp].
        assert_eq!(with(b"\x55\x48\x89\xe5\x48\x8b\x05\x00"), None);
        assert_eq!(with(b"\x8b\x05\x10\x20\x30\x00\xc3"), None);
    }
    // Nothing there, or not enough.
    let bytes = Bytes { base: Addr(0x1000), bytes: &[0x48, 0x8b, 0x05, 0, 0] };
    assert_eq!(decode_accessor(&Paged::new(&bytes as &dyn Memory, zeroed(BLOCKS)), Addr(0x1000)), None);
    assert_eq!(decode_accessor(&Paged::new(&bytes as &dyn Memory, zeroed(BLOCKS)), Addr(0x9000)), None);
}

#[test]
fn the_variable_is_read_out_of_arm_code() {
    /// adrp x0, pages; ldr x0, [x0, #offset]
    fn code(pages: i64, offset: u32) -> Vec<u8> {
        let pages = (pages as u32) & 0x1f_ffff;
        let adrp = 0x9000_0000 | (pages & 3) << 29 | (pages >> 2) << 5;
        let ldr = 0xf940_0000 | (offset / 8) << 10;
        [adrp, ldr, 0xd65f_03c0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }
    let at = 0xaaaa_0000_1234;
    for (pages, offset) in
        [(0, 0), (1, 8), (0x123, 0x7ff8), (-1, 0x10), (0xf_ffff, 0), (-0x10_0000, 0x7ff8), (3, 0xab8)]
    {
        let expected = (0xaaaa_0000_1000 + (pages << 12)) as u64 + u64::from(offset);
        assert_eq!(decode(at, &code(pages, offset)), Some(Addr(expected)), "{pages} {offset}");
        // A landing pad in front (bti c).
        let landed = [&0xd503_245f_u32.to_le_bytes()[..], &code(pages, offset)].concat();
        assert_eq!(decode(at, &landed), Some(Addr(expected)), "{pages} {offset}");
    }
    // adr instead of adrp; a load of 32 bits.
    assert_eq!(decode(at, &[0, 0, 0, 0x10, 0, 0, 0x40, 0xf9]), None);
    assert_eq!(decode(at, &[0, 0, 0, 0x90, 0, 0, 0x40, 0xb9]), None);
}

#[test]
fn roots_are_variables_or_fields() {
    let image = &zeroed(1)[0];
    let place = Symbol { address: Addr(0x1000), size: 1464 };
    let none = Symbols { runtime: None, current: None, head: None, look: exported, image };
    let fields = Symbols { runtime: Some(place), ..none };
    let variables = Symbols { current: Some(Addr(8)), head: Some(Addr(16)), ..none };
    for row in &versions::ROWS {
        let name = format!("{:x}", row.version);
        match row.runtime {
            Runtime::Variables => {
                let found = roots(&variables, &row.runtime).unwrap();
                assert_eq!((found.holder, found.interpreters), (Some(Addr(8)), Some(Addr(16))), "{name}");
                assert!(roots(&fields, &row.runtime).is_none(), "{name}");
            }
            Runtime::Struct { interpreters, holder } => {
                let found = roots(&fields, &row.runtime).unwrap();
                assert_eq!(found.interpreters, Some(Addr(0x1000 + u64::from(interpreters))), "{name}");
                assert_eq!(found.holder.is_some(), holder.is_some(), "{name}");
                assert!(roots(&variables, &row.runtime).is_none(), "{name}");
            }
        }
    }
    let sizes = vec![(1424, 1392), (1520, 1480)];
    for (size, offset) in sizes.into_iter().filter(|_| !crate::sys::AARCH64) {
        let symbols = Symbols { runtime: Some(Symbol { size, ..place }), ..none };
        let found = roots(&symbols, &versions::row_of(0x307).unwrap().runtime).unwrap();
        assert_eq!(found.holder, Some(Addr(0x1000 + offset)));
    }
}

#[test]
fn a_cookie_without_a_version_is_a_string_like_others() {
    let real = table(0x030e_08f0);
    let decoys = [0, 0x030c_00f0, 0x0400_0000, u64::MAX, COOKIE].map(table);
    for decoy in &decoys {
        assert_eq!(cookie(&memory(0x4000, READ_WRITE, &[(0x100, decoy)])), None);
        for (at, place) in [(0x100, 0x200), (0x3000, 0x108), (0x100, 0x9000), (0x9000, 0x100)] {
            let memory = memory(0xa000, READ_WRITE, &[(at, decoy), (place, &real)]);
            assert_eq!(cookie(&memory), Some(place), "{at:x} {place:x}");
        }
    }
}

/// Versions of other things, as they stand in programs.
#[test]
fn a_number_that_only_ends_like_a_version_is_none() {
    for other in [
        &b" 3.13.2\0"[..], // has a table of its own
        b" 3.2.5\0",
        b" 1.3.8.18\0",
        b" 13.8.18\0",
        b"GLIBC_2.7.18\0",
        b" 3.8\0",
        b" 3.8.18.1\0",
        b" 3.8.18rc1\0",
        b" 3.8.18",
        b" 3..8.18\0",
        b" 3.8.\0",
        b" 3.8.1800\0",
    ] {
        let mut text = other.to_vec();
        text.resize(64, b'x');
        assert_eq!(spelled(&memory(0x4000, READ, &[(0x100, &text)])), None, "{other:?}");
        // And it does not hide the right one.
        let both = [(0x100, &text[..]), (0x200, b" 2.7.18\0")];
        assert_eq!(spelled(&memory(0x4000, READ, &both)), Some(0x0207_12f0), "{other:?}");
    }
}
