//! Finding the interpreter: from a process to its version, its layout and its roots.
//!
//! By memory first, since what is mapped is right even when the file was deleted, replaced or lies where we cannot
//! open it; by files where a symbol is not exported. `ATTEMPTS` is tried in order, and a find counts only if a walk
//! from it yields a thread: a program can hold a dead copy of the runtime beside the live one.

use crate::elf::{File, Image, Refusal, Segment, Symbol};
use crate::error::Error;
use crate::memory::{Addr, Memory};
use crate::paged::{BLOCKS, Block, Paged};
use crate::python::layout::Layout;
use crate::python::offsets::{self, COOKIE, Header};
use crate::python::threads::Roots;
use crate::python::versions::{self, Minor, Runtime};
use crate::sys::file::Open;
use crate::sys::remote::Remote;
use crate::target::{Images, Mapped, Rank};
use crate::text::{self, leading_decimal};
use core::cell::RefCell;
use core::ops::RangeInclusive;
use rustix::process::Pid;

/// An interpreter, ready to be walked.
#[derive(Clone, Copy)]
pub struct Interpreter {
    /// Where its fields are.
    pub layout: Layout,
    /// Where the walk begins.
    pub roots: Roots,
    /// Its version; micro, level and serial only where it says so itself.
    pub version: u64,
    /// Built to run without a GIL.
    pub free_threaded: bool,
    /// How it was found.
    pub how: &'static [u8],
    /// The image that holds its code.
    pub image: Mapped,
}

/// A way to find a symbol of an image.
type Look = fn(&Search<'_>, &Mapped, &[u8]) -> Option<Symbol>;

/// What is tried, in order: in which images, by which way, and what that is called.
static ATTEMPTS: [(RangeInclusive<Rank>, Look, &[u8]); 5] = [
    (NAMED, exported, b"symbols in memory"),
    (NAMED, in_file, b"symbols in the file"),
    (Rank::Other..=Rank::Other, exported, b"symbols in memory of another library"),
    (NAMED, section_in_file, b"section in the file"),
    (Rank::Executable..=Rank::Other, cookie_in_memory, b"cookie in memory"),
];

const NAMED: RangeInclusive<Rank> = Rank::Executable..=Rank::Libpython;

/// The symbol for which alone there are other ways than its name.
const RUNTIME: &[u8] = b"_PyRuntime";

/// Where the roots of an interpreter are.
#[derive(Clone, Copy)]
struct Symbols<'a> {
    /// `_PyRuntime` (3.7+).
    runtime: Option<Symbol>,
    /// `_PyThreadState_Current` (up to 3.6).
    current: Option<Addr>,
    /// `interp_head` (up to 3.6).
    head: Option<Addr>,
    /// How they were found, for `Py_Version` (3.11+).
    look: Look,
    /// What holds the code, or `_PyRuntime`.
    image: &'a Mapped,
}

struct Search<'a> {
    /// The thread by which the process is looked at.
    tid: Pid,
    memory: &'a Target<'a>,
    images: &'a Images,
    /// Room for what is read of a file.
    blocks: RefCell<&'a mut [Block]>,
}

/// The target's memory.
type Target<'a> = Paged<'a, &'a dyn Memory>;

/// Finds the interpreter of `pid`. `abi`: the version to assume.
pub fn locate(
    pid: Pid,
    remote: &Remote,
    images: &Images,
    abi: Option<Minor>,
) -> Result<Interpreter, Error<'static>> {
    let Some(peek) = remote.peek() else { return find(pid, remote, images, abi) };
    // One stop for many reads: each takes long where many want a processor.
    peek.hold_now_and_then();
    let found = find(pid, remote, images, abi);
    peek.let_go();
    found
}

fn find(
    pid: Pid,
    remote: &Remote,
    images: &Images,
    abi: Option<Minor>,
) -> Result<Interpreter, Error<'static>> {
    let number = pid.as_raw_nonzero().get() as u64;
    let blocks = &mut *images.blocks.borrow_mut();
    let (ours, of_files) = blocks.split_at_mut(BLOCKS);
    let memory = Paged::new(remote as &dyn Memory, ours);
    let search = Search { tid: remote.pid(), memory: &memory, images, blocks: RefCell::new(of_files) };
    let mut error = Error::NotPython(number);
    for &(ref ranks, look, how) in &ATTEMPTS {
        let Some(symbols) = symbols(&search, ranks, look) else { continue };
        memory.forget(); // what it read may have been changing
        match interpret(&search, &symbols, abi, how) {
            Ok(found) if has_threads(&memory, &found) => return Ok(found),
            Ok(_) => error = Error::NoThreads(number),
            Err(version) if abi.is_some() => error = Error::Misfit(number, version),
            Err(version) => error = Error::Version(number, version),
        }
    }
    let executable = images.iter().find(|image| image.rank == Rank::Executable);
    let class = executable.and_then(|image| Image::in_memory(&memory, image.start).err());
    if class == Some(Refusal::Class32) { Err(Error::Bits32(number)) } else { Err(error) }
}

