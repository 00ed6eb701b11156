//! How looks at running threads fared lately, and what follows from that: whether threads are stopped, and how many
//! looks have to agree before a new call is believed.

use super::bias::Bias;
use crate::cli::Mode;
use crate::memory::Addr;

/// Looks in a row that have to show a new call while it is not known how fast the target is: when only one sample is
/// taken.
const ONE_SHOT: u32 = 8;
/// Looks that it takes to know how fast a target is.
pub const ACQUAINTED: u32 = 128;

/// Looks that have to show the root of a stack.
const CONFIRMING_ROOT: u32 = 24;

/// What to do for the next sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Look without stopping.
    Look,
    /// Stop.
    Stop,
    /// Stop, and look before, only to find out whether that would have done.
    Probe,
}

/// How looks at running threads fared lately.
pub struct History {
    always: bool,
    stopping: bool,
    /// Share of samples in whose first look something changed, of [`ALL`], the older ones forgotten.
    restless: u32,
    /// What follows from those that show another function instead.
    bias: Bias,
    /// Share of samples that had to be replaced because of what they showed for the first time: many while the target is new to
    /// us, and always of one that makes functions to call them once.
    strange: u32,
    /// Share of moments at which something changed between the copies around it, of the last looks.
    torn: u32,
    /// The highest that share was lately: a thread that has to wait for a processor seems slow, for a while.
    peak: u32,
    /// How many looks `torn` and `peak` are of; counted up to [`ACQUAINTED`].
    looks: u32,
    /// How many samples `strange` is of, counted up to [`FIRST_SAMPLES`], and `restless`, up to [`WEIGHT`].
    samples: u32,
    moments: u32,
    until_probe: u32,
}

/// Every look. So large that the share falls to next to nothing although its parts are rounded.
pub(super) const ALL: u32 = 1 << 24;
/// A bias of more than this, and not by chance, and threads are stopped; of less, and they no longer are: 1.25 %.
const BIASED: u32 = ALL / 80;
/// The same for `restless`, since where only callers change no bias is seen: 16 % and 12 %.
const TOO_RESTLESS: u32 = ALL / 100 * 16;
const CALM: u32 = ALL / 100 * 12;
/// The same for `strange`: 6 % and 3 %.
const TOO_STRANGE: u32 = ALL / 100 * 6;
const FAMILIAR: u32 = TOO_STRANGE / 2;
/// Samples in which it is not held against a target that much is new. They show time in what is called only once as
/// time in what came after it, so there are few.
const FIRST_SAMPLES: u32 = 64;
/// A sample counts for so small a part of its share: a calm target is not to be stopped by chance. At first for more: until
/// threads are stopped, what lives for a very short time is seen too seldom.
const WEIGHT: u32 = 1024;
const FIRST_WEIGHT: u32 = 128;
/// The same for what is strange: there is some with each function and each call of it that is met for the first time.
const STRANGE_WEIGHT: u32 = 256;
/// The same for shares that have to follow quickly.
pub(super) const QUICK_WEIGHT: u32 = 64;
/// And by so small a part the highest share falls with every look.
const PEAK_WEIGHT: u32 = 1024;
/// Samples from one probe to the next; and of a thread that is too restless, which a look makes slower: to copy 200 frames,
/// each in its place, takes the lines of the processor that it is about to write. One that spends 7 % of its time in
/// returning from them does so in 28 % of the stops that come after a look (3.8).
const PROBE_EVERY: u32 = 2;
const PROBE_SELDOM: u32 = 16;

impl History {
    /// Nothing is known yet. `mode` can say that threads are always stopped.
    pub fn new(mode: Mode) -> History {
        History {
            always: mode == Mode::Blocking,
            stopping: false,
            restless: 0,
            bias: Bias::new(),
            strange: 0,
            torn: 0,
            peak: 0,
            samples: 0,
            moments: 0,
            looks: 0,
            until_probe: 0,
        }
    }

