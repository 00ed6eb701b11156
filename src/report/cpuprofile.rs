//! V8's CPU profile, which Chrome's DevTools and VS Code open. Its order is that of the stacks, not that of time: it shows
//! what was sampled as a call tree. `Profiler.Profile` of the DevTools protocol, version 1.3, says what the fields mean.
//!
//! ```text
//! {"nodes":[{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},
//!   "hitCount":0,"children":[2]},{"id":2,"callFrame":{"functionName":"parse","scriptId":"0","url":"app.py",
//!   "lineNumber":87,"columnNumber":-1},"hitCount":214,"children":[]}],
//!  "startTime":0,"endTime":214000,"samples":[2,1],"timeDeltas":[0,214000]}
//! ```
//!
//! Times are in microseconds, lines begin at 0. A sample lasts until the next one, so the root stands behind the last.

use super::json::{put_next, separate};
use super::template::Value::{Bytes, Number, String};
use super::template::fill;
use super::{Facts, Sink};
use crate::profile::Profile;
use crate::profile::finished::by_names;

/// Writes `profile`.
pub fn write(profile: &mut Profile, facts: &Facts<'_>, out: &mut dyn Sink) {
    let weight = facts.weight(&profile.counts);
    let start = facts.started / 1000;
    let mut finished = profile.finish(&by_names);
    out.put(b"{\"nodes\":[");
    let mut is_first = true;
    finished.each_node(&mut |profile, id, children| {
        separate(&mut is_first, out);
        put_node(profile, id, children, out);
    });
    out.put(b"],\"samples\":[");
    let mut is_first = true;
    finished.each_stack(&mut |_, stack| put_next(u64::from(stack.last) + 1, &mut is_first, out));
    put_next(1, &mut is_first, out);
    out.put(b"],\"timeDeltas\":[0");
    // Rounded as a sum, so that it ends where the time does.
    let (mut count, mut end) = (0, 0);
    finished.each_stack(&mut |profile, stack| {
        count += profile.node(stack.last).count;
        let last = core::mem::replace(&mut end, count * weight / 1000);
        put_next(end - last, &mut false, out);
    });
    fill(b"],\"startTime\":%,\"endTime\":%}\n", &[Number(start), Number(start + end)], out);
}

fn put_node(profile: &Profile, id: u32, children: &[u32], out: &mut dyn Sink) {
    let node = profile.node(id);
    let (file, name) = profile.function_names(node.frame.function);
    let (file, name) = match id {
        crate::profile::ROOT => (&b""[..], &b"(root)"[..]),
        _ if node.frame.is_root() => (&b""[..], file),
        _ => (file, name),
    };
    let line = match node.frame.line.checked_sub(1) {
        Some(line) if !node.frame.is_root() => Number(line.into()),
        _ => Bytes(b"-1"),
    };
    fill(
        b"\n{\"id\":%,\"callFrame\":{\"functionName\":%,\"scriptId\":\"0\",\"url\":%,\"lineNumber\":%,\
        \"columnNumber\":-1},\"hitCount\":%,\"children\":[",
        &[Number(u64::from(id) + 1), String(name), String(file), line, Number(node.count)],
        out,
    );
    let mut is_first = true;
    children.iter().for_each(|&child| put_next(u64::from(child) + 1, &mut is_first, out));
    out.put(b"]}");
}
