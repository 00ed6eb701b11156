use super::*;
use crate::testing::Random;

/// Something else is shown than seemed to run, where it moved.
fn replaced(moved: bool) -> Option<[Addr; 2]> {
    Some([Addr(if moved { 1 } else { 2 }), Addr(2)])
}

/// So many samples of a thread of whose looks `moved` in 10,000 fail: the share of stops, and of looks that are
/// taken only to find out.
fn run(history: &mut History, random: &mut Random, samples: u32, moved: u64) -> (f64, f64) {
    let (mut stops, mut probes) = (0, 0);
    for _ in 0..samples {
        let plan = history.plan(true);
        stops += u32::from(plan != Plan::Look);
        probes += u32::from(plan == Plan::Probe);
        if plan != Plan::Stop {
            let moved = random.below(10_000) < moved;
            history.note_moved(moved, replaced(moved));
        }
    }
    (f64::from(stops) / f64::from(samples), f64::from(probes) / f64::from(samples))
}

#[test]
fn threads_are_stopped_while_looks_at_them_often_fail() {
    let mut random = Random(1);
    for _ in 0..10 {
        let mut history = History::new(Mode::Default);
        // Ordinary programs are hardly ever stopped, those that make very short calls nearly always.
        assert_eq!(run(&mut history, &mut random, 20_000, 0), (0.0, 0.0));
        assert!(run(&mut history, &mut random, 20_000, 25).0 < 0.01);
        for (moved, often) in [(1000, 0.48..0.51), (3000, 0.06..0.08)] {
            let (stops, probes) = run(&mut history, &mut random, 20_000, moved);
            assert!(stops > 0.98, "{moved}: {stops}");
            assert!(often.contains(&probes), "{moved}: {probes}");
        }
        // And no longer once that is over.
        let (stops, _) = run(&mut history, &mut random, 20_000, 10);
        assert!((0.01..0.4).contains(&stops), "{stops}");
        assert_eq!(run(&mut history, &mut random, 20_000, 0), (0.0, 0.0));
    }
}

#[test]
fn a_fast_target_is_known_for_one_within_some_hundred_samples() {
    let mut random = Random(5);
    let looks = |random: &mut Random, moved| {
        let mut history = History::new(Mode::Default);
        let chance = |_: &u32| {
            for _ in 0..2 {
                let moved = random.below(100) < moved;
                history.note_moved(moved, replaced(moved));
            }
            history.is_stopping()
        };
        (0..1000).find(chance).unwrap_or(1000)
    };
    for (moved, at_most) in [(5, 180), (20, 40)] {
        let mean = (0..100).map(|_| looks(&mut random, moved)).sum::<u32>() / 100;
        assert!(mean <= at_most, "{moved} %: {mean}");
    }
}

#[test]
fn between_the_thresholds_all_stays_as_it_was() {
    let between = u64::from(BIASED) * 6_250 / u64::from(ALL); // what is replaced and moves counts twice
    let mut random = Random(2);
    let mut history = History::new(Mode::Default);
    let (mut stopping, mut switches) = (false, 0);
    for _ in 0..100_000 {
        run(&mut history, &mut random, 1, between);
        switches += u32::from(history.stopping != stopping);
        stopping = history.stopping;
    }
    // A mean of some hundred looks swings, but not at every one.
    assert!(switches < 500, "{switches}");
}

#[test]
fn it_is_known_before_that_a_thread_will_be_stopped() {
    let mut history = History::new(Mode::Default);
    assert!(!history.will_stop());
    (0..1000).for_each(|_| history.note_moved(true, replaced(true)));
    let mut plans = [0; 3];
    for _ in 0..20_000 {
        let expected = history.will_stop();
        let plan = history.plan(true);
        assert_eq!(plan == Plan::Stop, expected);
        plans[plan as usize] += 1;
        if plan == Plan::Probe {
            history.note_moved(plans[2] % 16 == 0, replaced(false));
        }
    }
    assert!(plans[0] > 0 && plans[1] > 0 && plans[2] > 0, "{plans:?}");
    assert!(History::new(Mode::Blocking).will_stop());
}

#[test]
fn the_mode_and_what_is_allowed_come_first() {
    let mut blocking = History::new(Mode::Blocking);
    for moved in [false, true] {
        assert_eq!((blocking.plan(true), blocking.plan(false)), (Plan::Stop, Plan::Look));
        blocking.note_moved(moved, replaced(moved));
        blocking.note_strange(moved);
    }
    let mut history = History::new(Mode::Default);
    (0..1000).for_each(|_| history.note_moved(true, replaced(true)));
    assert!((0..100).all(|_| history.plan(false) == Plan::Look));
    assert!((0..100).all(|_| history.plan(true) != Plan::Look));
}

#[test]
fn the_share_stays_in_its_range_and_falls_to_nothing() {
    let mut history = History::new(Mode::Default);
    (0..1000).for_each(|_| history.note_moved(true, replaced(true)));
    let restless = history.restless;
    assert!(restless > TOO_RESTLESS && restless <= 2 * TOO_RESTLESS, "{restless}");
    assert!(history.stopping);
    (0..8000).for_each(|_| history.note_moved(false, None));
    assert!(!history.stopping);
}

#[test]
fn the_faster_a_target_the_more_looks_have_to_agree() {
    let mut random = Random(3);
    for (torn, low, high) in [(0, 4, 4), (2, 4, 6), (25, 10, 16), (70, 24, 24)] {
        let mut history = History::new(Mode::Nonblocking);
        assert_eq!(history.confirming(), ONE_SHOT);
        for _ in 0..2000 {
            history.note_moment(random.below(100) < torn);
        }
        let mut within = 0;
        for _ in 0..1000 {
            history.note_moment(random.below(100) < torn);
            within += u32::from((low..=high).contains(&history.confirming()));
        }
        assert!(within > 700, "{torn}: {within}");
        // A pause does not make it slow.
        (0..200).for_each(|_| history.note_moment(false));
        assert!(history.confirming() >= low, "{torn}");
    }
}

#[test]
fn learning_stops_nobody_unless_there_is_no_end_to_it() {
    let mut random = Random(4);
    let mut history = History::new(Mode::Default);
    for (percent, stopping) in [(2, false), (15, true), (1, false)] {
        for _ in 0..2000 {
            history.note_strange(random.below(100) < percent);
            assert!(percent != 2 || !history.is_stopping());
        }
        assert_eq!(history.is_stopping(), stopping, "{percent}");
    }
}
