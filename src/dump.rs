//! The stacks of all threads, once: for a person, with or without colours, or as JSON for a program.
//!
//! ```text
//! 139872010782528*: tid 4711 "python3" running
//! app.py:parse:88
//! app.py:<module>:30
//! ```
//!
//! The number is `threading.get_ident()`, or `?` where it could not be read; the star marks who holds the GIL (or is
//! attached, where there is none). In JSON that is, in one line, with `null` for what is not known or could not be read:
//!
//! ```text
//! {"processes":[{"pid":71,"title":"pid 71 python3 app.py","python":"3.13.0","threads":[
//!   {"ident":139872010782528,"tid":4711,"name":"python3","interpreter":0,"state":"running","holds_gil":true,
//!    "frames":[{"file":"app.py","function":"parse","line":88},{"file":"app.py","function":"<module>","line":30}]}]}]}
//! ```

use crate::profile::{Frame, Profile};
use crate::python::threads::Thread;
use crate::report::escape::{self, Notation};
use crate::report::folded::put_frame;
use crate::report::json::{put_field, put_string, separate};
use crate::report::{Sink, put_number, put_version};
use crate::sampler::Sampler;
use crate::sys::proc::read_of;
use crate::sys::stat::Stat;
use crate::target::state;
use rustix::process::Pid;

/// How stacks are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As text.
    Plain,
    /// As text, with colours (ECMA-48, SGR).
    Colour,
    /// As JSON.
    Json,
}

/// What is known of a thread besides its stack.
struct Facts<'a> {
    thread: Thread,
    /// `threading.get_ident()`.
    ident: Option<u64>,
    /// The kernel's id.
    tid: Option<Pid>,
    /// The name that the kernel has for it (`comm`, proc_pid_comm(5)).
    name: &'a [u8],
    state: &'static [u8],
}

/// Writes the threads of processes.
pub struct Dump<'a> {
    style: Style,
    out: &'a mut dyn Sink,
    /// Nothing was written yet: of the process, of all.
    is_first: bool,
    is_begun: bool,
}

