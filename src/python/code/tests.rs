use super::super::lines::LineTable;
use super::print::MAX_LINE_TABLE;
use super::*;
use crate::memory::Memory;
use crate::prefetch::Sight;
use crate::testing::{
    CODE_TYPE as TYPE, CodeObject, Image, Target, layout, layouts, prefetch_storage, profile_storage, zeroed,
};
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

/// Where code object number `n` is, and from there on what it points to.
const fn at(n: u64) -> u64 {
    0x20_0040 + 0x1_0000 * n
}
const FILE: u64 = 0x2000;
const NAME: u64 = 0x3000;
const TABLE: u64 = 0x4000;

/// What a code object is to look like.
#[derive(Clone, PartialEq, Debug)]
struct Source {
    file: String,
    name: String,
    first_line: i32,
    /// Lines that the instructions are below the first.
    step: u8,
    version: u32,
    /// `ob_hash` of the two names; -1 where nobody has asked for it.
    hash: [i64; 2],
}

fn source(name: &str) -> Source {
    Source { file: "app.py".into(), name: name.into(), first_line: 10, step: 3, version: 0, hash: [-1, 77] }
}

/// A target with code objects, and what a sampler knows of it.
struct World<'a> {
    layout: Layout,
    target: &'a Target,
    prefetch: Prefetch<&'a Target>,
    codes: Codes,
    profile: Profile,
    context: Context,
}

