//! Formats that are written while samples are taken: what was seen at each moment goes out at once, so that a run of any
//! length needs no more memory than a short one.

use super::chrome::{Chrome, Lane};
use super::{Format, Sink, flamechart};
use crate::profile::{Counts, Frame, Profile};

/// What a sample of one process showed.
pub struct Moment<'a> {
    /// When it was taken, in nanoseconds since 1970 and since sampling began.
    pub epoch: u64,
    /// See above.
    pub time: u64,
    /// What stands below its stacks, if anything does.
    pub process: Frame,
    /// The nodes of its stacks.
    pub nodes: &'a [u32],
    /// Samples that it gave without a stack.
    pub idle: u64,
    /// See above.
    pub failed: u64,
}

/// The fixed storage of a [`Timeline`].
#[derive(Default)]
pub struct Storage {
    /// Threads that can be in the middle of a call at the same time.
    pub lanes: &'static mut [Lane],
    /// Nodes of a stack.
    pub path: &'static mut [u32],
}

/// A profile that is written as it grows, or none.
pub struct Timeline {
    format: Format,
    lines: bool,
    /// What turns a moment of the clock of the samples into nanoseconds since 1970, and when sampling began.
    offset: u64,
    start: u64,
    chrome: Chrome,
    /// Room for the nodes of a stack.
    path: &'static mut [u32],
    before: Counts,
}

impl Timeline {
    /// For a profile in `format`. `now` is the time on the clock of the samples, `epoch` the nanoseconds since 1970.
    #[inline(never)] // so that its caller has a small frame
    pub fn new(format: Format, lines: bool, storage: Storage, now: u64, epoch: u64) -> Timeline {
        let Storage { lanes, path } = storage;
        let (chrome, before) = (Chrome::new(lanes), Counts::default());
        Timeline { format, lines, offset: epoch.wrapping_sub(now), start: now, chrome, path, before }
    }

    /// Whether there is anything to do for each sample.
    pub fn is_on(&self) -> bool {
        self.format.is_timed()
    }

    /// Writes what a sample of the process below `process` added to the profile at `now`: a stack for each of `nodes`.
    pub fn note(&mut self, profile: &Profile, process: Frame, nodes: &[u32], now: u64, out: &mut dyn Sink) {
        let Counts { idle, failed, .. } = self.before;
        self.before = profile.counts;
        let moment = Moment {
            epoch: now.wrapping_add(self.offset),
            time: now.saturating_sub(self.start),
            process,
            nodes,
            idle: profile.counts.idle.saturating_sub(idle),
            failed: profile.counts.failed.saturating_sub(failed),
        };
        match self.format {
            Format::Chrome => self.chrome.put(profile, &moment, self.path, out),
            _ => flamechart::put(profile, &moment, self.path, self.lines, out),
        }
    }

    /// Ends what was begun, at `now`.
    pub fn finish(&mut self, profile: &Profile, now: u64, out: &mut dyn Sink) {
        if self.format == Format::Chrome {
            self.chrome.finish(profile, now.saturating_sub(self.start), out);
        }
    }
}
