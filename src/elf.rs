//! ELF images, 64-bit and little endian: one that is mapped in the target ([`Image`]), and a file whose offsets are
//! addresses ([`File`]).
//!
//! Owns what both have: the header, the program headers, the shape of a symbol. Reads through a
//! [`Memory`] and keeps nothing of it, so give it a [`crate::paged::Paged`]. Refuses other classes and byte orders
//! and what is not made to be run; does not look at the machine. Every count is capped, every address may fault.
//!
//! ```text
//! 400000  7f 45 4c 46 02 01 …            magic, class 2 (64 bit), data 1 (little endian)
//! 400010  02 00                          e_type 2: ET_EXEC (3, ET_DYN: PIE or library)
//! 400020  40 00 … / 400036 38 00 0d 00   e_phoff 64; 13 program headers of 56 bytes
//! 4000b0  01 00 00 00 04 00 00 00        PT_LOAD, flags 4 (read)
//! 4000b8  offset 0, address 400000, …    mapped at 400000: the load bias is 0
//! ```
//!
//! Source of all layouts and numbers: elf(5), <elf.h>, and the gABI's chapters 4 and 5.

mod file;
mod image;
mod notes;

pub use file::{File, Section};
pub use image::{Image, Segment};
pub use notes::BuildId;

use crate::memory::{Addr, Memory, Miss};

/// Program headers of one image. Linkers write about a dozen.
const MAX_PROGRAMS: u16 = 64;
/// The part of a file that a segment is mapped from begins at a multiple of this.
const PAGE: u64 = 4096;

/// The first word of `Elf64_Ehdr`: the magic, the class in byte 4, the byte order in byte 5.
const MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
const ELFCLASS32: u8 = 1;
const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// Bytes of `Elf64_Phdr`, a program header.
const PROGRAM_SIZE: u16 = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;

/// Bytes of `Elf64_Sym`, a symbol.
const SYMBOL_SIZE: usize = 24;
const SHN_UNDEF: u16 = 0;
const STT_OBJECT: u8 = 1;
const STT_TLS: u8 = 6;

/// Why this is no image that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its headers, or the dynamic section they point to, could not be read.
    Unreadable(Miss),
    /// It does not begin with the ELF magic.
    NotElf,
    /// A 32-bit program or library.
    Class32,
    /// Another class (`e_ident[EI_CLASS]`) or byte order (`e_ident[EI_DATA]`): big endian, or nonsense.
    Foreign { class: u8, data: u8 },
    /// Not made to be run, by its `e_type`: an object file, a core dump.
    Type(u16),
    /// `e_phnum` is 0 or above 64, or `e_phentsize` is not 56.
    ProgramHeaders { count: u16, size: u16 },
    /// No PT_LOAD segment holds the start of the file.
    NoStart,
}

impl From<Miss> for Refusal {
    fn from(miss: Miss) -> Refusal {
        Refusal::Unreadable(miss)
    }
}

/// A place that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Where it is: in the target from an [`Image`], as linked (`st_value`) from a [`File`].
    pub address: Addr,
    /// Its size in bytes; 0 if the linker did not know.
    pub size: u64,
}

impl Symbol {
    /// The symbol of a file, as the image with this load bias has it.
    pub fn moved(self, bias: u64) -> Symbol {
        Symbol { address: self.address.plus(bias), ..self }
    }
}

/// The header of an image whose first byte is at `start`.
struct Headers<'m, M> {
    memory: &'m M,
    programs: Addr,
    count: u16,
    /// Where the section headers are in the file, and the last word: in its upper 48 bits the size of one, their
    /// number, and which of them holds their names.
    sections: (Addr, u64),
}