/// As the dynamic linker does it: the first image that defines a symbol is the one whose copy is used.
#[inline(never)] // so that its caller has a small frame
fn symbols<'a>(search: &Search<'a>, ranks: &RangeInclusive<Rank>, look: Look) -> Option<Symbols<'a>> {
    let first = |name: &[u8]| {
        let mut images = search.images.iter().filter(|image| ranks.contains(&image.rank));
        images.find_map(|image| Some((look(search, image, name)?, image)))
    };
    let runtime = first(RUNTIME);
    let current = if runtime.is_none() { first(b"_PyThreadState_Current") } else { None };
    let (_, mut image) = runtime.or(current)?;
    let mut head = None;
    if runtime.is_none() {
        let function = first(b"PyInterpreterState_Head");
        image = function.map_or(image, |(_, image)| image);
        head = function.and_then(|(function, _)| decode_accessor(search.memory, function.address));
        head = head.or_else(|| Some(in_file(search, image, b"interp_head")?.address));
    }
    Some(Symbols {
        runtime: runtime.map(|(symbol, _)| symbol),
        current: current.map(|(symbol, _)| symbol.address),
        head,
        look,
        image,
    })
}

fn exported(search: &Search<'_>, image: &Mapped, name: &[u8]) -> Option<Symbol> {
    Image::in_memory(search.memory, image.start).ok()?.symbol(name).ok()?
}

/// `.symtab` of an image's file, for a program that exports nothing.
fn in_file(search: &Search<'_>, image: &Mapped, name: &[u8]) -> Option<Symbol> {
    with_file(search, image, &|file| file.symbol(name).ok()?)
}

/// The section that holds `_PyRuntime` and nothing else (3.10+): there even when no symbol is.
fn section_in_file(search: &Search<'_>, image: &Mapped, name: &[u8]) -> Option<Symbol> {
    if name != RUNTIME {
        return None;
    }
    with_file(search, image, &|file| {
        let section = file.section(b".PyRuntime").ok()??;
        Some(Symbol { address: section.address, size: section.size })
    })
}

/// What `look` finds in the file of an image, moved to where it is in memory, if the file still is the one that was
/// mapped.
fn with_file(
    search: &Search<'_>,
    image: &Mapped,
    look: &dyn Fn(&File<'_, Target<'_>>) -> Option<Symbol>,
) -> Option<Symbol> {
    let mapped = Image::in_memory(search.memory, image.start).ok()?;
    (0..3).find_map(|way| {
        let open = match way {
            0 if image.rank != Rank::Executable => return None,
            0 => Open::executable(search.tid),
            1 => Open::mapped(search.tid, image.start, image.end),
            _ => Open::in_root(search.tid, search.images.path(image)),
        };
        let open = open.ok()?;
        let mut blocks = search.blocks.borrow_mut();
        let memory = Paged::new(&open as &dyn Memory, &mut blocks);
        let file = File::new(&memory).ok()?;
        let same = file.build_id().ok()? == mapped.build_id().ok()?;
        same.then(|| look(&file)).flatten().map(|symbol| symbol.moved(mapped.bias()))
    })
}

/// `_PyRuntime` begins with a cookie from 3.13 on; it lies in a writable segment, eight byte aligned.
fn cookie_in_memory(search: &Search<'_>, image: &Mapped, name: &[u8]) -> Option<Symbol> {
    if name != RUNTIME {
        return None;
    }
    let mut found = None;
    scan(search, image, true, &mut |at, window| {
        let (words, _) = window.as_chunks();
        let mut places = (0u64..).map(|index| at.plus(8 * index)).zip(words);
        let is_it = |&(at, &word): &(Addr, &[u8; 8])| {
            u64::from_le_bytes(word) == COOKIE && plausible(search.memory, at)
        };
        found = places.find(is_it).map(|(at, _)| at);
        found.is_some()
    });
    Some(Symbol { address: found?, size: 0 })
}

/// A segment that is larger is searched up to here.
const MAX_SCAN: u64 = 64 << 20;

