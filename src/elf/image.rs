//! An image that is mapped in the target: what it exports, found as the dynamic linker finds it, without any file.
//!
//! Owns the dynamic section and its two hash tables. Refuses to search where there is no hash table: a static
//! program exports nothing. Versions of symbols are not looked at.
//!
//! ```text
//! DT_GNU_HASH  3 buckets, first symbol 5, 1 bloom word, shift 6 | bloom | buckets 5 0 7 | chains, from symbol 5 on
//! "_PyRuntime" hash h: bloom has bits h % 64 and (h >> 6) % 64 -> bucket h % 3 = 2 -> symbol 7:
//!              its chain word is h but for the lowest bit, and .dynsym[7] bears the name: found.
//!              A chain word with the lowest bit set is the last of its bucket.
//! DT_HASH      3 buckets, 9 symbols | buckets 4 0 8 | chain[8] is the next symbol to try, 0 ends
//! ```
//!
//! Source: gABI chapter 5 "Hash Table" and "Dynamic Section"; `do_lookup_x` in glibc's elf/dl-lookup.c.

use super::{
    BuildId, Entry, Headers, PAGE, PT_DYNAMIC, PT_LOAD, Program, Refusal, SYMBOL_SIZE, Symbol, is_name,
};
use crate::memory::{Addr, Memory, Miss};

/// Entries of the dynamic section. One for each needed library and some thirty more.
const MAX_DYNAMIC: u64 = 1024;
/// Symbols in one bucket. Linkers aim at four or less; many collisions are no more than tens.
const MAX_CHAIN: u32 = 1024;

const DT_NULL: u64 = 0;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// Bytes of `Elf64_Dyn`, an entry of the dynamic section: a tag and a value.
const DYNAMIC_SIZE: u64 = 16;
/// Bytes of the head of DT_GNU_HASH: numbers of 32 bits each, of the buckets, of the first symbol, of the words of the
/// bloom filter, and its shift.
const GNU_HEAD: u64 = 16;
/// Bytes of the head of DT_HASH: the numbers of buckets and of symbols.
const SYSV_HEAD: u64 = 8;

/// A range of the target's memory that was loaded from the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its first byte. The mapping begins at the page that holds it.
    pub start: Addr,
    /// Bytes in memory.
    pub size: u64,
    /// Bytes from the file; what is behind them began as zeros (`.bss`).
    pub file_size: u64,
    /// May be read.
    pub readable: bool,
    /// May be written. The linker may take that back for the first part (PT_GNU_RELRO).
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
}

/// Finds a symbol by its name.
#[derive(Clone, Copy)]
enum Table {
    /// DT_GNU_HASH: what linkers write by default.
    Gnu(Addr),
    /// DT_HASH: old, or made for musl or Android.
    Sysv(Addr),
}

/// What the dynamic section points to. Zeros where it does not say.
struct Exports {
    symbols: Addr,
    names: Addr,
    table: Option<Table>,
}

/// An ELF image in the target's memory.
pub struct Image<'m, M> {
    headers: Headers<'m, M>,
    base: Addr,
    bias: u64,
    exports: Exports,
}

impl<'m, M: Memory> Image<'m, M> {
    /// The image whose lowest mapping of file offset 0 starts at `base`.
    pub fn in_memory(memory: &'m M, base: Addr) -> Result<Image<'m, M>, Refusal> {
        let headers = Headers::read(memory, base)?;
        let (mut bias, mut dynamic) = (None, None);
        for program in headers.programs() {
            let program = program?;
            match program.kind {
                PT_LOAD if program.offset < PAGE => bias = bias.or(Some(program.bias(base, 0))),
                PT_DYNAMIC => dynamic = Some(program),
                _ => {}
            }
        }
        let bias = bias.ok_or(Refusal::NoStart)?;
        let exports = Exports { symbols: base, names: base, table: None };
        let mut image = Image { headers, base, bias, exports };
        if let Some(dynamic) = dynamic {
            image.exports = image.read_dynamic(&dynamic)?;
        }
        Ok(image)
    }

    /// What to add to an address of the file (`p_vaddr`, `st_value`, `sh_addr`), wrapping, to have it in the target.
    pub fn bias(&self) -> u64 {
        self.bias
    }

    /// The PT_LOAD segments, in the order of their addresses. Sizes are as alleged: cap what you scan.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let programs = self.headers.programs().filter_map(Result::ok);
        programs.filter(|program| program.kind == PT_LOAD).map(|program| Segment {
            start: program.address.plus(self.bias),
            size: program.size,
            file_size: program.file_size,
            readable: program.flags & 4 != 0,
            writable: program.flags & 2 != 0,
            executable: program.flags & 1 != 0,
        })
    }

