//! Why a process may not be looked at, or its threads not be stopped: from what can be seen to the one cause.
//!
//! `facts` looks, this decides, `words` says it. The order is the kernel's own (ptrace(2), "Ptrace access mode
//! checking"): first whether the number means anything here, then whether there is something to read, then users,
//! capabilities, "dumpable", Yama, other security modules. Nothing is concluded from an errno alone, since most of these
//! have the same.

mod facts;
#[cfg(test)]
mod tests;
mod words;

use self::facts::Sight;
use crate::report::Sink;
use crate::sys::proc::STATUS;
use crate::sys::stat::{Stat, line, number};
use rustix::process::Pid;

/// Bit of the capability that allows to trace any process of its user namespace (linux/capability.h).
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// Files that are open at the same time, with those that are when it starts, and one to spare.
const FILES: u64 = 8;

/// The errno with which only AppArmor and SELinux refuse (errno-base.h).
const EACCES: i32 = 13;

/// User that stands for one without a number in our user namespace (/proc/sys/kernel/overflowuid).
const UNMAPPED: u64 = 65534;

/// Why it is refused; each is a line of [`words`], in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Cause {
    /// We may not open as many files as it takes.
    Files,
    /// What is at `/proc` is none, or shows other numbers than ours.
    NoProc,
    /// Nobody has this number here, or anywhere.
    NoProcess,
    /// Nobody has it here, but a process has, in its own PID namespace: its number here.
    Renamed,
    /// It is there, but `/proc` hides it.
    Hidden,
    /// It has exited: its parent.
    Zombie,
    /// It is a kernel thread.
    Kernel,
    /// It runs, or ran, as another user or group: its effective ones and ours.
    User,
    /// It has capabilities that we lack.
    Capabilities,
    /// It is set-user-ID, has file capabilities, or has asked for it (PR_SET_DUMPABLE).
    NotDumpable,
    /// Yama's `ptrace_scope`, 1 or 2.
    Yama,
    /// The same, 3.
    YamaForever,
    /// Our capabilities are those of another user namespace.
    UserNamespace,
    /// AppArmor or SELinux.
    Label,
    /// A filter on system calls forbids ptrace.
    Seccomp,
    /// It has a tracer: its pid.
    Traced,
    /// To stop it was refused, and is not now.
    Past,
    /// The last way to read is open, but no thread has stopped in time for it.
    Late,
    /// None of these.
    Unknown,
}

/// What can be seen of process and of us. Each is looked at when it is asked for.
trait Facts {
    /// How many files we may have open.
    fn files(&self) -> u64;
    /// `/proc` shows our own numbers.
    fn proc_is_ours(&self) -> bool;
    /// Somebody has the number.
    fn exists(&self) -> bool;
    /// Its `stat`, if that can be read.
    fn stat(&self) -> Option<Stat>;
    /// The text of our own `status`.
    fn ours(&self) -> &[u8];
    /// The text of its `status`.
    fn theirs(&self) -> &[u8];
    /// Its `exe` can be followed: the weaker right, which Yama does not know.
    fn visible(&self) -> bool;
    /// Owner of its files in `/proc`: root's, when it is not dumpable.
    fn owner(&self) -> u64;
    /// 0 without Yama.
    fn ptrace_scope(&self) -> u64;
    /// Our user namespace is not the first one, and its one is another or cannot be seen.
    fn outside_user_namespace(&self) -> bool;
    /// It or we have a label of a security module that is not "unconfined".
    fn labelled(&self) -> bool;
    /// ptrace is refused whoever it is about.
    fn filtered(&self) -> bool;
    /// The errno by which ptrace would refuse to stop it, 0 if it would not.
    fn stopping(&self) -> i32;
    /// We are in a PID or control group namespace of our own, which is a container.
    fn contained(&self) -> bool;
    /// Who has the number in a PID namespace of its own, or 0.
    fn renamed(&self) -> u64;

    /// Who traces it, or 0.
    fn tracer(&self) -> u64 {
        number(line(self.theirs(), b"\nTracerPid:\t"), 10, 0)
    }

    /// Its effective user or group.
    fn effective(&self, name: &[u8]) -> u64 {
        number(line(self.theirs(), name), 10, 1)
    }
}

/// What is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// To read its memory.
    Reading,
    /// To stop its threads.
    Stopping,
}

/// Looks why that is refused of process `pid`, and writes the cause and what to do.
#[inline(never)] // its buffers are large
pub fn put(pid: Pid, refused: Refused, out: &mut dyn Sink) {
    let (mut ours, mut theirs) = ([0; STATUS], [0; STATUS]);
    // Of a first thread that has ended nothing of this is to be seen.
    let pid = Stat::read(pid).map_or(pid, |stat| stat.living(pid));
    let sight = Sight::new(pid, &mut ours, &mut theirs);
    words::put(decide(&sight, refused), &sight, out);
}

fn decide(facts: &impl Facts, refused: Refused) -> Cause {
    if facts.files() < FILES {
        return Cause::Files;
    }
    if !facts.proc_is_ours() {
        return Cause::NoProc;
    }
    let Some(stat) = facts.stat() else {
        return match facts.renamed() {
            _ if facts.exists() => Cause::Hidden,
            0 => Cause::NoProcess,
            _ => Cause::Renamed,
        };
    };
    match () {
        () if stat.has_ended() => Cause::Zombie,
        () if stat.is_kernel() => Cause::Kernel,
        () if refused == Refused::Reading => reading(facts),
        // It can be read, so users and capabilities are right.
        () if facts.filtered() => Cause::Seccomp,
        () if facts.tracer() != 0 => Cause::Traced,
        () => match facts.stopping() {
            0 => Cause::Past,
            EACCES => Cause::Label,
            _ => Cause::Unknown,
        },
    }
}

fn reading(facts: &impl Facts) -> Cause {
    let differ = |name| line(facts.ours(), name) != line(facts.theirs(), name);
    let mask = |status, name| number(line(status, name), 16, 0);
    let privileged = mask(facts.ours(), b"\nCapEff:\t") & CAP_SYS_PTRACE != 0;
    let more_capable = || mask(facts.theirs(), b"\nCapPrm:\t") & !mask(facts.ours(), b"\nCapPrm:\t") != 0;
    let user = facts.effective(USERS);
    let visible = facts.visible();
    match facts.ptrace_scope() {
        1 | 2 if visible => Cause::Yama,
        3.. if visible => Cause::YamaForever,
        _ if (privileged || user == UNMAPPED) && facts.outside_user_namespace() => Cause::UserNamespace,
        _ if visible || privileged => other(facts),
        _ if differ(USERS) || differ(GROUPS) => Cause::User,
        _ if facts.owner() != user => Cause::NotDumpable,
        _ if more_capable() => Cause::Capabilities,
        _ => other(facts),
    }
}

fn other(facts: &impl Facts) -> Cause {
    match () {
        () if facts.labelled() => Cause::Label,
        // Two ways to read are closed for reasons that nobody tells; this is why the third one is.
        () if facts.filtered() => Cause::Seccomp,
        () => match facts.tracer() {
            0 if facts.stopping() == 0 => Cause::Late,
            0 => Cause::Unknown,
            // We do, still: what has not stopped cannot be let go.
            tracer if tracer == number(line(facts.ours(), b"\nPid:\t"), 10, 0) => Cause::Late,
            _ => Cause::Traced,
        },
    }
}

/// What begins the lines of real, effective, saved and file system user and group.
const USERS: &[u8] = b"\nUid:\t";
const GROUPS: &[u8] = b"\nGid:\t";
