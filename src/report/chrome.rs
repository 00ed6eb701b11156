//! Trace events, which Perfetto, chrome://tracing and speedscope show as a flame chart: time from left to right, a track
//! for each thread of each process. The "Trace Event Format" document of Chromium says what the fields mean.
//!
//! ```text
//! {"traceEvents":[
//! {"ph":"B","pid":71,"tid":71,"ts":0,"name":"<module> (app.py)"},
//! {"ph":"B","pid":71,"tid":71,"ts":0,"name":"parse (app.py)"},
//! {"ph":"E","pid":71,"tid":71,"ts":214000,"name":"parse (app.py)"},
//! {"ph":"E","pid":71,"tid":71,"ts":214000,"name":"<module> (app.py)"},
//! {"ph":"M","pid":71,"name":"process_name","args":{"name":"python3 app.py"}},
//! {"ph":"M","pid":71,"tid":71,"name":"thread_name","args":{"name":"python3"}}
//! ]}
//! ```
//!
//! A call begins with the first sample that shows it and ends with the first that does not, so one that is called again at
//! once is not told from one that goes on, whatever its line. Times are in microseconds since sampling began. A thread that
//! a sample does not show, since it waits or could not be read, is empty until one does.

use super::Sink;
use super::escape::Notation;
use super::json::put_field;
use super::template::Value::{Bytes, Name, Number, String};
use super::template::fill;
use super::timeline::Moment;
use crate::profile::{Frame, PROCESS, Profile, ROOT, THREAD};
use crate::table::List;
use crate::text::leading_decimal;

/// A thread of which a sample showed a stack.
#[derive(Clone, Copy)]
pub struct Lane {
    /// What stands below its stacks: the functions of its process and of itself.
    process: u32,
    thread: u32,
    /// The node of its last stack.
    node: u32,
    /// The last sample shows it, too.
    seen: bool,
}

/// No process or thread has a higher number (include/linux/threads.h).
const PID_MAX_LIMIT: u64 = 4 << 20;
/// Depth of the frame that stands for a thread, above its process.
const ROOTS: u32 = 2;

/// The threads that are in the middle of a call.
pub struct Chrome {
    lanes: List<Lane>,
    is_begun: bool,
}

impl Chrome {
    /// None yet, and room for as many as there are `lanes`.
    pub fn new(lanes: &'static mut [Lane]) -> Chrome {
        Chrome { lanes: List::new(lanes), is_begun: false }
    }

    /// Writes what begins and what ends with this sample. `path`: room for the nodes of a stack.
    pub fn put(&mut self, profile: &Profile, moment: &Moment<'_>, path: &mut [u32], out: &mut dyn Sink) {
        let process = moment.process.function;
        for &node in moment.nodes {
            let thread = profile.node(profile.ancestor(node, ROOTS)).frame.function;
            let lanes = self.lanes.items();
            let known = lanes.iter().position(|lane| lane.thread == thread && lane.process == process);
            let new = || self.lanes.push(Lane { process, thread, node: ROOT, seen: true }).ok();
            // What has no room is not shown.
            let Some(id) = known.map(|id| id as u32).or_else(new) else { continue };
            if let Some(lane) = self.lanes.get_mut(id) {
                let last = core::mem::replace(&mut lane.node, node);
                lane.seen = true;
                self.change(profile, [last, node], moment.time, path, out);
            }
        }
        self.end(profile, Some(process), moment.time, out);
    }

    /// Ends all calls of the threads that were not seen; of one process, or of all.
    fn end(&mut self, profile: &Profile, process: Option<u32>, time: u64, out: &mut dyn Sink) {
        let mut id = 0;
        while let Some(lane) = self.lanes.get_mut(id) {
            let is_seen = core::mem::replace(&mut lane.seen, false);
            let node = lane.node;
            if is_seen || process.is_some_and(|process| process != lane.process) {
                id += 1;
            } else {
                self.change(profile, [node, ROOT], time, &mut [], out);
                self.lanes.swap_remove(id);
            }
        }
    }

