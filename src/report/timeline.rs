//! Formats that are written while samples are taken: what was seen at each moment goes out at once, so that a run of any
//! length needs no more memory than a short one.

use super::chrome::Chrome;
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

/// A profile that is written as it grows, or none.
pub struct Timeline {
    format: Format,
    lines: bool,
    /// What turns a moment of the clock of the samples into nanoseconds since 1970, and when sampling began.
    offset: u64,
    start: u64,
    chrome: Chrome,
    before: Counts,
}

impl Timeline {
    /// For a profile in `format`. `now` is the time on the clock of the samples, `epoch` the nanoseconds since 1970.
    #[inline(never)] // so that its caller has a small frame
    pub fn new(format: Format, lines: bool, chrome: Chrome, now: u64, epoch: u64) -> Timeline {
        let before = Counts::default();
        Timeline { format, lines, offset: epoch.wrapping_sub(now), start: now, chrome, before }
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
            Format::Chrome => self.chrome.put(profile, &moment, out),
            _ => flamechart::put(profile, &moment, self.chrome.path(), self.lines, out),
        }
    }

    /// Ends what was begun, at `now`.
    pub fn finish(&mut self, profile: &Profile, now: u64, out: &mut dyn Sink) {
        if self.format == Format::Chrome {
            self.chrome.finish(profile, now.saturating_sub(self.start), out);
        }
    }
}
