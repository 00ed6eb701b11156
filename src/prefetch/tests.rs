use super::*;
use crate::memory::Field;
use crate::testing::{Change, Random, Target, When, leaked, prefetch_storage, zeroed};
use plan::KEEP;
use std::vec::Vec;

const THREAD: Addr = Addr(0x1_0000);
const FRAMES: u64 = 0x7000_0000;

/// A target in which the word at every eighth byte of some pages is its own address.
fn target(pages: impl IntoIterator<Item = u64>) -> Target {
    let target = Target::new();
    for page in pages {
        let words: Vec<u8> = (page..=page + (PAGE - 1)).step_by(8).flat_map(u64::to_le_bytes).collect();
        target.put(page, &words);
    }
    target
}

fn prefetch(target: &Target, pages: usize) -> Prefetch<&Target> {
    Prefetch::new(target, prefetch_storage(pages), 0)
}

fn load(prefetch: &Prefetch<&Target>, sight: Sight, at: u64) -> Result<u64, Miss> {
    prefetch.with(sight).word(Addr(at))
}

/// One sample of thread `THREAD` in which `loads` are loaded at `moment`, each of which has to give its own address.
fn sample(prefetch: &Prefetch<&Target>, moment: Moment, loads: &[(Sight, u64)]) {
    prefetch.next_sample();
    assert!(prefetch.fetch(None, true));
    prefetch.enter(THREAD, moment);
    for &(sight, at) in loads {
        assert_eq!(load(prefetch, sight, at), Ok(at), "{sight:?}");
    }
}

/// What a walk over two frames of one thread loads.
const WALK: [(Sight, u64); 5] = [
    (Sight::Root, 0x2_0040),
    (Sight::Once, 0x3_0048),
    (Sight::Still(0), FRAMES + 0x2100),
    (Sight::Still(1), FRAMES),
    (Sight::Proof, 0x4_0ff8),
];
const WALKED: [u64; 5] = [0x2_0000, 0x3_0000, FRAMES + 0x2000, FRAMES, 0x4_0000];

fn ranges(target: &Target) -> Vec<(u64, u64)> {
    target.last_call().iter().map(|span| (span.base, span.len)).collect()
}

#[test]
fn what_was_asked_for_is_there_in_one_call() {
    let target = target(WALKED);
    let prefetch = prefetch(&target, 16);
    sample(&prefetch, Moment::At, &WALK);
    assert!(prefetch.was_late());
    let (calls, reads) = (target.calls(), target.reads());
    assert_eq!(reads, WALK.len());
    for round in 1..1000 {
        sample(&prefetch, Moment::At, &WALK);
        assert!(!prefetch.was_late(), "{round}");
        assert_eq!((target.calls(), target.reads()), (calls + round, reads));
    }
}

#[test]
fn a_miss_is_read_late_and_learned() {
    let target = target(WALKED.into_iter().chain([FRAMES + 0x9000]));
    let prefetch = prefetch(&target, 16);
    sample(&prefetch, Moment::At, &WALK);
    let more = [&WALK[..], &[(Sight::Still(2), FRAMES + 0x9008), (Sight::Once, 0x3_0050)]].concat();
    let (calls, reads) = (target.calls(), target.reads());
    sample(&prefetch, Moment::At, &more);
    assert!(prefetch.was_late());
    assert_eq!((target.calls(), target.reads()), (calls + 1, reads + 2));
    sample(&prefetch, Moment::At, &more);
    assert!(!prefetch.was_late());
    assert_eq!((target.calls(), target.reads()), (calls + 2, reads + 2));
}

#[test]
fn what_is_frozen_reads_nothing_late_and_learns() {
    let target = target([FRAMES]);
    let prefetch = prefetch(&target, 16);
    prefetch.next_sample();
    assert!(prefetch.fetch(None, true));
    prefetch.enter(THREAD, Moment::At);
    prefetch.freeze(true);
    let reads = target.reads();
    assert_eq!(load(&prefetch, Sight::Still(0), FRAMES), Err(Miss::Fault));
    prefetch.want(Sight::Proof, Addr(FRAMES));
    prefetch.read_wanted();
    assert_eq!(target.reads(), reads);
    assert!(prefetch.fetch(None, true));
    assert_eq!(load(&prefetch, Sight::Still(0), FRAMES), Ok(FRAMES));
    prefetch.freeze(false);
    assert_eq!(load(&prefetch, Sight::Once, FRAMES), Ok(FRAMES));
    assert_eq!(target.reads(), reads + 1);
}

