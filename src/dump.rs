//! The stacks of all threads, once, for a person to read.
//!
//! ```text
//! 139872010782528*: tid 4711 "python3" running
//! app.py:parse:88
//! app.py:<module>:30
//! ```
//!
//! The number is `threading.get_ident()`, the star marks who holds the GIL (or is attached, where there is none).

use crate::memory::Memory as _;
use crate::profile::Profile;
use crate::report::folded::put_frame;
use crate::report::{Sink, escape, put_number};
use crate::sampler::Sampler;
use crate::sys::proc::read_of;
use rustix::process::Pid;

/// Writes all threads that have frames, the newest first. False when they could not be listed.
pub fn write(pid: Pid, sampler: &mut Sampler, profile: &mut Profile, out: &mut dyn Sink) -> bool {
    let mut first = true;
    let listed = sampler.each_thread(profile, &mut |sampler, profile, index, proven| {
        if proven && sampler.frames().next().is_none() {
            return;
        }
        if !core::mem::take(&mut first) {
            out.put(b"\n");
        }
        put_header(pid, sampler, index, out);
        if !proven {
            out.put(b"(failed)\n");
            return;
        }
        for frame in sampler.frames().rev() {
            put_frame(profile, frame, true, out);
            out.put(b"\n");
        }
    });
    listed.is_ok()
}

fn put_header(pid: Pid, sampler: &Sampler, index: usize, out: &mut dyn Sink) {
    let Some(&thread) = sampler.thread(index) else { return };
    let ident = sampler.remote().load(thread.state, sampler.interpreter().layout.thread.ident).unwrap_or(0);
    put_number(ident, out);
    out.put(if thread.running { b"*:" } else { b":" });
    let tid = sampler.native_id(thread);
    if let Some(tid) = tid {
        out.put(b" tid ");
        put_number(tid.as_raw_nonzero().get() as u64, out);
        put_name(pid, tid, out);
    }
    out.put(match tid {
        _ if thread.running => b" running",
        Some(tid) if sampler.waits_for_gil(tid) => b" waiting for the GIL",
        Some(tid) if crate::target::on_processor(pid, tid) => b" running without the GIL",
        _ => b" waiting",
    });
    if thread.interpreter != 0 {
        out.put(b" interpreter ");
        put_number(thread.interpreter as u64, out);
    }
    out.put(b"\n");
}

/// The name that the kernel has for the thread (`comm`, proc_pid_comm(5)).
fn put_name(pid: Pid, tid: Pid, out: &mut dyn Sink) {
    let mut buffer = [0; 64];
    let Ok(name) = read_of(pid, tid.as_raw_nonzero().get() as u32, b"comm", &mut buffer) else { return };
    out.put(b" \"");
    escape::put(out, escape::Notation::FoldedFile, name.strip_suffix(b"\n").unwrap_or(name));
    out.put(b"\"");
}
