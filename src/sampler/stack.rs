//! How the stack of a thread is got: by looks at it as it runs, or by a stop.

use super::history::{ACQUAINTED, Plan};
use super::look::{Look, calls_of};
use super::{LONGEST, Sampler};
use crate::memory::Addr;
use crate::profile::Profile;
use crate::python::threads::Thread;
use crate::sys::clock;

/// Looks to get acquainted for which a list of the threads will do.
const LISTED: u32 = 16;

impl Sampler {
    /// Looks at the threads that run, to learn what is there and how fast it moves; not where they are always stopped.
    pub fn acquaint(&mut self, profile: &mut Profile) {
        if self.remote().peek().is_some() {
            return;
        }
        self.belief.on = false;
        self.prefetch.next_sample();
        let until = clock::now() + LONGEST;
        for look in 0..ACQUAINTED {
            if look % LISTED == 0 && self.list().is_err() {
                return;
            }
            for index in 0..self.threads.len() {
                if clock::now() >= until {
                    return;
                }
                if let Some(&thread) = self.threads.get(index as u32).filter(|thread| thread.running)
                    && self.fetch(thread)
                {
                    let mut look = self.look(profile, thread, false);
                    let torn = self.torn;
                    if look == Look::Moved && self.fetch(thread) {
                        look = self.look(profile, thread, false);
                    }
                    // What a look seems to show is not familiar yet, so it would be no bias that is there later.
                    if look == Look::Proven {
                        self.history.note_moved(torn, None);
                    }
                }
            }
        }
    }

    /// Gets the stack of `thread` into `path`; whether it is proven.
    pub(super) fn stack_of(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        // Word by word, one look at what stands still is much less to read than several that agree.
        let by_word = self.remote().peek().is_some();
        if by_word && self.stopped_look(profile, thread, Some(false)) {
            return true;
        }
        let may_stop = thread.running && self.stopper.may_stop();
        let plan = self.history.plan(may_stop);
        let mut seen = by_word.then_some(false);
        let mut open = None;
        if plan != Plan::Stop {
            // A stop that comes the later, the more has to be read for this, would not come at any moment with equal chance.
            self.prefetch.freeze(plan == Plan::Probe);
            let first = self.look(profile, thread, false);
            self.prefetch.freeze(false);
            let strange = self.strange;
            // What has to be learned of code is learned once; where frames lie, perhaps with every sample.
            let learned = first == Look::Unproven;
            let says_nothing = learned && (strange || self.seemed == Addr(0));
            open = Some((self.torn && !learned, self.seemed)).filter(|_| !says_nothing);
            seen = Some(plan == Plan::Probe && first == Look::Proven);
            let mut proven =
                first == Look::Proven || first == Look::New && plan == Plan::Look && self.confirm(thread);
            let mut moved = !proven && first != Look::Unproven;
            if !proven && plan == Plan::Look {
                // What had to be learned for it is the look's own matter, as long as it can be repeated.
                let calls = calls_of(self.seen.items());
                proven = self.look_again(profile, thread, may_stop);
                moved |= calls_of(self.seen.items()) != calls;
            }
            if thread.running {
                self.history.note_strange(strange && (moved || plan == Plan::Probe && !proven));
            }
            // Time in calls that cannot be believed must not be shown as time in those that are known.
            let replaced = moved && strange && self.history.is_stopping();
            if proven && (self.stopper.may_stop() || !replaced) {
                self.note_moved(thread, open.take());
                if plan == Plan::Look {
                    return true;
                }
            }
        }
        // One that was waiting when the threads were listed, and moves, has begun to run since.
        let stopped = self.stopper.may_stop() && self.stopped_look(profile, thread, seen);
        self.note_moved(thread, open.filter(|_| stopped));
        stopped
    }

    /// Notes what `path` shows in place of a first look at `thread`: whether that was torn, and in what it seemed to be then.
    pub(super) fn note_moved(&mut self, thread: Thread, first: Option<(bool, Addr)>) {
        if let Some((torn, seemed)) = first.filter(|_| thread.running) {
            let shown = self.path.items().last().map_or(Addr(0), |step| step.seen.code);
            self.history.note_moved(torn, Some([seemed, shown]));
        }
    }
}