#[test]
fn what_nobody_asks_for_is_no_longer_fetched_after_a_while() {
    let target = target(WALKED.into_iter().chain([FRAMES + 0x9000]));
    let prefetch = prefetch(&target, 16);
    let more = [&WALK[..], &[(Sight::Still(2), FRAMES + 0x9008)]].concat();
    sample(&prefetch, Moment::At, &more);
    let is_fetched = || ranges(&target).contains(&(FRAMES + 0x9008, 8));
    let mut age = 0;
    loop {
        sample(&prefetch, Moment::At, &WALK);
        if !is_fetched() {
            break;
        }
        age += 1;
        assert!(!prefetch.was_late());
    }
    assert!((KEEP / 2..2 * KEEP).contains(&age), "{age}");
    // What is used again meanwhile stays.
    for round in 0..3 * KEEP {
        sample(&prefetch, Moment::At, if round % (KEEP - 1) == 0 { &more } else { &WALK });
        assert!(round == 0 || is_fetched(), "{round}");
    }
}

#[test]
fn a_page_that_is_gone_costs_itself_and_no_other() {
    for whole in [false, true] {
        for gone in WALKED {
            let target = target(WALKED);
            if whole {
                target.whole_ranges();
            }
            let prefetch = prefetch(&target, 16);
            sample(&prefetch, Moment::At, &WALK);
            target.unmap(gone);
            let calls = target.calls();
            prefetch.next_sample();
            assert!(prefetch.fetch(None, true));
            assert_eq!(target.calls(), calls + 2);
            prefetch.enter(THREAD, Moment::At);
            for (sight, at) in WALK.into_iter().filter(|load| load.1 / PAGE != gone / PAGE) {
                assert_eq!(load(&prefetch, sight, at), Ok(at));
            }
            assert!(!prefetch.was_late());
            let (sight, at) = WALK[WALKED.iter().position(|&page| page == gone).unwrap()];
            assert!(matches!(load(&prefetch, sight, at), Err(Miss::Fault)));
            assert!(prefetch.was_late());
        }
    }
}

/// A page that goes between two of its copies.
#[test]
fn a_page_that_goes_during_the_call_is_not_used() {
    for range in 1..7 {
        let target = target(WALKED);
        let prefetch = prefetch(&target, 16);
        sample(&prefetch, Moment::At, &WALK);
        let (call, gone) = (target.calls(), FRAMES + 0x2000);
        target.on(When::Range { call, range, byte: 0 }, Change::Unmap(gone));
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        prefetch.enter(THREAD, Moment::At);
        let last = load(&prefetch, Sight::Still(0), FRAMES + 0x2100);
        // The last of its copies is range 4.
        if range > 4 {
            assert_eq!((last, target.calls()), (Ok(FRAMES + 0x2100), call + 1), "{range}");
        } else {
            assert!(matches!(last, Err(Miss::Fault)), "{range}");
            assert_eq!(target.calls(), call + 2, "{range}");
        }
        assert_eq!(load(&prefetch, Sight::Still(1), FRAMES), Ok(FRAMES), "{range}");
    }
}

#[test]
fn pages_that_are_gone_by_the_dozen_are_all_forgotten() {
    let pages: Vec<u64> = (0..40).map(|i| FRAMES + 2 * i * PAGE).collect();
    let target = target(pages.iter().copied());
    let prefetch = prefetch(&target, 64);
    let walk: Vec<_> = pages.iter().map(|&page| (Sight::Proof, page + 0x80)).collect();
    sample(&prefetch, Moment::At, &walk);
    pages[..30].iter().for_each(|&page| target.unmap(page));
    sample(&prefetch, Moment::At, &walk[30..]);
    assert!(prefetch.was_late());
    sample(&prefetch, Moment::At, &walk[30..]);
    assert!(!prefetch.was_late());
}

