//! A target whose memory is the input, and everything that one sample does with it, for every layout there is.

use crate::Text;
use pyflame::memory::{Addr, Bytes, Gather, Memory, Miss, Span};
use pyflame::prefetch::{self, Moment, Prefetch};
use pyflame::profile::{self, Profile};
use pyflame::python::code::{self, Codes, Context};
use pyflame::python::frames::{self, Seen};
use pyflame::python::layout::Layout;
use pyflame::python::offsets;
use pyflame::python::threads::{self, Roots, Thread, Which};
use pyflame::python::versions;
use pyflame::report::{Facts, Format};
use pyflame::sys::region::Zeroed;
use pyflame::table::List;
use std::cell::Cell;

/// Reads that one sample may make: each fetch of a few, and a bounded number of late ones for each frame. Where words lie across
/// the ends of pages those are five for each of 65,536 frames, of 16 threads at 12 moments; a profiler looks at its clock meanwhile.
const MOST_READS: u64 = 5 * 65_536 * 16 * 12 + 2_000_000;

/// Memory of which every address below 2^48 is some byte of the input, so that pointers mostly lead somewhere; and of which
/// a byte changes now and then.
pub struct Fake<'a> {
    bytes: &'a [u8],
    changes: u8,
    reads: Cell<u64>,
}

impl<'a> Fake<'a> {
    fn new(input: &'a [u8]) -> Fake<'a> {
        Fake { bytes: input, changes: input.first().copied().unwrap_or(0), reads: Cell::new(0) }
    }

    fn one(&self, at: u64, into: &mut [u8]) -> bool {
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() < MOST_READS, "reads without end");
        if !(4096..1 << 48).contains(&at) || self.bytes.is_empty() {
            return false;
        }
        let mut done = 0;
        while done < into.len() {
            let from = &self.bytes[(at as usize + done) % self.bytes.len()..];
            let length = from.len().min(into.len() - done);
            into[done..done + length].copy_from_slice(&from[..length]);
            done += length;
        }
        let step = usize::from(self.changes);
        let first = (self.reads.get() / 8) as usize % step.max(1);
        for byte in into.iter_mut().skip(first).step_by(step.max(1)).filter(|_| step > 128) {
            *byte ^= self.reads.get() as u8;
        }
        true
    }
}

impl Memory for Fake<'_> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        if at.0.checked_add(into.len() as u64).is_some() && self.one(at.0, into) {
            Ok(())
        } else {
            Err(Miss::Fault)
        }
    }
}

impl Gather for Fake<'_> {
    fn gather(&self, spans: &[Span], into: &mut [u8]) -> Option<usize> {
        let mut done = 0;
        for span in spans {
            let end = done + span.len as usize;
            let whole =
                span.base.checked_add(span.len).is_some() && self.one(span.base, &mut into[done..end]);
            if !whole {
                break;
            }
            done = end;
        }
        Some(done)
    }
}

/// Storage that is used again for the next input: whoever has had it is gone by then.
struct Block(Vec<u64>, usize);

impl Block {
    fn region<T: Zeroed>(&mut self, count: usize) -> &'static mut [T] {
        let start = self.1;
        self.1 += (count * size_of::<T>()).div_ceil(64) * 8;
        let words = &mut self.0[start..self.1];
        // SAFETY: zeroed, aligned for all that is in a profiler's tables, handed out once, and the block outlives its users.
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), count) }
    }
}

const PAGES: usize = 48;
const ITEMS: usize = 256;

/// Every layout: those that are known, and the one that the input itself describes.
fn layouts(input: &[u8]) -> impl Iterator<Item = Layout> {
    let bytes = Bytes { base: Addr(0), bytes: input };
    let versions = [0x030d_00f0, 0x030e_00f0, 0x030f_00f0];
    let own = versions.into_iter().filter_map(move |version| {
        let header = offsets::Header { version, free_threaded: input.get(1)? & 1 > 0 };
        Some(offsets::read(&bytes, Addr(0), header).ok()?.0)
    });
    versions::ROWS.iter().map(|row| row.layout).chain(own)
}

/// Strings of every layout, at the beginning of the input.
pub fn strings(input: &[u8]) {
    let memory = Fake::new(input);
    for layout in layouts(input) {
        let mut name = [0xa5; 300];
        let (text, behind) = name.split_at_mut(256);
        if let Ok(length) = pyflame::python::strings::read(&memory, &layout.strings, Addr(4096), text) {
            assert!(length <= text.len());
        }
        assert!(behind.iter().all(|&byte| byte == 0xa5));
    }
}

/// One layout of them, chosen by the input, so that an input is quickly done with.
pub fn target(input: &[u8]) {
    let Some((&choice, memory)) = input.split_first() else { return };
    let count = layouts(memory).count();
    if let Some(layout) = layouts(memory).nth(usize::from(choice) % count) {
        sample(memory, &layout);
    }
}

