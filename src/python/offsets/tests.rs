use super::*;
use crate::memory::Bytes as At;
use crate::testing::{NUMBERS, Numbers, PUBLISHED, Published, Random, numbers, state_bits};
use std::vec::Vec;

/// Of the longest table.
const BYTES: usize = 8 * TABLE;
const RUNTIME: Addr = Addr(0x7f12_3456_7000);

fn parse(bytes: &[u8], version: u64, free_threaded: bool) -> Result<(Layout, u16), Miss> {
    let memory = At { base: RUNTIME, bytes };
    read(&memory, RUNTIME, Header { version, free_threaded })
}

fn numbers_of(name: &'static str, (layout, head): &(Layout, u16)) -> Numbers {
    let version = NUMBERS.iter().find(|numbers| numbers.name == name).unwrap().version;
    Numbers { runtime: [(*head).into(), -1, -1], ..numbers(name, version, layout) }
}

fn expected(name: &str) -> &'static Numbers {
    NUMBERS.iter().find(|numbers| numbers.name == name).unwrap()
}

fn parse_published(table: &Published) -> (Layout, u16) {
    parse(&table.bytes(), table.version, table.free_threaded()).unwrap()
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, word: u64) {
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
}

#[test]
fn tables_of_running_interpreters_give_the_numbers_of_their_headers() {
    for table in &PUBLISHED {
        let (bytes, name) = (table.bytes(), table.name);
        let memory = At { base: RUNTIME, bytes: &bytes };
        let header = header(&memory, RUNTIME).unwrap().unwrap();
        assert_eq!(header, Header { version: table.version, free_threaded: table.free_threaded() });
        let found = parse_published(table);
        assert_eq!(numbers_of(name, &found), *expected(name));
        let wide = table.free_threaded() && !name.starts_with("3.13");
        let bits = if wide { StateBits::WIDE } else { StateBits::NARROW };
        assert_eq!(state_bits(&found.0), Some(bits), "{name}");
        let tagged = !name.starts_with("3.13");
        assert_eq!(found.0.frame.tag_mask, if tagged { 3 } else { 0 }, "{name}");
        assert_eq!(found.0.frame.owner.map(|owner| owner.shim), Some(3), "{name}");
        assert!(found.0.thread.native_is_own, "{name}");
    }
}

/// A version that was never seen: every struct has grown in front of every field.
#[test]
fn a_newer_version_with_moved_offsets_works() {
    for table in PUBLISHED.iter().filter(|table| table.name.starts_with("3.15")) {
        let mut bytes = table.bytes();
        // Sizes and offsets alike, but for what is told from the start of the GIL and for fields that there are not.
        for at in (24..BYTES).step_by(8).filter(|at| *at != 136) {
            let grown = word(&bytes, at) + 16;
            put(&mut bytes, at, if grown == 16 && [368, 456].contains(&at) { 0 } else { grown });
        }
        let found = parse(&bytes, 0x0310_00f0, table.free_threaded()).unwrap();
        let mut moved = *expected(table.name);
        let lists: [&mut [i32]; 8] = [
            &mut moved.interpreter,
            &mut moved.thread,
            &mut moved.frame,
            &mut moved.code,
            &mut moved.strings,
            &mut moved.bytes,
            &mut moved.object,
            &mut moved.runtime[..1],
        ];
        lists.into_iter().flatten().filter(|number| **number >= 0).for_each(|number| *number += 16);
        moved.gil[0] += 16; // the others are told from where the interpreter's own GIL is, and that moved too
        assert_eq!(numbers_of(table.name, &found), moved);
    }
}

#[test]
fn a_prerelease_may_have_the_table_of_the_version_before() {
    for (of, like) in [(0x030f_00a0, "3.14"), (0x030e_00a1, "3.13"), (0x0310_00a0, "3.15")] {
        for table in PUBLISHED.iter().filter(|table| table.name.trim_end_matches('t') == like) {
            let found = parse(&table.bytes(), of, table.free_threaded()).unwrap();
            assert_eq!(numbers_of(table.name, &found), *expected(table.name), "{of:x}");
        }
    }
}

#[test]
fn versions_without_a_table_are_refused() {
    for version in [0, 0x0207_00f0, 0x030c_00f0] {
        let refused = parse(&PUBLISHED[0].bytes(), version, false);
        assert_eq!(refused.err(), Some(Miss::Nonsense), "{version:x}");
    }
    let memory = At { base: RUNTIME, bytes: &[0; 64] };
    assert_eq!(header(&memory, RUNTIME), Ok(None));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    for table in &PUBLISHED {
        let bytes = table.bytes();
        for end in 0..bytes.len() {
            let memory = At { base: RUNTIME, bytes: &bytes[..end] };
            let missing = parse(memory.bytes, table.version, table.free_threaded());
            assert_eq!(missing.err(), Some(Miss::Fault), "{end}");
            assert_eq!(header(&memory, RUNTIME).is_ok(), end >= 24, "{end}");
        }
    }
}

