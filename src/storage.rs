//! All memory that the program ever uses: a handful of regions, mapped once. Each bound is here.

use crate::children::Process;
use crate::locate::Interpreter;
use crate::paged::BLOCKS;
use crate::prefetch::{self, Prefetch};
use crate::profile::{self, Profile};
use crate::python::code::{self, Codes};
use crate::report::timeline;
use crate::sampler::{self, Choice, Sampler};
use crate::sys::region::Arena;
use crate::sys::remote::Remote;
use crate::table::List;
use crate::target::Images;
use core::mem::MaybeUninit;
use rustix::io::Errno;
use rustix::process::Pid;

/// Frames of one stack. Deeper ones keep their innermost frames.
const DEPTH: usize = 1 << 14;
/// Those that stand below them: of a process, of a thread, and of what was cut off.
const ROOTS: usize = 3;
/// Threads of one sample.
const THREADS: usize = 1 << 14;
/// Pages of which one sample can read something, each up to twice; and how many it can read whole.
const PAGES: usize = 1 << 14;
const WHOLE_PAGES: usize = 1 << 13;
/// Images of a process.
const IMAGES: usize = 1 << 12;
/// Bytes of the longest name that is kept whole, its mark of being cut included.
const NAME: usize = (64 << 10) + 3;
/// Different names and functions.
const NAMES: usize = 1 << 18;
/// Nodes of the tree.
const NODES: usize = 1 << 22;
/// Code objects and positions in them that are remembered.
const CODES: usize = 1 << 14;
const POSITIONS: usize = 1 << 16;
/// Processes with children, and those of them that can be sampled at the same time.
const PROCESSES: usize = 1 << 12;
const SAMPLED: usize = 256;
/// Slots of an index, for each item it takes.
const SLOTS: usize = 4;

/// Bytes of the stack of the thread that watches.
const STACK: usize = 256 << 10;

/// What all of it takes of the address space, in bytes, and what the sampler of one more process takes.
const ADDRESS_SPACE: usize = 384 << 20;
const ONE_MORE: usize = 96 << 20;

/// Hands out the regions, each once.
pub struct Storage {
    arena: Arena,
}

impl Storage {
    /// Maps them.
    pub fn map() -> Result<Storage, Errno> {
        Ok(Storage { arena: Arena::map(ADDRESS_SPACE)? })
    }

    /// Maps what one more sampler needs.
    pub fn grow(&mut self) -> Result<(), Errno> {
        self.arena = Arena::map(ONE_MORE)?;
        Ok(())
    }

    /// A stack. To be asked for first: below it there is nothing that could be overwritten.
    pub fn stack(&mut self) -> &'static mut [u8] {
        self.arena.region(STACK)
    }

    /// A sampler of process `pid`.
    pub fn sampler(
        &mut self,
        pid: Pid,
        remote: Remote,
        interpreter: &Interpreter,
        choice: Choice,
    ) -> Option<&'static mut Sampler> {
        let prefetch = self.prefetch(remote, interpreter.layout.frame.room);
        let codes = self.codes();
        // On a page with the beginning of a list, which is used anyway.
        let place = self.arena.region::<MaybeUninit<Sampler>>(1);
        let lists = self.lists();
        let sampler = Sampler::new(pid, *interpreter, choice, prefetch, codes, lists);
        Some(place.first_mut()?.write(sampler))
    }

    /// A list of processes, of one or of all that there may be, and room for their samplers.
    pub fn processes(&mut self, all: bool) -> (List<Process>, &'static mut [Option<&'static mut Sampler>]) {
        let (processes, sampled) = if all { (PROCESSES, SAMPLED) } else { (1, 1) };
        let samplers = self.arena.region(sampled);
        (List::new(self.arena.region(processes)), samplers)
    }

    /// What a profile takes that is written while samples are taken.
    pub fn timeline(&mut self) -> timeline::Storage {
        let arena = &mut self.arena;
        timeline::Storage { lanes: arena.region(THREADS), path: arena.region(DEPTH + ROOTS) }
    }

    /// The images of the target.
    pub fn images(&mut self) -> Images {
        let arena = &mut self.arena;
        Images::new(arena.region(IMAGES), arena.region(IMAGES * 64), arena.region(2 * BLOCKS))
    }

    /// An empty profile.
    #[inline(never)] // so that it is put together where it stays
    pub fn profile(&mut self) -> Profile {
        let arena = &mut self.arena;
        Profile::new(profile::Storage {
            name_bytes: arena.region(NAMES * 128),
            name_spans: arena.region(NAMES),
            name_index: arena.region(NAMES * SLOTS),
            functions: arena.region(NAMES),
            function_index: arena.region(NAMES * SLOTS),
            nodes: arena.region(NODES),
            node_index: arena.region(NODES * SLOTS),
            last: arena.region(DEPTH),
        })
    }

    /// The memory of a target whose frames have `room` behind them.
    fn prefetch(&mut self, remote: Remote, room: u16) -> Prefetch<Remote> {
        let arena = &mut self.arena;
        let storage = prefetch::Storage {
            pages: arena.region(PAGES),
            spans: arena.region(2 * PAGES),
            buffer: arena.region(WHOLE_PAGES * prefetch::PAGE as usize),
        };
        Prefetch::new(remote, storage, room)
    }

    /// The code objects, of which none is known yet.
    fn codes(&mut self) -> Codes {
        let arena = &mut self.arena;
        Codes::new(code::Storage {
            known: arena.region(CODES),
            known_index: arena.region(CODES * SLOTS),
            located: arena.region(POSITIONS),
            located_index: arena.region(POSITIONS * SLOTS),
            calls: arena.region(POSITIONS),
            call_index: arena.region(POSITIONS * SLOTS),
            believed: arena.region(CODES),
            text: arena.region(NAME),
            text2: arena.region(NAME),
        })
    }

    /// The lists of the sampler.
    fn lists(&mut self) -> sampler::Storage {
        let arena = &mut self.arena;
        sampler::Storage {
            threads: arena.region(THREADS),
            seen: arena.region(DEPTH),
            path: arena.region(DEPTH),
            unsettled: arena.region(THREADS),
            lanes: arena.region(THREADS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::remote::Way;

    #[test]
    fn the_address_space_holds_all_regions() {
        let mut storage = Storage::map().expect("address space");
        let remote = Remote::new(rustix::process::getpid(), Way::Readv);
        storage.stack();
        storage.images();
        storage.timeline();
        storage.profile();
        storage.processes(true);
        storage.prefetch(remote, 0);
        storage.codes();
        assert_eq!(storage.lists().path.len(), DEPTH);
        storage.arena.region::<MaybeUninit<Sampler>>(1);
        storage.grow().expect("address space");
        storage.prefetch(Remote::new(rustix::process::getpid(), Way::Readv), 0);
        storage.codes();
        storage.arena.region::<MaybeUninit<Sampler>>(1);
        storage.lists();
    }
}
