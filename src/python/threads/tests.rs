use super::*;
use crate::testing::{Change, Target, When, layout, prefetch_storage, zeroed};
use std::vec;
use std::vec::Vec;

const HEAD: u64 = 0x2_0000;
const HOLDER: u64 = 0x2_0100;

/// An interpreter with its threads, the newest first, and the GIL that it uses.
struct Interpreter {
    id: i64,
    threads: Vec<u64>,
    gil: u64,
}

/// The threads of interpreter `id`.
fn states(id: i64, count: usize) -> Vec<u64> {
    (0..count as u64).map(|i| 0x100_0000 * (1 + id as u64) + 0x1000 * i + 0x40).collect()
}

fn at(interpreter: &Interpreter) -> u64 {
    0x1000_0000 + 0x10_0000 * interpreter.id as u64
}

/// A process in which every thread has the bits `status`.
fn process(layout: &Layout, interpreters: &[Interpreter], status: u32) -> Target {
    let target = Target::new();
    target.set(HEAD, interpreters.first().map_or(0, at));
    target.set(HOLDER, 0);
    for (i, interpreter) in interpreters.iter().enumerate() {
        let next = interpreters.get(i + 1).map_or(0, at);
        let first = interpreter.threads.first().copied().unwrap_or(0);
        let words = (interpreter.id, first, next, interpreter.gil);
        target.apply(&layout.interpreter_state(at(interpreter), words));
        for (j, &state) in interpreter.threads.iter().enumerate() {
            let next = interpreter.threads.get(j + 1).copied().unwrap_or(0);
            target.apply(&layout.thread_state(state, at(interpreter), next, status));
        }
    }
    target
}

fn list_some(target: &Target, layout: &Layout, which: Which, room: usize) -> (Result<(), Miss>, Vec<Thread>) {
    let prefetch = Prefetch::new(target, prefetch_storage(2000), 0);
    let mut threads = List::new(zeroed(room));
    let roots = Roots {
        interpreters: Some(Addr(HEAD)),
        holder: matches!(layout.gil, Gil::Word).then_some(Addr(HOLDER)),
        last: None,
    };
    let mut result = Ok(());
    for late in [true, false, false] {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, true));
        let calls = target.calls();
        result = list(&prefetch, layout, &roots, which, &mut threads).map(drop);
        // Where something cannot be read that is tried again.
        assert!(prefetch.was_late() == late || result.is_err());
        assert_eq!(target.calls(), calls);
    }
    (result, threads.items().to_vec())
}

fn list_all(target: &Target, layout: &Layout, which: Which) -> Vec<Thread> {
    let (result, threads) = list_some(target, layout, which, 1000);
    assert_eq!(result, Ok(()));
    threads
}

/// State, whether it runs, whether it is the main interpreter's, and the interpreter's number.
fn facts(threads: &[Thread]) -> Vec<(u64, bool, bool, i64)> {
    threads.iter().map(|t| (t.state.0, t.running, t.in_main, t.interpreter)).collect()
}

#[test]
fn one_word_names_the_holder_up_to_3_11() {
    for name in ["2.6", "2.7", "3.3", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11"] {
        let layout = layout(name);
        let (main, sub) = (states(0, 3), states(1, 2));
        let interpreters = [
            Interpreter { id: 1, threads: sub.clone(), gil: 0 },
            Interpreter { id: 0, threads: main.clone(), gil: 0 },
        ];
        let target = process(&layout, &interpreters, 0);
        assert_eq!(facts(&list_all(&target, &layout, Which::Running)), [], "{name}");
        // Before 3.7 interpreters have no number.
        let id = i64::from(layout.interpreter.id.is_some());
        for holder in [0, main[0], main[2], sub[1]] {
            target.set(HOLDER, holder);
            let running: Vec<u64> =
                list_all(&target, &layout, Which::Running).iter().map(|t| t.state.0).collect();
            let expected: Vec<u64> = [holder].into_iter().filter(|&holder| holder != 0).collect();
            assert_eq!(running, expected, "{name}");
            let all = sub.iter().map(|&t| (t, t == holder, false, id));
            let all = all.chain(main.iter().map(|&t| (t, t == holder, true, 0)));
            assert_eq!(facts(&list_all(&target, &layout, Which::All)), all.collect::<Vec<_>>(), "{name}");
        }
    }
}

