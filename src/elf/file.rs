//! An ELF file, seen through a [`Memory`] whose addresses are file offsets: what is not mapped into the target.
//!
//! Owns the section headers and `.symtab`, where the names stand that are not exported. Believes no count: tables
//! are capped, and a search reads each table in blocks, some thousand symbols a system call. Addresses are as
//! linked: add [`Image::bias`](super::Image::bias) of the same file, proven by its build id, or [`File::bias`].
//!
//! ```text
//! .strtab  … 00 5f 73 6b 69 70 5f 69 6e 74 65 72 70 5f 68 65 61 64 00 …   "_skip_interp_head", at offset 5
//! .symtab  st_name 11, STT_OBJECT, section 24, st_value 1f76d0, size 8    "interp_head": the tail of that string
//! ```
//!
//! So the name is searched for first, at any place in `.strtab`, and then the symbol with the number of that place.
//! Compilers add to the names of static variables: `interp_head.lto_priv.0` counts as `interp_head` if nothing has
//! the plain name. Source: gABI chapter 4, "Sections", "String Table", "Symbol Table".

use super::{BuildId, Entry, Headers, PAGE, PT_LOAD, Refusal, STT_OBJECT, SYMBOL_SIZE, Symbol, is_name};
use crate::memory::{Addr, Memory, Miss};
use crate::table::head;

/// Sections of a file. Linkers write about forty; only object files have thousands.
const MAX_SECTIONS: u16 = 1024;
/// Bytes of `.symtab` or `.strtab`, 300 times those of any CPython library: for programs that embed it.
const MAX_TABLE: u64 = 128 << 20;
/// Places in `.strtab` where a name stands: its own, and the tails of longer ones. In libpython 2.7 to 3.13 just one.
const MAX_PLACES: usize = 64;
/// Bytes read at once from a table, on the stack.
const BLOCK: usize = 4096;

/// Bytes of `Elf64_Shdr`, a section header.
const SECTION_SIZE: u16 = 64;
const SHT_SYMTAB: u32 = 2;

/// How the name of a symbol goes on behind what was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not at all.
    Plain = 0,
    /// By something that the compiler added.
    Suffix = b'.' as isize,
}

/// A section of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its address as linked; 0 if it is not loaded.
    pub address: Addr,
    /// Its size in bytes.
    pub size: u64,
    name: u32,
    kind: u32,
    offset: Addr,
    link: u32,
}

/// An ELF file.
pub struct File<'m, M> {
    headers: Headers<'m, M>,
    /// Number of section headers; 0 if there are none, or more than fit.
    count: u16,
    /// Number of the section that holds their names.
    names: u16,
}