    /// Its build id; `None` if it was linked without.
    pub fn build_id(&self) -> Result<Option<BuildId>, Miss> {
        self.headers.build_id(Some(self.bias))
    }

    /// The symbol that it exports by this name. `Err` if a table is unreadable or has a chain without end.
    pub fn symbol(&self, name: &[u8]) -> Result<Option<Symbol>, Miss> {
        match self.exports.table {
            Some(Table::Gnu(table)) => self.in_gnu_table(table, name),
            Some(Table::Sysv(table)) => self.in_sysv_table(table, name),
            None => Ok(None),
        }
    }

    fn read_dynamic(&self, section: &Program) -> Result<Exports, Miss> {
        let mut exports = Exports { symbols: self.base, names: self.base, table: None };
        for index in 0..MAX_DYNAMIC.min(section.size / DYNAMIC_SIZE) {
            let at = section.address.plus(self.bias).plus(index * DYNAMIC_SIZE);
            let [tag, value] = self.headers.memory.words(at)?;
            let value = self.placed(value);
            match tag {
                DT_NULL => break,
                DT_SYMTAB => exports.symbols = value,
                DT_STRTAB => exports.names = value,
                DT_GNU_HASH => exports.table = Some(Table::Gnu(value)),
                DT_HASH if exports.table.is_none() => exports.table = Some(Table::Sysv(value)),
                _ => {}
            }
        }
        Ok(exports)
    }

    /// An address out of the dynamic section. glibc relocates it in place; musl, and the kernel for its vdso, do not.
    fn placed(&self, value: u64) -> Addr {
        if value < self.base.0 { Addr(value).plus(self.bias) } else { Addr(value) }
    }

    fn in_gnu_table(&self, table: Addr, name: &[u8]) -> Result<Option<Symbol>, Miss> {
        let memory = self.headers.memory;
        let [symbols, bloom] = memory.words(table)?;
        let (buckets, first) = (symbols as u32, (symbols >> 32) as u32);
        let (blooms, shift) = (bloom as u32, (bloom >> 32) as u32);
        let bloom_at = table.plus(GNU_HEAD);
        let buckets_at = bloom_at.plus(u64::from(blooms) * 8);
        let chains_at = entry(buckets_at, buckets);

        let hash = gnu_hash(name);
        let (Some(word), Some(bucket)) = ((hash / 64).checked_rem(blooms), hash.checked_rem(buckets)) else {
            return Ok(None);
        };
        let word: u64 = memory.word(bloom_at.plus(u64::from(word) * 8))?;
        if word >> (hash % 64) & word >> (hash.wrapping_shr(shift) % 64) & 1 == 0 {
            return Ok(None);
        }
        let mut index: u32 = memory.word(entry(buckets_at, bucket))?;
        for _ in 0..MAX_CHAIN {
            // An empty bucket has 0, below the first symbol that is in the table.
            let Some(place) = index.checked_sub(first) else { return Ok(None) };
            let chain: u32 = memory.word(entry(chains_at, place))?;
            if chain | 1 == hash | 1
                && let Some(symbol) = self.symbol_at(index, name)?
            {
                return Ok(Some(symbol));
            }
            if chain & 1 != 0 {
                return Ok(None);
            }
            index = index.wrapping_add(1);
        }
        Err(Miss::Endless)
    }