#[test]
fn a_target_that_ends_is_noticed_wherever_it_ends() {
    for range in 0..7 {
        let target = target(WALKED);
        let prefetch = prefetch(&target, 16);
        sample(&prefetch, Moment::At, &WALK);
        sample(&prefetch, Moment::At, &WALK);
        assert!(range < target.last_call().len());
        target.on(When::Range { call: target.calls(), range, byte: 4 }, Change::End);
        prefetch.next_sample();
        assert!(!prefetch.fetch(None, true), "{range}");
        assert!(!prefetch.fetch(None, true), "{range}");
    }
}

#[test]
fn neighbours_are_one_range() {
    let target = target((0..5).map(|i| FRAMES + i * PAGE));
    let prefetch = prefetch(&target, 16);
    let walk = [0, 1, 2, 4].map(|i| (Sight::Deep, FRAMES + i * PAGE + 0x800 - 8 * i));
    for _ in 0..2 {
        sample(&prefetch, Moment::At, &walk);
    }
    let joined = (FRAMES + 0x800, 2 * PAGE - 8);
    assert_eq!(ranges(&target), [joined, (FRAMES + 4 * PAGE + 0x7e0, 8)]);
    // All words in between are there, too.
    for at in (FRAMES + 0x800..FRAMES + 2 * PAGE + 0x7f0).step_by(8) {
        assert_eq!(load(&prefetch, Sight::Deep, at), Ok(at));
    }
    assert!(!prefetch.was_late());
    assert_eq!(load(&prefetch, Sight::Deep, FRAMES + 0x7f8), Ok(FRAMES + 0x7f8));
    assert!(prefetch.was_late());
}

#[test]
fn loads_that_overlap_are_one_range() {
    let target = target([FRAMES]);
    let prefetch = prefetch(&target, 16);
    prefetch.enter(THREAD, Moment::At);
    for _ in 0..2 {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        for at in [0x100, 0x104, 0xfc, 0x200] {
            assert!(load(&prefetch, Sight::Deep, FRAMES + at).is_ok());
        }
    }
    assert_eq!(ranges(&target), [(FRAMES + 0xfc, 0x10c)]);
}

#[test]
fn room_behind_a_frame_is_fetched_too() {
    let target = target([FRAMES]);
    let prefetch = Prefetch::new(&target, prefetch_storage(8), 0x200);
    for _ in 0..2 {
        sample(&prefetch, Moment::At, &[(Sight::Still(0), FRAMES + 0x40)]);
    }
    let next = [(Sight::Still(0), FRAMES + 0x240), (Sight::Still(1), FRAMES + 0x40)];
    sample(&prefetch, Moment::At, &next);
    assert!(!prefetch.was_late());
    // Not beyond its page, where there may be nothing.
    for _ in 0..2 {
        sample(&prefetch, Moment::At, &[(Sight::Still(0), FRAMES + 0xff8)]);
    }
    assert_eq!(ranges(&target)[0], (FRAMES + 0x40, 0xfc0));
}

#[test]
fn structs_on_two_pages_are_predicted_word_by_word() {
    let target = target([FRAMES, FRAMES + PAGE]);
    let prefetch = prefetch(&target, 16);
    let items = Items::new([Field::<u64>::at(0), Field::at(16), Field::at(48)].map(Item::of), 3);
    for late in [true, false] {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        prefetch.enter(THREAD, Moment::At);
        for base in [FRAMES + 0xfe0, FRAMES + 0x40] {
            let words = prefetch.words(Sight::Still(1), Addr(base), &items, false);
            assert_eq!(words, Ok([base, base + 16, base + 48]));
        }
        assert_eq!(prefetch.was_late(), late);
    }
}

