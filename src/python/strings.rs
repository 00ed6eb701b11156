//! Names of CPython as bytes: `str` of 2.x as it is, `str` of 3.x (PEP 393) as UTF-8.
//!
//! Owns where the characters are and how wide; all offsets come with the caller's table. Refuses lengths and widths
//! that no name has, and never reads more than it can write. What the bytes look like in an output is not decided
//! here: see `report::escape`.
//!
//! An example, the name `é` in 3.12: length 1 at 16, state 0x24 at 32 (kind 1 at bit 2, compact at bit 5, not ascii),
//! so one latin-1 byte `e9` at 56, and `c3 a9` comes out.

use crate::memory::{Addr, Field, Memory, Miss};
use crate::table::head;

/// The longest name that is given whole, in bytes of UTF-8.
pub const MAX_NAME: usize = 1 << 16;
/// What a name ends with that was too long.
pub const CUT: [u8; 3] = *b"\xe2\x80\xa6"; // …
/// Lengths above are taken for torn reads: no name is a gigabyte.
const MAX_LENGTH: i64 = 1 << 30;
/// Characters wider than ASCII are read in pieces of so many bytes.
const WINDOW: usize = 512;

/// How a `str` lies in memory.
#[derive(Clone, Copy, Debug)]
pub enum Strings {
    /// PyStringObject of 2.x (Include/stringobject.h): bytes of no known encoding.
    Bytes {
        /// `ob_size`, in bytes.
        length: Field<i64>,
        /// Offset of `ob_sval`.
        data: u16,
    },
    /// PyUnicodeObject since 3.3 (Include/cpython/unicodeobject.h, PEP 393).
    Unicode {
        /// In characters.
        length: Field<i64>,
        /// The bit field `state`.
        state: Field<u32>,
        /// Where its bits are.
        bits: StateBits,
        /// Offset of the characters of a compact ASCII string: `sizeof(PyASCIIObject)`.
        ascii: u16,
        /// Offset of those of another compact string: `sizeof(PyCompactUnicodeObject)`. A string that is not compact (of
        /// a subclass of `str`) has a pointer to them there: `data.any`.
        compact: u16,
    },
}

/// Bit positions in the `state` of a PEP 393 string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateBits {
    /// Three bits: bytes per character, 1, 2 or 4.
    pub kind: u8,
    /// One bit: the characters follow the object's head.
    pub compact: u8,
    /// One bit: ASCII only.
    pub ascii: u8,
}

impl StateBits {
    /// All builds with a GIL, and free-threaded 3.13: two bits of `interned` come first.
    pub const NARROW: StateBits = StateBits { kind: 2, compact: 5, ascii: 6 };
    /// Free-threaded 3.14 and later: `interned` is a byte.
    pub const WIDE: StateBits = StateBits { kind: 8, compact: 11, ascii: 12 };
}

/// `str` of 2.x.
pub const V2: Strings = Strings::Bytes { length: Field::at(16), data: 36 };
/// 3.3 to 3.11.
pub const V3_3: Strings = Strings::unicode(16, 32, StateBits::NARROW, [48, 72]);
/// 3.12 and later with a GIL.
pub const V3_12: Strings = Strings::unicode(16, 32, StateBits::NARROW, [40, 56]);
/// Free-threaded 3.13.
pub const V3_13T: Strings = Strings::unicode(32, 48, StateBits::NARROW, [56, 72]);
/// Free-threaded 3.14 and later.
pub const V3_14T: Strings = Strings::unicode(32, 48, StateBits::WIDE, [56, 72]);

impl Strings {
    /// A PEP 393 layout from the numbers that a target publishes in `_Py_DebugOffsets.unicode_object`: the offsets
    /// `length` and `state`, and the `sizes` of PyASCIIObject and PyCompactUnicodeObject. The last is not published
    /// before 3.15; there it is 16 more than the first.
    pub const fn unicode(length: u16, state: u16, bits: StateBits, sizes: [u16; 2]) -> Strings {
        let [ascii, compact] = sizes;
        Strings::Unicode { length: Field::at(length), state: Field::at(state), bits, ascii, compact }
    }
}

