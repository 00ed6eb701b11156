//! Fixed regions of memory, mapped once at the start: the only storage that this program has.
//! Address space is reserved at once, memory becomes resident where it is touched.

use core::{mem, ptr, slice};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Values that are valid when all their bytes are zero, which is what fresh pages hold.
///
/// # Safety
/// Every bit pattern of zeros must be a value of the type.
pub unsafe trait Zeroed {}

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
    crate::children::Process
    crate::memory::Span
    crate::prefetch::Page
    crate::profile::Frame
    crate::profile::Function
    crate::profile::NameSpan
    crate::profile::Node
    crate::report::chrome::Lane
    crate::sampler::Lane
    crate::sampler::Step
    crate::python::code::Known
    crate::python::code::Located
    crate::python::frames::Seen
    crate::python::threads::Thread
    crate::target::Mapped
);
// SAFETY: none is what zero bytes are in place of a reference (core::option, "Representation").
unsafe impl<T> Zeroed for Option<&'static mut T> {}

// SAFETY: whatever its bytes are, it need not be a value.
unsafe impl<T> Zeroed for mem::MaybeUninit<T> {}

// SAFETY: as each of them.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

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

    /// `count` zeroed values that live until the process ends. Panics when the arena is too small, which is known
    /// before the program is run even once: what it is asked for does not depend on anything.
    pub fn region<T: Zeroed>(&mut self, count: usize) -> &'static mut [T] {
        let region = self.cut(count * size_of::<T>()).as_mut_ptr();
        // SAFETY: zeroed and long enough, aligned, and handed out once, since it is cut off.
        unsafe { slice::from_raw_parts_mut(region.cast(), count) }
    }

    /// Cuts off `bytes`, aligned for everything since the mapping is and they are rounded up to lines of the cache.
    #[inline(never)] // for every type the same
    fn cut(&mut self, bytes: usize) -> &'static mut [u8] {
        let (region, rest) = mem::take(&mut self.rest).split_at_mut(bytes.next_multiple_of(64));
        self.rest = rest;
        region
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_cut_off_one_after_the_other() {
        let mut arena = Arena::map(4096).expect("a page");
        assert_eq!(arena.region::<u64>(3), [0; 3]);
        let next = arena.region::<u32>(1).as_ptr() as usize;
        assert_eq!(next % 64, 0);
        assert!(arena.region::<Option<&'static mut u8>>(3).iter().all(Option::is_none));
        assert_eq!(arena.region::<u8>(4096 - 3 * 64).len(), 4096 - 3 * 64);
        assert_eq!(arena.region::<u8>(0), []);
    }

    #[test]
    #[should_panic(expected = "mid > len")]
    fn more_than_the_arena_holds_is_refused() {
        Arena::map(4096).expect("a page").region::<u8>(4097);
    }
}
