//! Everything that can go wrong, as values, and the one function that puts it into words: what happened, to what, and
//! what to do next.

use crate::denial::{self, Refused};
use crate::report::Sink;
use crate::text::Decimal;
use rustix::io::Errno;
use rustix::process::Pid;

/// Why the program ends without, or after, a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// A mistake in the arguments, to be followed by the usage.
    Usage(Usage<'a>),
    /// Not even the fixed storage could be had.
    Storage(Errno),
    /// There is no process with this pid, or it may not be looked at.
    /// Why, `denial` finds out when it is put into words.
    Denied(Pid),
    /// A call that reads it does not end.
    Hung(u64),
    /// It can only be read while it stands still, and may not be stopped.
    OnlyStopped(u64),
    /// It runs 32-bit code.
    Bits32(u64),
    /// No interpreter was found in it.
    NotPython(u64),
    /// The same, and its children were not looked at.
    Alone(u64),
    /// An interpreter was found, but no layout fits it: PY_VERSION_HEX, or 0.
    Version(u64, u64),
    /// An interpreter was found, but its threads could not be read.
    NoThreads(u64),
    /// `--abi` with a number that is none.
    Abi(&'a [u8]),
    /// `-t` with this very program.
    Oneself,
    /// The command cannot be executed.
    Exec(&'a [u8], Errno),
    /// The output cannot be opened.
    Output(&'a [u8], Errno),
    /// The output was opened, but could not be written to the end.
    Write(&'a [u8], Errno),
    /// It was written to the end, but its file could not be given its name.
    Name(&'a [u8], Errno),
}

/// A mistake in the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage<'a> {
    /// Neither a pid nor a command, or more than one pid.
    Target,
    /// Not a pid.
    Pid(&'a [u8]),
    /// An option that there is not, or an abbreviation of several.
    Unknown(&'a [u8]),
    /// An option without the value that it needs, or with one that it does not take.
    Value(&'a [u8]),
    /// A value that is no number of seconds.
    Seconds(&'a [u8]),
    /// A format that there is not.
    Format(&'a [u8]),
    /// Two options that exclude each other.
    Exclusive(&'static [u8]),
    /// `-t` without a command.
    Command,
}

/// Writes `error` as one line or more. Scripts know the beginnings of some, so no name stands in front.
pub fn explain(error: &Error<'_>, out: &mut dyn Sink) {
    words(error, out);
    if !matches!(error, Error::Usage(Usage::Target)) {
        out.put(b"\n");
    }
}

#[inline(never)] // smaller
fn words(error: &Error<'_>, out: &mut dyn Sink) {
    match *error {
        Error::Usage(usage) => explain_usage(usage, out),
        Error::Storage(errno) => say(out, b"cannot map memory: %", &[errno_name(errno)]),
        Error::Denied(pid) => {
            say_pid(out, b"Failed to seize PID %: ", pid.as_raw_nonzero().get() as u64);
            denial::put(pid, Refused::Reading, out);
        }
        Error::Hung(pid) => {
            let text = b"PID % cannot be read any more: the kernel waits for somebody to say what is on a page or in a \
                file of it (userfaultfd, a file system in user space), for more than 4 s now; /proc/%/maps has its files";
            let number = Decimal::new(pid);
            say(out, text, &[number.bytes(), number.bytes()]);
        }
        Error::OnlyStopped(pid) => {
            let text = b"PID % can only be read by PTRACE_PEEKDATA, which stops a thread each time, and \
                --nonblocking forbids that";
            say_pid(out, text, pid);
        }
        Error::Bits32(pid) => {
            let text =
                b"Target ELF file has EI_CLASS ELFCLASS32: PID % runs 32-bit code, only 64-bit is supported";
            say_pid(out, text, pid);
        }
        Error::NotPython(pid) | Error::Alone(pid) => {
            let text = b"Failed to locate libpython: PID % has no CPython interpreter in its executable \
                or its libraries";
            say_pid(out, text, pid);
            if matches!(error, Error::Alone(_)) {
                out.put(b"; -C looks at its children, too");
            }
        }
        Error::Version(pid, hex) => explain_version(pid, hex, out),
        Error::NoThreads(pid) => {
            let text = b"Failed to read the interpreter of PID %: it has no threads; is it still starting, \
                or ending?";
            say_pid(out, text, pid);
        }
        Error::Abi(abi) => say(out, b"Unknown or unsupported ABI %; `pyflame --version` lists them", &[abi]),
        Error::Oneself => out.put(b"You tried to pyflame a pyflame: it runs no Python"),
        Error::Exec(name, errno) => {
            let text = b"%: %\nChild process exited with status 127 before it ran";
            say(out, text, &[name, errno_name(errno)]);
        }
        Error::Output(path, errno) => say(out, b"cannot open %: %", &[path, errno_name(errno)]),
        Error::Write(path, errno) => {
            say(out, b"cannot write the profile to %: %", &[path, errno_name(errno)])
        }
        Error::Name(path, errno) => {
            let text = b"cannot rename the profile to %: %; it is beside that, as .*.pyflame-*";
            say(out, text, &[path, errno_name(errno)]);
        }
    }
}

fn explain_usage(usage: Usage<'_>, out: &mut dyn Sink) {
    let (text, about): (&[u8], _) = match usage {
        Usage::Target => return,
        Usage::Pid(text) => (b"failed to parse \"%\" as a PID", text),
        Usage::Unknown(option) => (b"unknown or ambiguous option %", option),
        Usage::Value(option) => (b"option % lacks its value, or takes none", option),
        Usage::Seconds(text) => (b"failed to parse \"%\" as a time; write 0.5, 10ms, 2m or inf", text),
        Usage::Format(name) => (b"unknown format %; -h lists those that there are", name),
        Usage::Exclusive(options) => (b"options % are not mutually compatible", options),
        Usage::Command => (b"-t needs a command", b""),
    };
    say(out, text, &[about]);
}

fn explain_version(pid: u64, hex: u64, out: &mut dyn Sink) {
    say_pid(out, b"PID % runs a Python whose version ", pid);
    if hex == 0 {
        return out.put(b"cannot be told; say it with --abi, for example --abi=36");
    }
    let (major, minor) = (Decimal::new(hex >> 24 & 0xff), Decimal::new(hex >> 16 & 0xff));
    let text = b"is %.%, which is not supported; `pyflame --version` lists what is";
    say(out, text, &[major.bytes(), minor.bytes()]);
}

/// Writes `text`, in which each `%` stands for the next of `parts`.
fn say(out: &mut dyn Sink, text: &[u8], parts: &[&[u8]]) {
    let mut pieces = text.split(|&byte| byte == b'%');
    out.put(pieces.next().unwrap_or_default());
    for (part, piece) in parts.iter().zip(pieces) {
        out.put(part);
        out.put(piece);
    }
}

fn say_pid(out: &mut dyn Sink, text: &[u8], pid: u64) {
    say(out, text, &[Decimal::new(pid).bytes()]);
}

/// Names of the errors that this program meets (errno(3)).
pub fn errno_name(errno: Errno) -> &'static [u8] {
    match errno {
        Errno::PERM => b"Operation not permitted (EPERM)",
        Errno::NOENT => b"No such file or directory (ENOENT)",
        Errno::SRCH => b"No such process (ESRCH)",
        Errno::IO => b"Input/output error (EIO)",
        Errno::ACCESS => b"Permission denied (EACCES)",
        Errno::NOMEM => b"Cannot allocate memory (ENOMEM)",
        Errno::ISDIR => b"Is a directory (EISDIR)",
        Errno::NOTDIR => b"Not a directory (ENOTDIR)",
        Errno::NOSPC => b"No space left on device (ENOSPC)",
        Errno::ROFS => b"Read-only file system (EROFS)",
        Errno::PIPE => b"Broken pipe (EPIPE)",
        Errno::NOSYS => b"Function not implemented (ENOSYS)",
        Errno::LOOP => b"A symbolic link that is not followed (ELOOP)",
        Errno::BADF => b"Bad file descriptor (EBADF)",
        Errno::NOEXEC => b"Exec format error (ENOEXEC)",
        _ => b"unexpected error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn said(error: Error<'_>) -> String {
        struct Text(Vec<u8>);
        impl Sink for Text {
            fn put(&mut self, bytes: &[u8]) {
                self.0.extend(bytes);
            }
        }
        let mut text = Text(Vec::new());
        explain(&error, &mut text);
        String::from_utf8(text.0).unwrap()
    }

    #[test]
    fn children_are_hinted_at_where_they_were_not_looked_at() {
        let (all, alone) = (said(Error::NotPython(71)), said(Error::Alone(71)));
        assert!(all.contains("PID 71 has no CPython") && all.ends_with("its libraries\n"), "{all}");
        assert_eq!(alone, all.replace('\n', "; -C looks at its children, too\n"));
    }
}