/// Bytes that change between the copies are found out.
#[test]
fn what_moved_around_the_moment_is_not_believed() {
    const NEW: u64 = 99;
    let at = FRAMES + 0x2100;
    // The range before which the frame changes, and what is found. Call: root, frame 1, frame 0, once, frame 0, frame 1,
    // code.
    for (range, found) in
        [(0, Ok(NEW)), (2, Ok(NEW)), (3, Err(Miss::Moved)), (4, Err(Miss::Moved)), (5, Ok(at)), (6, Ok(at))]
    {
        let target = target(WALKED);
        let prefetch = prefetch(&target, 16);
        sample(&prefetch, Moment::At, &WALK);
        sample(&prefetch, Moment::At, &WALK);
        assert_eq!(target.last_call().len(), 7);
        let change = Change::Write([(at, NEW.to_le_bytes().to_vec())].into());
        target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        // Without comparing, it is what it was just before the moment, or just after.
        let copied = |place| Ok(if range <= place { NEW } else { at });
        for (moment, found) in [(Moment::At, found), (Moment::Before, copied(2)), (Moment::After, copied(4))]
        {
            prefetch.enter(THREAD, moment);
            assert_eq!(load(&prefetch, Sight::Still(0), at), found, "{range} {moment:?}");
            assert_eq!(load(&prefetch, Sight::Still(1), FRAMES), Ok(FRAMES));
        }
        assert!(!prefetch.was_late());
    }
}

/// The pointer to the innermost frame is the one of the moment.
#[test]
fn the_pointer_is_that_of_the_moment() {
    let at = 0x3_0048;
    for (range, found) in [(3, 99), (4, at), (6, at)] {
        let target = target(WALKED);
        let prefetch = prefetch(&target, 16);
        sample(&prefetch, Moment::At, &WALK);
        let change = Change::Write([(at, 99u64.to_le_bytes().to_vec())].into());
        target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        for moment in [Moment::Before, Moment::At, Moment::After] {
            prefetch.enter(THREAD, moment);
            assert_eq!(load(&prefetch, Sight::Once, at), Ok(found), "{range} {moment:?}");
        }
    }
}

/// What is deeper than what must hold still is on the same page, as frames lie on a data stack.
#[test]
fn a_deep_frame_among_others_takes_no_range_of_its_own() {
    let target = target(WALKED);
    let prefetch = prefetch(&target, 16);
    for _ in 0..3 {
        sample(&prefetch, Moment::At, &WALK);
    }
    let before = ranges(&target).len();
    for _ in 0..3 {
        sample(&prefetch, Moment::At, &[&WALK[..], &[(Sight::Deep, FRAMES + 0x2018)]].concat());
    }
    assert_eq!((ranges(&target).len(), prefetch.was_late()), (before, false));
}

/// Names and lines: read page by page when they are first asked for, then with each call of the same sample and with none of
/// the next one. What was read on its own may have been read after what is to prove it.
#[test]
fn what_is_aside_is_fetched_for_the_rest_of_the_sample() {
    let target = target([FRAMES, FRAMES + 0x1000]);
    let prefetch = prefetch(&target, 16);
    let mut text = [0; 32];
    let mut read = |at: u64| {
        prefetch.set_late(false);
        assert_eq!(prefetch.with(Sight::Aside).read(Addr(at), &mut text), Ok(()));
        let words = [at, at + 8, at + 16, at + 24].map(u64::to_le_bytes);
        assert_eq!(text.as_slice(), words.as_flattened());
        prefetch.was_late()
    };
    for _ in 0..3 {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        let reads = target.reads();
        // Each of the two pages is read once; what is there is as late as what was just read.
        assert!(read(FRAMES + 0xff0) && read(FRAMES + 0xff0) && read(FRAMES + 0x1000));
        assert_eq!(target.reads(), reads + 2);
        assert!(prefetch.fetch(None, true));
        assert!(!read(FRAMES + 0xff0) && !read(FRAMES + 0x1000) && read(FRAMES + 0xfe0));
        assert_eq!(ranges(&target), [(FRAMES + 0xff0, 0x30)]);
        // Where proofs are left out, so is what they are to prove.
        assert!(prefetch.fetch(None, false));
        assert!(read(FRAMES + 0xff0));
    }
}

