//! System calls that rustix does not offer, by number, and the one instruction that makes them.
//! Refuses meaning: each caller in this folder wraps one call in a typed function.

use core::arch::asm;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::io::Errno;

/// Numbers of the calls made by hand (asm/unistd_64.h).
#[cfg(target_arch = "x86_64")]
pub mod nr {
    pub const CLOCK_GETTIME: usize = 228;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const EXIT_GROUP: usize = 231;
    pub const KCMP: usize = 312;
    pub const GETDENTS64: usize = 217;
    pub const GETRLIMIT: usize = 97;
    pub const PIDFD_OPEN: usize = 434;
    pub const PIPE2: usize = 293;
    pub const PPOLL: usize = 271;
    pub const PROCESS_VM_READV: usize = 310;
    pub const PTRACE: usize = 101;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const RT_SIGTIMEDWAIT: usize = 128;
}

/// Numbers of the calls made by hand (asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
pub mod nr {
    pub const CLOCK_GETTIME: usize = 113;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const EXIT_GROUP: usize = 94;
    pub const KCMP: usize = 272;
    pub const GETDENTS64: usize = 61;
    pub const GETRLIMIT: usize = 163;
    pub const PIDFD_OPEN: usize = 434;
    pub const PIPE2: usize = 59;
    pub const PPOLL: usize = 73;
    pub const PROCESS_VM_READV: usize = 270;
    pub const PTRACE: usize = 117;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
}

/// Makes the system call `nr`: its result, or the errno that the kernel returned as -1 to -4095.
///
/// # Safety
/// The caller owes the kernel what the call demands of its arguments: pointers that are valid for what it reads
/// and writes through them.
#[inline(always)]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's calling convention; it preserves all registers but rax, rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
             in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's calling convention; it preserves all registers but x0.
    unsafe {
        asm!("svc #0", in("x8") nr, inlateout("x0") a as isize => result, in("x1") b, in("x2") c, in("x3") d,
             in("x4") e, in("x5") f, options(nostack));
    }
    if (-4095..0).contains(&result) {
        Err(Errno::from_raw_os_error(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// Begins a thread of this process (clone(2)) at the end of `stack`, which does `work`. Errors: EAGAIN where there may be
/// no more, what a filter says.
///
/// # Safety
/// The stack is used by nobody else as long as the process lives, and is long enough.
pub unsafe fn clone(stack: &'static mut [u8], work: extern "C" fn() -> !) -> Result<usize, Errno> {
    // CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD and _SYSVSEM (linux/sched.h).
    const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
    let top = stack.as_mut_ptr_range().end as usize & !15;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as `syscall`. The thread begins with our registers but for the result, which is 0, and its own stack, and
    // does not come back.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "call r12", "ud2", "2:",
             inlateout("rax") nr::CLONE as isize => result, in("rdi") THREAD, in("rsi") top, in("rdx") 0, in("r10") 0,
             in("r8") 0, in("r12") work, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("svc #0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "blr x9", "brk #1", "2:",
             in("x8") nr::CLONE, inlateout("x0") THREAD as isize => result, in("x1") top, in("x2") 0, in("x3") 0,
             in("x4") 0, in("x9") work, options(nostack));
    }
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(result as usize) }
}

/// Reads entries of a directory into `into`: how many bytes; none at its end, or when it cannot be read.
pub fn getdents(directory: &OwnedFd, into: &mut [u8]) -> usize {
    let fd = directory.as_raw_fd() as usize;
    // SAFETY: the kernel writes at most the bytes that there are.
    let result = unsafe { syscall(nr::GETDENTS64, [fd, into.as_mut_ptr() as usize, into.len(), 0, 0, 0]) };
    result.unwrap_or(0)
}
