//! For tests only: a small image made by hand, real files as the loader would map them, and a plain second reader
//! of both that serves as the oracle.

use std::string::String;
use std::vec::Vec;

/// What the small image exports, besides one undefined and one thread-local symbol.
pub const EXPORTS: [&str; 7] = [
    "_PyRuntime",
    "Py_Version",
    "PyInterpreterState_Head",
    "a",
    "b",
    "c",
    "a_name_longer_than_32_bytes_for_two_parts",
];
/// In its `.symtab`: name, offset of the name's tail that counts, type and binding.
pub const LOCALS: [(&str, usize, u8); 6] = [
    ("file.c", 0, 4),
    ("_skip_interp_head", 6, 1),
    ("plain.cold", 0, 2),
    ("plain", 0, 2),
    ("hidden.lto_priv.0", 0, 1),
    ("parted.part.0", 0, 2),
];
/// Where the parts lie in the file. The first two pages are mapped, the second one a page further on.
const NOTES: usize = 0x180;
const DYNSYM: usize = 0x200;
const DYNSTR: usize = 0x400;
const GNU: usize = 0x500;
const SYSV: usize = 0x600;
const DYNAMIC: usize = 0x1000;
const SYMTAB: usize = 0x1200;
const STRTAB: usize = 0x1400;
const SHSTRTAB: usize = 0x1500;
const SECTIONS: usize = 0x1600;
const BUCKETS: u32 = 3;
pub const ID: [u8; 20] = *b"\x01twenty byte build i";

/// Knobs of the small image.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Address of its first byte as linked: 0 for PIE.
    pub origin: u64,
    pub gnu: bool,
    pub sysv: bool,
    /// What glibc adds in place to the dynamic section.
    pub relocated: u64,
}

pub const PIE: Sample = Sample { origin: 0, gnu: true, sysv: true, relocated: 0 };