    /// Writes what ends and begins between the stacks of two nodes of a thread; the root has none.
    fn change(
        &mut self,
        profile: &Profile,
        [from, to]: [u32; 2],
        time: u64,
        path: &mut [u32],
        out: &mut dyn Sink,
    ) {
        let common = common(profile, from, to);
        let roots = roots(profile, if to == ROOT { from } else { to });
        let mut ended = from;
        while profile.node(ended).depth > common {
            self.put_event(profile, b"E", roots, ended, time, out);
            ended = profile.node(ended).parent;
        }
        for &begun in profile.path(to, path).iter().skip(common as usize) {
            self.put_event(profile, b"B", roots, begun, time, out);
        }
    }

    fn put_event(
        &mut self,
        profile: &Profile,
        phase: &[u8],
        roots: [Frame; 2],
        node: u32,
        time: u64,
        out: &mut dyn Sink,
    ) {
        self.put_head(profile, phase, roots, out);
        let (file, name) = profile.function_names(profile.node(node).frame.function);
        let text: &[u8] =
            if file.is_empty() { b",\"ts\":%,\"name\":\"%\"}" } else { b",\"ts\":%,\"name\":\"% (%)\"}" };
        fill(text, &[Number(time / 1000), Name(Notation::Json, name), Name(Notation::Json, file)], out);
    }

    /// Writes the beginning of an event of a process and a thread, as far as `roots` stand for them.
    fn put_head(&mut self, profile: &Profile, phase: &[u8], roots: [Frame; 2], out: &mut dyn Sink) {
        let is_first = !core::mem::replace(&mut self.is_begun, true);
        let begin = Bytes(if is_first { b"{\"traceEvents\":[" } else { b"," });
        fill(b"%\n{\"ph\":%", &[begin, String(phase)], out);
        for (root, (kind, name)) in roots.into_iter().zip([(PROCESS, b"pid"), (THREAD, b"tid")]) {
            if root.line == kind {
                put_field(name, number_and_name(profile, root).0, out);
            }
        }
    }

    /// Ends all calls and names the processes and threads.
    pub fn finish(&mut self, profile: &Profile, time: u64, out: &mut dyn Sink) {
        self.end(profile, None, time, out);
        for (id, node) in profile.nodes().iter().enumerate() {
            if node.frame.is_root() {
                self.put_head(profile, b"M", roots(profile, id as u32), out);
                let kind = Bytes(if node.frame.line == PROCESS { b"process" } else { b"thread" });
                let name = String(number_and_name(profile, node.frame).1);
                fill(b",\"name\":\"%_name\",\"args\":{\"name\":%}}", &[kind, name], out);
            }
        }
        out.put(if self.is_begun { b"\n]}\n" } else { b"{\"traceEvents\":[]}\n" });
    }
}

/// What stands below the stack of a node: its process and its thread, if it has them.
fn roots(profile: &Profile, node: u32) -> [Frame; 2] {
    let thread = profile.ancestor(node, ROOTS);
    [profile.ancestor(thread, 1), thread].map(|root| profile.node(root).frame)
}

/// How many frames from the root two stacks of a thread have in common, whatever their lines; the root has none.
fn common(profile: &Profile, from: u32, to: u32) -> u32 {
    if from == ROOT || to == ROOT {
        return ROOTS;
    }
    let mut common = profile.node(from).depth.min(profile.node(to).depth);
    let (mut a, mut b) = (profile.ancestor(from, common), profile.ancestor(to, common));
    while a != b {
        let (x, y) = (profile.node(a), profile.node(b));
        if x.frame.function != y.frame.function {
            common = x.depth - 1;
        }
        (a, b) = (x.parent, y.parent);
    }
    common
}

/// What the title of a process or thread says: `pid 71 python3 app.py`. Of a thread in another interpreter than the first,
/// which may be a track already, and of one whose id the kernel does not know, the number is none that the kernel gives.
fn number_and_name(profile: &Profile, root: Frame) -> (u64, &[u8]) {
    let title = profile.function_names(root.function).0;
    let digits = title.strip_prefix(b"pid ").or_else(|| title.strip_prefix(b"thread "));
    match leading_decimal(digits.unwrap_or_default()) {
        Some((number @ 0..=PID_MAX_LIMIT, name)) => (number, name.trim_ascii_start()),
        _ => (PID_MAX_LIMIT + 1 + u64::from(root.function), title),
    }
}