/// Writes the name at `at` into `into`: how many bytes of it are used then. 3.x: UTF-8; lone surrogates as three bytes
/// `ED A0..BF xx` (generalized UTF-8), numbers above U+10FFFF as U+FFFD. 2.x: the bytes as they are. A name longer than
/// `into` or [`MAX_NAME`] is cut before a character and ends with [`CUT`].
///
/// Errors: [`Miss::Nonsense`] where no name can be, and what reading gives.
pub fn read<M: Memory>(memory: &M, strings: &Strings, at: Addr, into: &mut [u8]) -> Result<usize, Miss> {
    let limit = into.len().min(MAX_NAME);
    let mut text = Text { into: into.get_mut(..limit).unwrap_or_default(), used: 0 };
    let (Strings::Bytes { length, .. } | Strings::Unicode { length, .. }) = *strings;
    let length = plausible(memory.load(at, length)?)?;
    match *strings {
        Strings::Bytes { data, .. } => text.copy(memory, at.plus(data.into()), length)?,
        Strings::Unicode { state, bits, ascii, compact, .. } => {
            let state = memory.load(at, state)?;
            let bit = |position: u8| state >> position & 1 != 0;
            let data = match (bit(bits.compact), bit(bits.ascii)) {
                (true, true) => at.plus(ascii.into()),
                (true, false) => at.plus(compact.into()),
                (false, _) => memory.load(at, Field::at(compact))?,
            };
            match state >> bits.kind & 7 {
                1 if bit(bits.ascii) => {
                    text.copy(memory, data, length)?;
                    // The cut is not ASCII and proves nothing.
                    let own = text.written().strip_suffix(&CUT).unwrap_or(text.written());
                    if !own.iter().all(u8::is_ascii) {
                        return Err(Miss::Nonsense);
                    }
                }
                width @ (1 | 2 | 4) => text.encode(memory, data, length, width as usize)?,
                _ => return Err(Miss::Nonsense),
            }
        }
    }
    Ok(text.used)
}

/// A length that a name can have.
fn plausible(length: i64) -> Result<usize, Miss> {
    if (0..=MAX_LENGTH).contains(&length) { Ok(length as usize) } else { Err(Miss::Nonsense) }
}

/// A name that is being written.
struct Text<'a> {
    into: &'a mut [u8],
    used: usize,
}

