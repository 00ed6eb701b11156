//! What the program says besides the profile, on standard error.

use crate::children::Remarks;
use crate::cli::{self, Options};
use crate::denial::{self, Refused};
use crate::error::{Error, explain};
use crate::locate::Interpreter;
use crate::profile::Profile;
use crate::python::versions;
use crate::report::escape::{self, Notation};
use crate::report::{Facts, Sink, put_counts, put_number, put_version};
use crate::sys::out::Output;
use crate::sys::remote::Remote;
use crate::sys::{self, stderr};
use rustix::process::Pid;

/// Says what went wrong.
#[inline(never)] // its buffer makes a large frame, in which every address takes longer instructions
pub fn complain(error: &Error<'_>) {
    let mut out = Output::to(stderr());
    if let Error::Usage(_) = error {
        out.put(cli::USAGE);
    }
    explain(error, &mut out);
    let _ = out.finish(); // there is nowhere left to say so
}

/// Says what there is to say besides the profile.
#[inline(never)] // so that its caller has a small frame
pub fn remark(options: &Options<'_>, remarks: &Remarks, profile: &Profile, facts: &Facts<'_>) {
    let mut words = Output::to(stderr());
    if let Some(pid) = remarks.refused {
        words.put(b"pyflame: went on as with --nonblocking, none may be stopped: ");
        denial::put(pid, Refused::Stopping, &mut words);
        words.put(b"\n");
    }
    if remarks.left_out > 0 {
        words.put(b"pyflame: processes left out: ");
        put_number(remarks.left_out, &mut words);
        words.put(b"\n");
    }
    if let Some(pid) = remarks.denied {
        explain(&Error::Denied(pid), &mut words);
    }
    if options.verbose || sys::is_terminal(stderr()) {
        words.put(b"pyflame: ");
        put_counts(&profile.counts, facts.elapsed, &mut words);
        if remarks.stops > 0 {
            words.put(b", ");
            put_number(remarks.stops, &mut words);
            words.put(b" stops to read");
        }
        if remarks.reads > 0 {
            words.put(b", ");
            put_number(remarks.reads, &mut words);
            words.put(b" reads");
        }
        words.put(b"\n");
    }
    let _ = words.finish();
}

/// Says to a person where the profile is and what opens it.
#[inline(never)] // its buffer makes a large frame
pub fn say_written(options: &Options<'_>) {
    let Some(path) = options.output.filter(|_| sys::is_terminal(stderr())) else { return };
    let mut words = Output::to(stderr());
    words.put(b"pyflame: wrote ");
    escape::put(&mut words, Notation::Text, path);
    words.put(b"; it opens in ");
    words.put(options.format().viewers());
    words.put(b"\n");
    let _ = words.finish();
}

/// One line when the layout of this version was never seen before, and one about what was found.
#[inline(never)] // its buffer makes a large frame
pub fn say_found(pid: Pid, interpreter: &Interpreter, remote: &Remote, verbose: bool) {
    let mut out = Output::to(stderr());
    if versions::minor_of(interpreter.version) > versions::NEWEST {
        out.put(b"pyflame: Python ");
        put_version(interpreter.version, &mut out);
        out.put(b" is newer than this program and read by the layout that it publishes itself\n");
    }
    if verbose {
        out.put(b"pyflame: pid ");
        put_number(pid.as_raw_nonzero().get() as u64, &mut out);
        out.put(b": ");
        put_interpreter(interpreter, remote, &mut out);
    }
    let _ = out.finish();
}

/// Writes its version, how it was found and how it is read, as a line.
pub fn put_interpreter(interpreter: &Interpreter, remote: &Remote, out: &mut dyn Sink) {
    out.put(b"Python ");
    put_version(interpreter.version, out);
    out.put(if interpreter.free_threaded { b" free-threaded, found by " } else { b", found by " });
    out.put(interpreter.how);
    out.put(b", read ");
    out.put(remote.how());
    out.put(b"\n");
}