/// The initial image of the struct, or a string constant, can hold the same eight bytes; a version has to follow.
fn plausible(memory: &Target<'_>, runtime: Addr) -> bool {
    let header = offsets::header(memory, runtime);
    matches!(header, Ok(Some(Header { version, .. })) if (0x030d..0x0400).contains(&(version >> 16)))
}

/// Calls `look` with one piece after the other of the segments of an image, those that are `writable` or those that can
/// only be read, until it returns true; pieces of a segment overlap by [`OVERLAP`] bytes.
fn scan(search: &Search<'_>, image: &Mapped, writable: bool, look: &mut dyn FnMut(Addr, &[u8]) -> bool) {
    let Ok(image) = Image::in_memory(search.memory, image.start) else { return };
    let mut window = [0; 16 << 10];
    let is_wanted =
        |segment: &Segment| segment.writable == writable && (segment.writable || segment.readable);
    for segment in image.segments().filter(is_wanted) {
        let (mut at, end) = (segment.start.0 & !7, segment.start.plus(segment.size.min(MAX_SCAN)).0);
        while at < end {
            let len = window.len().min((end - at) as usize);
            let Some(piece) = window.get_mut(..len) else { return };
            if search.memory.read(Addr(at), piece).is_ok() && look(Addr(at), piece) {
                return;
            }
            at += if len == 16 << 10 { len as u64 - OVERLAP } else { len as u64 };
        }
    }
}

/// A version string is shorter.
const OVERLAP: u64 = 64;

/// `PyInterpreterState_Head` does nothing but load a static variable: its address, out of the instruction.
fn decode_accessor(memory: &Target<'_>, function: Addr) -> Option<Addr> {
    const ENDBR64: u32 = u32::from_le_bytes(*b"\xf3\x0f\x1e\xfa");
    const BTI_C: u32 = 0xd503_245f;
    // Where an indirect branch may land, a processor can want to see one of these.
    let is_mark = matches!(memory.word(function), Ok(ENDBR64 | BTI_C));
    let at = if is_mark { function.plus(4) } else { function };
    let code: u64 = memory.word(at).ok()?;
    match code.to_le_bytes() {
        // mov rax, [rip + disp32]
        [0x48, 0x8b, 0x05, disp @ .., _] => Some(at.plus(7).plus(i64::from(i32::from_le_bytes(disp)) as u64)),
        // mov rax, [address]
        [0x48, 0x8b, 0x04, 0x25, address @ ..] => Some(Addr(u32::from_le_bytes(address).into())),
        _ => decode_aarch64(at, code as u32, (code >> 32) as u32),
    }
}

/// `adrp x0, page` and `ldr x0, [x0, #offset]` (Arm A64 instruction set, ADRP and LDR (immediate)).
fn decode_aarch64(at: Addr, adrp: u32, ldr: u32) -> Option<Addr> {
    if adrp & 0x9f00_0000 != 0x9000_0000 || ldr & 0xffc0_0000 != 0xf940_0000 {
        return None;
    }
    let pages = i64::from(((adrp >> 5 & 0x7_ffff) << 2 | adrp >> 29 & 3) as i32) << 43 >> 43;
    let offset = u64::from(ldr >> 10 & 0xfff) * 8;
    Some(Addr(at.0 & !0xfff).plus((pages << 12) as u64).plus(offset))
}

/// Version, layout and roots. Errors: the version that has no layout, 0 when it cannot be told.
#[inline(never)] // so that its caller has a small frame
fn interpret(
    search: &Search<'_>,
    symbols: &Symbols<'_>,
    abi: Option<Minor>,
    how: &'static [u8],
) -> Result<Interpreter, u64> {
    let memory = search.memory;
    let header = symbols.runtime.and_then(|runtime| offsets::header(memory, runtime.address).ok()).flatten();
    let version = match abi {
        Some(abi) => u64::from(abi) << 16,
        None => version(search, symbols, header).ok_or(0u64)?,
    };
    let (layout, roots) = match (header, symbols.runtime) {
        (Some(header), Some(runtime)) => {
            let header = Header { version, ..header };
            let (layout, head) = offsets::read(memory, runtime.address, header).map_err(|_| version)?;
            (layout, Roots { interpreters: Some(runtime.address.plus(head.into())), ..Roots::default() })
        }
        _ => {
            let row = versions::row_of(versions::minor_of(version)).ok_or(version)?;
            (row.layout, roots(symbols, &row.runtime).ok_or(version)?)
        }
    };
    let free_threaded = header.is_some_and(|header| header.free_threaded);
    Ok(Interpreter { layout, roots, version, free_threaded, how, image: *symbols.image })
}