/// What was just read on its own for one purpose is there for another one.
#[test]
fn a_page_that_was_read_late_is_not_read_again() {
    let target = target([FRAMES]);
    let prefetch = prefetch(&target, 16);
    for _ in 0..2 {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        let reads = target.reads();
        for sight in [Sight::Aside, Sight::Proof, Sight::Root, Sight::Last, Sight::Once, Sight::Still(2)] {
            prefetch.set_late(false);
            assert_eq!(load(&prefetch, sight, FRAMES + 0x10), Ok(FRAMES + 0x10));
            assert!(prefetch.was_late(), "{sight:?}");
        }
        assert_eq!(target.reads(), reads + 1);
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        assert_eq!(load(&prefetch, Sight::Proof, FRAMES + 0x10), Ok(FRAMES + 0x10));
        assert!(!prefetch.was_late());
        (0..2 * KEEP).for_each(|_| prefetch.next_sample());
    }
}

/// Frames on the heap lie in any order: a deep one before the one at the edge, on the page of a young one.
#[test]
fn a_deep_frame_among_younger_ones_than_that_at_the_edge_is_compared() {
    let (young, deep, edge) = (FRAMES + 0x10, FRAMES + 0x20, FRAMES + 0x1010);
    let walk = [
        (Sight::Once, 0x3_0000),
        (Sight::Still(3), young),
        (Sight::Still(STILL_FRAMES as u8), edge),
        (Sight::Edge, edge),
        (Sight::Deep, deep),
    ];
    let target = target([FRAMES, FRAMES + 0x1000, 0x3_0000]);
    let prefetch = prefetch(&target, 16);
    (0..3).for_each(|_| sample(&prefetch, Moment::At, &walk));
    assert!(!prefetch.was_late());
    let call: Vec<u64> = ranges(&target).iter().map(|&(base, _)| base).collect();
    assert_eq!(call, [edge, young, 0x3_0000, young]);
    for range in 0..=call.len() {
        target.set(deep, deep);
        let change = Change::Write([(deep, 99u64.to_le_bytes().to_vec())].into());
        target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
        sample(&prefetch, Moment::At, &walk[..1]);
        let found = [Ok(99), Err(Miss::Moved), Ok(deep)][usize::from(range > 1) + usize::from(range == 4)];
        assert_eq!(load(&prefetch, Sight::Deep, deep), found, "{range}");
        assert!(!prefetch.was_late());
    }
}

/// The frame at the edge does not make its page that of the innermost one.
#[test]
fn the_innermost_frame_comes_before_the_page_of_the_edge() {
    for [leaf, others] in [[FRAMES, FRAMES + 0x2000], [FRAMES + 0x2000, FRAMES]] {
        let target = target([leaf, others, 0x3_0000]);
        let prefetch = prefetch(&target, 16);
        let edge = others + 0x100;
        let walk = [
            (Sight::Once, 0x3_0000),
            (Sight::Still(0), leaf),
            (Sight::Still(8), others),
            (Sight::Still(STILL_FRAMES as u8), edge),
            (Sight::Edge, edge),
        ];
        (0..3).for_each(|_| sample(&prefetch, Moment::At, &walk));
        let call: Vec<u64> = ranges(&target).iter().map(|&(base, _)| base).collect();
        assert_eq!(call, [edge, others, leaf, 0x3_0000, leaf, others]);
    }
}

/// Nor does a page beside it on which the innermost frame was once.
#[test]
fn the_innermost_frame_comes_before_pages_where_it_was() {
    const CALLERS: u64 = FRAMES + 0x4000;
    let once = (Sight::Once, 0x3_0000);
    for [leaf, before] in [[FRAMES, CALLERS + 0x1000], [FRAMES + 0x8000, CALLERS - 0x1000]] {
        let target = target([leaf, before, CALLERS, 0x3_0000]);
        let prefetch = prefetch(&target, 16);
        let walk = |leaf| [once, (Sight::Still(0), leaf), (Sight::Still(8), CALLERS)];
        (0..2).for_each(|_| sample(&prefetch, Moment::At, &walk(before)));
        sample(&prefetch, Moment::At, &walk(leaf));
        assert!(prefetch.was_late() && prefetch.fetch(None, true));
        let call: Vec<u64> = ranges(&target).iter().map(|&(base, _)| base).collect();
        let others = before.min(CALLERS);
        assert_eq!(call, [others, leaf, 0x3_0000, leaf, others]);
    }
}

