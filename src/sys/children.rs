//! Who is whose child, as `/proc` has it now: lists of children where the kernel keeps them, else a look at everybody's
//! parent. Remembers nothing.

use super::proc::{Path, numbers, read_of};
use super::raw::{nr, syscall};
use rustix::process::Pid;

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// It has ended: state Z or X.
    pub ended: bool,
    /// Its parent.
    pub parent: u64,
    /// It was forked and has not called `exec` since.
    pub forked: bool,
    /// How many threads it has.
    pub threads: u64,
    /// When it was started, in ticks since boot. A pid that is given away again has another one.
    pub started: u64,
}

impl Stat {
    /// That of process `pid`, if there is one.
    pub fn of(pid: Pid) -> Option<Stat> {
        let mut buffer = [0; 1024];
        Stat::parse(read_of(pid, 0, b"stat", &mut buffer).ok()?)
    }

    /// `77 (any) name) S 1 …`: the fields are counted from the last parenthesis on, as a name may hold one.
    fn parse(stat: &[u8]) -> Option<Stat> {
        const PF_FORKNOEXEC: u64 = 0x40; // linux/sched.h
        let end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields = stat.get(end + 2..)?;
        let ended = matches!(fields.first()?, b'Z' | b'X');
        // From field 4 on. No number that is of interest is negative.
        let (mut numbers, mut at) = ([0u64; 19], 0);
        for &byte in fields.get(2..)? {
            let digit = byte.wrapping_sub(b'0');
            if byte == b' ' {
                at += 1;
            } else if let Some(number) = numbers.get_mut(at).filter(|_| digit < 10) {
                *number = number.wrapping_mul(10).wrapping_add(digit.into());
            }
        }
        let forked = numbers[5] & PF_FORKNOEXEC != 0;
        Some(Stat { ended, parent: numbers[0], forked, threads: numbers[16], started: numbers[18] })
    }
}

/// Whether the kernel keeps lists of children (CONFIG_PROC_CHILDREN).
pub fn are_listed() -> bool {
    let us = rustix::process::getpid();
    read_of(us, us.as_raw_nonzero().get() as u32, b"children", &mut []).is_ok()
}

/// Calls `visit` with each child of `pid`, which has so many `threads`, where the kernel keeps lists.
pub fn each(pid: Pid, threads: u64, visit: &mut dyn FnMut(Pid)) {
    let main = pid.as_raw_nonzero().get() as u64;
    let mut of = |tid: u64| {
        let mut buffer = [0; LISTED];
        let list = read_of(pid, tid as u32, b"children", &mut buffer).unwrap_or_default();
        // `12 345 `
        let mut child = 0i32;
        for &byte in list {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                child = i32::from(digit).wrapping_add(child.wrapping_mul(10));
            } else if let Some(pid) = Pid::from_raw(core::mem::take(&mut child)) {
                visit(pid);
            }
        }
    };
    if threads > 1 {
        // A child belongs to the thread that forked it.
        let _ = numbers(&Path::new(pid, &[b"task"]), &mut of);
    } else {
        of(main);
    }
}

/// Bytes of a list that are read: those of 4,000 pids.
const LISTED: usize = 32 << 10;

/// Calls `visit` with the pid of each process that there is.
pub fn everybody(visit: &mut dyn FnMut(u64)) {
    let _ = numbers(&Path::from(b"/proc"), visit);
}

/// Whether two processes use the same memory, as parent and child do between `vfork` and `exec` (kcmp(2)). No, where the
/// kernel cannot tell.
pub fn share_memory(a: Pid, b: Pid) -> bool {
    const KCMP_VM: usize = 1; // linux/kcmp.h
    let [a, b] = [a, b].map(|pid| pid.as_raw_nonzero().get() as usize);
    // SAFETY: the call compares, and takes nothing but numbers.
    unsafe { syscall(nr::KCMP, [a, b, KCMP_VM, 0, 0, 0]).is_ok_and(|order| order == 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::vec::Vec;
    use std::{format, thread};

    #[test]
    fn a_stat_is_read_behind_the_name() {
        let rest = "1 2 3 0 -1 4194368 100 0 0 0 1 2 0 0 20 0 12 0 98765 1000 10 18446744073709551615";
        let want = Stat { ended: false, parent: 1, forked: true, threads: 12, started: 98765 };
        for name in ["python3", "", "a b", ") Z 1 2", "x) Z", ")", "(("] {
            let stat = |state: &str| format!("77 ({name}) {state} {rest}\n");
            assert_eq!(Stat::parse(stat("S").as_bytes()), Some(want), "{name}");
            assert_eq!(Stat::parse(stat("Z").as_bytes()), Some(Stat { ended: true, ..want }), "{name}");
        }
        let whole = format!("77 (x) R {rest}");
        for end in 0..whole.len() {
            let stat = Stat::parse(&whole.as_bytes()[..end]);
            assert!(stat.is_none_or(|stat| stat.parent <= 1 && !stat.ended), "{end}");
        }
    }

    /// Children of this process by both ways. They need not be there to the end: other tests have some, too.
    fn children() -> (bool, Vec<i32>, Vec<i32>) {
        let us = rustix::process::getpid();
        let (mut listed, mut seen) = (Vec::new(), Vec::new());
        let threads = Stat::of(us).expect("we live").threads;
        each(us, threads, &mut |pid| listed.push(pid.as_raw_nonzero().get()));
        everybody(&mut |number| {
            let stat = Pid::from_raw(number as i32).and_then(Stat::of);
            if stat.is_some_and(|stat| stat.parent == us.as_raw_nonzero().get() as u64) {
                seen.push(number as i32);
            }
        });
        (are_listed(), listed, seen)
    }

    #[test]
    fn children_of_every_thread_are_found_by_both_ways() {
        let spawn = || Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep(1)");
        let mut first = spawn();
        let (to_end, ended) = std::sync::mpsc::channel::<()>();
        let (send, receive) = std::sync::mpsc::channel();
        let forker = thread::spawn(move || {
            send.send(spawn()).unwrap();
            let _ = ended.recv();
        });
        let mut second = receive.recv().unwrap();
        let (kept, listed, seen) = children();
        for child in [&first, &second] {
            let pid = child.id() as i32;
            assert!(seen.contains(&pid));
            assert!(!kept || listed.contains(&pid), "{listed:?}");
            let stat = Stat::of(Pid::from_raw(pid).unwrap()).unwrap();
            assert!(!stat.ended && stat.threads == 1 && stat.started > 0, "{stat:?}");
        }
        let us = rustix::process::getpid();
        assert!(!share_memory(us, Pid::from_raw(first.id() as i32).unwrap()));
        drop(to_end);
        forker.join().unwrap();
        for child in [&mut first, &mut second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
