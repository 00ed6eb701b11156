//! The one seam to the target: fill these bytes from that address.
//!
//! Everything above reads through [`Memory`]; an array implements it too, so all of it runs without a process.
//! Does no system call and believes nothing: what a read returns is an allegation, and each of its bytes is
//! copied once and then used from the copy.

use core::marker::PhantomData;

/// An address in the target. Arithmetic wraps: a wrapped address faults when it is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Addr(pub u64);

impl Addr {
    /// The address `bytes` further on.
    pub const fn plus(self, bytes: u64) -> Addr {
        Addr(self.0.wrapping_add(bytes))
    }

    /// How far this address lies behind `base`, negative when it lies before it.
    pub const fn from_base(self, base: Addr) -> i64 {
        self.0.wrapping_sub(base.0) as i64
    }
}

/// Why a read, or a walk made of reads, gave nothing. As wide as a word, so that a word or this is returned in
/// registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Miss {
    /// Nothing readable there.
    Fault,
    /// The target changed this while it was read.
    Moved,
    /// A list or a chain had no end within its bound.
    Endless,
    /// What is there cannot be what it should be.
    Nonsense,
}

/// Memory of the target, or of something that stands in for it: an array, a file whose offsets are addresses.
pub trait Memory {
    /// Fills `into` with what is at `at`, whole or not at all.
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss>;

    /// The little endian number of `size` bytes at `at`, at most 8.
    fn raw(&self, at: Addr, size: usize) -> Result<u64, Miss> {
        let mut raw = [0; 8];
        let bytes = raw.get_mut(..size).ok_or(Miss::Nonsense)?;
        self.read(at, bytes)?;
        Ok(u64::from_le_bytes(raw))
    }

    /// `N` little endian words of eight bytes at `at`, read at once.
    fn words<const N: usize>(&self, at: Addr) -> Result<[u64; N], Miss>
    where
        Self: Sized,
    {
        let mut raw = [[0; 8]; N];
        self.read(at, raw.as_flattened_mut())?;
        Ok(raw.map(u64::from_le_bytes))
    }

    /// One value at `at`.
    #[inline(always)] // so that what it calls can give all values in a register
    fn word<T: Word>(&self, at: Addr) -> Result<T, Miss>
    where
        Self: Sized,
    {
        self.raw(at, T::SIZE).map(T::from_raw)
    }

    /// One field of the struct at `base`.
    #[inline(always)]
    fn load<T: Word>(&self, base: Addr, field: Field<T>) -> Result<T, Miss>
    where
        Self: Sized,
    {
        self.word(field.of(base))
    }
}

/// A range of the target's memory, as in `struct iovec` (process_vm_readv(2)).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Span {
    /// Where it begins.
    pub base: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Memory of which many ranges can be read at once, in the order given.
pub trait Gather: Memory {
    /// Fills `into` from `spans`, one behind the other: how many bytes came before the first range that could not be
    /// read whole. `None` when the target is gone.
    fn gather(&self, spans: &[Span], into: &mut [u8]) -> Option<usize>;
}

/// A value of at most eight bytes that a field of a struct can hold. 64-bit little endian targets only.
pub trait Word: Copy {
    /// Bytes in the target.
    const SIZE: usize;
    /// From the bytes as they lay in memory, zero-extended.
    fn from_raw(raw: u64) -> Self;
}

macro_rules! integer_words {
    ($($int:ty)*) => {$(
        impl Word for $int {
            const SIZE: usize = size_of::<$int>();
            fn from_raw(raw: u64) -> Self {
                raw as $int
            }
        }
    )*};
}
integer_words!(u8 u16 u32 i32 u64 i64);

impl Word for Addr {
    const SIZE: usize = 8;
    fn from_raw(raw: u64) -> Self {
        Addr(raw)
    }
}

/// A pointer that may be NULL.
impl Word for Option<Addr> {
    const SIZE: usize = 8;
    fn from_raw(raw: u64) -> Self {
        (raw != 0).then_some(Addr(raw))
    }
}

/// The place of a field in a struct of the target, and what it holds there.
pub struct Field<T> {
    offset: u16,
    holds: PhantomData<fn() -> T>,
}

impl<T> Field<T> {
    /// A field that begins `offset` bytes into its struct.
    pub const fn at(offset: u16) -> Field<T> {
        Field { offset, holds: PhantomData }
    }

    /// Its address in the struct at `base`.
    pub const fn of(self, base: Addr) -> Addr {
        base.plus(self.offset as u64)
    }

    /// Bytes from the start of its struct.
    pub const fn offset(self) -> u16 {
        self.offset
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> core::fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "+{}", self.offset)
    }
}

/// Bytes that stand at an address.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    /// Address of the first byte.
    pub base: Addr,
    /// What is there.
    pub bytes: &'a [u8],
}

impl Memory for Bytes<'_> {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        let missing = Miss::Fault;
        let start = usize::try_from(at.0.checked_sub(self.base.0).ok_or(missing)?).map_err(|_| missing)?;
        let end = start.checked_add(into.len()).ok_or(missing)?;
        into.copy_from_slice(self.bytes.get(start..end).ok_or(missing)?);
        Ok(())
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Miss> {
        (**self).read(at, into)
    }

    fn raw(&self, at: Addr, size: usize) -> Result<u64, Miss> {
        (**self).raw(at, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Bytes = Bytes { base: Addr(0x1000), bytes: &[1, 0, 0, 0, 0, 0, 0, 0x80, 0xff] };

    #[test]
    fn words_are_little_endian_and_as_wide_as_their_type() {
        assert_eq!(MEMORY.word::<u64>(Addr(0x1000)), Ok(0x8000_0000_0000_0001));
        assert_eq!(MEMORY.word::<u8>(Addr(0x1008)), Ok(0xff));
        assert_eq!(MEMORY.word::<i32>(Addr(0x1004)), Ok(i32::MIN));
        assert_eq!(
            MEMORY.load(Addr(0xff0), Field::<Option<Addr>>::at(0x10)),
            Ok(Some(Addr(0x8000_0000_0000_0001)))
        );
    }

    #[test]
    fn reads_are_whole_or_not_at_all() {
        assert_eq!(MEMORY.word::<u16>(Addr(0x1008)), Err(Miss::Fault));
        assert_eq!(MEMORY.word::<u8>(Addr(0xfff)), Err(Miss::Fault));
        assert_eq!(MEMORY.word::<u64>(Addr(u64::MAX)), Err(Miss::Fault));
    }
}
