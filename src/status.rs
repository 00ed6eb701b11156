//! The line on a terminal that says how far sampling is. Written some times a second, over itself; gone at the end.
//!
//! ```text
//! pyflame: 3.2 of 10 s, 3200 samples, 2 failed, 27 us each
//! ```
//!
//! A sample costs what this program takes of a processor, divided by their number.

use crate::profile::Profile;
use crate::report::template::{Value::Number, fill};
use crate::sys::clock::{self, Nanos, SECOND};
use crate::sys::out::Output;
use crate::sys::{is_terminal, stderr};

/// Time from one line to the next.
const PERIOD: Nanos = SECOND / 4;

/// When to write it next.
pub struct Status {
    start: Nanos,
    duration: Option<Nanos>,
    /// Never, where nobody reads it.
    next: Nanos,
    is_shown: bool,
}

impl Status {
    /// For a run that begins now and takes so long; none: that ends by itself. `is_wanted`: if it is a terminal that is
    /// ours.
    pub fn new(duration: Option<Nanos>, is_wanted: bool) -> Status {
        let start = clock::now();
        let next = if is_wanted && is_terminal(stderr()) { start + PERIOD } else { Nanos::MAX };
        Status { start, duration, next, is_shown: false }
    }

    /// Writes it, if it is time for that.
    #[inline]
    pub fn show(&mut self, profile: &Profile, now: Nanos) {
        if now >= self.next {
            self.next = now + PERIOD;
            self.is_shown = true;
            self.put(profile, now);
        }
    }

    #[inline(never)] // for its buffer
    fn put(&self, profile: &Profile, now: Nanos) {
        let mut out = Output::to(stderr());
        let counts = &profile.counts;
        let tenths = (now - self.start) / (SECOND / 10);
        fill(b"\rpyflame: %.%", &[Number(tenths / 10), Number(tenths % 10)], &mut out);
        if let Some(duration) = self.duration {
            fill(b" of %", &[Number(duration.div_ceil(SECOND))], &mut out);
        }
        let each = clock::processor_time() / counts.samples.max(1) / 1000;
        let values = [Number(counts.samples), Number(counts.failed), Number(each)];
        fill(b" s, % samples, % failed, % us each\x1b[K", &values, &mut out);
        let _ = out.finish();
    }

    /// Takes it away.
    pub fn finish(&self) {
        if self.is_shown {
            let _ = rustix::io::write(stderr(), b"\r\x1b[K");
        }
    }
}
