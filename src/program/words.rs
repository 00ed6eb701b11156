//! What the program says besides the profile, on standard error.

use crate::children::Remarks;
use crate::cli::{self, Options};
use crate::denial::{self, Refused};
use crate::error::{Error, explain};
use crate::locate::Interpreter;
use crate::profile::Profile;
use crate::python::versions;
use crate::report::escape::Notation;
use crate::report::template::Value::{Bytes, Name, Number, Version};
use crate::report::template::fill;
use crate::report::{Facts, Sink, put_counts, put_some};
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
    put_some(remarks.left_out, b"pyflame: processes left out: %\n", &mut words);
    if let Some(pid) = remarks.denied {
        explain(&Error::Denied(pid), &mut words);
    }
    if options.verbose || sys::is_terminal(stderr()) {
        words.put(b"pyflame: ");
        put_counts(&profile.counts, facts.elapsed, &mut words);
        put_some(remarks.stops, b", % stops to read", &mut words);
        put_some(remarks.reads, b", % reads", &mut words);
        words.put(b"\n");
    }
    let _ = words.finish();
}

/// Says to a person where the profile is and what opens it.
#[inline(never)] // its buffer makes a large frame
pub fn say_written(options: &Options<'_>) {
    let Some(path) = options.output.filter(|_| sys::is_terminal(stderr())) else { return };
    let mut words = Output::to(stderr());
    let values = [Name(Notation::Text, path), Bytes(options.format().viewers())];
    fill(b"pyflame: wrote %; it opens in %\n", &values, &mut words);
    let _ = words.finish();
}

/// One line when the layout of this version was never seen before, and one about what was found.
#[inline(never)] // its buffer makes a large frame
pub fn say_found(pid: Pid, interpreter: &Interpreter, remote: &Remote, verbose: bool) {
    let mut out = Output::to(stderr());
    if versions::minor_of(interpreter.version) > versions::NEWEST {
        let text =
            b"pyflame: Python % is newer than this program and read by the layout that it publishes itself\n";
        fill(text, &[Version(interpreter.version)], &mut out);
    }
    if verbose {
        fill(b"pyflame: pid %: ", &[Number(pid.as_raw_nonzero().get() as u64)], &mut out);
        put_interpreter(interpreter, remote, &mut out);
    }
    let _ = out.finish();
}

/// Writes its version, how it was found and how it is read, as a line.
pub fn put_interpreter(interpreter: &Interpreter, remote: &Remote, out: &mut dyn Sink) {
    let free_threaded: &[u8] = if interpreter.free_threaded { b" free-threaded" } else { b"" };
    let (version, how) = (Version(interpreter.version), Bytes(interpreter.how));
    let values = [version, Bytes(free_threaded), how, Bytes(remote.how())];
    fill(b"Python %%, found by %, read %\n", &values, out);
}
