//! What a profile shows too little of and too much of, because looks that failed were replaced by later ones.
//!
//! A function that is shown instead of another one as often as another is shown instead of it is shown right. So what is
//! counted is the difference, for each function, and the largest one is the bias.
//!
//! To copy what a thread writes makes it wait, in what it is in just then, for as long as a short call takes: of calls
//! of 200 ns that take 27 % of the time half are never met (2.7). There is nothing to see of these. So a function that
//! mostly moves when it is met is taken to be missing once more.

use super::history::ALL;
use crate::memory::Addr;
use crate::table::hash_words;

/// Each function has a place in both halves: two that share one place hardly share the other.
const HALF: usize = 64;
/// Samples that count; fewer at first.
const WINDOW: u32 = 1024;
const FIRST_WINDOW: u32 = 384;
/// After so many a part of what was counted is forgotten.
const STEP: u32 = 64;
/// So many looks at a function that did not move weigh as much as one at which it did: of longer calls, also
/// above 200 scattered frames (3.8), one in ten did.
const STILL: i32 = 4;
/// One sample.
const ONE: i32 = 1 << 12;

/// The differences.
pub(super) struct Bias {
    shown: [i32; 2 * HALF],
    /// Looks at a function that moved, less a part of those at one that did not.
    hidden: [i32; 2 * HALF],
    /// Samples so far, up to [`WINDOW`]; and since the last step.
    samples: u32,
    since: u32,
    /// The largest difference.
    largest: u32,
}

impl Bias {
    /// None so far.
    pub fn new() -> Bias {
        Bias { shown: [0; 2 * HALF], hidden: [0; 2 * HALF], samples: 0, since: 0, largest: 0 }
    }

    /// Counts a sample; `look`: whether something moved in its first look, the function that seemed to run then, and the
    /// one that is shown.
    pub fn note(&mut self, look: Option<(bool, [Addr; 2])>) {
        self.samples = (self.samples + 1).min(WINDOW);
        self.since += 1;
        let mut changed = self.since == STEP;
        if changed {
            self.since = 0;
            let all = self.shown.iter_mut().chain(&mut self.hidden);
            all.for_each(|count| *count -= *count / (WINDOW / STEP) as i32);
        }
        if let Some((torn, [seemed, shown])) = look {
            changed |= torn || seemed != shown;
            for place in places(seemed) {
                let hidden = if torn { ONE } else { -ONE / STILL };
                self.hidden[place] = (self.hidden[place] + hidden).max(0);
                self.shown[place] -= ONE;
            }
            places(shown).iter().for_each(|&place| self.shown[place] += ONE);
        }
        if changed {
            let all =
                self.shown.iter().zip(&self.hidden).map(|(shown, hidden)| (shown - hidden).unsigned_abs());
            self.largest = all.fold(0, u32::max);
        }
    }

    /// Whether the largest difference is more than this `share` of the samples, of [`ALL`], by more than chance: one and
    /// a half times the square root of n, for n events that have nothing to do with each other. The root alone would be
    /// exceeded now and then, by one of all functions after one of all samples.
    pub fn exceeds(&self, share: u32) -> bool {
        let samples = u64::from(self.samples.max(FIRST_WINDOW));
        let largest = u64::from(self.largest);
        let excess = largest.saturating_sub(u64::from(share) * samples / u64::from(ALL / ONE as u32));
        4 * excess * excess > 9 * ONE as u64 * largest
    }

    /// The largest difference by its share of the samples, of [`ALL`].
    pub fn largest(&self) -> u32 {
        (u64::from(self.largest) * u64::from(ALL / ONE as u32) / u64::from(self.samples.max(FIRST_WINDOW)))
            as u32
    }
}

/// Where a function is counted.
fn places(function: Addr) -> [usize; 2] {
    let hash = hash_words(&[function.0]) as usize;
    [hash % HALF, HALF + hash / HALF % HALF]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn percent(bias: &Bias) -> f64 {
        f64::from(bias.largest()) * 100.0 / f64::from(ALL)
    }

    #[test]
    fn what_is_replaced_and_never_shown_is_the_bias() {
        for functions in [[1, 2], [0x7000_1000, 0x7000_2000], [0, 0x7000_0000]] {
            let (mut bias, mut random) = (Bias::new(), Random(1));
            for _ in 0..5000 {
                bias.note((random.below(100) < 5).then_some((false, functions.map(Addr))));
            }
            assert!((3.5..6.5).contains(&percent(&bias)), "{}", percent(&bias));
            (0..8 * WINDOW).for_each(|_| bias.note(None));
            assert!(percent(&bias) < 0.1);
        }
    }

    #[test]
    fn what_is_shown_as_often_as_it_is_replaced_is_none() {
        let (mut bias, mut random) = (Bias::new(), Random(2));
        let mut most = 0.0f64;
        for sample in 0..20_000 {
            let mut any = || Addr(0x5000 + 64 * random.below(40));
            let two = [any(), any()];
            bias.note((random.below(100) < 10).then_some((false, two)));
            most = if sample > 500 { most.max(percent(&bias)) } else { most };
        }
        assert!(most < 1.5, "{most}");
    }

    #[test]
    fn chance_is_none() {
        for (percent, least, most) in [(1, 0, 0), (2, 0, 10), (3, 40, 80), (4, 90, 100)] {
            let (mut bias, mut random) = (Bias::new(), Random(3));
            let mut note = |_| {
                bias.note((random.below(100) < percent).then_some((false, [Addr(1), Addr(2)])));
                bias.exceeds(ALL / 50)
            };
            (0..4 * WINDOW).for_each(|sample| _ = note(sample));
            let times = (0..100_000).filter(|&sample| note(sample)).count() / 1000;
            assert!((least..=most).contains(&times), "{percent} %: {times} % of the time");
        }
    }

    #[test]
    fn it_is_found_soon() {
        let mut bias = Bias::new();
        let samples = (1..1000).find(|sample| {
            bias.note((sample % 20 == 0).then_some((false, [Addr(1), Addr(2)])));
            bias.exceeds(ALL / 50)
        });
        assert!(samples.is_some_and(|samples| samples < 320), "{samples:?}");
    }

    /// Shown right as far as it is seen, in `share` of 100 samples, `torn` of 100 times while it moves: by how much it is
    /// taken to be missing.
    fn hidden(share: u64, torn: u64) -> f64 {
        let (mut bias, mut random) = (Bias::new(), Random(4));
        for _ in 0..5000 {
            let function = Addr(0x5000 + 64 * u64::from(random.below(100) < share));
            let moves = function.0 > 0x5000 && random.below(100) < torn;
            bias.note(Some((moves, [function; 2])));
        }
        percent(&bias)
    }

    #[test]
    fn what_mostly_moves_when_it_is_met_is_missing_once_more() {
        assert!((7.0..13.0).contains(&hidden(10, 100)), "{}", hidden(10, 100));
        assert!((3.5..8.0).contains(&hidden(10, 60)), "{}", hidden(10, 60));
        assert!(hidden(10, 15) < 1.0 && hidden(97, 10) < 1.0);
    }
}
