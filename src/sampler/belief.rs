//! What was proven often is believed for some samples and then proven again, which proves it for those samples, too, or
//! shows that they have to be taken back ([`Codes::settle`](crate::python::code::Codes::settle)).

use super::Sampler;
use crate::memory::{Addr, Memory, Miss};
use crate::prefetch::Sight;
use crate::profile::{Profile, ROOT};
use crate::python::threads;
use crate::table::List;

/// Samples from one in which everything is proven to the next; and the most that follow each other when some of what is
/// seen is too young to be believed.
const BELIEVED: u32 = 16;
const WARY: u32 = 64;

/// Whether what was proven often is believed, and since when.
pub(super) struct Belief {
    /// It is, in this sample.
    pub on: bool,
    /// Samples since everything was proven.
    samples: u32,
    /// The nodes of their stacks.
    unsettled: List<u32>,
    /// For so many samples nothing is believed: now, and the next time that something young is seen.
    wary: u32,
    caution: u32,
    /// It never is: the list is that of the last sample.
    at_once: bool,
}

impl Belief {
    /// Nothing is believed at first.
    pub fn new(unsettled: &'static mut [u32], at_once: bool) -> Belief {
        Belief { on: false, samples: 0, unsettled: List::new(unsettled), wary: WARY, caution: 1, at_once }
    }

    /// The nodes of the stacks that were counted since everything was proven; where samples go out at once, with the last.
    pub fn unsettled(&self) -> &[u32] {
        self.unsettled.items()
    }

    /// Decides for the next sample, of so many `threads`. Mostly it is believed, if that is `possible`; but that costs
    /// calls where much is `young`, so then everything is read with each sample for a while.
    fn plan(&mut self, possible: bool, young: bool, threads: usize) {
        if young {
            self.caution = WARY.min(2 * self.caution);
            self.wary = self.caution;
        }
        if self.at_once {
            self.forget();
        }
        let crowded = self.unsettled.len() + threads > self.unsettled.capacity();
        self.samples += 1;
        self.on = possible && !self.at_once && !crowded && self.wary == 0 && self.samples < BELIEVED;
        if !self.on {
            self.caution = if self.wary == 0 { 1 } else { self.caution };
            self.wary = self.wary.saturating_sub(1);
            self.samples = 0;
        }
    }

    /// Remembers the node at which a sample was counted, as far as that may have to be taken back. False when there is no
    /// room.
    pub fn note(&mut self, node: u32) -> bool {
        !(self.on || self.at_once) || self.unsettled.push(node).is_ok()
    }

    /// What is open stays as it was counted.
    pub fn forget(&mut self) {
        self.unsettled.truncate(0);
    }
}

impl Sampler {
    /// Decides whether what was proven often is believed in the next sample.
    pub(super) fn plan_proofs(&mut self) {
        let layout = &self.interpreter.layout;
        let walks = self.only.is_none() && threads::is_walk(layout, self.choice.which);
        self.belief.plan(!walks && !layout.frame.has_copies(), self.codes.is_unsettled(), self.threads.len());
    }

    /// Proves what was believed lately, and takes back what turns out to be wrong.
    pub(super) fn settle(&mut self, profile: &mut Profile) {
        let generation = self.only.and_then(|only| self.generation(only.state).ok()?);
        let unsettled = &mut self.belief.unsettled;
        self.codes.settle(&self.prefetch, &self.interpreter.layout, generation, |function| {
            for node in unsettled.items_mut() {
                if function.is_none_or(|function| profile.is_in(function, *node)) {
                    profile.take_back(core::mem::replace(node, ROOT));
                }
            }
        });
        self.belief.forget();
        // What is believed from here on has to be proven the next time, so it is looked up once more.
        self.trusted = 0;
    }

    /// How often `interpreter` has freed a code object, where it counts that and is not believed.
    pub(super) fn generation(&self, interpreter: Addr) -> Result<Option<u64>, Miss> {
        let field = self.interpreter.layout.interpreter.code_generation.filter(|_| !self.belief.on);
        field.map(|field| self.prefetch.with(Sight::Proof).load(interpreter, field)).transpose()
    }

    /// The last sample was taken: settles what is open.
    pub fn finish(&mut self, profile: &mut Profile) {
        self.belief.on = false;
        if !self.belief.unsettled.is_empty() && self.list().is_ok() {
            self.settle(profile);
        }
    }

    /// Nothing can be read any more: takes back what is open, unless it went out at once.
    pub fn give_up(&mut self, profile: &mut Profile) {
        if !self.belief.at_once {
            self.belief.unsettled.items().iter().for_each(|&node| profile.take_back(node));
        }
        self.belief.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::zeroed;

    /// In which of `samples` everything is proven; `young`: whether something young is seen in one where it is not.
    fn proven(belief: &mut Belief, samples: u32, young: bool) -> std::vec::Vec<u32> {
        let mut seen = false;
        let of = |sample: &u32| {
            belief.plan(true, core::mem::take(&mut seen), 1);
            seen = belief.on && young && *sample > 0;
            !belief.on
        };
        (0..samples).filter(of).collect()
    }

    #[test]
    fn everything_is_proven_at_first_and_then_now_and_again() {
        let mut belief = Belief::new(zeroed(100), false);
        assert_eq!(proven(&mut belief, WARY, false).len() as u32, WARY);
        let every = proven(&mut belief, 10 * BELIEVED, false);
        assert_eq!(every.len(), 10);
        assert!(every.windows(2).all(|two| two[1] - two[0] == BELIEVED), "{every:?}");
    }

    #[test]
    fn while_much_is_young_little_is_believed() {
        let mut belief = Belief::new(zeroed(100), false);
        proven(&mut belief, WARY, false);
        let samples = 100 * WARY;
        let often = proven(&mut belief, samples, true).len() as u32;
        assert!(often > samples / 10 * 9, "{often}");
        // And no longer once nothing is.
        proven(&mut belief, 2 * WARY, false);
        assert_eq!(proven(&mut belief, 10 * BELIEVED, false).len(), 10);
    }

    #[test]
    fn where_it_is_not_possible_or_there_is_no_room_nothing_is_believed() {
        let mut belief = Belief::new(zeroed(4), false);
        proven(&mut belief, WARY, false);
        for (possible, threads, on) in [(true, 4, true), (false, 4, false), (true, 5, false), (true, 4, true)]
        {
            belief.plan(possible, false, threads);
            assert_eq!(belief.on, on, "{possible} {threads}");
        }
        assert!((0..4).all(|node| belief.note(node)));
        assert!(!belief.note(4));
        belief.plan(true, false, 1);
        assert!(!belief.on && belief.note(5));
    }
}
