//! Fixed regions of memory, mapped once at the start: the only storage that this program has.
//! Address space is reserved at once, memory becomes resident where it is touched.

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
    crate::python::code::Known
    crate::python::code::Located
    crate::python::frames::Seen
    crate::python::threads::Thread
    crate::target::Mapped
);
// SAFETY: as the two parts.
unsafe impl<A: Zeroed, B: Zeroed> Zeroed for (A, B) {}

/// `count` zeroed values that live until the process ends. Errors: what `mmap(2)` says, ENOMEM in practice.
pub fn region<T: Zeroed>(count: usize) -> Result<&'static mut [T], Errno> {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Errno::NOMEM)?;
    // SAFETY: a fresh private mapping at an address of the kernel's choice aliases nothing.
    let start = unsafe {
        mmap_anonymous(
            core::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?
    };
    // SAFETY: page aligned, `bytes` long, zeroed, never unmapped, and handed out once.
    Ok(unsafe { core::slice::from_raw_parts_mut(start.cast::<T>(), count) })
}