impl<'a> World<'a> {
    /// With room for so many code objects, lines and calls.
    fn with_room(target: &'a Target, layout: Layout, room: usize) -> World<'a> {
        target.apply(&layout.code_type());
        World {
            layout,
            target,
            prefetch: Prefetch::new(target, prefetch_storage(200), 0),
            codes: Codes::new(Storage {
                known: zeroed(room),
                known_index: zeroed(4 * room),
                located: zeroed(room),
                located_index: zeroed(4 * room),
                calls: zeroed(room),
                call_index: zeroed(4 * room),
                believed: zeroed(room),
                text: zeroed(200),
                text2: zeroed(200),
            }),
            profile: Profile::new(profile_storage(1024, 16, 16)),
            context: Context { generation: None, believe: false, lines: true },
        }
    }

    fn new(target: &'a Target, layout: Layout) -> World<'a> {
        World::with_room(target, layout, 1024)
    }

    fn image(&self, n: u64, source: &Source) -> Image {
        let (layout, at) = (&self.layout, at(n));
        let mut image = layout.code_object(
            at,
            &CodeObject {
                file_name: at + FILE,
                name: at + NAME,
                line_table: at + TABLE,
                first_line: source.first_line,
                version: source.version,
            },
        );
        image.extend(layout.string(at + FILE, &source.file, source.hash[0]));
        image.extend(layout.string(at + NAME, &source.name, source.hash[1]));
        image.extend(layout.bytes_object(at + TABLE, &table(layout.lines, source.step)));
        image
    }

    fn put(&self, n: u64, source: &Source) {
        self.target.apply(&self.image(n, source));
    }

    /// A fetch.
    fn fetch(&mut self) {
        self.codes.next_fetch();
        assert!(self.prefetch.fetch(None, !self.context.believe));
    }

    fn locate(&mut self, n: u64, position: i64) -> Result<Found, Miss> {
        self.locate_in(&[Seen { code: Addr(at(n)), position }], 0)
    }

    fn locate_in(&mut self, stack: &[Seen], depth: usize) -> Result<Found, Miss> {
        self.codes.locate(&self.prefetch, &self.layout, &mut self.profile, (stack, depth), self.context)
    }

    /// What a frame shows, as soon as that is proven.
    fn look(&mut self, n: u64, position: i64) -> Result<Found, Miss> {
        self.prefetch.next_sample();
        for _ in 0..4 {
            self.fetch();
            let found = self.locate(n, position)?;
            if !self.prefetch.was_late() {
                return Ok(found);
            }
        }
        panic!("late every time");
    }

    /// Settles: the functions that were refuted.
    fn settle(&mut self) -> Vec<String> {
        self.context.believe = false;
        self.fetch();
        let (mut refuted, profile) = (vec![], &self.profile);
        self.codes.settle(&self.prefetch, &self.layout, None, |function| {
            let name = function.map_or(&b"(all)"[..], |function| profile.function_names(function).1);
            refuted.push(String::from_utf8_lossy(name).into_owned());
        });
        refuted
    }

    fn text(&self, found: &Found) -> String {
        let Some(frame) = found.frame else { return "(shim)".into() };
        let (file, name) = self.profile.function_names(frame.function);
        let [file, name] = [file, name].map(|name| String::from_utf8(name.to_vec()).unwrap());
        format!("{file}:{name}:{}", frame.line)
    }

    /// The same as text.
    fn show(&mut self, n: u64, position: i64) -> Result<String, Miss> {
        let found = self.look(n, position)?;
        Ok(self.text(&found))
    }
}

/// A line table of one entry for the first 16 bytes of code.
fn table(lines: LineTable, step: u8) -> Vec<u8> {
    match lines {
        LineTable::LnotabUnsigned | LineTable::LnotabSigned => vec![0, step],
        LineTable::Deltas => vec![16, step],
        LineTable::Locations => vec![0xef, step << 1],
    }
}

fn expected(source: &Source) -> String {
    format!("{}:{}:{}", source.file, source.name, source.first_line + i32::from(source.step))
}

#[test]
fn a_stack_that_is_not_known_is_read_with_two_calls() {
    for (name, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        let sources: Vec<Source> = (0..6).map(|n| source(&format!("f{n}"))).collect();
        sources.iter().enumerate().for_each(|(n, source)| world.put(n as u64, source));
        let stack: Vec<Seen> = (0..6).map(|n| Seen { code: Addr(at(n)), position: 4 }).collect();
        world.fetch();
        let (calls, reads) = (target.calls(), target.reads());
        for (depth, source) in sources.iter().enumerate() {
            let found = world.locate_in(&stack, depth).unwrap();
            assert_eq!(world.text(&found), expected(source), "{name}");
        }
        assert!(world.prefetch.was_late());
        // The type of code objects and its name are read on their own.
        assert_eq!(target.calls(), calls + 2, "{name}");
        assert!(target.reads() <= reads + 2, "{name}: {}", target.reads() - reads);
    }
}

#[test]
fn names_and_lines_on_every_version() {
    for (name, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        let sources = [
            source("f"),
            Source { step: 0, version: 7, ..source("Class.method.<locals>.<lambda>") },
            Source { file: "/usr/lib/python3/dist-packages/a/rather/long/path.py".into(), ..source("") },
        ];
        sources.iter().enumerate().for_each(|(n, source)| world.put(n as u64, source));
        for (n, source) in sources.iter().enumerate() {
            assert_eq!(world.show(n as u64, 4), Ok(expected(source)), "{name}");
            // Before the first instruction it is the line of the `def`.
            let line = Source { step: 0, ..source.clone() };
            assert_eq!(world.show(n as u64, -2), Ok(expected(&line)), "{name}");
        }
        let (calls, reads) = (target.calls(), target.reads());
        world.fetch();
        for (n, source) in sources.iter().enumerate() {
            let found = world.locate(n as u64, 4).unwrap();
            assert_eq!(world.text(&found), expected(source), "{name}");
        }
        assert!(!world.prefetch.was_late());
        assert_eq!((target.calls(), target.reads()), (calls + 1, reads), "{name}");
        world.context.lines = false;
        assert_eq!(world.show(0, 6), Ok("app.py:f:0".into()), "{name}");
    }
}

/// A way to prove code objects: a layout, and whether versions and generations are given.
const PROOFS: [(&str, bool, bool); 10] = [
    ("2.7", false, false),
    ("3.6", false, false),
    ("3.8", false, false),
    ("3.11", false, false),
    ("3.12", true, false),
    ("3.12", false, false), // the numbers have run out
    ("3.13t", true, false),
    ("3.14", true, true),
    ("3.14", false, true),
    ("3.15t", false, false),
];

/// The same while a call reads: what was proven before the change counts, or it is late.
#[test]
fn a_code_object_that_changes_while_it_is_read_is_the_one_or_the_other() {
    use crate::testing::{Change, When};
    for (name, versions, _) in PROOFS.into_iter().filter(|proof| !proof.2) {
        let target = Target::new();
        let mut world = World::new(&target, layout(name));
        let version = |version| if versions { version } else { 0 };
        let one = Source { version: version(1), ..source("first_name") };
        let two = Source { version: version(2), hash: [-1, 5], ..source("other_name") };
        for reads in 0..12 {
            world.put(0, &one);
            // Twice: in the next sample it is known, and nothing is fetched but its proof.
            (0..2).for_each(|_| assert_eq!(world.show(0, 4), Ok(expected(&one))));
            for range in 0..target.last_call().len() {
                world.put(0, &one);
                (0..2).for_each(|_| assert_eq!(world.show(0, 4), Ok(expected(&one))));
                target.on(
                    When::Range { call: target.calls(), range, byte: 8 },
                    Change::Write(world.image(0, &two)),
                );
                let shown = world.show(0, 4).unwrap();
                assert!(shown == expected(&one) || shown == expected(&two), "{name} {range}: {shown}");
                assert_eq!(world.show(0, 4), Ok(expected(&two)), "{name} {range}");
            }
            // And while it is learned.
            world.codes.forget();
            world.put(0, &one);
            target.on(When::Read(target.reads() + reads), Change::Write(world.image(0, &two)));
            let shown = world.show(0, 4).unwrap();
            assert!(shown == expected(&one) || shown == expected(&two), "{name} {reads}: {shown}");
            target.forget_script();
        }
    }
}

/// The strings of a code object that is met for the first time may lie between those of others, and be fetched with them before
/// it was there.
#[test]
fn names_that_were_fetched_before_a_code_object_was_seen_are_read_again() {
    for (name, versions, _) in PROOFS {
        let target = Target::new();
        let mut world = World::new(&target, layout(name));
        world.put(0, &source("first_name"));
        for strings in [at(0) + FILE, at(0) + NAME] {
            assert_eq!(world.prefetch.with(Sight::Aside).read(Addr(strings), &mut [0; 128]), Ok(()));
        }
        world.fetch();
        let version = if versions { 2 } else { 0 };
        let two = Source { hash: [-1, 5], version, ..source("other_name") };
        world.put(0, &two);
        for _ in 0..3 {
            // Twice in one look, as by a function that calls itself: that proves nothing.
            for position in [6, 4] {
                let found = world.locate(0, position).unwrap();
                assert!(world.prefetch.was_late() || world.text(&found) == expected(&two), "{name}");
            }
            world.fetch();
        }
        assert_eq!(world.show(0, 4), Ok(expected(&two)), "{name}");
    }
}

#[test]
fn a_line_is_forgotten_with_its_code_object() {
    let target = Target::new();
    let mut world = World::new(&target, layout("3.12"));
    for round in 1..20 {
        let source = Source { version: round, step: round as u8, ..source("f") };
        world.put(0, &source);
        for position in [0, 4, 14] {
            assert_eq!(world.show(0, position), Ok(expected(&source)));
        }
    }
}

/// What was proven often is believed without being read; when it is read again, it turns out whether that was right.
#[test]
fn what_was_proven_often_is_believed_until_it_is_settled() {
    for (name, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        let (one, two) = (source("one"), Source { hash: [-1, 5], version: 7, ..source("two") });
        for replaced in [false, true, false] {
            world.put(0, &one);
            for _ in 0..=OFTEN {
                assert_eq!(world.show(0, 4), Ok(expected(&one)), "{name}");
            }
            world.context.believe = true;
            let (calls, reads) = (target.calls(), target.reads());
            for round in 1..4 {
                assert_eq!(world.show(0, 4), Ok(expected(&one)), "{name}");
                assert_eq!((target.calls(), target.reads()), (calls + round, reads), "{name}");
                assert!(!world.codes.is_unsettled());
                world.put(0, if replaced { &two } else { &one });
            }
            assert_eq!(world.settle(), if replaced { ["one"].to_vec() } else { vec![] }, "{name}");
            assert_eq!(world.show(0, 4), Ok(expected(if replaced { &two } else { &one })), "{name}");
            assert!(world.settle().is_empty(), "{name}");
        }
    }
}

/// A young one is proven although the fetch did without, and says that this had better not go on.
#[test]
fn what_is_young_is_not_believed() {
    let target = Target::new();
    let mut world = World::new(&target, layout("3.8"));
    let one = source("one");
    world.put(0, &one);
    assert_eq!(world.show(0, 4), Ok(expected(&one)));
    world.context.believe = true;
    for round in 0..2 {
        let reads = target.reads();
        let source = Source { hash: [-1, round], ..source("two") };
        world.put(0, &source);
        assert_eq!(world.show(0, 4), Ok(expected(&source)));
        assert!(target.reads() > reads && world.codes.is_unsettled());
        assert!(world.settle().is_empty() && !world.codes.is_unsettled());
        world.context.believe = true;
    }
}

/// Where there are too many code objects to be remembered, nothing can be said of those that were believed.
#[test]
fn what_was_believed_and_is_forgotten_is_refuted() {
    let target = Target::new();
    let mut world = World::with_room(&target, layout("3.12"), 16);
    let put = |world: &World, n: u64| world.put(n, &Source { version: 1 + n as u32, ..source("f") });
    put(&world, 0);
    for _ in 0..=OFTEN {
        world.show(0, 4).unwrap();
    }
    world.context.believe = true;
    world.show(0, 4).unwrap();
    for n in 1..40 {
        put(&world, n);
        world.show(n, 4).unwrap();
    }
    assert_eq!(world.settle(), ["(all)"]);
    assert!(world.settle().is_empty());
}

#[test]
fn what_is_no_code_object_is_refused() {
    for (name, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        // Nothing there, and nothing but zeros.
        assert_eq!(world.show(0, 4), Err(Miss::Fault), "{name}");
        target.put(at(0), &[0; 512]);
        assert!(world.show(0, 4).is_err(), "{name}");
        // Of another type, with names like a code object's.
        world.put(0, &source("f"));
        let other = 0x6_0000;
        target.put(other, &[0; 512]);
        target.set(other + u64::from(layout.type_name.offset()), other + 0x100);
        target.put(other + 0x100, b"cell\0");
        target.set(layout.object_type.of(Addr(at(0))).0, other);
        assert_eq!(world.show(0, 4), Err(Miss::Nonsense), "{name}");
        target.set(layout.object_type.of(Addr(at(0))).0, TYPE);
        assert_eq!(world.show(0, 4), Ok("app.py:f:13".into()), "{name}");
        // One that was known and is none any more.
        target.set(layout.object_type.of(Addr(at(0))).0, other);
        assert_eq!(world.show(0, 4), Err(Miss::Nonsense), "{name}");
    }
}

/// A line table that says it is larger than any, and one that is cut off by the end of readable memory.
#[test]
fn line_tables_that_cannot_be_are_refused() {
    for (name, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        for size in [-1, MAX_LINE_TABLE + 1, i64::MIN, i64::MAX] {
            world.put(0, &source("f"));
            target.set(layout.bytes.size.of(Addr(at(0) + TABLE)).0, size as u64);
            assert!(world.show(0, 4).is_err(), "{name} {size}");
        }
        world.put(0, &source("f"));
        assert_eq!(world.show(0, 4), Ok("app.py:f:13".into()), "{name}");
    }
}

#[test]
fn a_long_line_table_is_read_to_the_place_asked_for() {
    for (name, layout) in layouts() {
        // An entry of one line for every two bytes of code.
        let entry: &[u8] = match layout.lines {
            LineTable::LnotabUnsigned | LineTable::LnotabSigned => &[2, 1],
            LineTable::Deltas => &[2, 1],
            LineTable::Locations => &[0xd8, 0, 0],
        };
        let target = Target::new();
        let mut world = World::new(&target, layout);
        world.put(0, &source("f"));
        target.apply(&layout.bytes_object(at(0) + TABLE, &entry.repeat(10_000)));
        for position in [0, 2, 2000, 9998, 19_998] {
            let first =
                if matches!(layout.lines, LineTable::Deltas | LineTable::Locations) { 11 } else { 10 };
            let line = first + position / 2;
            assert_eq!(world.show(0, position), Ok(format!("app.py:f:{line}")), "{name} {position}");
        }
    }
}

/// From 3.13 on the interpreter makes code objects of its own to call `__init__`: both names are one string, and there is
/// no line.
#[test]
fn what_the_interpreter_pushes_to_call_a_constructor_is_no_frame() {
    let target = Target::new();
    let layout = layout("3.13");
    let mut world = World::new(&target, layout);
    let init = Source { file: "__init__".into(), first_line: 0, step: 0, ..source("__init__") };
    world.put(0, &init);
    assert_eq!(world.show(0, 4), Ok("__init__:__init__:0".into()));
    let same = |target: &Target| {
        target.set(layout.code.file_name.of(Addr(at(0))).0, at(0) + NAME);
    };
    same(&target);
    assert_eq!(world.show(0, 4), Ok("(shim)".into()));
    assert_eq!(world.show(0, 4), Ok("(shim)".into()));
    // A program's own code can be compiled with its name for the file's, but it begins at a line.
    world.put(0, &Source { first_line: 1, ..init });
    same(&target);
    assert_eq!(world.show(0, 4), Ok("__init__:__init__:1".into()));
}

#[test]
fn full_storage_is_emptied_and_used_again() {
    for name in ["3.8", "3.12"] {
        let target = Target::new();
        let mut world = World::with_room(&target, layout(name), 8);
        let sources: Vec<Source> =
            (0..50).map(|n| Source { hash: [-1, n], version: 1, ..source(&format!("f{n}")) }).collect();
        sources.iter().enumerate().for_each(|(n, source)| world.put(n as u64, source));
        for _ in 0..3 {
            for (n, source) in sources.iter().enumerate() {
                assert_eq!(world.show(n as u64, 2 * (n % 8) as i64), Ok(expected(source)));
            }
        }
        // As many positions of one code object.
        for position in 0..16 {
            assert_eq!(world.show(3, position), Ok(expected(&sources[3])));
        }
    }
}

#[test]
fn names_that_do_not_fit_are_called_so() {
    let target = Target::new();
    let mut world = World::new(&target, layout("3.8"));
    world.profile = Profile::new(profile_storage(16, 16, 16));
    for n in 0..40 {
        let source = Source { hash: [-1, n], ..source(&format!("f{n}")) };
        world.put(n as u64, &source);
        let shown = world.show(n as u64, 4).unwrap();
        assert!(shown == expected(&source) || shown == ":(names full):13", "{shown}");
    }
    assert!(world.profile.counts.names_full > 10);
}

#[test]
fn calls_are_known_once_they_are_learned() {
    let target = Target::new();
    let mut world = World::new(&target, layout("3.12"));
    for n in 0..4 {
        world.put(n, &Source { version: 1 + n as u32, ..source(&format!("f{n}")) });
    }
    let [caller, other_place, callee, other] =
        [(0, 4), (0, 6), (1, 2), (2, 2)].map(|(n, position)| world.look(n, position).unwrap());
    assert!(!world.codes.is_call(Some(&caller), callee.serial));
    world.codes.learn_call(Some(&caller), callee.serial);
    assert!(world.codes.is_call(Some(&caller), callee.serial));
    assert!(!world.codes.is_call(Some(&other_place), callee.serial));
    assert!(!world.codes.is_call(Some(&caller), other.serial));
    assert!(!world.codes.is_call(Some(&callee), caller.serial));
    // Without a caller: the root of a stack.
    assert!(!world.codes.is_call(None, callee.serial));
    world.codes.learn_call(None, callee.serial);
    assert!(world.codes.is_call(None, callee.serial) && !world.codes.is_call(None, caller.serial));
    // Two are called from one place.
    world.codes.learn_call(Some(&caller), other.serial);
    for _ in 0..2 {
        assert!(
            world.codes.is_call(Some(&caller), callee.serial)
                && world.codes.is_call(Some(&caller), other.serial)
        );
    }
    // Other code at the caller's address has called nobody, and nobody has called other code at the callee's.
    world.put(0, &Source { version: 10, ..source("f0") });
    let caller = world.look(0, 4).unwrap();
    assert!(!world.codes.is_call(Some(&caller), other.serial));
    world.codes.learn_call(Some(&caller), callee.serial);
    world.put(1, &Source { version: 11, ..source("f1") });
    let callee = world.look(1, 2).unwrap();
    assert!(!world.codes.is_call(Some(&caller), callee.serial));
}

#[test]
fn calls_that_do_not_fit_are_learned_again() {
    let target = Target::new();
    let mut world = World::with_room(&target, layout("3.12"), 64);
    for n in 0..10 {
        world.put(n, &Source { version: 1 + n as u32, ..source(&format!("f{n}")) });
    }
    let found: Vec<Found> = (0..10).map(|n| world.look(n, 4).unwrap()).collect();
    let mut lost = 0;
    for _ in 0..3 {
        for (caller, callee) in found.iter().flat_map(|a| found.iter().map(move |b| (a, b))) {
            lost += u32::from(!world.codes.is_call(Some(caller), callee.serial));
            world.codes.learn_call(Some(caller), callee.serial);
            assert!(world.codes.is_call(Some(caller), callee.serial));
        }
    }
    assert!(lost > 100, "{lost}");
}

#[test]
fn what_was_found_is_still_there_until_it_is_not() {
    for (name, versions, generations) in PROOFS {
        let target = Target::new();
        let mut world = World::new(&target, layout(name));
        let version = |version| if versions { version } else { 0 };
        world.context.generation = generations.then_some(1);
        world.put(0, &Source { version: version(1), ..source("one") });
        let found = world.look(0, 4).unwrap();
        world.fetch();
        let is_still = |world: &mut World<'_>| {
            let still = world.codes.is_still(&world.prefetch, &world.layout, &found, world.context).unwrap();
            still && !world.prefetch.was_late()
        };
        assert!(is_still(&mut world), "{name}");
        world.put(0, &Source { version: version(2), hash: [-1, 5], ..source("two") });
        world.context.generation = generations.then_some(2);
        world.fetch();
        assert!(!is_still(&mut world), "{name}");
        let other = world.look(0, 4).unwrap();
        assert_ne!(other.serial, found.serial);
        world.fetch();
        assert!(!is_still(&mut world), "{name}");
    }
}

/// Code objects that are freed and made again at the same address, with the same pointers, and only one thing different.
#[test]
fn another_code_object_at_the_same_address_never_has_the_names_of_the_first() {
    for (name, versions, generations) in PROOFS {
        let target = Target::new();
        let mut world = World::new(&target, layout(name));
        let mut now = source("generated_0");
        for round in 0..300 {
            match round % 5 {
                0 => (now.name, now.hash[1]) = (format!("generated_{round:03}"), 1000 + round),
                1 => now.file = format!("<gen-{round:03}>"),
                2 => now.first_line += 1,
                3 => now.step = (now.step + 1) % 30,
                _ => (now.name, now.hash[1]) = (format!("f{}", round % 10), 2000 + round % 10),
            }
            // Both are given once.
            now.version = if versions { 100 + round as u32 } else { 0 };
            world.context.generation = generations.then_some(round as u64);
            world.put(0, &now);
            assert_eq!(world.show(0, 4), Ok(expected(&now)), "{name} {versions} {generations} {round}");
            // The next look needs nothing more.
            world.fetch();
            let found = world.locate(0, 4).unwrap();
            assert!(!world.prefetch.was_late());
            assert_eq!(world.text(&found), expected(&now));
        }
    }
}

/// Nobody has asked for the hash of a file name (every version from 2.7 to 3.12): it is told by its bytes, all of them if
/// they are few.
#[test]
fn file_names_that_differ_in_one_byte_are_told_apart() {
    for name in ["2.7", "3.6", "3.11", "3.12", "3.14t"] {
        let target = Target::new();
        let mut world = World::new(&target, layout(name));
        for length in 1..=24 {
            for place in 0..length {
                let [one, two] = [b'a', b'b'].map(|byte| {
                    let mut file = vec![b'x'; length];
                    file[place] = byte;
                    Source { file: String::from_utf8(file).unwrap(), ..source("f") }
                });
                for source in [one, two] {
                    world.put(0, &source);
                    assert_eq!(world.show(0, 4), Ok(expected(&source)), "{name}");
                }
            }
        }
    }
}

/// A frame that was found before the lines were forgotten does not speak for the one that has its place now.
#[test]
fn a_call_is_never_taken_for_another_one() {
    for looks in 30..46 {
        let target = Target::new();
        let mut world = World::with_room(&target, layout("3.12"), 8);
        for n in 0..2 {
            world.put(n, &Source { version: 1 + n as u32, ..source(&format!("f{n}")) });
        }
        let callee = world.look(1, 2).unwrap();
        let found: Vec<Found> = (0..looks).map(|i| world.look(0, i % 16).unwrap()).collect();
        world.codes.learn_call(Some(&found[3]), callee.serial);
        assert!(!world.codes.is_call(Some(&found[20]), callee.serial), "{looks}");
        for position in 0..16 {
            let found = world.look(0, position).unwrap();
            let known = world.codes.is_call(Some(&found), callee.serial);
            assert!(!known || position == 3, "{looks} {position}");
        }
    }
}

/// A target says itself where its fields are. Where two of them are the wrong way round, nothing is found, and that is all.
#[test]
fn a_layout_that_cannot_be_does_no_harm() {
    let target = Target::new();
    let mut layout = layout("3.13");
    World::new(&target, layout).put(0, &source("f"));
    layout.bytes.size = crate::memory::Field::at(64);
    let mut world = World::new(&target, layout);
    for _ in 0..3 {
        world.fetch();
        let _ = world.locate(0, 4);
    }
}

#[test]
fn of_a_stack_of_what_is_no_code_object_only_the_first_is_read() {
    for (_, layout) in layouts() {
        let target = Target::new();
        let mut world = World::new(&target, layout);
        let stack: Vec<_> =
            (0..1000).map(|n| Seen { code: Addr(0x7777_0000_0000 + 0x1000 * n), position: 0 }).collect();
        world.fetch();
        let reads = target.reads();
        assert!(world.locate_in(&stack, 999).is_err());
        assert!(target.reads() - reads < 10, "{}", target.reads() - reads);
    }
}
