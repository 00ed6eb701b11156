//! What <https://www.speedscope.app> reads: a `sampled` profile for each thread, of stacks and the time that each took.
//! The schema is <https://www.speedscope.app/file-format-schema.json>.
//!
//! ```text
//! {"$schema":"…","exporter":"pyflame 2.0.0","name":"pid 71 python3 app.py",
//!  "shared":{"frames":[{"name":"<module>","file":"app.py","line":30},{"name":"parse","file":"app.py","line":88}]},
//!  "profiles":[{"type":"sampled","name":"pid 71 python3 app.py, thread 71 python3","unit":"nanoseconds",
//!    "startValue":0,"endValue":214000000,"samples":[[0,1]],"weights":[214000000]}],"activeProfileIndex":0}
//! ```

use super::escape::Notation;
use super::json::{put_field, put_next, separate};
use super::template::Value::{Bytes, Name, Number, String};
use super::template::fill;
use super::{Facts, Sink};
use crate::profile::Profile;
use crate::profile::finished::{Finished, by_names};

/// Writes `profile`.
pub fn write(profile: &mut Profile, facts: &Facts<'_>, out: &mut dyn Sink) {
    let weight = facts.weight(&profile.counts);
    let mut finished = profile.finish(&by_names);
    fill(
        b"{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"pyflame %\",\"name\":%",
        &[Bytes(env!("CARGO_PKG_VERSION").as_bytes()), String(facts.title)],
        out,
    );
    put_frames(&mut finished, out);
    let (mut active, mut most, mut lanes, mut first) = (0, 0, 0, 0);
    while let Some(&id) = finished.stacks().get(first) {
        let profile = &finished.profile;
        let lane = profile.ancestor(id, LANE);
        let stacks = finished.stacks().get(first..).unwrap_or_default();
        let length = stacks.iter().take_while(|&&id| profile.ancestor(id, LANE) == lane).count();
        let count = stacks.iter().take(length).map(|&id| profile.node(id).count).sum();
        if count > most {
            (active, most) = (lanes, count);
        }
        out.put(if lanes > 0 { b",\n" } else { b"\n" });
        put_lane(&mut finished, lane, first..first + length, count * weight, weight, out);
        lanes += 1;
        first += length;
    }
    fill(b"],\"activeProfileIndex\":%}\n", &[Number(active)], out);
}

/// Depth of the frame that stands for a thread, above its process.
const LANE: u32 = 2;

fn put_frames(finished: &mut Finished<'_>, out: &mut dyn Sink) {
    out.put(b",\"shared\":{\"frames\":[");
    let mut is_first = true;
    finished.number_frames(&mut |profile, _, frame| {
        separate(&mut is_first, out);
        let (file, name) = profile.function_names(frame.function);
        let root = frame.is_root();
        fill(b"\n{\"name\":%", &[String(if root { file } else { name })], out);
        if !root && !file.is_empty() {
            fill(b",\"file\":%", &[String(file)], out);
        }
        if !root && frame.line > 0 {
            put_field(b"line", frame.line.into(), out);
        }
        out.put(b"}");
    });
    out.put(b"]},\"profiles\":[");
}

/// Writes the stacks of a thread: those of these numbers, which begin with the node `lane`.
fn put_lane(
    finished: &mut Finished<'_>,
    lane: u32,
    stacks: core::ops::Range<usize>,
    end: u64,
    weight: u64,
    out: &mut dyn Sink,
) {
    out.put(b"{\"type\":\"sampled\",\"name\":\"");
    let profile = &finished.profile;
    let title = |depth| {
        let (file, name) = profile.function_names(profile.node(profile.ancestor(lane, depth)).frame.function);
        Name(Notation::Json, if file.is_empty() { name } else { file })
    };
    let text: &[u8] = match profile.node(lane).depth {
        0 => b"",
        1 => b"%",
        _ => b"%, %",
    };
    fill(text, &[title(LANE - 1), title(LANE)], out);
    let text = b"\",\"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":%,\"samples\":[";
    fill(text, &[Number(end)], out);
    let mut is_first = true;
    finished.each(stacks.start, stacks.end, &mut |_, stack| {
        separate(&mut is_first, out);
        out.put(b"[");
        let mut is_first = true;
        // What the name says need not be said again.
        let frames = stack.nodes.get(LANE as usize..).unwrap_or(stack.nodes);
        frames.iter().for_each(|&id| put_next(stack.number(id).into(), &mut is_first, out));
        out.put(b"]");
    });
    out.put(b"],\"weights\":[");
    let mut is_first = true;
    finished.each(stacks.start, stacks.end, &mut |profile, stack| {
        put_next(profile.node(stack.last).count * weight, &mut is_first, out);
    });
    out.put(b"]}");
}