impl Text<'_> {
    fn written(&self) -> &[u8] {
        head(self.into, self.used)
    }

    /// Takes `length` bytes as they are.
    fn copy<M: Memory>(&mut self, memory: &M, from: Addr, length: usize) -> Result<(), Miss> {
        self.used = length.min(self.into.len());
        memory.read(from, self.into.get_mut(..self.used).unwrap_or_default())?;
        if self.used < length {
            self.cut();
        }
        Ok(())
    }

    /// Takes `length` characters of `width` bytes each.
    fn encode<M: Memory>(&mut self, memory: &M, from: Addr, length: usize, width: usize) -> Result<(), Miss> {
        let (mut at, mut left) = (from, length * width);
        let mut window = [0; WINDOW];
        while left > 0 {
            let size = left.min(WINDOW);
            let piece = window.get_mut(..size).unwrap_or_default();
            memory.read(at, piece)?;
            let mut characters = &*piece;
            while let Some((character, rest)) = characters.split_at_checked(width) {
                characters = rest;
                let code = character.iter().rev().fold(0, |code, &byte| code << 8 | u32::from(byte));
                if !self.push(code) {
                    self.cut();
                    return Ok(());
                }
            }
            at = at.plus(size as u64);
            left -= size;
        }
        Ok(())
    }

    /// Appends a character in (generalized) UTF-8, if it fits.
    fn push(&mut self, code: u32) -> bool {
        // U+FFFD in place of what is none.
        let code = if code > 0x10_ffff { 0xfffd } else { code };
        let first = match code {
            0..0x80 => return self.append(&[code as u8]),
            0x80..0x800 => 2,
            0x800..0x1_0000 => 1,
            _ => 0,
        };
        let mut bytes = [18u8, 12, 6, 0].map(|shift| (code >> shift & 0x3f | 0x80) as u8);
        let Some(character) = bytes.get_mut(first..) else { return false };
        character[0] |= [0xf0, 0xe0, 0xc0][first];
        self.append(character)
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.used + bytes.len();
        let Some(place) = self.into.get_mut(self.used..end) else { return false };
        place.copy_from_slice(bytes);
        self.used = end;
        true
    }

    /// Takes characters back until the cut can be shown. Nothing is left when there is no room for that either.
    fn cut(&mut self) {
        let mut end = self.into.len().saturating_sub(CUT.len());
        // A character has three bytes at most that continue it; bytes of 2.x can be anything.
        for _ in 0..3 {
            let begins = self.written().get(end).is_none_or(|byte| byte & 0xc0 != 0x80);
            end = if begins { end } else { end.saturating_sub(1) };
        }
        self.used = self.used.min(end);
        self.append(&CUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Bytes;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    const BASE: Addr = Addr(0x7000);
    const ALL: [Strings; 4] = [V3_3, V3_12, V3_13T, V3_14T];

    /// A `str` as CPython would lay it out, `compact` or with its characters elsewhere.
    fn object(strings: &Strings, codes: &[u32], compact_one: bool) -> Vec<u8> {
        let &Strings::Unicode { length, state, bits, ascii, compact } = strings else { unreachable!() };
        let largest = codes.iter().copied().max().unwrap_or(0);
        let (width, is_ascii) =
            (if largest < 0x100 { 1 } else { 2 + 2 * (largest >> 16).min(1) }, largest < 0x80);
        let data = match (compact_one, is_ascii) {
            (true, true) => ascii,
            (true, false) => compact,
            (false, _) => 160,
        };
        let word =
            width << bits.kind | u32::from(compact_one) << bits.compact | u32::from(is_ascii) << bits.ascii;
        let mut bytes = vec![0xaa; data as usize];
        put(&mut bytes, length.offset(), &(codes.len() as u64).to_le_bytes());
        put(&mut bytes, state.offset(), &(word | 1).to_le_bytes());
        if !compact_one {
            put(&mut bytes, compact, &BASE.plus(160).0.to_le_bytes());
        }
        bytes.extend(codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(width as usize)));
        bytes
    }

    fn put(bytes: &mut [u8], at: u16, value: &[u8]) {
        bytes[at as usize..][..value.len()].copy_from_slice(value);
    }

    fn read_into(strings: &Strings, bytes: &[u8], room: usize) -> Result<Vec<u8>, Miss> {
        let mut into = vec![0x55; room];
        let used = read(&Bytes { base: BASE, bytes }, strings, BASE, &mut into)?;
        into.truncate(used);
        Ok(into)
    }

    fn codes(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    #[test]
    fn every_width_in_every_place_comes_out_as_utf8() {
        let long: String = ('a'..='z').cycle().take(3000).collect();
        for text in ["", "f", "run_forever", "é", "naïve", "λ", "日本語", "𝔘nicode", "x\u{10ffff}", &long]
        {
            for text in [text.into(), format!("{text}é"), format!("{text}→ é {long}"), format!("{text}🐍")]
            {
                for (strings, compact) in ALL.iter().flat_map(|s| [(s, true), (s, false)]) {
                    let bytes = object(strings, &codes(&text), compact);
                    assert_eq!(
                        read_into(strings, &bytes, 1 << 14),
                        Ok(text.as_bytes().to_vec()),
                        "{strings:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_example_is_read_as_it_says() {
        let mut bytes = [0; 57];
        (bytes[16], bytes[32], bytes[56]) = (1, 0x24, 0xe9);
        assert_eq!(read_into(&V3_12, &bytes, 9), Ok(b"\xc3\xa9".to_vec()));
    }

    #[test]
    fn bytes_of_2_x_are_copied_as_they_are() {
        let mut bytes = vec![0; 36];
        bytes[16] = 5;
        bytes.extend(b"a\xff\x00\xe9z\0");
        assert_eq!(read_into(&V2, &bytes, 99), Ok(b"a\xff\x00\xe9z".to_vec()));
        assert_eq!(read_into(&V2, &bytes, 5), Ok(b"a\xff\x00\xe9z".to_vec()));
        assert_eq!(read_into(&V2, &bytes, 4), Ok("a…".into()));
        let mut garbage = vec![0x80; 136];
        put(&mut garbage, 16, &100u64.to_le_bytes());
        assert_eq!(read_into(&V2, &garbage, 10), Ok([&[0x80; 4][..], &CUT].concat()));
    }

    #[test]
    fn surrogates_are_kept_and_impossible_numbers_are_replaced() {
        let bytes = object(&V3_12, &[0x61, 0xd800, 0xdce9, 0xdfff], true);
        assert_eq!(read_into(&V3_12, &bytes, 99), Ok(b"a\xed\xa0\x80\xed\xb3\xa9\xed\xbf\xbf".to_vec()));
        let bytes = object(&V3_12, &[0x11_0000, u32::MAX, 0x1_f40d], true);
        assert_eq!(read_into(&V3_12, &bytes, 99).map(String::from_utf8), Ok(Ok("\u{fffd}\u{fffd}🐍".into())));
    }

    #[test]
    fn a_long_name_is_cut_before_a_character_and_says_so() {
        for text in ["abcdefghijkl", "abéôüßñçøåæî", "日本語日本語日本語", "a🐍b🐍c🐍", "éa日🐍"]
        {
            let bytes = object(&V3_3, &codes(text), true);
            for room in 0..text.len() + 2 {
                let got =
                    String::from_utf8(read_into(&V3_3, &bytes, room).expect("readable")).expect("valid");
                if room >= text.len() {
                    assert_eq!(got, text);
                } else if room >= CUT.len() {
                    let kept = got.strip_suffix('…').expect("a cut is visible");
                    assert!(text.starts_with(kept), "{got} of {text}");
                    assert!(got.len() + 3 >= room, "{got} wastes some of {room} bytes");
                } else {
                    assert_eq!(got, "");
                }
            }
        }
        for (text, kept) in [("x", MAX_NAME - 3), ("é", MAX_NAME - 4), ("語", MAX_NAME - 4)] {
            let whole = text.repeat(MAX_NAME / text.len());
            let bytes = object(&V3_12, &codes(&whole), true);
            assert_eq!(read_into(&V3_12, &bytes, MAX_NAME + 9), Ok(whole.clone().into_bytes()));
            let bytes = object(&V3_12, &codes(&format!("{whole}ab")), true);
            let cut = [&whole.as_bytes()[..kept], &CUT].concat();
            assert!(read_into(&V3_12, &bytes, MAX_NAME + 9) == Ok(cut), "{text}");
        }
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for strings in ALL {
            let Strings::Unicode { length, state, bits, .. } = strings else { unreachable!() };
            for wrong in [-1, i64::MIN, MAX_LENGTH + 1, i64::MAX] {
                let mut bytes = object(&strings, &codes("name"), true);
                put(&mut bytes, length.offset(), &wrong.to_le_bytes());
                assert_eq!(read_into(&strings, &bytes, 99), Err(Miss::Nonsense));
            }
            for kind in [0, 3, 5, 6, 7] {
                let mut bytes = object(&strings, &codes("name"), true);
                put(&mut bytes, state.offset(), &(kind << bits.kind | 3u32 << bits.compact).to_le_bytes());
                assert_eq!(read_into(&strings, &bytes, 99), Err(Miss::Nonsense));
            }
            let mut bytes = object(&strings, &codes("name"), true);
            *bytes.last_mut().expect("not empty") = 0x80;
            assert_eq!(read_into(&strings, &bytes, 99), Err(Miss::Nonsense), "not ASCII");
        }
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_a_clean_answer() {
        for (strings, text) in ALL.iter().flat_map(|s| ["plain", "naïve", "日本", "🐍"].map(|t| (s, t)))
        {
            let bytes = object(strings, &codes(text), true);
            for end in 0..bytes.len() {
                assert!(matches!(read_into(strings, &bytes[..end], 99), Err(Miss::Fault)));
            }
            for (at, value) in (0..bytes.len()).flat_map(|at| [0, 1, 0x7f, 0x80, 0xff].map(|v| (at, v))) {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = read_into(strings, &changed, 20);
            }
        }
    }
}
