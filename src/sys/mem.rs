//! Copying, filling and comparing memory: the bodies of `memcpy` and its kin, for a program without a C library.
//! Written as single instructions where they exist, so that the compiler cannot turn them into calls of themselves.

use core::arch::asm;

/// memcpy(3).
///
/// # Safety
/// `from` is readable and `to` writable for `n` bytes, and the two do not overlap.
#[inline(always)]
pub unsafe fn copy_forward(to: *mut u8, from: *const u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: moves exactly the `n` bytes that the caller vouches for; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above: 16 bytes at a time, then one at a time.
    unsafe {
        asm!("2:", "cmp {n}, #16", "b.lo 3f", "ldp {a}, {b}, [{from}], #16", "stp {a}, {b}, [{to}], #16",
             "sub {n}, {n}, #16", "b 2b",
             "3:", "cbz {n}, 4f", "ldrb {a:w}, [{from}], #1", "strb {a:w}, [{to}], #1", "sub {n}, {n}, #1", "b 3b",
             "4:",
             n = inout(reg) n => _, to = inout(reg) to => _, from = inout(reg) from => _,
             a = out(reg) _, b = out(reg) _, options(nostack));
    }
}

/// memmove(3).
///
/// # Safety
/// `from` is readable and `to` writable for `n` bytes.
#[inline(always)]
pub unsafe fn copy_overlapping(to: *mut u8, from: *const u8, n: usize) {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: `to` does not begin within the source, so ascending order never overwrites what is still to be read.
        return unsafe { copy_forward(to, from, n) };
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: descending order from the last byte; the flag is cleared again before anything else runs. `n` is not
    // 0 here, since the distance is below it.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") n => _, inout("rdi") to.add(n - 1) => _,
             inout("rsi") from.add(n - 1) => _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: descending order, within the `n` bytes of both.
    unsafe {
        asm!("2:", "cbz {n}, 3f", "sub {n}, {n}, #1", "ldrb {a:w}, [{from}, {n}]", "strb {a:w}, [{to}, {n}]", "b 2b",
             "3:", n = inout(reg) n => _, to = in(reg) to, from = in(reg) from, a = out(reg) _, options(nostack));
    }
}

/// memset(3).
///
/// # Safety
/// `to` is writable for `n` bytes.
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: writes exactly the `n` bytes that the caller vouches for.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte,
             options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("2:", "cbz {n}, 3f", "strb {b:w}, [{to}], #1", "sub {n}, {n}, #1", "b 2b", "3:",
             n = inout(reg) n => _, to = inout(reg) to => _, b = in(reg) u32::from(byte), options(nostack));
    }
}

/// memcmp(3): the difference of the first bytes that differ, or 0.
///
/// # Safety
/// Both are readable for `n` bytes.
#[inline(always)]
pub unsafe fn compare(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut i = 0;
    // SAFETY: every access lies below `n`; the loads of eight bytes are unaligned ones.
    unsafe {
        while i + 8 <= n && a.add(i).cast::<u64>().read_unaligned() == b.add(i).cast::<u64>().read_unaligned()
        {
            i += 8;
        }
        while i < n {
            let (x, y) = (*a.add(i), *b.add(i));
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            i += 1;
        }
    }
    0
}

/// strlen(3).
///
/// # Safety
/// `text` points to bytes that end with a NUL.
#[inline(always)]
pub unsafe fn length(text: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: stops at the NUL. Volatile, or the loop would be recognised and replaced by a call of strlen.
    while unsafe { text.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn copies_move_every_byte_whatever_the_overlap() {
        for n in [0, 1, 7, 8, 15, 16, 17, 63, 200] {
            for shift in -20i32..20 {
                let mut bytes: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
                let mut want = bytes.clone();
                let to = (50 + shift) as usize;
                want.copy_within(50..50 + n, to);
                let base = bytes.as_mut_ptr();
                // SAFETY: all within the vector.
                unsafe { copy_overlapping(base.add(to), base.add(50), n) };
                assert_eq!(bytes, want, "{n} bytes moved by {shift}");
            }
        }
    }

    #[test]
    fn copy_fill_compare_and_length_agree_with_the_plain_way() {
        for n in [0usize, 1, 9, 16, 31, 100] {
            let from: Vec<u8> = (1..=n as u8).collect();
            let mut to = std::vec![0; n];
            // SAFETY: both have `n` bytes.
            unsafe {
                copy_forward(to.as_mut_ptr(), from.as_ptr(), n);
                assert_eq!(to, from);
                assert_eq!(compare(to.as_ptr(), from.as_ptr(), n), 0);
                for i in 0..n {
                    to[i] ^= 0x80;
                    assert_eq!(compare(to.as_ptr(), from.as_ptr(), n).signum(), to[..].cmp(&from[..]) as i32);
                    to[i] ^= 0x80;
                }
                fill(to.as_mut_ptr(), 7, n);
            }
            assert!(to.iter().all(|&b| b == 7));
        }
        // SAFETY: it ends with a NUL.
        assert_eq!(unsafe { length(c"four".as_ptr().cast()) }, 4);
    }
}
