//! What can be seen of the reason for a refusal. Looks, and tries nothing but to follow links: what asks for the right
//! itself makes Yama write to the system's log.

use super::Facts;
use crate::sys::proc::{self, Path, STATUS, read_file};
use crate::sys::ptrace;
use crate::sys::stat::{Stat, line, number};
use crate::sys::walk::{Known, known};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

/// Numbers of the first namespace of each kind (linux/proc_ns.h).
const FIRST_CGROUP: u64 = 0xefff_fffb;
const FIRST_PID: u64 = 0xefff_fffc;
const FIRST_USER: u64 = 0xefff_fffd;

/// A process as it is seen.
pub(super) struct Sight<'a> {
    pid: Pid,
    ours: &'a [u8],
    theirs: &'a [u8],
}

impl<'a> Sight<'a> {
    /// Process `pid`, and us; where the texts of their `status` go.
    pub fn new(pid: Pid, ours: &'a mut [u8], theirs: &'a mut [u8]) -> Sight<'a> {
        Sight { pid, ours: text(getpid(), b"status", ours), theirs: text(pid, b"status", theirs) }
    }
}

impl Facts for Sight<'_> {
    fn files(&self) -> u64 {
        proc::files_limit()
    }

    fn proc_is_ours(&self) -> bool {
        proc::is_ours()
    }

    fn exists(&self) -> bool {
        test_kill_process(self.pid) != Err(Errno::SRCH)
    }

    fn stat(&self) -> Option<Stat> {
        Stat::read(self.pid).ok()
    }

    fn ours(&self) -> &[u8] {
        self.ours
    }

    fn theirs(&self) -> &[u8] {
        self.theirs
    }

    fn visible(&self) -> bool {
        inode(self.pid, b"exe").0 != 0
    }

    fn owner(&self) -> u64 {
        inode(self.pid, b"mem").1
    }

    fn ptrace_scope(&self) -> u64 {
        let mut digit = [0; 1];
        number(text(getpid(), b"../sys/kernel/yama/ptrace_scope", &mut digit), 10, 0)
    }

    fn outside_user_namespace(&self) -> bool {
        let (ours, _) = inode(getpid(), b"ns/user");
        ours != FIRST_USER && ours != inode(self.pid, b"ns/user").0
    }

    fn labelled(&self) -> bool {
        is_labelled(getpid()) || is_labelled(self.pid)
    }

    fn filtered(&self) -> bool {
        ptrace::is_filtered()
    }

    fn stopping(&self) -> i32 {
        ptrace::may_stop(self.pid)
    }

    fn contained(&self) -> bool {
        let (pids, _) = inode(getpid(), b"ns/pid");
        let (groups, _) = inode(getpid(), b"ns/cgroup");
        (pids ^ FIRST_PID) | (groups ^ FIRST_CGROUP) != 0
    }

    fn renamed(&self) -> u64 {
        let mut found = 0;
        let mut buffer = [0; STATUS];
        let _ = proc::numbers(&Path::from(b"/proc"), &mut |other| {
            let Some(process) = Pid::from_raw(other as i32) else { return };
            let inner = line(text(process, b"status", &mut buffer), b"\nNSpid:\t");
            if (1..8).any(|level| number(inner, 10, level) == self.pid.as_raw_nonzero().get() as u64) {
                found = other;
            }
        });
        found
    }
}

/// The name of process `pid`, or of none.
pub(super) fn name(pid: u64) -> [u8; 16] {
    let mut name = [0; 16];
    if let Some(pid) = Pid::from_raw(pid as i32) {
        text(pid, b"comm", &mut name);
    }
    name
}

/// The text of a file in `/proc/PID`; empty where there is none.
#[inline(never)]
fn text<'a>(pid: Pid, name: &[u8], into: &'a mut [u8]) -> &'a [u8] {
    read_file(&Path::new(pid, &[name]), into).unwrap_or_default()
}

/// The number and the owner of what a link or file in `/proc/PID` leads to; zeros when that may not be seen. For a
/// namespace it is its number.
#[inline(never)]
fn inode(pid: Pid, name: &[u8]) -> (u64, u64) {
    let Known { inode, owner, .. } = known(CWD, Path::new(pid, &[name]).c_str());
    (inode, owner.into())
}

fn is_labelled(pid: Pid) -> bool {
    let mut buffer = [0; 16];
    let label = text(pid, b"attr/current", &mut buffer);
    !label.is_empty() && !label.starts_with(b"unconfined")
}
