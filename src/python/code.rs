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

mod learn;
mod print;
mod store;

use super::frames::Seen;
use super::layout::Layout;
use crate::memory::{Addr, Gather, Miss};
use crate::prefetch::Prefetch;
use crate::profile::{Frame, Profile};
use crate::table::{Index, List, hash_words};
use print::{Print, print, want_proof};

/// Fetches that have to prove a code object before it is believed for a while without: functions that come and go are
/// gone before that.
const OFTEN: u8 = 32;
/// What was proven so few fetches ago is still planned to be read.
const LATELY: u32 = 18;

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
}

#[cfg(test)]
mod tests;
