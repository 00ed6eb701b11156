//! Every sample with its time, as Uber's pyflame wrote it with `--flamechart`: a line with microseconds since 1970, then
//! one with the frames, from the root, each followed by `;`. Its `flame-chart-json` makes a CPU profile of that.
//!
//! ```text
//! 1764036000123456
//! app.py:<module>:30;app.py:parse:88;
//! 1764036000124456
//! (idle)
//! ```

use super::Sink;
use super::folded::put_frame;
use super::template::{Value::Number, fill};
use super::timeline::Moment;
use crate::profile::Profile;

/// Writes what was seen at a moment. `path`: room for the nodes of a stack. `lines`: with line numbers.
pub fn put(profile: &Profile, moment: &Moment<'_>, path: &mut [u32], lines: bool, out: &mut dyn Sink) {
    for &id in moment.nodes {
        put_time(moment, out);
        for &node in profile.path(id, path) {
            put_frame(profile, profile.node(node).frame, lines, out);
            out.put(b";");
        }
        out.put(b"\n");
    }
    for (name, count) in [(&b"(idle)\n"[..], moment.idle), (b"(failed)\n", moment.failed)] {
        for _ in 0..count {
            put_time(moment, out);
            out.put(name);
        }
    }
}

fn put_time(moment: &Moment<'_>, out: &mut dyn Sink) {
    fill(b"%\n", &[Number(moment.epoch / 1000)], out);
}