impl Sample {
    pub fn file(&self) -> Vec<u8> {
        let mut file = vec(SECTIONS + 7 * 64);
        let kind = if self.origin == 0 { 3 } else { 2 };
        put(&mut file, 0, b"\x7fELF\x02\x01\x01");
        for (at, value) in [(16, kind), (54, 56), (56, 4), (58, 64), (60, 7), (62, 5)] {
            put(&mut file, at, &u16::to_le_bytes(value));
        }
        put_words(&mut file, 32, &[64, SECTIONS as u64]);
        self.put_programs(&mut file);
        put(&mut file, NOTES, b"\x04\0\0\0\x03\0\0\0\x01\0\0\0GNU\0abc\0");
        put(&mut file, NOTES + 20, b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0");
        put(&mut file, NOTES + 36, &ID);
        self.put_exports(&mut file);
        self.put_sections(&mut file);
        file
    }

    fn put_programs(&self, file: &mut [u8]) {
        let notes = NOTES as u64;
        let (dynamic, address) = (DYNAMIC as u64, self.origin + 0x2000);
        let rows = [
            (1 | 5 << 32, 0, self.origin, 0x1000, 0x1000, 0x1000),
            (1 | 6 << 32, dynamic, address, 0x200, 0x800, 0x1000),
            (2 | 6 << 32, dynamic, address, 0x100, 0x100, 8),
            (4 | 4 << 32, notes, self.origin + notes, 56, 56, 4),
        ];
        for (index, (kind, offset, address, in_file, size, align)) in rows.into_iter().enumerate() {
            put_words(file, 64 + 56 * index, &[kind, offset, address, address, in_file, size, align]);
        }
    }

    fn put_exports(&self, file: &mut [u8]) {
        let mut names = EXPORTS.to_vec();
        names.sort_by_key(|name| gnu_hash(name) % BUCKETS);
        names.splice(0..0, ["", "undefined", "thread_local"]);
        let mut string = DYNSTR;
        for (index, name) in names.iter().enumerate() {
            let section = u16::from(index >= 2);
            let kind = if index == 2 { 6 } else { 1 };
            put_symbol(file, DYNSYM + 24 * index, (string - DYNSTR, kind, section, self.value(index)));
            string += put(file, string, name.as_bytes()) + 1;
        }
        if self.gnu {
            put_gnu(file, &names);
        }
        if self.sysv {
            put_sysv(file, &names);
        }
        let place = |at: usize| self.origin + self.relocated + at as u64;
        let tables =
            [(self.sysv, 4, SYSV), (self.gnu, 0x6fff_fef5, GNU), (true, 5, DYNSTR), (true, 6, DYNSYM)];
        for (index, (_, tag, at)) in tables.into_iter().filter(|row| row.0).enumerate() {
            put_words(file, DYNAMIC + 16 * index, &[tag, place(at)]);
        }
    }

    pub fn value(&self, index: usize) -> u64 {
        self.origin + 0x2100 + 16 * index as u64
    }

    fn put_sections(&self, file: &mut [u8]) {
        let mut string = STRTAB + 1;
        for (index, (name, tail, kind)) in LOCALS.iter().enumerate() {
            let at = SYMTAB + 24 * (index + 1);
            put_symbol(file, at, (string + tail - STRTAB, *kind, 1, self.value(index)));
            string += put(file, string, name.as_bytes()) + 1;
        }
        put(file, SHSTRTAB, b"\0.PyRuntime\0.symtab\0.strtab\0.dynsym\0");
        let rows: [(u32, u32, u64, usize, u64, u64); 7] = [
            (0, 0, 0, 0, 0, 0),
            (1, 1, self.origin + 0x2080, DYNAMIC + 0x80, 0x40, 0),
            (12, 2, 0, SYMTAB, 24 * (LOCALS.len() as u64 + 1), 3),
            (20, 3, 0, STRTAB, (string - STRTAB) as u64, 0),
            (28, 11, self.origin + DYNSYM as u64, DYNSYM, 24 * (EXPORTS.len() as u64 + 3), 6),
            (20, 3, 0, SHSTRTAB, 36, 0),
            (20, 3, 0, DYNSTR, 0x100, 0),
        ];
        for (index, (name, kind, address, offset, size, link)) in rows.into_iter().enumerate() {
            let words = [u64::from(name) | u64::from(kind) << 32, 0, address, offset as u64, size, link];
            put_words(file, SECTIONS + 64 * index, &words);
        }
    }
}

fn vec(size: usize) -> Vec<u8> {
    std::iter::repeat_n(0, size).collect()
}

pub fn put(file: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

fn put_words(file: &mut [u8], at: usize, words: &[u64]) {
    for (index, word) in words.iter().enumerate() {
        put(file, at + 8 * index, &word.to_le_bytes());
    }
}

fn put_numbers(file: &mut [u8], at: usize, numbers: &[u32]) {
    for (index, number) in numbers.iter().enumerate() {
        put(file, at + 4 * index, &number.to_le_bytes());
    }
}

fn put_symbol(file: &mut [u8], at: usize, (name, kind, section, value): (usize, u8, u16, u64)) {
    put(file, at, &(name as u32).to_le_bytes());
    put(file, at + 4, &[kind | 0x10, 0]);
    put(file, at + 6, &section.to_le_bytes());
    put_words(file, at + 8, &[value, 8]);
}

/// Symbols from 3 on, in order of their buckets.
fn put_gnu(file: &mut [u8], names: &[&str]) {
    let hashes: Vec<u32> = names[3..].iter().map(|name| gnu_hash(name)).collect();
    let bloom = hashes.iter().fold(0u64, |bloom, hash| bloom | 1 << (hash % 64) | 1 << ((hash >> 6) % 64));
    put_numbers(file, GNU, &[BUCKETS, 3, 1, 6]);
    put_words(file, GNU + 16, &[bloom]);
    for bucket in 0..BUCKETS {
        let first = hashes.iter().position(|hash| hash % BUCKETS == bucket);
        put_numbers(file, GNU + 24 + 4 * bucket as usize, &[first.map_or(0, |index| index as u32 + 3)]);
    }
    for (index, hash) in hashes.iter().enumerate() {
        let last = hashes.get(index + 1).is_none_or(|next| next % BUCKETS != hash % BUCKETS);
        put_numbers(file, GNU + 24 + 4 * (BUCKETS as usize + index), &[hash & !1 | u32::from(last)]);
    }
}

fn put_sysv(file: &mut [u8], names: &[&str]) {
    let mut buckets = [0; BUCKETS as usize];
    put_numbers(file, SYSV, &[BUCKETS, names.len() as u32]);
    for (index, name) in names.iter().enumerate().skip(1) {
        let bucket = &mut buckets[sysv_hash(name) as usize % BUCKETS as usize];
        put_numbers(file, SYSV + 8 + 4 * (BUCKETS as usize + index), &[*bucket]);
        *bucket = index as u32;
    }
    put_numbers(file, SYSV + 8, &buckets);
}

fn gnu_hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, byte| (hash << 5).wrapping_add(hash).wrapping_add(byte.into()))
}

