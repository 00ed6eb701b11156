//! Whether a process can be profiled, without doing it: what was found by all that would be tried, and nobody is stopped.
//!
//! ```text
//! Python 3.13.0, found by symbols in memory, read by process_vm_readv
//! in /usr/lib/libpython3.13.so.1.0
//! threads: 5, each may be stopped
//! It can be profiled
//! ```

use crate::denial::{self, Refused};
use crate::program::put_interpreter;
use crate::report::{Sink, escape, put_number};
use crate::sampler::Sampler;
use crate::sys::ptrace;
use crate::sys::stat::Stat;
use crate::target::Images;

/// Writes what was found in the process of `sampler`, which has these `images`, and whether its threads may be stopped.
pub fn write(sampler: &Sampler, images: &Images, out: &mut dyn Sink) {
    let (pid, interpreter) = (sampler.pid(), sampler.interpreter());
    put_interpreter(interpreter, sampler.remote(), out);
    out.put(b"in ");
    escape::put(out, escape::Notation::FoldedFile, images.path(&interpreter.image));
    out.put(b"\nthreads: ");
    let stat = Stat::read(pid).unwrap_or_default();
    put_number(stat.threads, out);
    // One that stands still for job control (state T) would have to be woken, and to stop again, to be let go.
    if (stat.state != b'T' || ptrace::is_filtered()) && ptrace::may_stop(pid) != 0 {
        out.put(b", none may be stopped: ");
        denial::put(pid, Refused::Stopping, out);
        return out.put(b"\nIt can be profiled as with --nonblocking\n");
    }
    out.put(b", each may be stopped\nIt can be profiled\n");
}
