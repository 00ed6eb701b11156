//! The start of the process and what a C library would have brought: the entry point, self-relocation, the
//! memory functions that the compiler calls, the panic handler. Refuses everything that is not needed for that.
//!
//! `cargo test --all-targets` also builds this program as a test of nothing; std then brings a panic handler of
//! its own, so those items are left out, and the entry point ends the process with success.

use core::arch::global_asm;
use pyflame::sys::{STACK, Stack};

// The kernel enters with the stack pointer at `argc`; from there on we use a stack of our own. Frame pointer 0 marks the
// outermost frame. `__ehdr_start` is where the image begins in memory, `_DYNAMIC` its dynamic section: both are reached
// relative to the program counter, so they are right before relocation. Not named `_start`: the musl targets link start files that hold one.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".section .text.pyflame_start,\"ax\",@progbits",
    ".globl pyflame_start",
    ".weak _DYNAMIC",
    ".hidden _DYNAMIC",
    ".hidden __ehdr_start",
    "pyflame_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "lea rsi, [rip + __ehdr_start]",
    "lea rdx, [rip + _DYNAMIC]",
    "lea rsp, [rip + {stack} + 4096 * {pages}]",
    "call {entry}",
    "ud2",
    entry = sym entry,
    stack = sym STACK,
    pages = const Stack::PAGES,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".section .text.pyflame_start,\"ax\",@progbits",
    ".globl pyflame_start",
    ".weak _DYNAMIC",
    ".hidden _DYNAMIC",
    ".hidden __ehdr_start",
    "pyflame_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "adrp x1, __ehdr_start",
    "add x1, x1, :lo12:__ehdr_start",
    "adrp x2, _DYNAMIC",
    "add x2, x2, :lo12:_DYNAMIC",
    "adrp x3, {stack}",
    "add x3, x3, :lo12:{stack}",
    "add sp, x3, #{pages}, lsl #12",
    "bl {entry}",
    "brk #1",
    entry = sym entry,
    stack = sym STACK,
    pages = const Stack::PAGES,
);

#[cfg(target_arch = "x86_64")]
const R_RELATIVE: u64 = 8; // R_X86_64_RELATIVE
#[cfg(target_arch = "aarch64")]
const R_RELATIVE: u64 = 1027; // R_AARCH64_RELATIVE

const DT_NULL: usize = 0;
const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
const DT_RELRSZ: usize = 35;
const DT_RELR: usize = 36;

/// Adds the load address to every word that needs it. Until it has run nothing may be called that could be
/// reached through the global offset table, so it is written with operations on raw pointers alone.
#[inline(always)]
unsafe fn relocate(base: usize, mut dynamic: *const [usize; 2]) {
    let (mut table, mut size) = (0usize, 0usize);
    let (mut packed, mut packed_size) = (0usize, 0usize);
    // SAFETY: the linker ends `_DYNAMIC` with DT_NULL; its tables lie within the image, and each entry of type
    // RELATIVE, like each word that the packed table stands for, is a writable word of the image.
    unsafe {
        while (*dynamic)[0] != DT_NULL {
            match (*dynamic)[0] {
                DT_RELA => table = base + (*dynamic)[1],
                DT_RELASZ => size = (*dynamic)[1],
                DT_RELR => packed = base + (*dynamic)[1],
                DT_RELRSZ => packed_size = (*dynamic)[1],
                _ => {}
            }
            dynamic = dynamic.add(1);
        }
        let mut entry = table as *const [u64; 3];
        let end = (table + size) as *const [u64; 3];
        while entry < end {
            let [offset, info, addend] = *entry;
            if info == R_RELATIVE {
                *((base + offset as usize) as *mut usize) = base + addend as usize;
            }
            entry = entry.add(1);
        }
        relocate_packed(base, packed as *const usize, (packed + packed_size) as *const usize);
    }
}

/// The same where the linker could pack the table (SHT_RELR of the System V ABI): an even entry is the place of a word;
/// an odd one tells by its upper 63 bits which of the 63 words behind the last ones are meant, too.
///
/// # Safety
/// What the entries stand for are writable words of the image.
#[inline(always)]
unsafe fn relocate_packed(base: usize, mut entry: *const usize, end: *const usize) {
    let mut place = base as *mut usize;
    // SAFETY: as the caller says.
    unsafe {
        while entry < end {
            let (mut bits, mut left) = (*entry, 63);
            if bits & 1 == 0 {
                place = (base + bits) as *mut usize;
                (bits, left) = (0b10, 1);
            }
            while left > 0 {
                bits >>= 1;
                if bits & 1 == 1 {
                    *place += base;
                }
                place = place.wrapping_add(1);
                left -= 1;
            }
            entry = entry.add(1);
        }
    }
}

unsafe extern "C" fn entry(stack: *const usize, base: usize, dynamic: *const [usize; 2]) -> ! {
    // SAFETY: called once, by the entry point above, with the addresses that it took.
    unsafe { relocate(base, dynamic) };
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    start(stack)
}

#[cfg(not(test))]
#[inline(never)]
fn start(stack: *const usize) -> ! {
    // SAFETY: `stack` is what the kernel laid out for this process: argc, argv, 0, envp, 0, auxv.
    let process = unsafe { pyflame::sys::start::Process::from_stack(stack) };
    let state = pyflame::sys::state::State::new();
    // SAFETY: this function does not return.
    unsafe { state.keep() };
    pyflame::sys::exit(pyflame::run(&process))
}

#[cfg(test)]
#[inline(never)]
fn start(_stack: *const usize) -> ! {
    pyflame::sys::exit(0)
}

/// The memory functions that `core` and the compiler call by name; the bodies are in the library, where they
/// are tested under other names.
mod symbols {
    use pyflame::sys::mem;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the contract of memcpy(3) is the one of `copy_forward`.
        unsafe { mem::copy_forward(to, from, n) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the contract of memmove(3) is the one of `copy_overlapping`.
        unsafe { mem::copy_overlapping(to, from, n) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        // SAFETY: the contract of memset(3) is the one of `fill`.
        unsafe { mem::fill(to, byte as u8, n) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: the contract of memcmp(3) is the one of `compare`.
        unsafe { mem::compare(a, b, n) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: as memcmp.
        unsafe { mem::compare(a, b, n) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        // SAFETY: the contract of strlen(3) is the one of `length`.
        unsafe { mem::length(text) }
    }
}

/// Named by the unwind tables of precompiled `core` in unoptimised builds; never called, since panics abort.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(debug_assertions)]
    pyflame::sys::report_panic(info);
    #[cfg(not(debug_assertions))]
    let _ = info; // its text and places would cost 5 KB
    pyflame::sys::abort(b"pyflame: internal error, please report it (the target runs on)\n")
}