const MAIN_GIL: u64 = 0x3000_0000;
const OWN_GIL: u64 = 0x3001_0000;

#[test]
fn each_interpreter_can_have_its_own_gil() {
    for name in ["3.12", "3.13", "3.14", "3.15"] {
        let layout = layout(name);
        let (main, sub) = (states(0, 3), states(1, 2));
        let interpreters = [
            Interpreter { id: 1, threads: sub.clone(), gil: OWN_GIL },
            Interpreter { id: 0, threads: main.clone(), gil: MAIN_GIL },
        ];
        // The status words say what they like: a GIL decides.
        let target = process(&layout, &interpreters, u32::MAX);
        for (main_locked, sub_locked) in [(0, 0), (1, 0), (0, 1), (1, 1), (-1, 1), (2, i32::MIN)] {
            // The last holder's name stays when a GIL is let go.
            target.apply(&layout.gil_object(MAIN_GIL, main_locked, main[1], 0));
            target.apply(&layout.gil_object(OWN_GIL, sub_locked, sub[0], 0));
            let holds = |t: u64| t == main[1] && main_locked == 1 || t == sub[0] && sub_locked == 1;
            let all = sub.iter().map(|&t| (t, holds(t), false, 1));
            let all: Vec<_> = all.chain(main.iter().map(|&t| (t, holds(t), true, 0))).collect();
            assert_eq!(facts(&list_all(&target, &layout, Which::All)), all, "{name}");
            let running: Vec<_> = all.into_iter().filter(|thread| thread.1).collect();
            assert_eq!(facts(&list_all(&target, &layout, Which::Running)), running, "{name}");
        }
        // A GIL that is not made yet.
        target.apply(&layout.interpreter_state(at(&interpreters[0]), (1, sub[0], at(&interpreters[1]), 0)));
        assert_eq!(facts(&list_all(&target, &layout, Which::Running)).len(), 0, "{name}");
    }
}

/// Whoever holds a GIL that is shared belongs to its own interpreter: that one's count says whether its code objects
/// are still there, and tells whether its thread id is its own.
#[test]
fn the_holder_of_a_shared_gil_is_listed_once_with_its_own_interpreter() {
    for name in ["3.12", "3.13", "3.14", "3.15", "3.13t"] {
        let layout = layout(name);
        let threads = [states(0, 3), states(1, 2), states(2, 2)];
        let interpreters: Vec<_> = (0..3)
            .rev()
            .map(|id| Interpreter { id, threads: threads[id as usize].clone(), gil: MAIN_GIL })
            .collect();
        let target = process(&layout, &interpreters, 0);
        for (id, threads) in threads.iter().enumerate() {
            target.apply(&layout.gil_object(MAIN_GIL, 1, threads[1], 1));
            let found = list_all(&target, &layout, Which::Running);
            assert_eq!(facts(&found), [(threads[1], true, id == 0, id as i64)], "{name}");
            assert_eq!(found[0].interpreter_state, Some(Addr(at(&interpreters[2 - id]))), "{name}");
            let all = list_all(&target, &layout, Which::All);
            let running: Vec<_> = all.into_iter().filter(|thread| thread.running).collect();
            assert_eq!(facts(&running), facts(&found), "{name}");
        }
    }
}

