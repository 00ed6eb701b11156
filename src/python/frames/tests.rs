use super::*;
use crate::prefetch::Moment;
use crate::testing::*;
use std::vec::Vec;

mod switching;

const THREAD: u64 = 0x1_0100;
/// Where frames lie one behind the other, as in a chunk of the data stack.
const CHUNK: u64 = 0x7000_0000;
/// Where each has a page of its own, as frame objects and generators may.
const HEAP: u64 = 0x7100_0000;
const CODE: u64 = 0x20_0000;

/// A profiler without names: what the sampler does with a walk.
struct Walker<'a> {
    target: &'a Target,
    layout: Layout,
    prefetch: Prefetch<&'a Target>,
    frames: List<Seen>,
}

impl<'a> Walker<'a> {
    fn new(target: &'a Target, layout: Layout, pages: usize, depth: usize) -> Walker<'a> {
        Walker {
            target,
            layout,
            prefetch: Prefetch::new(target, prefetch_storage(pages), layout.frame.room),
            frames: List::new(zeroed(depth)),
        }
    }

    fn walk(&mut self) -> Result<End, Miss> {
        walk(&self.prefetch, &self.layout, (Addr(THREAD), true), &mut self.frames)
    }

    /// One sample.
    fn look(&mut self) -> Result<Vec<Seen>, Miss> {
        self.prefetch.next_sample();
        assert!(self.prefetch.fetch(None, true));
        self.prefetch.enter(Addr(THREAD), Moment::At);
        self.walk().map(|_| self.frames.items().to_vec())
    }

    fn was_late(&self) -> bool {
        self.prefetch.was_late()
    }
}

/// Layouts that keep frames in different ways.
fn kinds() -> Vec<(&'static str, Layout)> {
    ["2.7", "3.8", "3.10", "3.11", "3.12", "3.13", "3.14", "3.14t", "3.15"]
        .into_iter()
        .map(|name| (name, layout(name)))
        .collect()
}

/// A stack of `depth` frames, one in `apart` of them on a page of its own.
fn stack(depth: usize, apart: usize) -> Vec<Link> {
    let place = |i: usize| match i % apart {
        0 => HEAP + 0x3000 * i as u64 + 0x18 * (i % 100) as u64,
        _ => CHUNK + 32 + 0x90 * i as u64,
    };
    (0..depth).map(|i| link(place(i), CODE + 0x1000 * i as u64, 2 * (i as i64 % 90))).collect()
}

#[test]
fn stacks_of_every_layout_and_depth() {
    for (name, layout) in kinds() {
        for depth in [0, 1, 2, 3, 15, 16, 17, 18, 19, 20, 300] {
            for apart in [1, 2, 7, usize::MAX] {
                let stack = stack(depth, apart);
                let target = Target::new();
                target.apply(&layout.stack(THREAD, &stack));
                let mut walker = Walker::new(&target, layout, 2000, 1 << 10);
                for late in [true, false, false] {
                    let (calls, reads) = (target.calls(), target.reads());
                    assert_eq!(walker.look(), Ok(seen(&stack)), "{name} {depth} {apart}");
                    assert_eq!(walker.was_late(), late, "{name} {depth} {apart}");
                    if !late {
                        assert_eq!((target.calls(), target.reads()), (calls + 1, reads));
                    }
                }
            }
        }
    }
}

#[test]
fn a_shallow_look_is_of_the_innermost_frames_and_reads_no_others() {
    for (name, layout) in kinds() {
        for (depth, apart) in [(SHALLOW, 2), (20, 1), (100, 2), (300, usize::MAX)] {
            let stack = stack(depth, apart);
            let target = Target::new();
            target.apply(&layout.stack(THREAD, &stack));
            let mut walker = Walker::new(&target, layout, 2000, 1 << 10);
            (0..2).for_each(|_| assert_eq!(walker.look(), Ok(seen(&stack)), "{name}"));
            let bytes = |target: &Target| target.last_call().iter().map(|span| span.len).sum::<u64>();
            let (all, reads) = (bytes(&target), target.reads());
            for _ in 0..2 {
                walker.prefetch.set_shallow(true);
                let found = walker.look().unwrap();
                assert_eq!(found[..SHALLOW], seen(&stack)[..SHALLOW], "{name} {depth} {apart}");
                assert!(found.len() == SHALLOW && !walker.was_late(), "{name} {depth} {apart}");
                assert!(depth == SHALLOW || bytes(&target) < all, "{name} {depth} {apart}");
                walker.prefetch.set_shallow(false);
                assert_eq!(walker.look(), Ok(seen(&stack)), "{name} {depth} {apart}");
                assert_eq!((walker.was_late(), target.reads()), (false, reads), "{name} {depth} {apart}");
            }
        }
    }
}

/// Another function is called in the place of the innermost frame while it is read.
#[test]
fn what_a_torn_look_shows_is_what_is_there_before_and_after_the_moment() {
    // Copies of the bytecode are found by way of the code object, which nobody has looked at yet.
    for (name, layout) in kinds().into_iter().filter(|(_, layout)| !layout.frame.has_copies()) {
        let stack = stack(4, 1);
        let (before, after) = (stack[3], link(stack[3].at, CODE + 0x9000, 0));
        let target = Target::new();
        let mut torn = 0;
        for range in 0..12 {
            target.apply(&layout.stack(THREAD, &stack));
            let mut walker = Walker::new(&target, layout, 100, 64);
            (0..2).for_each(|_| assert_eq!(walker.look(), Ok(seen(&stack)), "{name}"));
            let change = Change::Write(layout.frame_object(&after, stack[2].at));
            target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
            walker.prefetch.next_sample();
            assert!(walker.prefetch.fetch(None, true));
            walker.prefetch.enter(Addr(THREAD), Moment::At);
            let moved = walker.walk() == Err(Miss::Moved) && walker.frames.is_empty();
            for (moment, innermost) in [(Moment::Before, before), (Moment::After, after)] {
                walker.prefetch.enter(Addr(THREAD), moment);
                assert!(!moved || walker.walk() == Ok(End::Whole), "{name} {range}");
                assert!(!moved || walker.frames.items()[0] == innermost.seen.unwrap(), "{name} {range}");
                assert!(!moved || walker.frames.items()[1..] == seen(&stack)[1..], "{name} {range}");
            }
            torn += usize::from(moved);
            target.forget_script();
        }
        assert!(torn > 0 && before.at == after.at, "{name}");
    }
}

#[test]
fn what_stands_between_c_and_python_is_skipped() {
    for (name, layout) in kinds().into_iter().filter(|(_, layout)| layout.frame.owner.is_some()) {
        for shims in
            [&[0][..], &[3], &[9], &[0, 4, 5, 9], &[0, 1, 2], &[7, 8, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
        {
            let mut stack = stack(10, 3);
            shims.iter().for_each(|&at| stack[at] = Link { seen: None, at: 0x7200_0000 + 0x100 * at as u64 });
            let target = Target::new();
            target.apply(&layout.stack(THREAD, &stack));
            let mut walker = Walker::new(&target, layout, 100, 64);
            // Nothing but shims is what is left of one, unless the last one is known to be the last.
            let is_left = shims.len() == stack.len() && layout.frame.base.is_none();
            let found = if is_left { Err(Miss::Moved) } else { Ok(seen(&stack)) };
            for _ in 0..3 {
                assert_eq!(walker.look(), found, "{name} {shims:?}");
            }
            assert!(!walker.was_late());
        }
    }
}

/// As a generator is while it is being left: its caller is forgotten, and it is the innermost frame all the same.
#[test]
fn a_chain_that_does_not_begin_at_a_shim_is_no_stack() {
    for (name, layout) in kinds() {
        let target = Target::new();
        let stack = stack(3, 2);
        target.apply(&layout.stack(THREAD, &stack));
        target.apply(&layout.frame_object(&stack[1], 0));
        let mut walker = Walker::new(&target, layout, 100, 64);
        let cut = if layout.frame.owner.is_some() { Err(Miss::Moved) } else { Ok(seen(&stack[1..])) };
        assert_eq!(walker.look(), cut, "{name}");
    }
}

/// A shim lies on the C stack, where what is written over it next is mostly nothing.
#[test]
fn what_is_left_of_a_shim_is_no_stack() {
    for (name, layout) in kinds().into_iter().filter(|(_, layout)| layout.frame.owner.is_some()) {
        let target = Target::new();
        target.apply(&layout.stack(THREAD, &[]));
        assert_eq!(layout.frame.base.is_some(), name.starts_with("3.15"), "{name}");
        let mut walker = Walker::new(&target, layout, 100, 64);
        assert_eq!(walker.look(), Ok(Vec::new()), "{name}");
        for frames in [0, 3] {
            let left = Link { seen: None, at: 0x7200_0000 };
            let stack = [&[left][..], &stack(frames, 2)].concat();
            target.apply(&layout.stack(THREAD, &stack));
            target.apply(&layout.frame_object(&left, 0));
            let is_stack = layout.frame.base.is_none() && frames > 0;
            let found = if is_stack { Ok(seen(&stack)) } else { Err(Miss::Moved) };
            assert_eq!(walker.look(), found, "{name} {frames}");
        }
    }
}

#[test]
fn a_chain_without_an_end_is_cut() {
    for (name, layout) in kinds() {
        for length in [2, 17, 40] {
            let stack = stack(length, 4);
            let target = Target::new();
            target.apply(&layout.stack(THREAD, &stack));
            // The outermost frame says that the innermost one called it.
            target.apply(&layout.frame_object(&stack[0], stack[length - 1].at));
            let mut walker = Walker::new(&target, layout, 200, 1000);
            let mut expected = seen(&stack).repeat(1000);
            expected.truncate(1000);
            assert_eq!((walker.look(), walker.walk()), (Ok(expected), Ok(End::Cut)), "{name} {length}");
        }
    }
}

/// Where a thread is stopped in the middle of a call, what it is said to run can be an object that took the place of a frame
/// (3.12). Its type is where the caller was, whose type is that of all types, of which it is one itself.
#[test]
fn an_object_in_the_place_of_a_frame_is_none() {
    for (name, layout) in kinds().into_iter().filter(|(_, layout)| !layout.frame.has_copies()) {
        let target = Target::new();
        let [object, kind] = [0, 1].map(|n| link(HEAP + 0x1000 * n, u64::from(u32::MAX), 0));
        target.apply(&layout.frame_object(&object, kind.at));
        target.apply(&layout.frame_object(&kind, kind.at));
        target.apply(&layout.innermost(THREAD, object.at));
        let mut walker = Walker::new(&target, layout, 200, 1000);
        assert_eq!(walker.look(), Err(Miss::Moved), "{name}");
    }
}

#[test]
fn a_chain_of_nothing_but_shims_ends() {
    let layout = layout("3.13");
    let target = Target::new();
    target.apply(&layout.frame_object(&Link { at: CHUNK, seen: None }, CHUNK + 0x100));
    target.apply(&layout.frame_object(&Link { at: CHUNK + 0x100, seen: None }, CHUNK));
    target.apply(&layout.innermost(THREAD, CHUNK));
    let mut walker = Walker::new(&target, layout, 100, 64);
    assert_eq!(walker.look(), Err(Miss::Endless));
}

#[test]
fn the_innermost_frames_of_a_stack_that_is_too_deep_are_kept() {
    for (name, layout) in kinds() {
        let stack = stack(50, 5);
        let target = Target::new();
        target.apply(&layout.stack(THREAD, &stack));
        for room in [0, 1, 16, 17, 49, 50] {
            let mut walker = Walker::new(&target, layout, 200, room);
            assert_eq!(walker.look(), Ok(seen(&stack)[..room].to_vec()), "{name}");
            assert_eq!(walker.walk(), Ok(if room < 50 { End::Cut } else { End::Whole }));
        }
    }
}

#[test]
fn garbage_is_refused() {
    for (name, layout) in kinds() {
        for garbage in [1, 7, 4095, CHUNK + 0x10_0000, 1 << 47, u64::MAX - 4095, u64::MAX - 7, u64::MAX] {
            for at in [0, 1, 5, 16, 17] {
                let mut stack = stack(20, 3);
                let target = Target::new();
                let owner = stack.len() - 1 - at;
                stack[owner].at = garbage;
                // All frames but the one that is not there; what calls it is not there either.
                target.apply(&layout.stack(THREAD, &stack[owner + 1..]));
                if owner + 1 < stack.len() {
                    target.apply(&layout.frame_object(&stack[owner + 1], garbage));
                } else {
                    target.apply(&layout.innermost(THREAD, garbage));
                }
                let mut walker = Walker::new(&target, layout, 200, 64);
                for _ in 0..3 {
                    assert!(matches!(walker.look(), Err(Miss::Fault)), "{name} {garbage:x} {at}");
                }
            }
        }
    }
}

#[test]
fn a_frame_without_code_is_being_made_or_cleared() {
    for (name, layout) in kinds() {
        for tag in [0, layout.frame.tag_mask & 1, layout.frame.tag_mask] {
            let stack = stack(3, 4);
            let target = Target::new();
            target.apply(&layout.stack(THREAD, &stack));
            target.set(layout.frame.code.of(Addr(stack[1].at)).0, tag.into());
            let mut walker = Walker::new(&target, layout, 200, 64);
            assert_eq!(walker.look(), Err(Miss::Moved), "{name}");
        }
    }
}

#[test]
fn copies_of_the_bytecode_that_are_not_there_are_refused() {
    let layout = layout("3.14t");
    let Position::Pointer { copies: Some(copies), .. } = layout.frame.position else { unreachable!() };
    for (index, size) in [(2, 2), (-1, 2), (i32::MIN, 2), (i32::MAX, 2), (0, 0), (0, -1), (1, i64::MIN)] {
        let stack = stack(2, 1);
        let target = Target::new();
        target.apply(&layout.stack(THREAD, &stack));
        let Some(Seen { code, .. }) = stack[0].seen else { unreachable!() };
        let array = target.word::<Addr>(copies.array.of(code)).unwrap();
        target.set(array.0, size as u64);
        target.put(copies.index.of(Addr(stack[0].at)).0, &i32::to_le_bytes(index));
        let mut walker = Walker::new(&target, layout, 200, 64);
        assert_eq!(walker.look(), Err(Miss::Nonsense), "{index} {size}");
    }
}

/// A thread that waits for the GIL holds still: each of its frames is read once.
#[test]
fn frames_that_cannot_move_are_read_once() {
    for (name, layout) in kinds() {
        let target = Target::new();
        let mut walker = Walker::new(&target, layout, 100, 100);
        target.apply(&layout.stack(THREAD, &stack(20, usize::MAX)));
        let mut ranges = [0, 0];
        for (moves, ranges) in [true, false].into_iter().zip(&mut ranges) {
            let prefetch = Prefetch::new(&target, prefetch_storage(100), 0);
            for _ in 0..3 {
                prefetch.next_sample();
                assert!(prefetch.fetch(None, true));
                prefetch.enter(Addr(THREAD), Moment::At);
                walk(&prefetch, &layout, (Addr(THREAD), moves), &mut walker.frames).unwrap();
            }
            assert!(!prefetch.was_late());
            assert_eq!(walker.frames.len(), 20, "{name}");
            *ranges = target.last_call().len();
        }
        assert!(ranges[1] < ranges[0] && ranges[1] <= 5, "{name} {ranges:?}");
    }
}