impl<'m, M: Memory> File<'m, M> {
    /// The file whose byte at offset n is at address n of `memory`.
    pub fn new(memory: &'m M) -> Result<File<'m, M>, Refusal> {
        let headers = Headers::read(memory, Addr(0))?;
        let counts = headers.sections.1;
        let usable = (counts >> 16) as u16 == SECTION_SIZE;
        let count = if usable { ((counts >> 32) as u16).min(MAX_SECTIONS) } else { 0 };
        Ok(File { headers, count, names: (counts >> 48) as u16 })
    }

    /// The load bias, given the start of one mapping and where in the file it begins: best the lowest mapping.
    /// `None` if no PT_LOAD segment is mapped from there.
    pub fn bias(&self, start: Addr, offset: u64) -> Result<Option<u64>, Miss> {
        let mut inside = None;
        for program in self.headers.programs() {
            let program = program?;
            let first = program.offset & !(PAGE - 1);
            let end = program.offset.saturating_add(program.file_size);
            if program.kind != PT_LOAD || !(first..end).contains(&offset) {
                continue;
            }
            // Two segments may share a page of the file: the one that begins there was meant.
            if offset == first {
                return Ok(Some(program.bias(start, offset)));
            }
            inside = Some(program.bias(start, offset));
        }
        Ok(inside)
    }

    /// Its build id; `None` if it was linked without.
    pub fn build_id(&self) -> Result<Option<BuildId>, Miss> {
        self.headers.build_id(None)
    }

    /// The section of this name, as `.PyRuntime`.
    pub fn section(&self, name: &[u8]) -> Result<Option<Section>, Miss> {
        let names = self.section_at(self.names.into())?;
        self.find_section(|section| {
            is_name(self.headers.memory, names.offset.plus(section.name.into()), name)
        })
    }

    /// The symbol of this name in `.symtab`, exported or not, its address as linked. The first one if several static
    /// ones bear the name. `None` also if the file is stripped, or the name longer than 1,024 bytes.
    pub fn symbol(&self, name: &[u8]) -> Result<Option<Symbol>, Miss> {
        let Some(table) = self.find_section(|section| Ok(section.kind == SHT_SYMTAB))? else {
            return Ok(None);
        };
        let names = self.section_at(table.link)?;
        if table.size.max(names.size) > MAX_TABLE {
            return Err(Miss::Nonsense);
        }
        match self.symbol_ending(&table, &names, name, Ending::Plain)? {
            None => self.symbol_ending(&table, &names, name, Ending::Suffix),
            found => Ok(found),
        }
    }

    fn find_section(&self, is_it: impl Fn(&Section) -> Result<bool, Miss>) -> Result<Option<Section>, Miss> {
        for index in 0..self.count {
            let section = self.section_at(index.into())?;
            if is_it(&section)? {
                return Ok(Some(section));
            }
        }
        Ok(None)
    }

    /// `Elf64_Shdr`.
    fn section_at(&self, index: u32) -> Result<Section, Miss> {
        let at = self.headers.sections.0.plus(u64::from(index) * u64::from(SECTION_SIZE));
        let [head, _, address, offset, size, link, ..] = self.headers.memory.words::<8>(at)?;
        Ok(Section {
            address: Addr(address),
            size,
            name: head as u32,
            kind: (head >> 32) as u32,
            offset: Addr(offset),
            link: link as u32,
        })
    }

    /// Two passes, one over each table, whatever they hold.
    fn symbol_ending(
        &self,
        table: &Section,
        names: &Section,
        name: &[u8],
        ending: Ending,
    ) -> Result<Option<Symbol>, Miss> {
        let mut storage = [0; MAX_PLACES];
        let places = self.find_name(names, name, ending, &mut storage)?;
        if places.is_empty() {
            return Ok(None);
        }
        match self.symbol_named(table, places, ending)? {
            None if places.len() == MAX_PLACES => Err(Miss::Endless),
            found => Ok(found),
        }
    }

    /// Where in the string table `name` stands with this ending, as far as there is room in `places`.
    fn find_name<'p>(
        &self,
        names: &Section,
        name: &[u8],
        ending: Ending,
        places: &'p mut [u64; MAX_PLACES],
    ) -> Result<&'p [u64], Miss> {
        let Some(&first) = name.first().filter(|_| name.len() <= BLOCK / 4) else { return Ok(&[]) };
        let mut count = 0;
        // Blocks overlap by the name, so that one of them holds it whole, and its ending.
        self.each_block(names, BLOCK - name.len(), &mut |from, block| {
            for (at, _) in block.iter().enumerate().filter(|(_, byte)| **byte == first) {
                let behind = block.get(at..).and_then(|rest| rest.strip_prefix(name));
                if behind.and_then(|rest| rest.first()) != Some(&(ending as u8)) {
                    continue;
                }
                let Some(place) = places.get_mut(count) else { break };
                *place = from + at as u64;
                count += 1;
            }
            false
        })?;
        Ok(head(places, count))
    }

    /// The first symbol whose name is at one of `places` of the string table. A function with a suffix is only a
    /// part of it, or a variant: with one, only data counts.
    fn symbol_named(&self, table: &Section, places: &[u64], ending: Ending) -> Result<Option<Symbol>, Miss> {
        let mut found = None;
        self.each_block(table, BLOCK / SYMBOL_SIZE * SYMBOL_SIZE, &mut |_, block| {
            let (words, _) = block.as_chunks();
            let (entries, _) = words.as_chunks();
            let word = u64::from_le_bytes;
            let mut entries = entries.iter().map(|&[a, b, c]| Entry::of([word(a), word(b), word(c)]));
            let is_it = |entry: &Entry| {
                places.contains(&entry.name.into())
                    && entry.is_place()
                    && (ending == Ending::Plain || entry.kind == STT_OBJECT)
            };
            found = entries.find(is_it).map(|entry| entry.symbol);
            found.is_some()
        })?;
        Ok(found)
    }

    /// Calls `visit` with one block after the other of what the section holds, and where that begins in it, each so many
    /// bytes behind the one before, until it returns true. They are whole but at the end.
    fn each_block(
        &self,
        section: &Section,
        step: usize,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Miss> {
        let (mut buffer, mut from) = ([0; BLOCK], 0);
        while from < section.size {
            let size = (section.size - from).min(BLOCK as u64) as usize;
            let block = buffer.get_mut(..size).unwrap_or_default();
            self.headers.memory.read(section.offset.plus(from), block)?;
            if visit(from, block) {
                break;
            }
            from += step as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, EXPORTS, PIE, Sample, put, random};
    use super::*;
    use crate::memory::Bytes;
    use core::cell::Cell;
    use std::vec::Vec;

    /// Counts the reads of a file.
    struct Counted<'a>(Bytes<'a>, Cell<usize>);

    impl Memory for Counted<'_> {
        fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
            self.1.set(self.1.get() + 1);
            self.0.read(at, into)
        }
    }

    fn counted(bytes: &[u8]) -> Counted<'_> {
        Counted(Bytes { base: Addr(0), bytes }, Cell::new(0))
    }

    #[test]
    fn names_are_tails_and_may_have_a_suffix() {
        let bytes = PIE.file();
        let memory = counted(&bytes);
        let file = File::new(&memory).unwrap();
        let at = |index| Ok(Some(Symbol { address: Addr(PIE.value(index)), size: 8 }));
        assert_eq!(file.symbol(b"interp_head"), at(1));
        assert_eq!(file.symbol(b"plain"), at(3));
        assert_eq!(file.symbol(b"plain.cold"), at(2));
        assert_eq!(file.symbol(b"hidden"), at(4));
        assert_eq!(file.symbol(b"parted"), Ok(None));
        assert_eq!(file.symbol(b"_skip_interp_head"), Ok(None));
        for name in [&b""[..], b"head.", b"nterp_hea", &[b'a'; 1025], EXPORTS[0].as_bytes()] {
            assert_eq!(file.symbol(name), Ok(None));
        }
    }

    #[test]
    fn sections_by_name() {
        let sample = Sample { origin: 0x40_0000, ..PIE };
        let bytes = sample.file();
        let memory = counted(&bytes);
        let file = File::new(&memory).unwrap();
        let section = file.section(b".PyRuntime").unwrap().unwrap();
        assert_eq!((section.address, section.size), (Addr(0x40_2080), 0x40));
        assert_eq!(file.section(b".PyRuntim"), Ok(None));
    }

    #[test]
    fn bias_of_any_mapping() {
        let bytes = Sample { origin: 0x40_0000, ..PIE }.file();
        let memory = counted(&bytes);
        let file = File::new(&memory).unwrap();
        assert_eq!(file.bias(Addr(0x40_0000), 0), Ok(Some(0)));
        assert_eq!(file.bias(Addr(0x7f00_0000_3000), 0x1000), Ok(Some(0x7f00_0000_3000 - 0x40_2000)));
        assert_eq!(file.bias(Addr(0x50_0800), 0x800), Ok(Some(0x10_0000)));
        assert_eq!(file.bias(Addr(0x50_0000), 0x2000), Ok(None));
    }

    #[test]
    fn without_section_headers_nothing_is_found() {
        let mut bytes = PIE.file();
        put(&mut bytes, 58, &[0; 6]);
        let memory = counted(&bytes);
        let file = File::new(&memory).unwrap();
        assert_eq!((file.section(b".PyRuntime"), file.symbol(b"interp_head")), (Ok(None), Ok(None)));
    }

    #[test]
    fn real_files_against_a_linear_search() {
        for (path, bytes) in sample::files() {
            let memory = counted(&bytes);
            let file = File::new(&memory).unwrap();
            let known = sample::symbols(&bytes, 2);
            let names =
                ["interp_head", "_PyRuntime", "_PyThreadState_Current", "main", "_Py_NoneStruct", "nothing"];
            let some = known.iter().step_by(1 + known.len() / 40).map(|known| known.name.as_str());
            // Generated code has names longer than those that are looked for can be.
            for name in some.chain(names).filter(|name| (1..=BLOCK / 4).contains(&name.len())) {
                let same = known.iter().find(|known| known.name == name && known.defined && known.kind != 6);
                memory.1.set(0);
                let found =
                    file.symbol(name.as_bytes()).unwrap_or_else(|miss| panic!("{path}: {name} {miss:?}"));
                let place = |found: Symbol| (found.address.0, found.size);
                if let Some(known) = same {
                    assert_eq!(found.map(place), Some((known.value, known.size)), "{path}: {name}");
                } else {
                    let start = std::format!("{name}.");
                    assert!(
                        found.is_none() || known.iter().any(|known| known.name.starts_with(&start)),
                        "{name}"
                    );
                }
                assert!(memory.1.get() < 100 + known.len() / 20, "{path}: {name} {}", memory.1.get());
            }
        }
    }

    #[test]
    fn names_at_the_edges_of_blocks() {
        // A string table of three blocks with the name at every place around the edges.
        let mut bytes = PIE.file();
        let strings = bytes.len();
        bytes.resize(strings + 3 * BLOCK, b'x');
        let section = 0x1600 + 3 * 64;
        put(&mut bytes, section + 24, &(strings as u64).to_le_bytes());
        put(&mut bytes, section + 32, &(3 * BLOCK as u64).to_le_bytes());
        let valid = bytes.clone();
        for at in (4060..4110).chain(8130..8200).chain(3 * BLOCK - 4..3 * BLOCK - 3) {
            bytes.copy_from_slice(&valid);
            put(&mut bytes, strings + at, b"abc\0");
            put(&mut bytes, 0x1200 + 24, &(at as u32).to_le_bytes());
            let memory = counted(&bytes);
            let found = File::new(&memory).unwrap().symbol(b"abc").unwrap();
            assert_eq!(found.map(|found| found.address.0), Some(PIE.value(0)), "{at}");
        }
    }

    #[test]
    fn giant_and_repetitive_tables_are_refused() {
        let mut bytes = PIE.file();
        put(&mut bytes, 0x1600 + 3 * 64 + 32, &u64::MAX.to_le_bytes());
        let memory = counted(&bytes);
        assert_eq!(File::new(&memory).unwrap().symbol(b"plain"), Err(Miss::Nonsense));
        let mut bytes = PIE.file();
        put(&mut bytes, 0x1400, &b"z\0".repeat(64));
        put(&mut bytes, 0x1600 + 2 * 64 + 32, &[24]);
        put(&mut bytes, 0x1600 + 3 * 64 + 32, &[128]);
        let memory = counted(&bytes);
        assert_eq!(File::new(&memory).unwrap().symbol(b"z"), Err(Miss::Endless));
    }

    fn ask(bytes: &[u8]) {
        let memory = Bytes { base: Addr(0), bytes };
        let Ok(file) = File::new(&memory) else { return };
        let _ = (file.symbol(b"interp_head"), file.symbol(b"hidden"), file.section(b".PyRuntime"));
        let _ = (file.build_id(), file.bias(Addr(0x5000), 0x1000));
    }

    #[test]
    fn every_prefix() {
        let bytes = PIE.file();
        (0..bytes.len()).for_each(|end| ask(&bytes[..end]));
    }

    #[test]
    fn mutations() {
        let valid = PIE.file();
        let places: Vec<usize> = (6..valid.len()).filter(|&at| valid[at] != 0 || at >= 0x1600).collect();
        let (mut bytes, mut state) = (valid.clone(), 7);
        for round in 0..100_000 {
            if round % 4 == 0 {
                bytes.copy_from_slice(&valid);
            }
            let dice = random(&mut state);
            bytes[places[(dice >> 8) as usize % places.len()]] = (dice >> 56) as u8;
            ask(&bytes);
        }
    }
}
