//! Who is whose child, as `/proc` has it now: lists of children where the kernel keeps them, else a look at everybody's
//! parent. Remembers nothing.

use super::filter::Risk;
use super::proc::{Path, READ, numbers, open, read_of};
use super::raw::{nr, syscall};
use crate::table::head;
use rustix::process::Pid;

/// Whether the kernel keeps lists of children (CONFIG_PROC_CHILDREN).
pub fn are_listed() -> bool {
    let us = rustix::process::getpid();
    read_of(us, us.as_raw_nonzero().get() as u32, b"children", &mut []).is_ok()
}

/// Calls `visit` with each child of `pid`, which has so many `threads`, where the kernel keeps lists.
pub fn each(pid: Pid, threads: u64, visit: &mut dyn FnMut(Pid)) {
    let main = pid.as_raw_nonzero().get() as u64;
    let mut of = |tid: u64| {
        let path = Path::of_thread(pid, tid as u32, b"children");
        let Ok(file) = open(&path, READ) else { return };
        let (mut child, mut buffer) = (0i32, [0; 1024]);
        // `12 345 `, of which each read gives a part.
        while let Ok(len @ 1..) = rustix::io::read(&file, &mut buffer) {
            for &byte in head(&buffer, len) {
                let digit = byte.wrapping_sub(b'0');
                if digit < 10 {
                    child = i32::from(digit).wrapping_add(child.wrapping_mul(10));
                } else if let Some(pid) = Pid::from_raw(core::mem::take(&mut child)) {
                    visit(pid);
                }
            }
        }
    };
    if threads != 1 {
        // A child belongs to the thread that forked it.
        let _ = numbers(&Path::new(pid, &[b"task"]), &mut of);
    } else {
        of(main);
    }
}

/// Calls `visit` with the pid of each process that there is.
pub fn everybody(visit: &mut dyn FnMut(u64)) {
    let _ = numbers(&Path::from(b"/proc"), visit);
}

/// Whether two processes use the same memory, as parent and child do between `vfork` and `exec` (kcmp(2)). No, where the
/// kernel cannot tell.
pub fn share_memory(a: Pid, b: Pid) -> bool {
    const KCMP_VM: usize = 1; // linux/kcmp.h
    let number = |pid: Pid| pid.as_raw_nonzero().get() as usize;
    // SAFETY: the call compares, and takes nothing but numbers.
    Risk::Kcmp.is_none()
        && unsafe {
            syscall(nr::KCMP, [number(a), number(b), KCMP_VM, 0, 0, 0]).is_ok_and(|order| order == 0)
        }
}

#[cfg(test)]
mod tests {
    use super::super::stat::Stat;
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::vec::Vec;

    /// Children of this process by both ways. They need not be there to the end: other tests have some, too.
    fn children() -> (bool, Vec<i32>, Vec<i32>) {
        let us = rustix::process::getpid();
        let (mut listed, mut seen) = (Vec::new(), Vec::new());
        let threads = Stat::read(us).expect("we live").threads;
        each(us, threads, &mut |pid| listed.push(pid.as_raw_nonzero().get()));
        everybody(&mut |number| {
            let stat = Pid::from_raw(number as i32).and_then(|pid| Stat::read(pid).ok());
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
            let stat = Stat::read(Pid::from_raw(pid).unwrap()).unwrap();
            assert!(!stat.has_ended() && stat.threads > 0 && stat.start > 0, "{stat:?}");
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
