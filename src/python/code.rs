//! Code objects: their names and lines, read once, and the proof at every sample that an address still holds the one
//! that is known. An address is given to another code object as soon as the first is freed, so nothing is believed
//! because of its address alone.
//!
//! What proves a code object is read with the sample, in the same call:
//! * 3.14+: one word of the interpreter, which changes whenever any code object is freed. While it is the same,
//!   nothing else has to be read.
//! * 3.12+: `co_version`, a number that is given once. 0 when the numbers have run out; then as before 3.12.
//! * before: the pointers to the names and the line table, with a digest of what they point to: a freed string's
//!   address is reused as readily as a code object's.
//!
//! What proves an object now proves it for all the time since it was last proven. So one that was proven often need not
//! be read with every sample: it is believed until [`Codes::settle`] reads it again, and what was counted meanwhile is
//! taken back should it turn out to be another one.

use super::frames::Seen;
use super::layout::Layout;
use super::lines::Search;
use super::strings::{self, Strings};
use crate::memory::{Addr, Gather, Memory, Miss};
use crate::prefetch::{Item, Items, Prefetch, Sight};
use crate::profile::{Frame, Profile};
use crate::table::{Full, Index, List, hash_bytes, hash_words, head};

/// Fetches that have to prove a code object before it is believed for a while without: functions that come and go are
/// gone before that.
const OFTEN: u8 = 32;
/// What was proven so few fetches ago is still planned to be read.
const LATELY: u32 = 18;
/// Bytes of a line table, at most: more than any compiler makes.
const MAX_LINE_TABLE: i64 = 1 << 28;
/// So far into a string or a line table is what is asked for first.
const HEAD: u64 = 16;
/// The longest type name that is compared.
const CODE_TYPE: [u8; 5] = *b"code\0";

/// A code object as it was when it was read.
#[derive(Clone, Copy)]
pub struct Known {
    address: Addr,
    print: Print,
    /// Rises with every code object that is read, so that what was remembered of the one before at this address
    /// is not used for this one.
    serial: u32,
    function: u32,
    first_line: i32,
    line_table: Addr,
    /// Made by the interpreter to call `__init__` (3.13+), no function of the program.
    shim: bool,
    /// The last fetch that proved it, or in which it was read; its interpreter's count, if that proves it, too; and the count
    /// as it was read last.
    fetch: u32,
    generation: Option<u64>,
    counted: Option<u64>,
    /// A digest of its names and line table as they were read, which may have been before the rest of it was: there may
    /// have been another one at this address then. Compared with the next fetch; then [`PROVEN`].
    names: u64,
    /// Fetches that proved it, up to [`OFTEN`].
    proofs: u8,
    /// It is believed, and to be proven again.
    believed: bool,
}

impl Known {
    /// Whether its interpreter has freed no code object since it was proven.
    fn is_unchanged(&self, generation: Option<u64>) -> bool {
        generation.is_some() && self.generation == generation
    }
}

/// What [`Known::names`] is once the names are proven; no digest is that.
const PROVEN: u64 = 0;

/// Bytes of the names of a code object, and a digest of both and of its line table.
struct Names {
    file: usize,
    name: usize,
    digest: u64,
}

/// What tells a code object from another one at the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print {
    kind: Addr,
    file_name: Addr,
    name: Addr,
    line_table: Addr,
    first_line: i32,
    version: u32,
    digest: u64,
}

/// A line that was looked up.
#[derive(Clone, Copy)]
pub struct Located {
    address: Addr,
    position: i64,
    known: u32,
    serial: u32,
    line: u32,
    /// The code object that was last called from here, as far as that is proven.
    callee: u32,
}

/// A call that was proven to happen: from one position of one code object to another one.
pub type Call = u64;

/// The fixed storage of [`Codes`].
pub struct Storage {
    /// Code objects.
    pub known: &'static mut [Known],
    /// Code objects by address.
    pub known_index: &'static mut [u32],
    /// Lines.
    pub located: &'static mut [Located],
    /// Lines by code object and position.
    pub located_index: &'static mut [u32],
    /// Calls.
    pub calls: &'static mut [Call],
    /// Calls by themselves.
    pub call_index: &'static mut [u32],
    /// Code objects that are believed; there can be as many as are known.
    pub believed: &'static mut [u32],
    /// One name; its length is that of the longest name that is kept whole.
    pub text: &'static mut [u8],
    /// A second one.
    pub text2: &'static mut [u8],
}