/// Reads a table that may be any; where it is accepted, every number is one that stands in it, or is made of some that
/// do, and no field reaches further than the largest struct.
fn check(bytes: &[u8], table: &Published) -> bool {
    let Ok(found) = parse(bytes, table.version, table.free_threaded()) else { return false };
    let numbers = numbers_of(table.name, &found);
    let said: Vec<u64> = (24..BYTES).step_by(8).map(|at| word(bytes, at)).collect();
    let made = |number: i32| {
        let derived = [4, -16].map(|more| (number + more) as u64); // co_version, PyCompactUnicodeObject
        number == -1 || said.contains(&(number as u64)) || derived.iter().any(|number| said.contains(number))
    };
    let Numbers { interpreter, thread, frame, code, strings, bytes, object, .. } = &numbers;
    let lists: [&[i32]; 7] = [interpreter, thread, frame, code, strings, bytes, object];
    let wrong = lists.concat().into_iter().find(|&number| !made(number));
    assert_eq!(wrong, None, "{numbers:?}");
    true
}

#[test]
fn every_entry_at_its_worst_is_refused_or_harmless() {
    for table in &PUBLISHED {
        let valid = table.bytes();
        for at in (24..BYTES).step_by(8) {
            let own = word(&valid, at);
            let near = [own ^ 1, own + 1, own + 2, own + 4, own.wrapping_sub(8), own << 1];
            let far = [0, 1, 7, MAX_SIZE - 8, MAX_SIZE, MAX_SIZE + 8, 1 << 31, 1 << 32, 1 << 63];
            let last = [u64::MAX - 15, u64::MAX - 7, u64::MAX - 1, u64::MAX];
            for worst in near.into_iter().chain(far).chain(last) {
                let mut bytes = valid.clone();
                put(&mut bytes, at, worst);
                check(&bytes, table);
            }
        }
    }
}

#[test]
fn mutations_never_give_an_offset_out_of_bounds() {
    let mut random = Random(3);
    let valid: Vec<Vec<u8>> = PUBLISHED.iter().map(Published::bytes).collect();
    let mut bytes = valid[0].clone();
    let mut accepted = 0;
    for round in 0..100_000u32 {
        let which = round as usize / 4 % valid.len();
        if round % 4 == 0 {
            bytes.copy_from_slice(&valid[which]);
        }
        let at = 24 + random.below(BYTES as u64 - 24) as usize;
        bytes[at] = random.below(256) as u8;
        let table = &PUBLISHED[which];
        accepted += u32::from(check(&bytes, table));
    }
    // The test is of some use only where much of what is accepted was changed.
    assert!((10_000..90_000).contains(&accepted), "{accepted}");
}

/// A release has the table of its version or, damaged, none.
#[test]
fn a_release_is_never_read_by_the_shape_of_the_version_before() {
    for table in &PUBLISHED {
        let shape = SHAPES.iter().find(|shape| shape.version == minor_of(table.version)).unwrap();
        let mut refused = 0;
        for at in (24..BYTES).step_by(8) {
            let mut bytes = table.bytes();
            put(&mut bytes, at, u64::MAX);
            let memory = At { base: RUNTIME, bytes: &bytes };
            if offsets(shape, &memory.words(RUNTIME).unwrap().map(u64::to_le_bytes)).is_none() {
                refused += 1;
                let found = parse(&bytes, table.version, table.free_threaded());
                assert_eq!(found.err(), Some(Miss::Nonsense), "{} at {at}", table.name);
            }
        }
        assert!(refused > 30, "{refused}");
    }
}

/// A struct that is as large as can be lets its fields be as far away as can be.
#[test]
fn fields_at_the_far_end_of_the_largest_struct_are_refused_or_harmless() {
    for table in &PUBLISHED {
        let shape = SHAPES.iter().find(|shape| shape.version == minor_of(table.version)).unwrap();
        let mut size = 0;
        for (&entry, &width) in shape.entries.iter().zip(&WIDTHS).filter(|(entry, _)| **entry != 0) {
            if width == 0 {
                size = 8 * usize::from(entry);
                continue;
            }
            for far in [u64::from(u16::MAX) + 1 - u64::from(width), u64::from(u16::MAX), 1 << 16, MAX_SIZE] {
                let mut bytes = table.bytes();
                put(&mut bytes, size, u64::MAX);
                put(&mut bytes, 8 * usize::from(entry), far);
                check(&bytes, table);
            }
        }
    }
}