    /// What to do for the next sample of a thread that `may_stop`.
    pub fn plan(&mut self, may_stop: bool) -> Plan {
        if !may_stop || !(self.always || self.stopping) {
            return Plan::Look;
        }
        if self.always {
            return Plan::Stop;
        }
        self.until_probe = self.until_probe.checked_sub(1).unwrap_or(self.probe_every() - 1);
        if self.until_probe == 0 { Plan::Probe } else { Plan::Stop }
    }

    /// Samples from one probe to the next.
    fn probe_every(&self) -> u32 {
        if self.restless > TOO_RESTLESS { PROBE_SELDOM } else { PROBE_EVERY }
    }

    /// Whether the next plan is to stop without a look before, should that be allowed.
    pub fn will_stop(&self) -> bool {
        self.always || self.stopping && self.until_probe != 1
    }

    /// Whether looks fail so often that threads are to be stopped, should that be allowed.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Notes a look: whether something changed around its moment.
    pub fn note_moment(&mut self, torn: bool) {
        self.torn = follow(self.torn, torn, QUICK_WEIGHT);
        self.peak = self.torn.max(self.peak - self.peak / PEAK_WEIGHT);
        self.looks = (self.looks + 1).min(ACQUAINTED);
    }

    /// How many looks in a row have to show a new call. Were looks independent, then where something changes around one
    /// moment in n, it would change and change back around one in n², and for all of them that would be less likely than
    /// 1 in 100 million up to one in two. They are not where a target's cycle is as long as a look, so beyond that there
    /// are as many as no such target holds still for.
    pub fn confirming(&self) -> u32 {
        if self.looks < ACQUAINTED {
            return ONE_SHOT;
        }
        match self.peak / (ALL / 100) {
            0..10 => 4,
            10..15 => 6,
            15..30 => 10,
            30..50 => 16,
            _ => 24,
        }
    }

    /// How many looks have to show a new root.
    pub fn confirming_root(&self) -> u32 {
        if self.looks < ACQUAINTED { ONE_SHOT } else { CONFIRMING_ROOT }
    }

    /// Notes a sample, or a look to get acquainted: whether something changed around the moment of its first look, and
    /// which function seemed to run then and which is shown; none: that is not to be judged.
    pub fn note_moved(&mut self, restless: bool, functions: Option<[Addr; 2]>) {
        // A probe stands for the samples since the last one, too; a seldom one for half of them, or chance would decide.
        let (alike, each) = match self.probe_every() {
            _ if !self.stopping => (1, 1),
            PROBE_EVERY => (PROBE_EVERY, 1),
            seldom => (PROBE_EVERY, seldom / PROBE_EVERY / 2),
        };
        for _ in 0..alike {
            self.moments = (self.moments + 1).min(WEIGHT);
            let weight = self.moments.max(FIRST_WEIGHT) / each;
            self.restless = follow(self.restless, restless, weight).min(2 * TOO_RESTLESS);
            self.bias.note(functions.map(|functions| (restless, functions)));
        }
        self.decide();
    }

    /// Notes a sample: whether its first look had to be replaced because it showed what was `strange`.
    pub fn note_strange(&mut self, strange: bool) {
        // At first everything is new, so that says nothing; and it is no reason to stop for longer than it lasts.
        self.samples = (self.samples + 1).min(FIRST_SAMPLES);
        let strange = strange && self.samples == FIRST_SAMPLES;
        let weight = if self.stopping { QUICK_WEIGHT } else { STRANGE_WEIGHT };
        self.strange = follow(self.strange, strange, weight).min(TOO_STRANGE + ALL / QUICK_WEIGHT);
        self.decide();
    }

    fn decide(&mut self) {
        let bias = self.bias.largest();
        if self.bias.exceeds(BIASED) || self.restless > TOO_RESTLESS || self.strange > TOO_STRANGE {
            self.stopping = true;
        } else if bias < BIASED && self.restless < CALM && self.strange < FAMILIAR {
            self.stopping = false;
        }
    }
}

/// The share after one more, which counts for one in `weight`.
pub(super) fn follow(share: u32, is_one: bool, weight: u32) -> u32 {
    share - share / weight + if is_one { ALL / weight } else { 0 }
}

#[cfg(test)]
mod tests;