/// As the gABI prints it.
fn sysv_hash(name: &str) -> u32 {
    let mut hash = 0u32;
    for byte in name.bytes() {
        hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        if high != 0 {
            hash ^= high >> 24;
        }
        hash &= !high;
    }
    hash
}

pub fn number(file: &[u8], at: usize, size: usize) -> u64 {
    let mut raw = [0; 8];
    raw[..size].copy_from_slice(&file[at..at + size]);
    u64::from_le_bytes(raw)
}

/// The file as the loader lays it out: address of the first page as linked, and everything from there on.
pub fn mapped(file: &[u8]) -> (u64, Vec<u8>) {
    let table = number(file, 32, 8) as usize;
    let loads: Vec<[u64; 4]> = (0..number(file, 56, 2) as usize)
        .map(|index| table + 56 * index)
        .filter(|&at| number(file, at, 4) == 1)
        .map(|at| [8, 16, 32, 40].map(|field| number(file, at + field, 8)))
        .collect();
    let low = loads.iter().map(|load| load[1] & !0xfff).min().unwrap();
    let high = loads.iter().map(|load| load[1] + load[3]).max().unwrap();
    let mut memory = vec((high - low).next_multiple_of(0x1000) as usize);
    for [offset, address, size, _] in loads {
        put(&mut memory, (address - low) as usize, &file[offset as usize..(offset + size) as usize]);
    }
    (low, memory)
}

/// A symbol as the oracle reads it.
pub struct Known {
    pub name: String,
    pub value: u64,
    pub size: u64,
    pub kind: u8,
    pub defined: bool,
}

/// The first symbol table of this type (2 `.symtab`, 11 `.dynsym`), read one symbol after the other.
pub fn symbols(file: &[u8], kind: u64) -> Vec<Known> {
    let section = |index: u64| number(file, 40, 8) as usize + 64 * index as usize;
    let tables = (0..number(file, 60, 2)).map(section).find(|&at| number(file, at + 4, 4) == kind);
    let Some(table) = tables else { return Vec::new() };
    let strings = number(file, section(number(file, table + 40, 4)) + 24, 8) as usize;
    let start = number(file, table + 24, 8) as usize;
    let all = (start..start + number(file, table + 32, 8) as usize).step_by(24).map(|at| {
        let name = &file[strings + number(file, at, 4) as usize..];
        let end = name.iter().position(|&byte| byte == 0).unwrap();
        Known {
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            value: number(file, at + 8, 8),
            size: number(file, at + 16, 8),
            kind: file[at + 4] & 15,
            defined: number(file, at + 6, 2) != 0,
        }
    });
    all.collect()
}

/// Files of this machine: ourselves, the system's Python, all shared libraries of pyenv's.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<std::path::PathBuf> =
        ["/proc/self/exe", "/usr/bin/python3", "/bin/sh"].map(Into::into).into();
    let pyenv = std::env::var("HOME").map(|home| home + "/.pyenv/versions").unwrap_or_default();
    for version in std::fs::read_dir(pyenv).into_iter().flatten().flatten() {
        let libraries = std::fs::read_dir(version.path().join("lib")).into_iter().flatten().flatten();
        paths.extend(
            libraries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".so.1.0")),
        );
    }
    let read =
        |path: std::path::PathBuf| Some((std::format!("{}", path.display()), std::fs::read(path).ok()?));
    paths.into_iter().filter_map(read).collect()
}

/// A step of Marsaglia's xorshift64: test input that is the same every time.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
