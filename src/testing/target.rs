//! The fake target: pages that can be read, and a script of what happens to them while they are.

use crate::memory::{Addr, Gather, Memory, Miss, Span};
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

const PAGE: u64 = crate::prefetch::PAGE;

/// Bytes to be written, and where.
pub type Image = Vec<(u64, Vec<u8>)>;

/// What happens to the target.
#[derive(Clone)]
pub enum Change {
    /// Its memory is written to.
    Write(Image),
    /// The page of this address can no longer be read.
    Unmap(u64),
    /// It ends.
    End,
}

/// When it happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum When {
    /// Before byte `byte` of range `range` of vectored call number `call`, all counted from 0.
    Range { call: usize, range: usize, byte: u64 },
    /// Before single read number `n`.
    Read(usize),
}

/// A process that is not there.
#[derive(Default)]
pub struct Target {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    gone: bool,
    calls: Vec<Vec<Span>>,
    reads: usize,
    script: Vec<(When, Change)>,
    /// A call ends before the range that cannot be read whole, not in it. The kernel does either.
    whole_ranges: bool,
}

impl Target {
    /// Nothing is mapped.
    pub fn new() -> Target {
        Target::default()
    }

    /// Maps and writes.
    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.state.borrow_mut().write(at, bytes);
    }

    /// Maps and writes eight bytes.
    pub fn set(&self, at: u64, word: u64) {
        self.put(at, &word.to_le_bytes());
    }

    /// Writes all of `image`.
    pub fn apply(&self, image: &Image) {
        image.iter().for_each(|(at, bytes)| self.put(*at, bytes));
    }

    /// Makes a page unreadable.
    pub fn unmap(&self, at: u64) {
        self.state.borrow_mut().pages.remove(&(at / PAGE));
    }

    /// Makes a call that meets an unreadable page end before the whole range.
    pub fn whole_ranges(&self) {
        self.state.borrow_mut().whole_ranges = true;
    }

    /// Adds to the script.
    pub fn on(&self, when: When, change: Change) {
        self.state.borrow_mut().script.push((when, change));
    }

    /// Nothing more happens.
    pub fn forget_script(&self) {
        self.state.borrow_mut().script.clear();
    }

    /// Vectored calls so far.
    pub fn calls(&self) -> usize {
        self.state.borrow().calls.len()
    }

    /// Single reads so far.
    pub fn reads(&self) -> usize {
        self.state.borrow().reads
    }

    /// The ranges of the last vectored call.
    pub fn last_call(&self) -> Vec<Span> {
        self.state.borrow().calls.last().cloned().unwrap_or_default()
    }
}

impl State {
    fn write(&mut self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let page = self.pages.entry(at / PAGE).or_insert_with(|| Box::new([0; PAGE as usize]));
            let place = &mut page[(at % PAGE) as usize..];
            let (part, rest) = bytes.split_at(bytes.len().min(place.len()));
            place[..part.len()].copy_from_slice(part);
            at = at.wrapping_add(part.len() as u64);
            bytes = rest;
        }
    }

    fn run(&mut self, now: When) {
        while let Some(index) = self.script.iter().position(|(when, _)| *when == now) {
            match self.script.remove(index).1 {
                Change::Write(image) => image.iter().for_each(|(at, bytes)| self.write(*at, bytes)),
                Change::Unmap(at) => drop(self.pages.remove(&(at / PAGE))),
                Change::End => self.gone = true,
            }
        }
    }

    /// Copies within one page.
    fn copy(&self, at: u64, into: &mut [u8]) -> bool {
        let Some(page) = self.pages.get(&(at / PAGE)) else { return false };
        let start = (at % PAGE) as usize;
        into.copy_from_slice(&page[start..start + into.len()]);
        true
    }

    /// Copies range number `range` of the present call: how many bytes were there.
    fn copy_range(&mut self, range: usize, base: u64, into: &mut [u8]) -> usize {
        let call = self.calls.len() - 1;
        let mut done = 0;
        self.run(When::Range { call, range, byte: 0 });
        while done < into.len() {
            // Up to the end of the page, or to where something happens.
            let at = base.wrapping_add(done as u64);
            let mut end = into.len().min(done + (PAGE - at % PAGE) as usize);
            for (when, _) in &self.script {
                if let When::Range { call: c, range: r, byte } = *when
                    && (c, r) == (call, range)
                    && byte as usize > done
                {
                    end = end.min(byte as usize);
                }
            }
            if self.gone || !self.copy(at, &mut into[done..end]) {
                break;
            }
            done = end;
            self.run(When::Range { call, range, byte: done as u64 });
        }
        done
    }
}

impl Memory for Target {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let state = &mut *self.state.borrow_mut();
        state.reads += 1;
        state.run(When::Read(state.reads - 1));
        let mut done = 0;
        while done < into.len() {
            let place = at.0.wrapping_add(done as u64);
            let end = into.len().min(done + (PAGE - place % PAGE) as usize);
            if state.gone || !state.copy(place, &mut into[done..end]) {
                return Err(Miss::Fault);
            }
            done = end;
        }
        Ok(())
    }
}

impl Gather for Target {
    fn gather(&self, spans: &[Span], into: &mut [u8]) -> Option<usize> {
        let state = &mut *self.state.borrow_mut();
        state.calls.push(spans.to_vec());
        let mut done = 0;
        for (range, span) in spans.iter().enumerate() {
            let part = &mut into[done..done + span.len as usize];
            let copied = state.copy_range(range, span.base, part);
            if state.gone {
                return None;
            }
            if copied < part.len() {
                return Some(done + if state.whole_ranges { 0 } else { copied });
            }
            done += copied;
        }
        if state.gone { None } else { Some(done) }
    }
}

impl<M: Gather> Gather for &M {
    fn gather(&self, spans: &[Span], into: &mut [u8]) -> Option<usize> {
        (**self).gather(spans, into)
    }
}
