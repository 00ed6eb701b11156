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
use crate::report::Sink;
use crate::report::escape::{self, Notation};
use crate::report::folded::put_frame;
use crate::report::json::separate;
use crate::report::template::Value::{self, Bytes, Name, Number, String, Version};
use crate::report::template::fill;
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
            let comma = Bytes(if between { b"," } else { b"" });
            let (pid, version) = (raw(sampler.pid()), sampler.interpreter().version);
            let values = [comma, Number(pid), String(title), Version(version)];
            fill(b"%{\"pid\":%,\"title\":%,\"python\":\"%\",\"threads\":[", &values, self.out);
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
        match self.style {
            Style::Json => self.put_header_json(&facts, proven),
            _ => self.put_header(&facts, proven),
        }
        let mut is_first = true;
        for frame in sampler.frames().rev().chain(cut).filter(|_| proven) {
            self.put_frame(profile, frame, &mut is_first);
        }
        if self.style == Style::Json {
            self.out.put(if proven { b"]}" } else { b"}" });
        }
    }

    fn put_header_json(&mut self, facts: &Facts<'_>, proven: bool) {
        separate(&mut self.is_first, self.out);
        let (tid, name) = match facts.tid {
            Some(tid) => (Number(raw(tid)), String(facts.name)),
            None => (Bytes(b"null"), Bytes(b"null")),
        };
        fill(
            b"{\"ident\":%,\"tid\":%,\"name\":%,\"interpreter\":%,\"state\":%,\"holds_gil\":%,\"frames\":%",
            &[
                facts.ident.map_or(Bytes(b"null"), Number),
                tid,
                name,
                Number(facts.thread.interpreter as u64),
                String(facts.state),
                Bytes(if facts.thread.running { b"true" } else { b"false" }),
                Bytes(if proven { b"[" } else { b"null" }),
            ],
            self.out,
        );
    }

    fn put_header(&mut self, facts: &Facts<'_>, proven: bool) {
        self.out.put(if core::mem::take(&mut self.is_first) { b"" } else { b"\n" });
        let running = facts.thread.running;
        let ident = facts.ident.map_or(Bytes(b"?"), Number);
        let star = Bytes(if running { b"*" } else { b"" });
        fill(b"%%%:", &[self.colour(b"\x1b[1m"), ident, star], self.out);
        if let Some(tid) = facts.tid {
            let values = [Number(raw(tid)), Name(Notation::FoldedFile, facts.name)];
            fill(b" tid % \"%\"", &values, self.out);
        }
        let colour = self.colour(if running { b"\x1b[32m" } else { b"\x1b[33m" });
        fill(b"% %%", &[colour, Bytes(facts.state), self.colour(b"\x1b[0m")], self.out);
        if facts.thread.interpreter != 0 {
            fill(b" interpreter %", &[Number(facts.thread.interpreter as u64)], self.out);
        }
        self.out.put(if proven { b"\n" } else { b"\n(failed)\n" });
    }

    #[inline(never)] // smaller
    fn put_frame(&mut self, profile: &Profile, frame: Frame, is_first: &mut bool) {
        let (file, name) = profile.function_names(frame.function);
        let line = Number(frame.line.into());
        match self.style {
            Style::Plain => {
                put_frame(profile, frame, true, self.out);
                self.out.put(b"\n");
            }
            Style::Colour => {
                let (file, name) = (Name(Notation::FoldedFile, file), Name(Notation::FoldedFunction, name));
                fill(b"%:\x1b[36m%\x1b[0m:%\n", &[file, name, line], self.out);
            }
            Style::Json => {
                separate(is_first, self.out);
                let values = [String(file), String(name), line];
                fill(b"{\"file\":%,\"function\":%,\"line\":%}", &values, self.out);
            }
        }
    }

    /// What puts on a colour, if there are any.
    fn colour(&self, sequence: &'static [u8]) -> Value<'static> {
        Bytes(if self.style == Style::Colour { sequence } else { b"" })
    }
}

fn raw(pid: Pid) -> u64 {
    pid.as_raw_nonzero().get() as u64
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
