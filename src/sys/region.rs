//! Fixed regions of memory, mapped once at the start: the only storage that this program has.
//! Address space is reserved at once, memory becomes resident where it is touched.

use core::{mem, ptr, slice};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Values that are valid when all their bytes are zero, which is what fresh pages hold.
///
/// # Safety
/// Every bit pattern of zeros must be a value of the type.
pub unsafe trait Zeroed: Copy {}

macro_rules! zeroed {
    ($($int:ty)*) => {$(
        // SAFETY: an integer of zero bytes is 0.
        unsafe impl Zeroed for $int {}
    )*};
}
zeroed!(u8 u16 u32 u64 usize);

macro_rules! zeroed_structs {
    ($($item:ty)*) => {$(
        // SAFETY: made of integers, of addresses, of options of them and of enumerations whose first value is 0, in
        // which zero bytes are a value; the option of a number is `None` or `Some(0)`.
        unsafe impl Zeroed for $item {}
    )*};
}
zeroed_structs!(
    crate::memory::Span
    crate::prefetch::Page
    crate::profile::Frame
    crate::profile::Function
    crate::profile::NameSpan
    crate::profile::Node
    crate::sampler::Step
    crate::python::code::Known
    crate::python::code::Located
    crate::python::frames::Seen
    crate::python::threads::Thread
    crate::target::Mapped
);
// SAFETY: as the two parts.
unsafe impl<A: Zeroed, B: Zeroed> Zeroed for (A, B) {}

/// Address space, mapped at once, of which regions are cut off one after the other.
pub struct Arena {
    rest: &'static mut [u8],
}

impl Arena {
    /// Maps `bytes` of zeros. Errors: what `mmap(2)` says, ENOMEM in practice.
    pub fn map(bytes: usize) -> Result<Arena, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE | MapFlags::NORESERVE)?
        };
        // SAFETY: it is `bytes` long, zeroed, and never unmapped.
        Ok(Arena { rest: unsafe { slice::from_raw_parts_mut(start.cast(), bytes) } })
    }

    /// `count` zeroed values that live until the process ends. Errors: ENOMEM when the arena is too small.
    pub fn region<T: Zeroed>(&mut self, count: usize) -> Result<&'static mut [T], Errno> {
        const ALIGN: usize = 64; // a line of the cache
        let bytes = count
            .checked_mul(size_of::<T>())
            .and_then(|n| n.checked_next_multiple_of(ALIGN))
            .ok_or(Errno::NOMEM)?;
        let rest = mem::take(&mut self.rest);
        let (region, rest) = rest.split_at_mut_checked(bytes).ok_or(Errno::NOMEM)?;
        self.rest = rest;
        // SAFETY: zeroed and long enough; aligned, since the mapping is and every region is a multiple of `ALIGN`; and
        // handed out once, since it is cut off.
        Ok(unsafe { slice::from_raw_parts_mut(region.as_mut_ptr().cast::<T>(), count) })
    }
}
