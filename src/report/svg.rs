//! An interactive flame graph in one SVG file that loads nothing: boxes as wide as their share of the samples, callers
//! below those that they call.
//!
//! The file holds the profile twice. The boxes that are at least a pixel wide are drawn, for where no script runs: an
//! `<img>`, a printer. The script (`svg/flame.js`) puts its own in their place, from a table of all:
//!
//! ```text
//! {"names":["","app.py","<module>","parse"],          each once
//!  "frames":[1,2,30,1,3,88],                           of each the numbers of its file and its name, and its line
//!  "boxes":[0,1,214,2,2,88],                           callers first: see below
//!  "samples":216,"period":1000000}                     all of them, and the nanoseconds of one
//! ```
//!
//! A line of -1 is that of a process, whose title is the file. A box is twice the number of its frame and 1, if it stands on
//! the last one and has all its samples, as most do; else twice the number of its frame, its depth, its samples.

use super::escape::Notation;
use super::json::{put_next, put_string, separate};
use super::template::Value::{self, Bytes, Name, Number, Tenths, Version};
use super::template::fill;
use super::{Facts, Sink, put_counts};
use crate::profile::finished::{Finished, by_names};
use crate::profile::{Frame, Node, Profile, ROOT};

/// Width of the picture and of what is left free at its sides, in pixels.
const WIDTH: u64 = 1200;
const MARGIN: u64 = 10;
/// Width of the narrowest box, and of the narrowest with a name in it, in tenths of a pixel.
const NARROWEST: u64 = 10;
const NARROWEST_LABEL: u64 = 250;
/// Height of a level, and of what stands above and below all of them, in pixels.
const LEVEL: u64 = 16;
const ABOVE: u64 = 60;
const BELOW: u64 = 30;
/// Bytes of a name that can be seen in a box.
const SEEN: usize = 160;

/// Writes `profile`.
pub fn write(profile: &mut Profile, facts: &Facts<'_>, out: &mut dyn Sink) {
    let counts = profile.counts;
    let mut finished = profile.finish(&by_names);
    let samples = finished.add_up();
    let levels = finished.profile.nodes().iter().map(|node| node.depth).max().unwrap_or(0);
    let height = ABOVE + LEVEL * (u64::from(levels) + 1) + BELOW;
    let title = Name(Notation::Xml, facts.title);
    let css = Bytes(include_bytes!(concat!(env!("OUT_DIR"), "/flame.css")));
    fill(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"%\" viewBox=\"0 0 1200 %\" \
        font-family=\"monospace\" font-size=\"12\">\n<title>%</title>\n<style>%</style>\n\
        <rect id=\"bg\" width=\"100%\" height=\"100%\"/>\n",
        &[Number(height), Number(height), title, css],
        out,
    );
    fill(
        b"<text id=\"h\" x=\"600\" y=\"24\" text-anchor=\"middle\" font-size=\"17\">%</text>\n\
        <text id=\"i\" x=\"600\" y=\"44\" text-anchor=\"middle\">Python %, every % us: ",
        &[title, Version(facts.version), Number(facts.period / 1000)],
        out,
    );
    put_counts(&counts, facts.elapsed, out);
    out.put(b"</text>\n<script type=\"application/json\" id=\"d\">");
    put_table(&mut finished, samples, out);
    let values = [Number(samples), Number(facts.weight(&counts))];
    fill(b",\"samples\":%,\"period\":%}</script>\n<g id=\"b\">\n", &values, out);
    put_boxes(&mut finished, samples, height, out);
    out.put(b"</g>\n<script><![CDATA[\n");
    out.put(include_bytes!(concat!(env!("OUT_DIR"), "/flame.js")));
    out.put(b"]]></script>\n</svg>\n");
}