#[test]
fn without_a_gil_all_attached_threads_run() {
    for name in ["3.13t", "3.14t", "3.15t"] {
        let layout = layout(name);
        let status = layout.thread.status.unwrap();
        let (main, sub) = (states(0, 4), states(1, 2));
        let interpreters = [
            Interpreter { id: 1, threads: sub.clone(), gil: OWN_GIL },
            Interpreter { id: 0, threads: main.clone(), gil: MAIN_GIL },
        ];
        let target = process(&layout, &interpreters, !ATTACHED);
        target.apply(&layout.gil_object(MAIN_GIL, 1, main[0], 0));
        target.apply(&layout.gil_object(OWN_GIL, 1, sub[0], 0));
        assert_eq!(facts(&list_all(&target, &layout, Which::Running)), [], "{name}");
        for state in [main[0], main[3], sub[1]] {
            target.put(status.of(Addr(state)).0, &(ATTACHED | 7).to_le_bytes());
        }
        let running = [(sub[1], true, false, 1), (main[0], true, true, 0), (main[3], true, true, 0)];
        assert_eq!(facts(&list_all(&target, &layout, Which::Running)), running, "{name}");
        assert_eq!(list_all(&target, &layout, Which::All).len(), 6, "{name}");
        // With PYTHON_GIL=1 there is one again.
        target.apply(&layout.gil_object(MAIN_GIL, 1, main[1], 1));
        let running = [(sub[1], true, false, 1), (main[1], true, true, 0)];
        assert_eq!(facts(&list_all(&target, &layout, Which::Running)), running, "{name}");
    }
}

#[test]
fn lists_without_an_end_are_given_up() {
    for (name, which) in [("3.8", Which::All), ("3.13", Which::All), ("3.14t", Which::Running)] {
        let layout = layout(name);
        let threads = states(0, 3);
        let interpreters = [Interpreter { id: 0, threads: threads.clone(), gil: MAIN_GIL }];
        let target = process(&layout, &interpreters, ATTACHED);
        target.apply(&layout.gil_object(MAIN_GIL, 0, 0, 0));
        // The oldest thread's next one is the newest.
        target.apply(&layout.thread_state(threads[2], at(&interpreters[0]), threads[0], ATTACHED));
        let (result, found) = list_some(&target, &layout, which, 10);
        assert_eq!((result, found.len()), (Err(Miss::Endless), 10), "{name}");
        assert!(found.iter().zip(threads.iter().cycle()).all(|(found, state)| found.state.0 == *state));
        // An interpreter that comes before itself.
        let target = process(&layout, &interpreters, ATTACHED);
        target.apply(&layout.gil_object(MAIN_GIL, 0, 0, 0));
        let itself = at(&interpreters[0]);
        target.apply(&layout.interpreter_state(itself, (0, 0, itself, MAIN_GIL)));
        assert_eq!(list_some(&target, &layout, which, 10).0, Err(Miss::Endless), "{name}");
    }
}

#[test]
fn more_threads_than_fit_are_an_error_and_the_first_stay() {
    for name in ["3.8", "3.12", "3.14t"] {
        let layout = layout(name);
        let threads = states(0, 30);
        let interpreters = [Interpreter { id: 0, threads: threads.clone(), gil: MAIN_GIL }];
        let target = process(&layout, &interpreters, ATTACHED);
        target.apply(&layout.gil_object(MAIN_GIL, 0, 0, 0));
        for room in [0, 1, 29, 30] {
            let (result, found) = list_some(&target, &layout, Which::All, room);
            assert_eq!(result, if room < 30 { Err(Miss::Endless) } else { Ok(()) }, "{name}");
            let found: Vec<u64> = found.iter().map(|thread| thread.state.0).collect();
            assert_eq!(found, threads[..room], "{name}");
        }
    }
}

#[test]
fn pointers_to_nowhere_are_an_error() {
    for name in ["2.7", "3.11", "3.12", "3.14", "3.14t"] {
        let layout = layout(name);
        let threads = states(0, 2);
        let interpreter = Interpreter { id: 0, threads: threads.clone(), gil: MAIN_GIL };
        let itself = at(&interpreter);
        for garbage in [1, 0xdead_0000, u64::MAX - 7, u64::MAX] {
            let fresh = || {
                let target = process(&layout, core::slice::from_ref(&interpreter), ATTACHED);
                target.apply(&layout.gil_object(MAIN_GIL, 1, threads[0], 0));
                target
            };
            let mut broken = vec![fresh(), fresh(), fresh()];
            broken[0].set(HEAD, garbage);
            broken[1].apply(&layout.interpreter_state(itself, (0, garbage, 0, MAIN_GIL)));
            broken[2].apply(&layout.thread_state(threads[0], itself, garbage, ATTACHED));
            if matches!(layout.gil, Gil::PerInterpreter { .. }) {
                broken.push(fresh());
                broken[3].apply(&layout.interpreter_state(itself, (0, threads[0], 0, garbage)));
            }
            for (i, target) in broken.iter().enumerate() {
                let (result, _) = list_some(target, &layout, Which::All, 10);
                assert_eq!(result, Err(Miss::Fault), "{name} {i} {garbage:x}");
            }
        }
    }
}