/// The code objects that were seen, and their lines.
pub struct Codes {
    known: List<Known>,
    known_index: Index,
    located: List<Located>,
    located_index: Index,
    calls: List<Call>,
    call_index: Index,
    believed: List<u32>,
    /// Some were forgotten.
    lost: bool,
    /// Something had to be proven although the fetch was to do without.
    unsettled: bool,
    text: &'static mut [u8],
    text2: &'static mut [u8],
    serials: u32,
    /// Address of the type `code`, once it was seen.
    code_type: Option<Addr>,
    fetch: u32,
    /// The last fetch after which what is not known was read together.
    together: u32,
}

/// A frame with its names, and what is remembered of its position.
#[derive(Clone, Copy)]
pub struct Found {
    /// Function and line; nothing for code of the interpreter's own.
    pub frame: Option<Frame>,
    /// Which code object it is, not only where.
    pub serial: u32,
    position: i64,
    known: u32,
    /// What was remembered of it when it was found.
    located: u32,
}

/// The fetch in which a frame was seen.
#[derive(Clone, Copy)]
pub struct Context {
    /// The count of freed code objects that its interpreter gave in this fetch.
    pub generation: Option<u64>,
    /// Code objects that were proven often are believed.
    pub believe: bool,
    /// Whether lines are wanted.
    pub lines: bool,
}

impl Codes {
    /// Knows nothing yet.
    pub fn new(storage: Storage) -> Codes {
        Codes {
            known: List::new(storage.known),
            known_index: Index::new(storage.known_index),
            located: List::new(storage.located),
            located_index: Index::new(storage.located_index),
            calls: List::new(storage.calls),
            call_index: Index::new(storage.call_index),
            believed: List::new(storage.believed),
            lost: false,
            unsettled: false,
            text: storage.text,
            text2: storage.text2,
            serials: 0,
            code_type: None,
            fetch: 0,
            together: 0,
        }
    }

    /// How many code objects were read so far, modulo 2^32.
    pub fn read_so_far(&self) -> u32 {
        self.serials
    }

    /// What was proven so far was proven by an earlier fetch.
    pub fn next_fetch(&mut self) {
        self.fetch = self.fetch.wrapping_add(1);
    }