#[test]
fn one_thread_can_be_fetched_alone() {
    let target = target(WALKED.into_iter().chain([0x5_0000, 0x6_0000]));
    let prefetch = prefetch(&target, 16);
    let other = Addr(0x2_0000);
    let both = || {
        prefetch.enter(other, Moment::At);
        assert_eq!(load(&prefetch, Sight::Once, 0x5_0010), Ok(0x5_0010));
        assert_eq!(load(&prefetch, Sight::Still(0), 0x6_0010), Ok(0x6_0010));
        let late = prefetch.was_late();
        prefetch.enter(THREAD, Moment::At);
        WALK.iter().for_each(|&(sight, at)| assert_eq!(load(&prefetch, sight, at), Ok(at)));
        late
    };
    assert!(prefetch.fetch(None, true) && both());
    assert!(prefetch.fetch(None, true) && !both() && !prefetch.was_late());
    let all = ranges(&target);
    assert!(prefetch.fetch(Some(THREAD), true));
    let alone = ranges(&target);
    assert!(alone.len() < all.len() && alone.iter().all(|range| ![0x5, 0x6].contains(&(range.0 >> 16))));
    prefetch.enter(THREAD, Moment::At);
    WALK.iter().for_each(|&(sight, at)| assert_eq!(load(&prefetch, sight, at), Ok(at)));
    assert!(!prefetch.was_late());
    assert!(both(), "what was left out has to be read late");
    assert!(prefetch.fetch(None, true) && !both() && !prefetch.was_late());
    assert_eq!(ranges(&target), all);
}

/// Two threads whose frames share a page do not see each other's copies.
#[test]
fn groups_are_apart() {
    let target = target([FRAMES, 0x3_0000]);
    let prefetch = prefetch(&target, 16);
    for _ in 0..2 {
        assert!(prefetch.fetch(None, true));
        for (thread, at) in [(1, FRAMES + 0x100), (2, FRAMES + 0x300)] {
            prefetch.enter(Addr(thread), Moment::At);
            assert_eq!(load(&prefetch, Sight::Once, 0x3_0000 + 8 * thread), Ok(0x3_0000 + 8 * thread));
            assert_eq!(load(&prefetch, Sight::Still(0), at), Ok(at));
        }
    }
    assert!(!prefetch.was_late());
    prefetch.enter(Addr(1), Moment::At);
    assert_eq!(load(&prefetch, Sight::Still(0), FRAMES + 0x300), Ok(FRAMES + 0x300));
    assert!(prefetch.was_late());
}

/// Any loads in any order, on a target that changes between the calls: never a wrong value without being late, and
/// never an old one at all.
#[test]
fn random_loads_give_what_is_there() {
    let mut random = Random(1);
    for round in 0..60 {
        let pages: Vec<u64> = (0..12).map(|i| FRAMES + (i + i / 4) * PAGE).collect();
        let target = target(pages.iter().copied());
        let storage = Storage {
            pages: zeroed(40),
            spans: zeroed(120),
            buffer: zeroed([120 * 4096, 30_000][round % 2]),
        };
        let prefetch = Prefetch::new(&target, storage, [0, 512][round / 2 % 2]);
        for sample in 0..40u64 {
            prefetch.next_sample();
            let only = (random.below(4) == 0).then_some(Addr(1 + random.below(2)));
            assert!(prefetch.fetch(only, true));
            for _ in 0..random.below(24) {
                let sight = match random.below(8) {
                    0 => Sight::Root,
                    1 => Sight::Once,
                    2 | 3 => Sight::Deep,
                    4 => Sight::Proof,
                    5 => Sight::Aside,
                    depth => Sight::Still(depth as u8 * 2),
                };
                prefetch.enter(Addr(1 + random.below(2)), Moment::At);
                let at = pages[random.below(12) as usize] + 8 * random.below(512);
                let word = target.word::<u64>(Addr(at)).unwrap();
                assert_eq!(load(&prefetch, sight, at), Ok(word), "{round} {sample} {sight:?}");
            }
            for _ in 0..8 {
                target.set(pages[random.below(12) as usize] + 8 * random.below(512), sample);
            }
        }
    }
}

