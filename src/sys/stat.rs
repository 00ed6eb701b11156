//! What `/proc` says of a process in `stat` and `status` (proc_pid_stat(5), proc_pid_status(5)), as numbers.

use super::proc::{Path, numbers, read_of};
use rustix::io::Errno;
use rustix::process::Pid;

/// Fields of `stat`; what could not be read is 0.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Stat {
    /// A letter, as R for running.
    pub state: u8,
    /// The parent's pid.
    pub parent: u64,
    /// PF_… of the kernel (linux/sched.h).
    pub flags: u64,
    /// Threads, a first one that has ended included.
    pub threads: u64,
    /// When it started, in clock ticks since the system did.
    pub start: u64,
}

impl Stat {
    /// Of process or thread `pid`.
    pub fn read(pid: Pid) -> Result<Stat, Errno> {
        let mut buffer = [0; 1024];
        read_of(pid, 0, b"stat", &mut buffer).map(Stat::parse)
    }

    fn parse(text: &[u8]) -> Stat {
        let text = behind_name(text);
        let field = |n: usize| number(text, 10, n - 3);
        let state = text.first().copied().unwrap_or_default();
        Stat { state, parent: field(4), flags: field(9), threads: field(20), start: field(22) }
    }

    /// Whether it runs no more: a thread has ended, or the first one of a process, whose others may go on.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether it has ended or is about to: it may have no memory any more (PF_EXITING).
    pub fn is_ending(&self) -> bool {
        self.has_ended() || self.flags & 0x4 != 0
    }

    /// Whether none of its threads runs any more.
    pub fn is_over(&self) -> bool {
        self.has_ended() && self.threads < 2
    }

    /// By which number process `pid`, whose `stat` this is, can be looked at: its own, or where the first thread has ended
    /// that of another one, if there is any. A thread that ends gives up the memory with which the others go on: from then
    /// on `process_vm_readv` says ESRCH for its number, and its `maps`, `exe` and `cmdline` are empty.
    pub fn living(&self, pid: Pid) -> Pid {
        let mut found = pid;
        if self.has_ended() && self.threads > 1 {
            let _ = numbers(&Path::new(pid, &[b"task"]), &mut |number| {
                let tid = Pid::from_raw(number as i32).filter(|_| found == pid);
                let lives = |&tid: &Pid| Stat::read(tid).is_ok_and(|stat| !stat.has_ended());
                found = tid.filter(lives).unwrap_or(found);
            });
        }
        found
    }

    /// Whether it was forked and has not called `exec` since (PF_FORKNOEXEC).
    pub fn is_forked(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// Whether the kernel runs it for itself (PF_KTHREAD).
    pub fn is_kernel(&self) -> bool {
        self.flags & 0x20_0000 != 0
    }
}

/// A `stat` from its third field, the state, on: a name may hold anything, a parenthesis too.
pub fn behind_name(stat: &[u8]) -> &[u8] {
    let end = stat.iter().rposition(|&b| b == b')').unwrap_or(0);
    stat.get(end + 2..).unwrap_or_default()
}

/// What follows `name` in a line of a `status`: a newline and all that is in front of a number.
#[inline(never)]
pub fn line<'a>(status: &'a [u8], name: &[u8]) -> &'a [u8] {
    let start = status.windows(name.len()).position(|window| window == name);
    let rest = start.and_then(|start| status.get(start + name.len()..)).unwrap_or_default();
    rest.split(|&b| b == b'\n').next().unwrap_or_default()
}

/// Number `index` in a line, to the base of `radix`; 0 where there is none.
#[inline(never)]
pub fn number(line: &[u8], radix: u32, index: usize) -> u64 {
    let mut left = index;
    let mut sum = 0u64;
    for &byte in line {
        match (byte as char).to_digit(radix) {
            _ if byte <= b' ' && left == 0 => break,
            _ if byte <= b' ' => left -= 1,
            Some(digit) if left == 0 => sum = sum.wrapping_mul(radix.into()).wrapping_add(digit.into()),
            _ => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let rest = "9 1 1 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 12 1000 10 18446744073709551615";
        for name in ["python3", "", "a b", ") Z 1 2", "x) Z", ")", "((", "R Z X ) X", "tab\tbed"] {
            for state in ["R", "S", "D", "t", "T", "I", "Z", "X"] {
                let stat = Stat::parse(format!("77 ({name}) {state} {rest}\n").as_bytes());
                let state = state.as_bytes()[0];
                assert_eq!(
                    stat,
                    Stat { state, parent: 9, flags: 0x40_0000, threads: 3, start: 12 },
                    "{name}"
                );
                assert_eq!(stat.has_ended(), state == b'Z' || state == b'X');
                assert!(!stat.is_kernel());
            }
            // kthreadd: 0x208040
            let kernel = rest.replace("4194304", "2129984").replace("-1", "0");
            assert!(Stat::parse(format!("77 ({name}) S {kernel}\n").as_bytes()).is_kernel());
        }
        let whole = format!("77 (python3) S {rest}");
        for end in 0..whole.len() {
            assert!(!Stat::parse(&whole.as_bytes()[..end]).has_ended(), "{end}");
        }
    }

    #[test]
    fn lines_of_a_status_hold_numbers() {
        let status = b"Name:\tUid:\t7\nUid:\t0\t1000\t2 3\nCapEff:\t000001fffeffffff\nNSpid:\t1 2 3 4\nx";
        assert_eq!(
            [0, 1, 2, 3, 4].map(|index| number(line(status, b"\nUid:\t"), 10, index)),
            [0, 1000, 2, 3, 0]
        );
        assert_eq!(number(line(status, b"\nCapEff:\t"), 16, 0), 0x1ff_feff_ffff);
        assert_eq!(number(line(status, b"\nNSpid:\t"), 10, 3), 4);
        assert_eq!(line(status, b"\nGid:"), b"");
        for end in 0..status.len() {
            let _ = number(line(&status[..end], b"\nNSpid:\t"), 10, 3);
        }
    }
}