/// The roots of a version that does not publish its layout.
fn roots(symbols: &Symbols<'_>, places: &Runtime) -> Option<Roots> {
    match (places, symbols.runtime) {
        (Runtime::Variables, None) => {
            Some(Roots { interpreters: symbols.head, holder: symbols.current, last: None })
        }
        (Runtime::Struct { interpreters, holder }, Some(runtime)) => {
            let place = |offset: u16| runtime.address.plus(offset.into());
            let holder = holder.map(|holder| holder.offset_in(runtime.size, crate::sys::AARCH64));
            let last = holder.map(|holder| place(holder - versions::last_holder(crate::sys::AARCH64)));
            Some(Roots { interpreters: Some(place(*interpreters)), holder: holder.map(place), last })
        }
        _ => None,
    }
}

/// What the target says of its version. The word that only the interpreter itself can have written comes first, then
/// the name of its file, which is right wherever it is specific, then the string that it prints.
#[inline(never)] // so that its caller has a small frame
fn version(search: &Search<'_>, symbols: &Symbols<'_>, header: Option<Header>) -> Option<u64> {
    let symbol = || (symbols.look)(search, symbols.image, b"Py_Version");
    let word = || search.memory.word::<u64>(symbol()?.address).ok();
    let name = || name_version(search.images.name(symbols.image));
    let libraries = || search.images.iter().filter(|image| image.rank == Rank::Libpython);
    let library = || libraries().find_map(|image| name_version(search.images.name(image)));
    header
        .map(|header| header.version)
        .or_else(word)
        .or_else(name)
        .or_else(library)
        .or_else(|| text_version(search, symbols))
}

/// `libpython3.8.so.1.0`, `python3.8m`, `python2.7`: the digits behind `python`.
fn name_version(name: &[u8]) -> Option<u64> {
    let rest = name.strip_prefix(b"lib").unwrap_or(name).strip_prefix(b"python")?;
    let (version, _) = dotted(rest, 2)?;
    (version < 0x400).then_some(version << 16)
}

/// The number of so many `parts` below 100 that begins `text`, a byte for each, and what follows it.
fn dotted(mut text: &[u8], parts: u32) -> Option<(u64, &[u8])> {
    let mut version = 0;
    for part in 0..parts {
        let digits = if part == 0 { text } else { text.strip_prefix(b".")? };
        let (number @ 0..100, rest) = leading_decimal(digits)? else { return None };
        (version, text) = (version << 8 | number, rest);
    }
    Some((version, text))
}

/// PY_VERSION stands in a read-only segment as `3.8.18` and a NUL, perhaps as the end of a longer string. Versions of
/// other things look like it, so only those are taken that publish themselves in no better way.
fn text_version(search: &Search<'_>, symbols: &Symbols<'_>) -> Option<u64> {
    let mut found = None;
    scan(search, symbols.image, false, &mut |_, window| {
        let mut rest = window;
        while let (None, Some(dot)) = (found, text::find(b'.', rest)) {
            let (start, tail) = rest.split_at_checked(dot.saturating_sub(1)).unwrap_or_default();
            // As the end of a longer number it is none.
            let last = start.last().copied().unwrap_or(b'.');
            let is_part = last.is_ascii_digit() || last == b'.' || last == b'_';
            let version = if is_part { None } else { spelled_version(tail) };
            found = version.filter(|hex| versions::row_of(versions::minor_of(*hex)).is_some());
            rest = rest.get(dot + 1..).unwrap_or_default();
        }
        found.is_some()
    });
    found
}

/// `X.Y.Z` or `X.Y.Z+`, then a NUL, as PY_VERSION_HEX of a final release.
fn spelled_version(text: &[u8]) -> Option<u64> {
    let (version, rest) = dotted(text, 3)?;
    let end = rest.strip_prefix(b"+").unwrap_or(rest).first();
    (version < 0xa_0000 && end == Some(&0)).then_some(version << 8 | 0xf0)
}

/// Whether a walk from the roots comes to a thread that belongs to the interpreter it was found in.
#[inline(never)] // so that its caller has a small frame
fn has_threads(memory: &Target<'_>, found: &Interpreter) -> bool {
    let Some(head) = found.roots.interpreters else {
        // Only the holder's word is known: nobody may hold the GIL just now.
        return found.roots.holder.is_some();
    };
    let first = || -> Option<bool> {
        let interpreter = memory.word::<Option<Addr>>(head).ok()??;
        let thread = memory.load(interpreter, found.layout.interpreter.threads).ok()??;
        Some(memory.load(thread, found.layout.thread.interpreter).ok()? == interpreter)
    };
    first() == Some(true)
}

#[cfg(test)]
mod tests;