impl<'a> Dump<'a> {
    /// Begins.
    pub fn new(style: Style, out: &'a mut dyn Sink) -> Dump<'a> {
        if style == Style::Json {
            out.put(b"{\"processes\":[");
        }
        Dump { style, out, is_first: true, is_begun: false }
    }

    /// Ends.
    pub fn finish(&mut self) {
        if self.style == Style::Json {
            self.out.put(b"]}\n");
        }
    }

    /// Writes all threads of a process that have frames, the newest first. `title`: what it is called, to be shown if
    /// `is_titled`. False when they could not be listed, or were gone before they were looked at.
    pub fn put(
        &mut self,
        title: &[u8],
        is_titled: bool,
        sampler: &mut Sampler,
        profile: &mut Profile,
    ) -> bool {
        self.is_first = true;
        let between = core::mem::replace(&mut self.is_begun, true);
        if self.style == Style::Json {
            self.out.put(if between { b",{\"pid\":" } else { b"{\"pid\":" });
            put_number(sampler.pid().as_raw_nonzero().get() as u64, self.out);
            self.out.put(b",\"title\":");
            put_string(title, self.out);
            self.out.put(b",\"python\":\"");
            put_version(sampler.interpreter().version, self.out);
            self.out.put(b"\",\"threads\":[");
        } else {
            self.out.put(if between { b"\n" } else { b"" });
            if is_titled {
                escape::put(self.out, Notation::FoldedFile, title);
                self.out.put(b"\n");
            }
        }
        let mut lost = false;
        let listed = sampler.each_thread(profile, &mut |sampler, profile, index, proven| {
            lost |= !proven;
            if !proven || sampler.frames().next().is_some() {
                self.put_thread(sampler, profile, index, proven);
            }
        });
        if self.style == Style::Json {
            self.out.put(b"]}");
        }
        listed.is_ok() && !(lost && self.is_first)
    }

    fn put_thread(&mut self, sampler: &Sampler, profile: &mut Profile, index: usize, proven: bool) {
        let lives = |stat: Stat| !stat.is_over();
        if !proven && !Stat::read(sampler.pid()).is_ok_and(lives) {
            return; // nothing of it can be known any more
        }
        let mut buffer = [0; 64];
        let Some(facts) = facts(sampler, index, &mut buffer) else { return };
        let cut = sampler.cut_off(profile);
        sampler.let_go(); // whoever reads what is written may be slow
        if self.style != Style::Json {
            self.out.put(if core::mem::take(&mut self.is_first) { b"" } else { b"\n" });
            return self.put_text(&facts, sampler.frames().rev().chain(cut), profile, proven);
        }
        separate(&mut self.is_first, self.out);
        self.put_header_json(&facts);
        self.out.put(if proven { b"[" } else { b"null" });
        let mut is_first = true;
        for frame in sampler.frames().rev().chain(cut).filter(|_| proven) {
            separate(&mut is_first, self.out);
            let (file, name) = profile.function_names(frame.function);
            self.out.put(b"{\"file\":");
            put_string(file, self.out);
            self.out.put(b",\"function\":");
            put_string(name, self.out);
            put_field(b"line", frame.line.into(), self.out);
            self.out.put(b"}");
        }
        self.out.put(if proven { b"]}" } else { b"}" });
    }

    fn put_header_json(&mut self, facts: &Facts<'_>) {
        self.out.put(b"{\"ident\":");
        match facts.ident {
            Some(ident) => put_number(ident, self.out),
            None => self.out.put(b"null"),
        }
        match facts.tid {
            Some(tid) => put_field(b"tid", tid.as_raw_nonzero().get() as u64, self.out),
            None => self.out.put(b",\"tid\":null"),
        }
        self.out.put(b",\"name\":");
        match facts.tid {
            Some(_) => put_string(facts.name, self.out),
            None => self.out.put(b"null"),
        }
        put_field(b"interpreter", facts.thread.interpreter as u64, self.out);
        self.out.put(b",\"state\":");
        put_string(facts.state, self.out);
        self.out.put(b",\"holds_gil\":");
        self.out.put(if facts.thread.running { b"true" } else { b"false" });
        self.out.put(b",\"frames\":");
    }

    fn put_text(
        &mut self,
        facts: &Facts<'_>,
        frames: impl Iterator<Item = Frame>,
        profile: &Profile,
        proven: bool,
    ) {
        self.colour(b"\x1b[1m");
        match facts.ident {
            Some(ident) => put_number(ident, self.out),
            None => self.out.put(b"?"),
        }
        self.out.put(if facts.thread.running { b"*:" } else { b":" });
        if let Some(tid) = facts.tid {
            self.out.put(b" tid ");
            put_number(tid.as_raw_nonzero().get() as u64, self.out);
            self.out.put(b" \"");
            escape::put(self.out, Notation::FoldedFile, facts.name);
            self.out.put(b"\"");
        }
        self.colour(if facts.thread.running { b"\x1b[32m" } else { b"\x1b[33m" });
        self.out.put(b" ");
        self.out.put(facts.state);
        self.colour(b"\x1b[0m");
        if facts.thread.interpreter != 0 {
            self.out.put(b" interpreter ");
            put_number(facts.thread.interpreter as u64, self.out);
        }
        self.out.put(b"\n");
        if !proven {
            return self.out.put(b"(failed)\n");
        }
        for frame in frames {
            self.put_frame(profile, frame);
        }
    }

    fn put_frame(&mut self, profile: &Profile, frame: Frame) {
        if self.style == Style::Plain {
            put_frame(profile, frame, true, self.out);
        } else {
            let (file, name) = profile.function_names(frame.function);
            escape::put(self.out, Notation::FoldedFile, file);
            self.out.put(b":\x1b[36m");
            escape::put(self.out, Notation::FoldedFunction, name);
            self.out.put(b"\x1b[0m:");
            put_number(frame.line.into(), self.out);
        }
        self.out.put(b"\n");
    }

    fn colour(&mut self, sequence: &[u8]) {
        if self.style == Style::Colour {
            self.out.put(sequence);
        }
    }
}

fn facts<'a>(sampler: &Sampler, index: usize, buffer: &'a mut [u8]) -> Option<Facts<'a>> {
    let thread = *sampler.thread(index)?;
    let ident = sampler.ident(thread);
    let tid = sampler.native_id(thread);
    let state: &[u8] = match tid {
        _ if thread.running => b"running",
        Some(tid) if sampler.waits_for_gil(tid) => b"waiting for the GIL",
        tid => match tid.map_or(0, |tid| state(sampler.pid(), tid)) {
            b'R' => b"running without the GIL",
            b'Z' => b"ended", // without telling the interpreter
            _ => b"waiting",
        },
    };
    let name = tid.map(|tid| read_of(sampler.pid(), tid.as_raw_nonzero().get() as u32, b"comm", buffer));
    let name = name.and_then(Result::ok).unwrap_or_default();
    Some(Facts { thread, ident, tid, name: name.strip_suffix(b"\n").unwrap_or(name), state })
}
