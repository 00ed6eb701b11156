//! How a value has to be read to be used, and words of a struct that are read together.

use super::page::Part;
use crate::memory::{Field, Word};

/// How a value has to be read to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// Once, before everything else: interpreters and who holds the GIL.
    Root,
    /// Once, behind all threads: what tells whether the GIL was handed over meanwhile.
    Last,
    /// Once, at the moment that the stack is taken for: a thread's pointer to its innermost frame.
    Once,
    /// Must hold still around the moment. The number of frames above it.
    Still(u8),
    /// The oldest `Still` frame, before all that is deeper.
    Edge,
    /// Too old to change while one call reads, as long as the frame at the edge did not.
    Deep,
    /// Once, after the frames, and not with every sample: what proves that something known is still so.
    Proof,
    /// Now, and in the rest of the sample before `Proof`: names and line tables.
    Aside,
}

impl Sight {
    pub(super) const fn part(self) -> Part {
        match self {
            Sight::Root | Sight::Last => Part::Root,
            Sight::Once => Part::Once,
            Sight::Still(_) => Part::Still,
            Sight::Edge | Sight::Deep => Part::Deep,
            Sight::Proof => Part::Proof,
            Sight::Aside => Part::Aside,
        }
    }

    pub(super) const fn depth(self) -> u8 {
        match self {
            Sight::Still(depth) => depth,
            Sight::Deep => u8::MAX,
            _ => 0,
        }
    }
}

/// How the moment of a fetch is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Both copies: what must hold still has to be the same in them.
    At,
    /// Only the copy just before it.
    Before,
    /// Only the one just after it.
    After,
}

/// A word of a struct: where it begins and how many bytes it has, at most 8.
#[derive(Clone, Copy)]
pub struct Item {
    /// Bytes from the start of the struct.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// It may change while the struct lives.
    pub moves: bool,
}

impl Item {
    /// A field that holds still.
    pub fn of<T: Word>(field: Field<T>) -> Item {
        Item { offset: field.offset().into(), size: T::SIZE as u32, moves: false }
    }

    /// A field that may move.
    pub fn moving<T: Word>(field: Field<T>) -> Item {
        Item { moves: true, ..Item::of(field) }
    }
}

/// Words of a struct that are read together: at most `N`.
#[derive(Clone, Copy)]
pub struct Items<const N: usize> {
    pub(super) items: [Item; N],
    pub(super) used: usize,
    /// The bytes of the struct from the first to behind the last.
    pub(super) low: u32,
    pub(super) high: u32,
}

impl<const N: usize> Items<N> {
    /// The first `used` of `items`.
    #[inline]
    pub fn new(items: [Item; N], used: usize) -> Items<N> {
        let (low, high) = items.iter().take(used).fold((u32::MAX, 0), |(low, high), item| {
            (low.min(item.offset), high.max(item.offset + item.size))
        });
        Items { items, used, low, high }
    }

    pub(super) fn all(&self) -> &[Item] {
        self.items.get(..self.used).unwrap_or_default()
    }
}