/// Writes the names, the frames and the boxes.
fn put_table(finished: &mut Finished<'_>, samples: u64, out: &mut dyn Sink) {
    let profile = &finished.profile;
    out.put(b"{\"names\":[");
    let mut is_first = true;
    for id in 0..profile.names() {
        separate(&mut is_first, out);
        put_string(profile.name(id), out);
    }
    out.put(b"],\"frames\":[");
    is_first = true;
    finished.number_frames(&mut |profile, _, frame| {
        let Some(function) = profile.functions().get(frame.function as usize) else { return };
        put_next(function.file.into(), &mut is_first, out);
        put_next(function.name.into(), &mut is_first, out);
        if frame.is_root() {
            out.put(b",-1");
        } else {
            put_next(frame.line.into(), &mut is_first, out);
        }
    });
    out.put(b"],\n\"boxes\":[");
    is_first = true;
    let mut below = (0, samples);
    finished.each_stack(&mut |profile, stack| {
        for &id in stack.nodes.iter().skip(stack.shared) {
            let Node { depth, count, .. } = *profile.node(id);
            let is_all = below == (depth - 1, count);
            below = (depth, count);
            put_next(2 * u64::from(stack.number(id)) + u64::from(is_all), &mut is_first, out);
            if !is_all {
                put_next(depth.into(), &mut is_first, out);
                put_next(count, &mut is_first, out);
            }
        }
    });
    out.put(b"]");
}

/// Draws the boxes. The count of a node that is drawn becomes the sample at which its next child begins.
fn put_boxes(finished: &mut Finished<'_>, samples: u64, height: u64, out: &mut dyn Sink) {
    let y = |depth: u32| 10 * (height - BELOW - LEVEL * (u64::from(depth) + 1));
    // In tenths of a pixel.
    let width = |count: u64| 10 * (WIDTH - 2 * MARGIN) * count / samples.max(1);
    put_box(&[10 * MARGIN, y(0), width(samples)], Bytes(b"r"), b"all", out);
    finished.profile.set_count(ROOT, 0);
    finished.each_stack(&mut |profile, stack| {
        for &id in stack.nodes.iter().skip(stack.shared) {
            let Node { parent, frame, depth, count } = *profile.node(id);
            let start = profile.node(parent).count;
            profile.set_count(parent, start + count);
            profile.set_count(id, start);
            let (file, name) = profile.function_names(frame.function);
            let name = if frame.is_root() { file } else { name };
            let place = [10 * MARGIN + width(start), y(depth), width(count)];
            put_box(&place, class(file, name, frame), name, out);
        }
    });
}

/// Draws a box at x and y, and so wide, in tenths of a pixel.
fn put_box(place: &[u64; 3], class: Value<'_>, name: &[u8], out: &mut dyn Sink) {
    let [x, y, width] = *place;
    if width < NARROWEST {
        return;
    }
    let text = b"<path class=\"c%\" d=\"M% %h%v15H%z\"/>\n";
    fill(text, &[class, Tenths(x), Tenths(y), Tenths(width), Tenths(x)], out);
    if width >= NARROWEST_LABEL {
        // The svg cuts off what does not fit.
        let name = Name(Notation::Xml, name.get(..SEEN).unwrap_or(name));
        let text = b"<svg x=\"%\" y=\"%\" width=\"%\" height=\"15\"><text x=\"3\" y=\"11\">%</text></svg>\n";
        fill(text, &[Tenths(x), Tenths(y), Tenths(width), name], out);
    }
}

/// What follows the `c` in the class of a box: its hue tells installed packages, the standard library and all other code apart, its shade one
/// function from another. What stands for a process, or what we say ourselves, is grey. The script does the same.
fn class(file: &[u8], name: &[u8], frame: Frame) -> Value<'static> {
    let holds = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    let hue = match () {
        () if frame.is_root() => return Bytes(b"r"),
        () if file.is_empty() => return Bytes(b"s"),
        () if holds(b"-packages/") => 4,
        () if file.starts_with(b"<frozen ") || holds(b"lib/python") || holds(b"lib64/python") => 8,
        () => 0,
    };
    Number(hue + name.iter().map(|&byte| u64::from(byte)).sum::<u64>() % 4)
}