    /// Function and line of frame `depth` of `stack`; nothing for one of the interpreter's own.
    /// What has to be read late for that counts only after another fetch. Errors: when there is no code object.
    pub fn locate<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        profile: &mut Profile,
        (stack, depth): (&[Seen], usize),
        context: Context,
    ) -> Result<Found, Miss> {
        let &Seen { code: address, position } = stack.get(depth).ok_or(Miss::Nonsense)?;
        let hash = hash_words(&[address.0, position as u64]);
        let located = self.located.items();
        let same = |id: u32| {
            located.get(id as usize).is_some_and(|l| l.address == address && l.position == position)
        };
        let hit = self.located_index.find(hash, same);
        if let Some((id, &at)) = hit.and_then(|id| Some((id, self.located.get(id)?)))
            && self.prove(prefetch, layout, at.known, context)?
            && let Some(known) = self.known.get(at.known).filter(|k| k.serial == at.serial)
        {
            let frame = (!known.shim).then_some(Frame { function: known.function, line: at.line });
            return Ok(Found { frame, serial: at.serial, position, known: at.known, located: id });
        }
        if self.find(address).is_none() {
            self.read_together(prefetch, layout, stack);
        }
        self.learn(prefetch, layout, profile, (address, position), context, hit)
    }

    /// Has everything read at once, as far as its place is known, that will be asked of the code objects of `stack` that
    /// are not known: first what is in them, then what that points to.
    #[inline(never)]
    fn read_together<M: Gather>(&mut self, prefetch: &Prefetch<M>, layout: &Layout, stack: &[Seen]) {
        if self.together == self.fetch {
            return;
        }
        self.together = self.fetch;
        let memory = prefetch.with(Sight::Proof);
        for pointed_to in [false, true] {
            for seen in stack.iter().filter(|seen| self.find(seen.code).is_none()) {
                for field in [layout.code.file_name, layout.code.name, layout.code.line_table] {
                    if !pointed_to {
                        prefetch.want(Sight::Proof, field.of(seen.code));
                    } else if let Ok(object) = memory.load(seen.code, field) {
                        prefetch.want(Sight::Aside, object.plus(HEAD));
                    }
                }
            }
            prefetch.read_wanted();
        }
    }

    /// Whether `found`, of an earlier fetch, still is what is at `address`.
    pub fn is_still<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        found: &Found,
        context: Context,
    ) -> Result<bool, Miss> {
        let same = self.known.get(found.known).is_some_and(|known| known.serial == found.serial);
        Ok(same && self.prove(prefetch, layout, found.known, context)?)
    }

    /// Looks the long way: the code object first, then the line. `stale`: what was known of this position.
    #[cold]
    fn learn<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        profile: &mut Profile,
        (address, position): (Addr, i64),
        context: Context,
        stale: Option<u32>,
    ) -> Result<Found, Miss> {
        let known = self.find(address);
        let id = match known {
            Some(id) if self.prove(prefetch, layout, id, context)? => id,
            _ => self.read(prefetch, layout, profile, address, known)?,
        };
        let Some(known) = self.known.get(id) else { return Err(Miss::Endless) };
        let mut line = 0;
        if context.lines && !known.shim {
            line = read_line(&prefetch.with(Sight::Aside), layout, known, position)?;
        }
        let new = Located { address, position, known: id, serial: known.serial, line, callee: 0 };
        let frame = (!known.shim).then_some(Frame { function: known.function, line });
        Ok(Found { frame, serial: new.serial, position, known: id, located: self.keep_line(stale, new) })
    }

    fn find(&self, address: Addr) -> Option<u32> {
        let known = self.known.items();
        let same = |id: u32| known.get(id as usize).is_some_and(|k| k.address == address);
        self.known_index.find(hash_words(&[address.0]), same)
    }

    /// Whether code object `id` is still the one that is known, as far as this fetch tells.
    fn prove<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        id: u32,
        context: Context,
    ) -> Result<bool, Miss> {
        let Some(known) = self.known.get_mut(id) else { return Ok(false) };
        if known.fetch == self.fetch {
            return Ok(true);
        }
        if context.believe {
            if known.believed {
                return Ok(true);
            }
            if known.proofs == OFTEN && self.believed.push(id).is_ok() {
                known.believed = true;
                if known.generation.is_none() && self.fetch.wrapping_sub(known.fetch) > LATELY {
                    want_proof(prefetch, layout, known);
                }
                return Ok(true);
            }
            self.unsettled = true;
        }
        if !known.is_unchanged(context.generation) {
            let late = prefetch.was_late();
            if print(prefetch, layout, known.address)? != known.print {
                return Ok(false);
            }
            // It was there before the fetch and is there now, however late: so it was there in between.
            prefetch.set_late(late);
        }
        let Known { print, names, .. } = *known;
        if names != PROVEN && self.names(prefetch, layout, &print)?.digest != names {
            return Ok(false);
        }
        let Some(known) = self.known.get_mut(id) else { return Ok(false) };
        (known.fetch, known.names) = (self.fetch, PROVEN);
        // In one fetch the count may be read behind the object. Of an earlier one it was there before it.
        let before = core::mem::replace(&mut known.counted, context.generation);
        known.generation = context.generation.filter(|_| before == context.generation);
        known.proofs = OFTEN.min(known.proofs + 1);
        Ok(true)
    }

    /// Whether something has to be proven with the next sample.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Proves in this fetch all that was believed since the last time. Calls `refute` with the function of each code
    /// object that turns out to be another one, or to be gone; with none where that cannot be said of any. `generation`:
    /// as in [`Context`], where there is but one interpreter.
    pub fn settle<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        generation: Option<u64>,
        mut refute: impl FnMut(Option<u32>),
    ) {
        self.unsettled = false;
        let late = prefetch.was_late();
        if core::mem::take(&mut self.lost) {
            refute(None);
        }
        for &id in self.believed.items() {
            let Some(known) = self.known.get_mut(id) else { continue };
            known.believed = false;
            if known.is_unchanged(generation) || print(prefetch, layout, known.address) == Ok(known.print) {
                known.fetch = self.fetch;
            } else {
                known.proofs = 0;
                refute(Some(known.function));
            }
        }
        self.believed.truncate(0);
        prefetch.set_late(late); // as in `prove`
    }

    /// Reads a code object whole, and keeps it: its number. `old`: that of what was known at this address.
    fn read<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        profile: &mut Profile,
        address: Addr,
        old: Option<u32>,
    ) -> Result<u32, Miss> {
        prefetch.set_late(true);
        let print = print(prefetch, layout, address)?;
        let memory = &prefetch.with(Sight::Aside);
        if self.code_type != Some(print.kind) {
            let mut name = [0; CODE_TYPE.len()];
            memory.read(memory.load(print.kind, layout.type_name)?, &mut name)?;
            if name != CODE_TYPE {
                return Err(Miss::Nonsense);
            }
            self.code_type = Some(print.kind);
        }
        let names = self.names(prefetch, layout, &print)?;
        let file = head(self.text, names.file);
        let name = head(self.text2, names.name);
        self.serials = self.serials.wrapping_add(1);
        let new = Known {
            address,
            print,
            serial: self.serials,
            function: profile.function(file, name),
            first_line: print.first_line,
            line_table: print.line_table,
            // `_Py_MakeShimCode` (codeobject.c) uses one string for both names and begins at line 0.
            shim: print.first_line == 0 && print.file_name == print.name,
            // Only another one can prove it.
            fetch: self.fetch,
            generation: None,
            counted: None,
            names: names.digest,
            proofs: 0,
            believed: false,
        };
        Ok(self.keep(old, new))
    }

    /// Reads the names of the file and of itself that a code object has into `text` and `text2`. May read late, which says
    /// nothing of the look.
    fn names<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        print: &Print,
    ) -> Result<Names, Miss> {
        let late = prefetch.was_late();
        let memory = &prefetch.with(Sight::Aside);
        let file = strings::read(memory, &layout.strings, print.file_name, self.text)?;
        let name = strings::read(memory, &layout.strings, print.name, self.text2)?;
        let table = digest(memory, layout, print.line_table, layout.bytes.first)?;
        prefetch.set_late(late);
        let (a, b) = (hash_bytes(head(self.text, file)), hash_bytes(head(self.text2, name)));
        let digest = hash_words(&[a, b, table]) | 1;
        Ok(Names { file, name, digest })
    }

    fn keep(&mut self, old: Option<u32>, new: Known) -> u32 {
        if let Some((id, place)) = old.and_then(|id| Some((id, self.known.get_mut(id)?))) {
            *place = new;
            return id;
        }
        self.try_keep(new).unwrap_or_else(|Full| {
            self.lost |= !self.believed.is_empty();
            self.forget();
            self.try_keep(new).unwrap_or(u32::MAX)
        })
    }

    fn try_keep(&mut self, new: Known) -> Result<u32, Full> {
        let id = self.known.push(new)?;
        let known = self.known.items();
        let hash_of = |id: u32| known.get(id as usize).map_or(0, |k| hash_words(&[k.address.0]));
        self.known_index.insert(hash_words(&[new.address.0]), id, &hash_of)?;
        Ok(id)
    }

    /// Forgets all; it can be read again.
    pub fn forget(&mut self) {
        self.believed.truncate(0);
        self.known.truncate(0);
        self.known_index.clear();
        self.forget_lines();
    }

    fn forget_lines(&mut self) {
        self.located.truncate(0);
        self.located_index.clear();
    }

    fn keep_line(&mut self, old: Option<u32>, new: Located) -> u32 {
        if let Some((id, place)) = old.and_then(|id| Some((id, self.located.get_mut(id)?))) {
            *place = new;
            return id;
        }
        self.try_keep_line(new).unwrap_or_else(|Full| {
            self.forget_lines();
            self.try_keep_line(new).unwrap_or(u32::MAX)
        })
    }

    fn try_keep_line(&mut self, new: Located) -> Result<u32, Full> {
        let id = self.located.push(new)?;
        let located = self.located.items();
        let hash = |l: &Located| hash_words(&[l.address.0, l.position as u64]);
        self.located_index.insert(hash(&new), id, &|id| located.get(id as usize).map_or(0, hash))?;
        Ok(id)
    }

    /// Whether code object `callee` is known to be called from the position of `caller`, or without one by the
    /// interpreter itself: the root of a stack. A generator that is just being resumed has no caller either, for a moment.
    pub fn is_call(&mut self, caller: Option<&Found>, callee: u32) -> bool {
        // Lines may have been forgotten since, and another one be in its place.
        let same = |at: &Located, found: &Found| at.serial == found.serial && at.position == found.position;
        let at = caller.and_then(|found| self.located.get_mut(found.located).filter(|at| same(at, found)));
        if at.as_ref().is_some_and(|at| at.callee == callee) {
            return true;
        }
        let (call, calls) = (call_of(caller, callee), self.calls.items());
        let known = self.call_index.find(call, |id| calls.get(id as usize) == Some(&call)).is_some();
        if let Some(at) = at.filter(|_| known) {
            at.callee = callee;
        }
        known
    }

    /// Remembers that it is.
    pub fn learn_call(&mut self, caller: Option<&Found>, callee: u32) {
        if self.is_call(caller, callee) {
            return;
        }
        let call = call_of(caller, callee);
        if self.keep_call(call).is_err() {
            self.calls.truncate(0);
            self.call_index.clear();
            let _ = self.keep_call(call);
        }
    }

    fn keep_call(&mut self, call: Call) -> Result<(), Full> {
        let id = self.calls.push(call)?;
        let calls = self.calls.items();
        self.call_index.insert(call, id, &|id| calls.get(id as usize).copied().unwrap_or(0))
    }
}