    fn in_sysv_table(&self, table: Addr, name: &[u8]) -> Result<Option<Symbol>, Miss> {
        let memory = self.headers.memory;
        let head: u64 = memory.word(table)?;
        let (buckets, symbols) = (head as u32, (head >> 32) as u32);
        let buckets_at = table.plus(SYSV_HEAD);
        let chains_at = entry(buckets_at, buckets);
        let Some(bucket) = sysv_hash(name).checked_rem(buckets) else { return Ok(None) };
        let mut index: u32 = memory.word(entry(buckets_at, bucket))?;
        for _ in 0..MAX_CHAIN {
            if index == 0 {
                return Ok(None);
            }
            if index >= symbols {
                return Err(Miss::Nonsense);
            }
            if let Some(symbol) = self.symbol_at(index, name)? {
                return Ok(Some(symbol));
            }
            index = memory.word(entry(chains_at, index))?;
        }
        Err(Miss::Endless)
    }

    /// Symbol number `index` of `.dynsym`, if it is called `name` and defined here.
    fn symbol_at(&self, index: u32, name: &[u8]) -> Result<Option<Symbol>, Miss> {
        let at = self.exports.symbols.plus(u64::from(index) * SYMBOL_SIZE as u64);
        let entry = Entry::of(self.headers.memory.words(at)?);
        let name_at = self.exports.names.plus(u64::from(entry.name));
        let found = entry.is_place() && is_name(self.headers.memory, name_at, name)?;
        Ok(found.then(|| entry.symbol.moved(self.bias)))
    }
}

/// Entry `index` of a table of 32-bit numbers.
fn entry(table: Addr, index: u32) -> Addr {
    table.plus(u64::from(index) * 4)
}

/// `dl_new_hash` in glibc's elf/dl-hash.h.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}

