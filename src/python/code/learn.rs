//! Reading code objects that are not known, and lines.

use super::super::frames::Seen;
use super::super::layout::Layout;
use super::super::lines::Search;
use super::super::strings;
use super::print::{HEAD, MAX_LINE_TABLE, Print, digest, print};
use super::{Codes, Context, Found, Known, Located};
use crate::memory::{Addr, Gather, Memory, Miss};
use crate::prefetch::{Prefetch, Sight};
use crate::profile::{Frame, Profile};
use crate::table::{hash_bytes, hash_words, head};

/// The longest type name that is compared.
const CODE_TYPE: [u8; 5] = *b"code\0";

/// Bytes of the names of a code object, and a digest of both and of its line table.
pub(super) struct Names {
    file: usize,
    name: usize,
    pub(super) digest: u64,
}

impl Codes {
    /// Has everything read at once, as far as its place is known, that will be asked of the code objects of `stack` that
    /// are not known: first what is in them, then what that points to.
    #[inline(never)]
    pub(super) fn read_together<M: Gather>(
        &mut self,
        prefetch: &Prefetch<M>,
        layout: &Layout,
        stack: &[Seen],
    ) {
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
                        continue;
                    }
                    let Ok(object) = memory.load(seen.code, field) else { return }; // no code object
                    prefetch.want(Sight::Aside, object.plus(HEAD));
                }
            }
            prefetch.read_wanted();
        }
    }

    /// Looks the long way: the code object first, then the line. `stale`: what was known of this position.
    #[cold]
    pub(super) fn learn<M: Gather>(
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

    /// Reads a code object whole, and keeps it: its number. `old`: that of what was known at this address.
    pub(super) fn read<M: Gather>(
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
    pub(super) fn names<M: Gather>(
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