/// More frames on pages of their own than are put in order by depth, as a program up to 3.10 has that calls many
/// functions: those that are left over are not to be taken from a buffer in which something else is by now.
#[test]
fn frames_on_many_pages_are_never_taken_from_an_old_call() {
    let pages: Vec<u64> = (0..100).map(|i| FRAMES + 2 * i * PAGE).collect();
    let target = target(pages.iter().copied().chain([0x3_0000]));
    let prefetch = prefetch(&target, 256);
    let mut late = 0;
    for round in 0..60u64 {
        // Another stack of 16 frames at each sample; what they hold changes from one to the next.
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        prefetch.enter(THREAD, Moment::At);
        assert_eq!(load(&prefetch, Sight::Once, 0x3_0000), Ok(0x3_0000));
        for depth in 0..16 {
            let at = pages[(16 * round + 3 * depth) as usize % pages.len()] + 0x100;
            let expected = if round < 2 { at } else { at + round - 1 };
            assert_eq!(load(&prefetch, Sight::Still(depth as u8), at), Ok(expected), "{round} {depth}");
        }
        late += u32::from(prefetch.was_late());
        pages.iter().for_each(|page| target.set(page + 0x100, page + 0x100 + round));
    }
    assert!(late < 20, "{late}");
}

#[test]
fn words_at_the_ends_of_pages() {
    let target = target([FRAMES, FRAMES + PAGE, u64::MAX - PAGE + 1]);
    let prefetch = prefetch(&target, 16);
    let mut bytes = [0; 8];
    for _ in 0..3 {
        sample(
            &prefetch,
            Moment::At,
            &[(Sight::Deep, FRAMES + 0xff8), (Sight::Deep, FRAMES + 0x1000), (Sight::Still(0), u64::MAX - 7)],
        );
        for size in 1..=8 {
            let at = FRAMES + PAGE - size as u64;
            assert_eq!(prefetch.with(Sight::Deep).read(Addr(at), &mut bytes[..size]), Ok(()));
            let number = prefetch.with(Sight::Deep).raw(Addr(at), size).unwrap();
            assert_eq!(number.to_le_bytes()[..size], bytes[..size]);
        }
    }
    assert!(!prefetch.was_late());
    // Across the end of a page nothing is predicted, but what is read is right.
    let mut expected = [0; 8];
    target.read(Addr(FRAMES + 0xffc), &mut expected).unwrap();
    let across = load(&prefetch, Sight::Still(0), FRAMES + 0xffc);
    assert_eq!(across, Ok(u64::from_le_bytes(expected)));
    assert!(prefetch.was_late());
    assert!(load(&prefetch, Sight::Still(0), u64::MAX - 3).is_err());
}

/// What does not fit into the plan, the ranges or the buffer is read one by one, and right.
#[test]
fn what_does_not_fit_is_read_alone() {
    let pages: Vec<u64> = (0..24).map(|i| FRAMES + 2 * i * PAGE).collect();
    let target = target(pages.iter().copied());
    let sights = [Sight::Root, Sight::Deep, Sight::Still(1), Sight::Once, Sight::Proof];
    let walk: Vec<_> = pages.iter().enumerate().map(|(i, &at)| (sights[i / 5], at + 8 * i as u64)).collect();
    for (pages, spans, bytes) in [
        (24, 72, 72 * 4096),
        (5, 72, 72 * 4096),
        (1, 1, 4096),
        (24, 7, 72 * 4096),
        (24, 72, 4096),
        (24, 72, 3 * 4096 + 100),
        (24, 72, 24 * 8 + 20),
        (24, 72, 100),
        (24, 72, 0),
    ] {
        let storage = Storage { pages: zeroed(pages), spans: zeroed(spans), buffer: leaked(0xee, bytes) };
        let prefetch = Prefetch::new(&target, storage, 0);
        for round in 0..5 {
            sample(&prefetch, Moment::At, &walk);
            let fits = pages >= 24 && spans >= 72 && bytes >= 4096;
            assert_eq!(prefetch.was_late(), round == 0 || !fits, "{pages} {spans} {bytes}");
        }
    }
}