#[test]
fn without_roots_there_is_nobody() {
    let layout = layout("2.7");
    let target = process(&layout, &[], 0);
    let prefetch = Prefetch::new(&target, prefetch_storage(10), 0);
    let mut threads = List::new(zeroed(10));
    for which in [Which::Running, Which::All] {
        assert_eq!(list(&prefetch, &layout, &Roots::default(), which, &mut threads).map(drop), Ok(()));
        assert!(threads.is_empty());
    }
    // Only the holder's word is known: that will do.
    target.set(HOLDER, 0x1234);
    let roots = Roots { holder: Some(Addr(HOLDER)), ..Roots::default() };
    assert_eq!(list(&prefetch, &layout, &roots, Which::Running, &mut threads).map(drop), Ok(()));
    assert_eq!(threads.items()[0].state, Addr(0x1234));
}

/// Between the first and the last range of a call the GIL may be handed over: that is told by a number at either end.
#[test]
fn a_gil_that_is_handed_over_is_noticed() {
    const GIL: u64 = 0x3_0000;
    let turns = Turns { last: Addr(GIL), switches: Addr(GIL + 16) };
    let target = Target::new();
    target.set(GIL, 0x1234);
    target.set(GIL + 16, 41);
    target.set(0x9_0000, 0);
    let prefetch = Prefetch::new(&target, prefetch_storage(10), 0);
    let runners = || {
        prefetch.next_sample();
        assert!(prefetch.fetch(None, false));
        prefetch.enter(Addr(0x1234), Moment::At);
        assert!(prefetch.with(Sight::Once).word::<u64>(Addr(0x9_0000)).is_ok());
        turns.runners(&prefetch).unwrap().map(|runners| runners.map(|state| state.0))
    };
    for _ in 0..3 {
        assert_eq!(runners(), Some([0x1234; 2]));
    }
    assert!(!prefetch.was_late());
    // The ranges are the GIL, the thread, and the GIL once more.
    for (range, turn) in [(0, [0x5678; 2]), (1, [0x1234, 0x5678]), (2, [0x1234, 0x5678]), (3, [0x1234; 2])] {
        for switches in [1u64, 2, u64::MAX] {
            target.set(GIL, 0x1234);
            target.set(GIL + 16, 41);
            let words = [(GIL, 0x5678), (GIL + 16, 41u64.wrapping_add(switches))];
            let change = Change::Write(words.map(|(at, word)| (at, word.to_le_bytes().to_vec())).into());
            target.on(When::Range { call: target.calls(), range, byte: 0 }, change);
            let known = switches == 1 || [0, 3].contains(&range);
            assert_eq!(runners(), known.then_some(turn), "{range} {switches}");
            assert_eq!(target.last_call().len(), 3);
        }
    }
}

/// Which GIL it is that all threads take turns with, if there is one.
#[test]
fn turns_are_those_of_the_only_gil() {
    let only = Some(Only { state: Addr(0x1000), id: 0, gil: Addr(0x5000) });
    let last = Roots { last: Some(Addr(0x8000)), ..Roots::default() };
    let place = |turns: Option<Turns>| turns.map(|turns| (turns.last.0, turns.switches.0));
    let of = |name, roots: &Roots, only| place(Turns::of(&layout(name), roots, only));
    assert_eq!(of("3.6", &Roots::default(), only), None);
    assert_eq!(of("3.8", &last, None), Some((0x8000, 0x8010)));
    assert_eq!(of("3.12", &last, None), None);
    assert_eq!(of("3.12", &last, only), Some((0x5008, 0x5018)));
    assert_eq!(of("3.14", &last, only), Some((0x5008, 0x5018)));
    // Without a GIL, or with one that can be switched off, all run.
    assert_eq!(of("3.14t", &last, only), None);
}
