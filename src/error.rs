//! Everything that can go wrong, as values, and the one function that puts it into words: what happened, to what, and
//! what to do next.

use crate::denial::{self, Refused};
use crate::report::Sink;
use crate::report::template::Value::{Bytes, Number, Version};
use crate::report::template::fill;
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
    /// The same of the version that `--abi` asks for.
    Misfit(u64, u64),
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

impl<'a> Usage<'a> {
    /// What is wrong.
    fn about(self) -> &'a [u8] {
        match self {
            Usage::Pid(text) | Usage::Seconds(text) | Usage::Format(text) => text,
            Usage::Unknown(option) | Usage::Value(option) | Usage::Exclusive(option) => option,
            Usage::Target | Usage::Command => b"",
        }
    }
}

/// Writes `error` as one line or more. Scripts know the beginnings of some, so no name stands in front.
pub fn explain(error: &Error<'_>, out: &mut dyn Sink) {
    let about = match *error {
        Error::Usage(Usage::Target) => return,
        Error::Usage(usage) => Bytes(usage.about()),
        Error::Denied(pid) => Number(pid.as_raw_nonzero().get() as u64),
        Error::Hung(pid) | Error::OnlyStopped(pid) | Error::Bits32(pid) | Error::NotPython(pid) => {
            Number(pid)
        }
        Error::Alone(pid) | Error::Version(pid, _) | Error::Misfit(pid, _) | Error::NoThreads(pid) => {
            Number(pid)
        }
        Error::Abi(name) | Error::Exec(name, _) | Error::Output(name, _) => Bytes(name),
        Error::Write(name, _) | Error::Name(name, _) => Bytes(name),
        Error::Storage(_) | Error::Oneself => Bytes(b"memory"),
    };
    let detail = match *error {
        Error::Storage(errno) | Error::Exec(_, errno) | Error::Output(_, errno) => Bytes(errno_name(errno)),
        Error::Write(_, errno) | Error::Name(_, errno) => Bytes(errno_name(errno)),
        Error::Version(_, hex) | Error::Misfit(_, hex) => Version(hex & 0xffff_0000),
        _ => about,
    };
    fill(words(error), &[about, detail], out);
    match *error {
        Error::Denied(pid) => denial::put(pid, Refused::Reading, out),
        Error::Alone(_) => out.put(b"; -C looks at its children, too"),
        _ => {}
    }
    out.put(b"\n");
}

/// What happened, and what to do next. The first `%` is what it is about, the second the errno or the like.
fn words(error: &Error<'_>) -> &'static [u8] {
    match error {
        Error::Usage(Usage::Target) => b"",
        Error::Usage(Usage::Pid(_)) => b"failed to parse \"%\" as a PID",
        Error::Usage(Usage::Unknown(_)) => b"unknown or ambiguous option %",
        Error::Usage(Usage::Value(_)) => b"option % lacks its value, or takes none",
        Error::Usage(Usage::Seconds(_)) => b"failed to parse \"%\" as a time; write 0.5, 10ms, 2m or inf",
        Error::Usage(Usage::Format(_)) => b"unknown format %; -h lists those that there are",
        Error::Usage(Usage::Exclusive(_)) => b"options % are not mutually compatible",
        Error::Usage(Usage::Command) => b"-t needs a command",
        Error::Storage(_) => b"cannot map %: %",
        Error::Denied(_) => b"Failed to seize PID %: ",
        Error::Hung(_) => {
            b"PID % cannot be read any more: the kernel waits for somebody to say what is on a page or in a \
            file of it (userfaultfd, a file system in user space), for more than 4 s now; /proc/%/maps has its files"
        }
        Error::OnlyStopped(_) => {
            b"PID % can only be read by PTRACE_PEEKDATA, which stops a thread each time, and \
            --nonblocking forbids that"
        }
        Error::Bits32(_) => {
            b"Target ELF file has EI_CLASS ELFCLASS32: PID % runs 32-bit code, only 64-bit is supported"
        }
        Error::NotPython(_) | Error::Alone(_) => {
            b"Failed to locate libpython: PID % has no CPython interpreter in its executable \
            or its libraries"
        }
        Error::Version(_, 0) => {
            b"PID % runs a Python whose version cannot be told; say it with --abi, for example --abi=36"
        }
        Error::Version(..) => {
            b"PID % runs a Python whose version is %, which is not supported; `pyflame --version` lists what is"
        }
        Error::Misfit(..) => b"PID % runs no Python %, which --abi says it does; without it, what it runs is found",
        Error::NoThreads(_) => {
            b"Failed to read the interpreter of PID %: it has no threads; is it still starting, or ending?"
        }
        Error::Abi(_) => b"Unknown or unsupported ABI %; `pyflame --version` lists them",
        Error::Oneself => b"You tried to pyflame a pyflame: it runs no Python",
        Error::Exec(..) => b"%: %\nChild process exited with status 127 before it ran",
        Error::Output(..) => b"cannot open %: %",
        Error::Write(..) => b"cannot write the profile to %: %",
        Error::Name(..) => b"cannot rename the profile to %: %; it is beside that, as .*.pyflame-*",
    }
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
        Errno::MFILE => b"Too many open files (EMFILE)",
        Errno::FBIG => b"File too large (EFBIG)",
        Errno::DQUOT => b"Disk quota exceeded (EDQUOT)",
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