/// More threads than fit: each is fetched alone when it is looked at again.
#[test]
fn threads_that_do_not_fit_are_fetched_one_by_one() {
    let threads: Vec<u64> = (0..30).map(|i| 0x100_0000 + 8 * i * PAGE).collect();
    let target = target(threads.iter().flat_map(|&thread| [thread, thread + 2 * PAGE, thread + 4 * PAGE]));
    let prefetch = prefetch(&target, 20);
    let walk = |thread: u64| {
        prefetch.enter(Addr(thread), Moment::At);
        for (sight, at) in [(Sight::Once, 0), (Sight::Still(0), 2 * PAGE), (Sight::Still(1), 4 * PAGE)] {
            assert_eq!(load(&prefetch, sight, thread + at), Ok(thread + at));
        }
        !prefetch.was_late()
    };
    for _ in 0..3 {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        for &thread in &threads {
            let mut looks = 0;
            while !walk(thread) {
                assert!(prefetch.fetch(Some(Addr(thread)), true));
                looks += 1;
                assert!(looks < 4, "{thread:x}");
            }
        }
    }
}

#[test]
fn copies_stand_around_the_moment_in_the_order_of_depth() {
    let target = target(WALKED.into_iter().chain([FRAMES + 0x8000, FRAMES + 0x6000, FRAMES + 0x4000]));
    let prefetch = prefetch(&target, 16);
    let older = [
        (Sight::Still(5), FRAMES + 0x8010),
        (Sight::Deep, FRAMES + 0x6020),
        (Sight::Still(2), FRAMES + 0x4030),
    ];
    for _ in 0..2 {
        sample(&prefetch, Moment::At, &[&WALK[..], &older].concat());
    }
    let [inner, outer] = [(FRAMES + 0x2100, 8), (FRAMES, 8)];
    let [second, fifth] = [(FRAMES + 0x4030, 8), (FRAMES + 0x8010, 8)];
    let (root, deep, once, code) = ((0x2_0040, 8), (FRAMES + 0x6020, 8), (0x3_0048, 8), (0x4_0ff8, 8));
    let before = [root, deep, fifth, second, outer, inner, once];
    let found = ranges(&target);
    assert_eq!(found[..before.len()], before);
    // The moment stands between two copies, and what is called is copied nearer to it than what calls it.
    assert_eq!(found[before.len()..], [inner, outer, second, fifth, code]);
}

/// Frames that change places between the calls that the plan was made for: where that matters, it is found out, and the
/// next call is in order.
#[test]
fn a_caller_that_is_copied_before_the_frame_it_calls_is_late() {
    let (caller, callee) = (FRAMES + 0x2100, FRAMES + 0x100);
    let both = [(Sight::Once, 0x3_0000), (Sight::Still(0), caller), (Sight::Still(1), callee)];
    let target = target([FRAMES, FRAMES + 0x2000, 0x3_0000]);
    let prefetch = prefetch(&target, 16);
    for _ in 0..3 {
        sample(&prefetch, Moment::At, &both);
    }
    for late in [true, false, false] {
        // Call: callee, caller, once, caller, callee; then callee and caller change places.
        target.set(callee, callee);
        let change = Change::Write([(callee, (callee + 1).to_le_bytes().to_vec())].into());
        let range = if late { 4 } else { 3 };
        target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
        sample(&prefetch, Moment::At, &both[..1]);
        let position = Items::new([Item::moving(Field::<u64>::at(0))], 1);
        assert_eq!(prefetch.words(Sight::Still(0), Addr(callee), &position, true), Ok([callee + 1]));
        assert_eq!(load(&prefetch, Sight::Still(1), caller), Ok(caller));
        assert_eq!((prefetch.was_late(), prefetch.was_disordered()), (late, late));
    }
}