impl<'m, M: Memory> Headers<'m, M> {
    /// `Elf64_Ehdr`.
    fn read(memory: &'m M, start: Addr) -> Result<Headers<'m, M>, Refusal> {
        let [ident, _, kind, _, programs, sections, sizes, counts] = memory.words(start)?;
        if ident as u32 != MAGIC {
            return Err(Refusal::NotElf);
        }
        match ((ident >> 32) as u8, (ident >> 40) as u8) {
            (ELFCLASS32, _) => return Err(Refusal::Class32),
            (ELFCLASS64, ELFDATA2LSB) => {}
            (class, data) => return Err(Refusal::Foreign { class, data }),
        }
        let kind = kind as u16;
        if !matches!(kind, ET_EXEC | ET_DYN) {
            return Err(Refusal::Type(kind));
        }
        let (count, size) = (counts as u16, (sizes >> 48) as u16);
        if !(1..=MAX_PROGRAMS).contains(&count) || size != PROGRAM_SIZE {
            return Err(Refusal::ProgramHeaders { count, size });
        }
        Ok(Headers { memory, programs: start.plus(programs), count, sections: (Addr(sections), counts) })
    }

    fn programs(&self) -> impl Iterator<Item = Result<Program, Miss>> {
        (0..self.count).map(|index| self.program(index))
    }

    /// `Elf64_Phdr`.
    fn program(&self, index: u16) -> Result<Program, Miss> {
        let at = self.programs.plus(u64::from(index) * u64::from(PROGRAM_SIZE));
        let [kind, offset, address, _, file_size, size, align] = self.memory.words(at)?;
        let flags = (kind >> 32) as u32;
        Ok(Program { kind: kind as u32, flags, offset, address: Addr(address), file_size, size, align })
    }

    /// The build id from the PT_NOTE segments, in memory with this load bias, or else in the file.
    fn build_id(&self, bias: Option<u64>) -> Result<Option<BuildId>, Miss> {
        for program in self.programs() {
            let program = program?;
            let place = bias.map_or(Addr(program.offset), |bias| program.address.plus(bias));
            if program.kind == PT_NOTE
                && let Some(id) = notes::id_in_notes(self.memory, place, program.file_size, program.align)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// What a program header says of one part of the image.
struct Program {
    kind: u32,
    flags: u32,
    offset: u64,
    address: Addr,
    file_size: u64,
    size: u64,
    align: u64,
}

impl Program {
    /// The load bias if byte `offset` of the file, in this segment, is mapped at `at`.
    fn bias(&self, at: Addr, offset: u64) -> u64 {
        let linked = self.address.plus(offset.wrapping_sub(self.offset));
        at.0.wrapping_sub(linked.0)
    }
}

/// A symbol as the table has it.
struct Entry {
    name: u32,
    kind: u8,
    section: u16,
    symbol: Symbol,
}

impl Entry {
    /// From the words of `Elf64_Sym`.
    fn of([head, address, size]: [u64; 3]) -> Entry {
        Entry {
            name: head as u32,
            kind: (head >> 32) as u8 & 0xf,
            section: (head >> 48) as u16,
            symbol: Symbol { address: Addr(address), size },
        }
    }

    /// Whether it is defined here and has an address: a thread-local one has an offset.
    fn is_place(&self) -> bool {
        self.section != SHN_UNDEF && self.kind != STT_TLS
    }
}

/// Whether the NUL-terminated string at `at` is `name`.
fn is_name(memory: &impl Memory, at: Addr, name: &[u8]) -> Result<bool, Miss> {
    for (index, &byte) in name.iter().chain(b"\0").enumerate() {
        if memory.word::<u8>(at.plus(index as u64))? != byte {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
pub(crate) mod sample;

#[cfg(test)]
mod tests {
    use super::sample::{self, PIE, put};
    use super::*;
    use crate::memory::Bytes;
    use crate::paged::{BLOCKS, Paged};
    use crate::testing::zeroed;

    fn memory(bytes: &[u8]) -> Bytes<'_> {
        Bytes { base: Addr(0), bytes }
    }

    /// Why the small image is refused with these bytes at `at`.
    fn refused(at: usize, bytes: &[u8]) -> Refusal {
        let mut file = PIE.file();
        put(&mut file, at, bytes);
        File::new(&memory(&file)).err().unwrap()
    }

    #[test]
    fn refusals_say_why() {
        assert_eq!(refused(0, b"#!/b"), Refusal::NotElf);
        assert_eq!(refused(4, &[1]), Refusal::Class32);
        assert_eq!(refused(5, &[2]), Refusal::Foreign { class: 2, data: 2 });
        assert_eq!(refused(4, &[0]), Refusal::Foreign { class: 0, data: 1 });
        assert_eq!(refused(16, &[4]), Refusal::Type(4));
        assert_eq!(refused(56, &[0]), Refusal::ProgramHeaders { count: 0, size: 56 });
        assert_eq!(refused(56, &[65]), Refusal::ProgramHeaders { count: 65, size: 56 });
        assert_eq!(refused(54, &[32]), Refusal::ProgramHeaders { count: 4, size: 32 });
        let short = File::new(&memory(b"\x7fELF\x02\x01")).err();
        assert_eq!(short, Some(Refusal::Unreadable(Miss::Fault)));
    }

    #[test]
    fn file_and_image_of_real_files_agree() {
        for (path, file) in sample::files() {
            let bytes = memory(&file);
            let in_file = File::new(&bytes).unwrap();
            let (low, mapped) = sample::mapped(&file);
            let base = low + 0x7f00_0000_0000;
            let paged = Paged::new(Bytes { base: Addr(base), bytes: &mapped }, zeroed(BLOCKS));
            let image = Image::in_memory(&paged, Addr(base)).unwrap();
            assert_eq!(image.bias(), 0x7f00_0000_0000, "{path}");
            assert_eq!(in_file.bias(Addr(base), 0), Ok(Some(image.bias())), "{path}");
            let id = in_file.build_id().unwrap();
            assert_eq!(image.build_id().unwrap(), id, "{path}");
            for segment in image.segments() {
                let end = segment.start.0 + segment.size;
                assert!(base <= segment.start.0 && end <= base + mapped.len() as u64, "{path}");
                assert!(segment.file_size <= segment.size && segment.readable, "{path}");
                assert!(!(segment.writable && segment.executable), "{path}");
            }
        }
    }
}