/// A digest of 64 bits tells calls apart well enough: among a million of them two are alike with a probability of
/// 1 in 30 million.
fn call_of(caller: Option<&Found>, callee: u32) -> Call {
    let (serial, position) = caller.map_or((0, 0), |caller| (caller.serial, caller.position));
    hash_words(&[u64::from(serial) << 32 | u64::from(callee), position as u64])
}

/// Plans to read what proves a code object together with the rest, when that is settled.
#[cold]
fn want_proof<M: Gather>(prefetch: &Prefetch<M>, layout: &Layout, known: &Known) {
    let Known { address, print, .. } = known;
    prefetch.want(Sight::Proof, layout.code.file_name.of(*address));
    if print.version == 0 {
        for object in [print.file_name, print.name, print.line_table] {
            prefetch.want(Sight::Proof, object.plus(HEAD));
        }
    }
}

fn print<M: Gather>(prefetch: &Prefetch<M>, layout: &Layout, code: Addr) -> Result<Print, Miss> {
    let fields = &layout.code;
    let items = [
        Item::of(layout.object_type),
        Item::of(fields.file_name),
        Item::of(fields.name),
        Item::of(fields.line_table),
        Item::of(fields.first_line),
    ];
    // As many as a frame has, so that they share a function.
    let [kind, file_name, name, line_table, first_line] =
        prefetch.words(Sight::Proof, code, &Items::new(items, items.len()), false)?;
    let memory = &prefetch.with(Sight::Proof);
    let mut print = Print {
        kind: Addr(kind),
        file_name: Addr(file_name),
        name: Addr(name),
        line_table: Addr(line_table),
        first_line: first_line as i32,
        version: fields.version.map_or(Ok(0), |version| memory.load(code, version))?,
        digest: 0,
    };
    if print.version == 0 {
        let text = match layout.strings {
            Strings::Bytes { data, .. } => data,
            Strings::Unicode { ascii, .. } => ascii,
        };
        print.digest = hash_words(&[
            digest(memory, layout, print.file_name, text)?,
            digest(memory, layout, print.name, text)?,
            digest(memory, layout, print.line_table, layout.bytes.first)?,
        ]);
    }
    Ok(print)
}

