//! Whether a process can be profiled, without doing it: what was found by all that would be tried, and nobody is stopped.
//!
//! ```text
//! Python 3.13.0, found by symbols in memory, read by process_vm_readv
//! in /usr/lib/libpython3.13.so.1.0
//! threads: 5, each may be stopped
//! It can be profiled
//! ```

use crate::denial::{self, Refused};
use crate::locate::Interpreter;
use crate::program::words::put_interpreter;
use crate::report::Sink;
use crate::report::escape::Notation;
use crate::report::template::Value::{Name, Number};
use crate::report::template::fill;
use crate::sys::ptrace;
use crate::sys::remote::Remote;
use crate::sys::stat::Stat;
use crate::target::Images;
use rustix::process::Pid;

/// Writes what was found in a process, which has these `images`, and whether its threads may be stopped.
pub fn write(pid: Pid, remote: &Remote, interpreter: &Interpreter, images: &Images, out: &mut dyn Sink) {
    put_interpreter(interpreter, remote, out);
    let tid = remote.pid();
    let stat = Stat::read(tid).unwrap_or_default();
    // A first thread that has ended is counted by the kernel as long as there are others.
    let threads = stat.threads.wrapping_sub((tid != pid).into());
    let path = Name(Notation::FoldedFile, images.path(&interpreter.image));
    fill(b"in %\nthreads: %", &[path, Number(threads)], out);
    // One that stands still for job control (state T) would have to be woken, and to stop again, to be let go.
    if (stat.state != b'T' || ptrace::is_filtered()) && ptrace::may_stop(tid) != 0 {
        out.put(b", none may be stopped: ");
        denial::put(pid, Refused::Stopping, out);
        return out.put(b"\nIt can be profiled as with --nonblocking\n");
    }
    out.put(b", each may be stopped\nIt can be profiled\n");
}
