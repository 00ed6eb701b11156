//! A refusal in words: what it was, and what to do. The words for containers are those of Docker and Kubernetes.

use super::facts::name;
use super::{Cause, Facts, GROUPS, USERS};
use crate::report::escape::{self, Notation};
use crate::report::{Sink, put_number};

/// A line for each cause, in their order. A digit behind `%` says which number; `@` is the name of the tracer. At the end
/// a plus: it takes CAP_SYS_PTRACE; an ampersand: the same, but only in a container; an asterisk: others can be seen from another
/// container.
const CAUSES: &str = concat!(
    "pyflame may open only %6 files, it takes 8 (ulimit -n 8)\n",
    "/proc is not that of this PID namespace (mount -t proc proc /proc)\n",
    "no such process*\n",
    "no such process; PID %0 has that number in its own PID namespace\n",
    "/proc is mounted with hidepid and hides it+\n",
    "it has exited, its parent PID %1 has not collected it\n",
    "it is a kernel thread\n",
    "it runs as user %2, group %3, which pyflame does not+\n",
    "it has capabilities that pyflame lacks+\n",
    "it is not dumpable (set-user-ID, file capabilities, PR_SET_DUMPABLE)+\n",
    "kernel.yama.ptrace_scope is %4 (0: its user may; 1: who starts it, pyflame -t)+\n",
    "kernel.yama.ptrace_scope is 3: nobody may\n",
    "it is in another user namespace, where we have no rights; run pyflame outside\n",
    "AppArmor or SELinux forbids it (see dmesg, attr/current)\n",
    "a seccomp filter forbids ptrace&\n",
    "PID %5 (@) traces it, only one can\n",
    "ptrace refused it, and would not now\n",
    "it can only be read while a thread stands still, and that does not stop in time\n",
    "users and capabilities allow it, something else does not (Landlock, BPF)\n",
);

/// Writes the cause with its numbers, and what to do, in a container or not.
pub(super) fn put(cause: Cause, facts: &impl Facts, out: &mut dyn Sink) {
    let (mut lines, contained) = (cause as u8, facts.contained());
    let mut bytes = CAUSES.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            _ if lines > 0 => lines -= u8::from(byte == b'\n'),
            b'%' => put_number(number(facts, bytes.next()), out),
            b'@' => put_name(&name(facts.tracer()), out),
            b'+' | b'&' if contained => out.put(IN_CONTAINER),
            b'+' => out.put(b": it takes CAP_SYS_PTRACE (sudo)"),
            b'*' if contained => out.put(ABSENT_IN_CONTAINER),
            b'*' | b'&' => {}
            b'\n' => return,
            _ => out.put(&[byte]),
        }
    }
}

/// What `comm` holds, and zeros behind it: a newline ends it, others and what a terminal obeys can be in it.
pub(super) fn put_name(comm: &[u8], out: &mut dyn Sink) {
    let name = comm.split(|&byte| byte == 0).next().unwrap_or_default();
    escape::put(out, Notation::FoldedFile, name.strip_suffix(b"\n").unwrap_or(name));
}

/// What stands for `%0` to `%6`.
fn number(facts: &impl Facts, digit: Option<u8>) -> u64 {
    match digit {
        Some(b'0') => facts.renamed(),
        Some(b'6') => facts.files(),
        Some(b'1') => facts.stat().unwrap_or_default().parent,
        Some(b'2') => facts.effective(USERS),
        Some(b'3') => facts.effective(GROUPS),
        Some(b'4') => facts.ptrace_scope(),
        _ => facts.tracer(),
    }
}

const IN_CONTAINER: &[u8] = b": it takes CAP_SYS_PTRACE.
In this container: docker run --cap-add SYS_PTRACE; Kubernetes securityContext.capabilities.add
[SYS_PTRACE], or kubectl debug --target=CONTAINER --profile=general";
const ABSENT_IN_CONTAINER: &[u8] = b".
In this container, to see others: docker run --pid=container:NAME; Kubernetes
shareProcessNamespace, or kubectl debug --target=CONTAINER";