fn sample(input: &[u8], layout: &Layout) {
    let mut block = Block(vec![0; 1 << 18], 0);
    let storage = prefetch::Storage {
        pages: block.region(PAGES),
        spans: block.region(3 * PAGES),
        buffer: block.region(3 * PAGES * prefetch::PAGE as usize),
    };
    let prefetch = Prefetch::new(Fake::new(input), storage, layout.frame.room);
    let mut codes = Codes::new(code::Storage {
        known: block.region(ITEMS / 4),
        known_index: block.region(ITEMS),
        located: block.region(ITEMS / 4),
        located_index: block.region(ITEMS),
        calls: block.region(ITEMS / 4),
        call_index: block.region(ITEMS),
        believed: block.region(ITEMS / 4),
        text: block.region(512),
        text2: block.region(512),
    });
    let mut profile = Profile::new(profile::Storage {
        name_bytes: block.region(1 << 14),
        name_spans: block.region(ITEMS / 4),
        name_index: block.region(ITEMS),
        functions: block.region(ITEMS / 4),
        function_index: block.region(ITEMS),
        nodes: block.region(ITEMS),
        node_index: block.region(4 * ITEMS),
        last: block.region(64),
    });
    let mut list: List<Thread> = List::new(block.region(16));
    let mut seen: List<Seen> = List::new(block.region(64));
    let roots = Roots { interpreters: Some(Addr(4096)), holder: Some(Addr(4104)), last: Some(Addr(4112)) };
    prefetch.next_sample();
    for round in 0..6 {
        codes.next_fetch();
        if !prefetch.fetch(None, round % 2 == 0) {
            break;
        }
        let which = if round % 3 == 0 { Which::Running } else { Which::All };
        let _ = threads::list(&prefetch, layout, &roots, which, &mut list);
        for &thread in list.items() {
            let ways =
                [(Moment::At, true), (Moment::After, true), (Moment::Before, true), (Moment::At, false)];
            for (moment, moves) in ways {
                prefetch.enter(thread.state, moment);
                if frames::walk(&prefetch, layout, (thread.state, moves), &mut seen).is_err() {
                    continue;
                }
                let context = Context { generation: None, believe: round > 3, lines: true };
                let find = |depth| {
                    codes.locate(&prefetch, layout, &mut profile, (seen.items(), depth), context).ok()
                };
                let found: Vec<_> = (0..seen.len()).filter_map(find).collect();
                for pair in found.windows(2) {
                    let known = codes.is_call(Some(&pair[1]), pair[0].serial);
                    if !known && round > 2 {
                        codes.learn_call(Some(&pair[1]), pair[0].serial);
                    }
                    let _ = codes.is_still(&prefetch, layout, &pair[0], context);
                }
                let frames = found.iter().rev().filter_map(|found| found.frame);
                profile.count(frames, 1);
            }
        }
    }
    write(&mut profile, usize::from(input.first().copied().unwrap_or(0)));
}

/// In one of the formats.
fn write(profile: &mut Profile, choice: usize) {
    let facts = Facts {
        title: b"pid 1 x",
        version: 0x030d_00f0,
        started: 0,
        elapsed: 1,
        period: 1,
        lines: choice % 2 == 0,
    };
    let formats = [Format::Folded, Format::Svg, Format::Speedscope, Format::Cpuprofile];
    let format = formats[choice / 2 % formats.len()];
    let mut text = Text::default();
    pyflame::report::write(format, profile, &facts, &mut text);
    let text = String::from_utf8(text.0).expect("UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

/// A table of 3.13 whose structs are small, as in tests/programs/hostile.c, and behind it words that point into it.
pub fn seeds_table() -> Vec<Vec<u8>> {
    let mut words = [0u64; 512];
    words[0] = u64::from_le_bytes(*b"xdebugpy");
    words[1] = 0x030d_00f0;
    let places: [(usize, &[u64]); 11] = [
        (3, &[1000, 0, 888]),
        (6, &[96, 16, 0, 8]),
        (14, &[24, 32, 40, 48, 56]),
        (19, &[64, 0, 0, 8, 16, 24, 32, 0, 40]),
        (28, &[528, 0, 8, 16, 0, 24]),
        (34, &[128, 16, 0, 24, 32, 40, 0, 48, 0, 64]),
        (44, &[16, 8]),
        (46, &[64, 24]),
        (64, &[48, 16, 32]),
        (67, &[4096, 32, 16, 40]),
        (100, &[1, 2, 3]),
    ];
    for (at, row) in places {
        words[at..at + row.len()].copy_from_slice(row);
    }
    for (index, word) in words.iter_mut().enumerate().skip(111) {
        *word = 4096 + (index as u64 * 56) % 4096;
    }
    vec![words.iter().flat_map(|word| word.to_le_bytes()).collect()]
}

/// The same for each layout, and one that is all pointers.
pub fn seeds() -> Vec<Vec<u8>> {
    let table = seeds_table().remove(0);
    let pointers: Vec<u8> = (0..512u64).flat_map(|n| (8192 + n * 72 % 4096).to_le_bytes()).collect();
    let count = versions::ROWS.len() as u8 + 3;
    let with = |choice: u8, bytes: &[u8]| [&[choice][..], bytes].concat();
    (0..count).flat_map(|choice| [with(choice, &table), with(choice, &pointers)]).collect()
}