/// `elf_hash` of the gABI, chapter 5.
fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| {
        let sum = (hash << 4).wrapping_add(u32::from(byte));
        (sum ^ (sum >> 24 & 0xf0)) & 0x0fff_ffff
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, EXPORTS, PIE, Sample, number, put, random};
    use super::*;
    use crate::memory::Bytes;
    use crate::paged::{BLOCKS, Paged};
    use crate::testing::zeroed;
    use std::vec::Vec;

    const BASE: u64 = 0x7f12_3456_0000;

    /// Asks the small image for everything that it exports, and for what it does not.
    fn all_found(sample: Sample, base: u64) {
        let file = sample.file();
        let (low, mapped) = sample::mapped(&file);
        let memory = Bytes { base: Addr(base), bytes: &mapped };
        let image = Image::in_memory(&memory, Addr(base)).unwrap();
        assert_eq!(image.bias(), base - low);
        for known in sample::symbols(&file, 11).into_iter().skip(3) {
            let address = Addr(base - low + known.value);
            let symbol = Symbol { address, size: 8 };
            assert_eq!(image.symbol(known.name.as_bytes()), Ok(Some(symbol)), "{}", known.name);
        }
        for name in ["", "undefined", "thread_local", "_PyRuntim", "_PyRuntime_", "d", "e", "f", "nothing"] {
            assert_eq!(image.symbol(name.as_bytes()), Ok(None), "{name}");
        }
    }

    #[test]
    fn every_kind_of_hash_table() {
        for (gnu, sysv) in [(true, false), (false, true), (true, true)] {
            all_found(Sample { gnu, sysv, ..PIE }, BASE);
        }
        let file = Sample { gnu: false, sysv: false, ..PIE }.file();
        let (_, mapped) = sample::mapped(&file);
        let memory = Bytes { base: Addr(BASE), bytes: &mapped };
        assert_eq!(Image::in_memory(&memory, Addr(BASE)).unwrap().symbol(b"_PyRuntime"), Ok(None));
    }

    #[test]
    fn dynamic_section_relocated_or_not() {
        all_found(Sample { relocated: BASE, ..PIE }, BASE);
        let linked = Sample { origin: 0x40_0000, ..PIE };
        all_found(linked, 0x40_0000);
        all_found(linked, BASE);
    }

    #[test]
    fn both_kinds_of_hash_are_the_published_ones() {
        // The usual examples.
        assert_eq!(gnu_hash(b""), 0x1505);
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
        assert_eq!(sysv_hash(b"printf"), 0x077_905a6);
        assert_eq!(sysv_hash(b"syscall"), 0x0b09_985c);
    }

    #[test]
    fn the_bloom_filter_is_believed() {
        let (_, mut mapped) = sample::mapped(&PIE.file());
        put(&mut mapped, 0x510, &[0; 8]);
        let memory = Bytes { base: Addr(BASE), bytes: &mapped };
        assert_eq!(Image::in_memory(&memory, Addr(BASE)).unwrap().symbol(b"_PyRuntime"), Ok(None));
    }

    #[test]
    fn chains_end() {
        // Every chain word says that another one follows, in memory that never ends.
        struct Endless(Vec<u8>);
        impl Memory for Endless {
            fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
                let bytes = Bytes { base: Addr(BASE), bytes: &self.0 };
                if at.0 >= BASE + 0x524 || bytes.read(at, into).is_err() {
                    into.fill(0);
                }
                Ok(())
            }
        }
        let mut sample = Sample { sysv: false, ..PIE };
        let (_, mut mapped) = sample::mapped(&sample.file());
        mapped.copy_within(0x2000..0x2100, 0x180);
        put(&mut mapped, 64 + 2 * 56 + 16, &0x180_u64.to_le_bytes());
        let memory = Endless(mapped);
        let image = Image::in_memory(&memory, Addr(BASE)).unwrap();
        let ends: Vec<_> = EXPORTS.iter().map(|name| image.symbol(name.as_bytes())).collect();
        assert!(ends.contains(&Err(Miss::Endless)), "{ends:?}");

        // A symbol of DT_HASH that is followed by itself.
        (sample.gnu, sample.sysv) = (false, true);
        let (_, mut mapped) = sample::mapped(&sample.file());
        for index in 0..10 {
            put(&mut mapped, 0x600 + 8 + 4 * (3 + index), &[index as u8]);
        }
        let memory = Bytes { base: Addr(BASE), bytes: &mapped };
        let image = Image::in_memory(&memory, Addr(BASE)).unwrap();
        for name in ["d", "e", "f"] {
            assert_eq!(image.symbol(name.as_bytes()), Err(Miss::Endless));
        }
        put(&mut mapped, 0x608, &[200, 0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0]);
        let memory = Bytes { base: Addr(BASE), bytes: &mapped };
        let image = Image::in_memory(&memory, Addr(BASE)).unwrap();
        assert_eq!(image.symbol(b"a"), Err(Miss::Nonsense));
    }

    #[test]
    fn segments_lie_where_they_were_loaded() {
        let (_, mapped) = sample::mapped(&PIE.file());
        let memory = Bytes { base: Addr(BASE), bytes: &mapped };
        let image = Image::in_memory(&memory, Addr(BASE)).unwrap();
        let segments: Vec<_> = image.segments().collect();
        let start = Addr(BASE);
        let text = Segment {
            start,
            size: 0x1000,
            file_size: 0x1000,
            readable: true,
            writable: false,
            executable: true,
        };
        let start = Addr(BASE + 0x2000);
        let data = Segment {
            start,
            size: 0x800,
            file_size: 0x200,
            readable: true,
            writable: true,
            executable: false,
        };
        assert_eq!(segments, [text, data]);
    }

    #[test]
    fn nothing_at_the_start_of_the_file_is_refused() {
        let mut file = PIE.file();
        put(&mut file, 64, &[9]);
        let memory = Bytes { base: Addr(BASE), bytes: &file };
        assert_eq!(Image::in_memory(&memory, Addr(BASE)).err(), Some(Refusal::NoStart));
    }

    #[test]
    fn real_files_against_a_linear_search() {
        for (path, file) in sample::files() {
            let (low, mapped) = sample::mapped(&file);
            let paged = Paged::new(Bytes { base: Addr(BASE), bytes: &mapped }, zeroed(BLOCKS));
            let image = Image::in_memory(&paged, Addr(BASE)).unwrap();
            let known = sample::symbols(&file, 11);
            for symbol in known.iter().filter(|symbol| !matches!(symbol.kind, 3 | 6)) {
                let found = image.symbol(symbol.name.as_bytes()).unwrap();
                let place = |found: Symbol| (found.address.0 - (BASE - low), found.size);
                let fits = known.iter().any(|other| {
                    other.defined
                        && other.name == symbol.name
                        && Some((other.value, other.size)) == found.map(place)
                });
                assert_eq!(found.is_some(), fits, "{path}: {}", symbol.name);
                assert!(fits || !symbol.defined, "{path}: {}", symbol.name);
            }
        }
    }

    /// This process, as a target.
    struct Own(std::fs::File);

    impl Memory for Own {
        fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
            use std::os::unix::fs::FileExt;
            self.0.read_exact_at(into, at.0).map_err(|_| Miss::Fault)
        }
    }

    /// glibc has relocated its own dynamic section, nobody that of the vdso.
    #[test]
    fn what_is_mapped_into_ourselves() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let memory = Paged::new(Own(std::fs::File::open("/proc/self/mem").unwrap()), zeroed(BLOCKS));
        let mappings: Vec<_> = crate::maps::Lines::new(&maps).collect();
        let first =
            |name: &[u8]| mappings.iter().find(|mapping| mapping.offset == 0 && mapping.name.ends_with(name));
        for (name, symbol) in [(&b"[vdso]"[..], &b"__vdso_clock_gettime"[..]), (b"/libc.so.6", b"getpid")] {
            let Some(lowest) = first(name) else { continue };
            let image = Image::in_memory(&memory, lowest.start).unwrap();
            let at = image.symbol(symbol).unwrap().unwrap().address;
            let code = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&at)).unwrap();
            assert!(code.executable && code.name == lowest.name);
            assert!(image.build_id().unwrap().is_some());
        }
    }

    fn ask(bytes: &[u8]) {
        let memory = Bytes { base: Addr(BASE), bytes };
        let Ok(image) = Image::in_memory(&memory, Addr(BASE)) else { return };
        let _ = (image.symbol(b"_PyRuntime"), image.symbol(b"nothing"), image.build_id());
        assert!(image.segments().count() <= 64);
    }

    #[test]
    fn every_prefix() {
        for sample in [PIE, Sample { gnu: false, ..PIE }] {
            let (_, mapped) = sample::mapped(&sample.file());
            (0..mapped.len()).for_each(|end| ask(&mapped[..end]));
        }
    }

    #[test]
    fn mutations() {
        let mut state = 1;
        for sample in [PIE, Sample { gnu: false, ..PIE }] {
            let (_, valid) = sample::mapped(&sample.file());
            let places: Vec<usize> = (0..valid.len()).filter(|&at| valid[at] != 0).collect();
            let mut bytes = valid.clone();
            for round in 0..50_000 {
                if round % 4 == 0 {
                    bytes.copy_from_slice(&valid);
                }
                let dice = random(&mut state);
                // Half of them where there is something, past the magic.
                let at = if dice & 1 == 0 {
                    places[(dice >> 8) as usize % places.len()]
                } else {
                    (dice >> 8) as usize % 0x700
                };
                bytes[at.max(6)] = (dice >> 56) as u8;
                ask(&bytes);
            }
        }
        assert_eq!(number(&PIE.file(), 56, 2), 4);
    }
}