/// A digest of an object with a length and a hash in its head and at least as many bytes from `first` on: of its head
/// and of its first and last words. The last word may reach beyond the object, but not beyond the memory it was given.
fn digest<M: Memory>(memory: &M, layout: &Layout, object: Addr, first: u16) -> Result<u64, Miss> {
    const HEAD: u64 = 4;
    const TAIL: u64 = 3;
    let start = layout.bytes.size.of(object);
    let length = memory.word::<u64>(start)?.min(MAX_LINE_TABLE as u64);
    let head = first.saturating_sub(layout.bytes.size.offset());
    let words = (u64::from(head) + length).div_ceil(8);
    let head = 0..words.min(HEAD);
    let tail = words.saturating_sub(TAIL).max(head.end)..words;
    let mut digest = length;
    for word in head.chain(tail) {
        digest = hash_words(&[digest, memory.word(start.plus(8 * word))?]);
    }
    Ok(digest)
}

/// The line of an instruction: what the table says, or that of the `def` where it says that there is none.
#[inline(never)] // its window makes a large frame, in which every address takes longer instructions
fn read_line<M: Memory>(memory: &M, layout: &Layout, known: &Known, position: i64) -> Result<u32, Miss> {
    let mut search = Search::new(layout.lines, known.first_line, position);
    let size = memory.load(known.line_table, layout.bytes.size)?;
    if !(0..=MAX_LINE_TABLE).contains(&size) {
        return Err(Miss::Nonsense);
    }
    let (mut at, end) = (0, size as u64);
    let mut window = [0; 2048];
    while at < end {
        let part = window.len().min((end - at) as usize);
        let bytes = window.get_mut(..part).unwrap_or_default();
        memory.read(known.line_table.plus(u64::from(layout.bytes.first) + at), bytes)?;
        if search.feed(bytes) {
            break;
        }
        at += part as u64;
    }
    Ok(search.line().unwrap_or(known.first_line).max(0) as u32)
}

#[cfg(test)]
mod tests;
