//! Starting a command as `fork(2)` and `execve(2)` do, with what the shell would give it: our environment, working
//! directory and standard streams, and no signal blocked.

use super::clock::Signals;
use super::proc::Path;
use super::raw::{nr, syscall};
use super::start::Process;
use super::state;
use crate::text;
use core::sync::atomic::Ordering;
use rustix::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

const SIGCHLD: usize = 17;

/// Starts the command that begins at argument `first` of `process`, found through `PATH` as a shell finds it.
/// Errors: the errno of `execve(2)`.
pub fn spawn(process: &Process, first: usize) -> Result<Pid, Errno> {
    let (reader, writer) = pipe()?;
    let Some(pid) = fork()? else {
        Signals::NONE.set_mask();
        let errno = exec(process, first);
        let _ = rustix::io::write(&writer, &errno.raw_os_error().to_ne_bytes());
        super::exit(127)
    };
    drop(writer);
    // The pipe is closed by a successful exec; else the errno comes through.
    let mut errno = [0; 4];
    match rustix::io::read(reader.as_fd(), &mut errno) {
        Ok(4) => {
            let _ = waitpid(Some(pid), WaitOptions::empty());
            Err(Errno::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
        _ => {
            state::get().command.store(pid.as_raw_nonzero().get(), Ordering::Relaxed);
            Ok(pid)
        }
    }
}

/// How the command has ended, if it has: its status, or 128 and the number of the signal, as a shell gives it. A wait that
/// tells of its threads, too, must not be due: a stop that one is told of here is lost.
pub fn ended() -> Option<i32> {
    if state::get().status.load(Ordering::Relaxed) < 0 {
        let command = Pid::from_raw(state::get().command.load(Ordering::Relaxed))?;
        let (_, status) = waitpid(Some(command), WaitOptions::NOHANG).ok()??;
        note_end(command, status);
    }
    match state::get().status.load(Ordering::Relaxed) {
        ..0 => None,
        status if status & 0x7f == 0 => Some(status >> 8),
        status => Some(128 + (status & 0x7f)),
    }
}

/// Takes what a wait told of `pid`, if that is the command and it has ended: a tracer is told in place of the parent.
pub fn note_end(pid: Pid, status: WaitStatus) {
    if pid.as_raw_nonzero().get() == state::get().command.load(Ordering::Relaxed) && !status.stopped() {
        state::get().status.store(status.as_raw(), Ordering::Relaxed);
    }
}

/// Makes a child that goes on from here with a copy of everything: its pid, and none in the child itself.
pub fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: a plain fork. The child has this thread alone and needs nothing of the one that watches.
    let child = unsafe { syscall(nr::CLONE, [SIGCHLD, 0, 0, 0, 0, 0])? };
    Ok(Pid::from_raw(child as i32))
}

/// A pipe whose ends are closed by exec.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    const O_CLOEXEC: usize = 0o2_000_000;
    let mut ends = [0i32; 2];
    // SAFETY: the kernel writes two descriptors, which then are ours alone.
    unsafe {
        syscall(nr::PIPE2, [ends.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0, 0])?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Becomes the command; the errno if that fails: of the last place looked at, or EACCES if one was found but refused.
fn exec(process: &Process, first: usize) -> Errno {
    let name = process.arg(first).map_or(&b""[..], |name| name.to_bytes());
    if text::find(b'/', name).is_some() {
        return exec_at(process, first, b"", name);
    }
    let mut worst = Errno::NOENT;
    for directory in process.env(b"PATH").unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|&b| b == b':') {
        match exec_at(process, first, directory, name) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            errno => return errno,
        }
    }
    worst
}

fn exec_at(process: &Process, first: usize, directory: &[u8], name: &[u8]) -> Errno {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let path = Path::of(&[directory, slash, name]);
    if path.c_str().count_bytes() != directory.len() + slash.len() + name.len() {
        return Errno::NAMETOOLONG;
    }
    let (argv, envp) = process.exec_vectors(first);
    // SAFETY: a string that ends with a NUL and two lists that end with NULL.
    let result = unsafe {
        syscall(nr::EXECVE, [path.c_str().as_ptr() as usize, argv as usize, envp as usize, 0, 0, 0])
    };
    result.err().unwrap_or(Errno::NOEXEC)
}
