//! Line tables: which line of the source an instruction belongs to, in the four ways in which CPython has written it.
//!
//! Owns the search for one instruction, as a stream: the table is fed in pieces of any size, so one of megabytes needs
//! no buffer. Reads no memory, and refuses nothing: a table that is cut or makes no sense gives no line, or a wrong
//! one, in time linear to its length. One line at a time: whoever needs it often keeps it.
//!
//! An example for all: the tables of
//!
//! ```text
//! 20  def area(w, h):
//! 21
//! 22      return w * (
//! 23          h + 1)
//! ```
//!
//! which loads `w` (line 22), adds up `h` and 1 (23), multiplies and returns (22 again):
//!
//! | variant | table | read as |
//! |---|---|---|
//! | `LnotabUnsigned` (2.7) | `00 02, 03 01` | from 0 on line 20 + 2, from 0 + 3 on line 22 + 1; it never goes back |
//! | `LnotabSigned` (3.8) | `00 02, 02 01, 06 ff` | from 0 on 20 + 2, from 0 + 2 on 22 + 1, from 2 + 6 on 23 - 1 |
//! | `Deltas` (3.10) | `02 02, 06 01, 04 ff` | 2 bytes of code in 20 + 2, then 6 in 22 + 1, then 4 in 23 - 1 |
//!
//! and `Locations` (3.11) `80 00, e0 0b 0c, d8 08 09, 88 41, 89 05, f1 03 01 0c 0f, …`: a code unit in line 20, one in
//! 20 + 2, one in 22 + 1, one and two more there, two in 23 - 1 (`03` is the varint of -1), … The rest is columns.

/// How a line table is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineTable {
    /// `co_lnotab` up to 3.5: pairs (bytes of code, lines), both unsigned. The line is that of the last pair whose
    /// sum of bytes is not behind the instruction (Objects/lnotab_notes.txt).
    LnotabUnsigned,
    /// `co_lnotab` of 3.6 to 3.9: the same, but lines are signed (Objects/lnotab_notes.txt).
    LnotabSigned,
    /// `co_linetable` of 3.10: pairs (bytes of code, lines), lines signed and counted *before* the code that the pair
    /// covers; -128: that code has no line (Objects/lnotab_notes.txt, PEP 626).
    Deltas,
    /// `co_linetable` since 3.11: entries of one to eight code units of two bytes. Bit 7 is set in the first byte of an
    /// entry only (Objects/locations.md of 3.11).
    Locations,
}

/// What the last byte that was fed belongs to.
enum State {
    /// The next byte begins a pair or an entry, or is none that tells a line.
    Between,
    /// The first byte of a pair of `Deltas`.
    Bytes(u8),
    /// The pair of `co_lnotab` whose code begins at `end`.
    Lines,
    /// A signed varint: its value so far, and where the next six bits go. `bytes` of code are waiting for it.
    Step { bytes: u8, value: u32, shift: u32 },
}

/// Kinds of entries in `Locations`, bits 3 to 6 of their first byte (`_PyCodeLocationInfoKind`, cpython/code.h).
mod kind {
    /// The lines 0, 1 or 2 on; two bytes of columns follow.
    pub const ONE_LINE: core::ops::RangeInclusive<u8> = 10..=12;
    /// A varint of lines follows, and nothing else.
    pub const NO_COLUMNS: u8 = 13;
    /// A varint of lines follows, then three of the end line and the columns.
    pub const LONG: u8 = 14;
    /// No line at all.
    pub const NONE: u8 = 15;
}

/// A search for the line of one instruction.
pub struct Search {
    table: LineTable,
    lasti: i64,
    /// How many bytes of code the table has covered so far.
    end: i64,
    /// The line that it has reached.
    line: i32,
    state: State,
    /// The answer, once there is one.
    answer: Option<Option<i32>>,
}

impl Search {
    /// Will look for the instruction at `lasti`, in bytes from the start of the code. A negative one stands for a frame
    /// that has run nothing yet: its line is `first_line`, the code object's `co_firstlineno`.
    pub fn new(table: LineTable, first_line: i32, lasti: i64) -> Search {
        let answer = (lasti < 0).then_some(Some(first_line));
        Search { table, lasti, end: 0, line: first_line, state: State::Between, answer }
    }

    /// Takes the next bytes of the table, cut anywhere. True: the line is known, more bytes change nothing.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut bytes = bytes.iter();
        while self.answer.is_none() {
            let Some(&byte) = bytes.next() else { return false };
            match self.table {
                LineTable::LnotabUnsigned => self.lnotab(byte, i32::from(byte)),
                LineTable::LnotabSigned => self.lnotab(byte, i32::from(byte as i8)),
                LineTable::Deltas => self.delta(byte),
                LineTable::Locations => self.location(byte),
            }
        }
        true
    }

    /// The line, when all of the table was fed or [`Search::feed`] said that it is enough. `None`: the instruction has
    /// no line (code that the compiler made up, 3.10 and later), or the table ended before it.
    pub fn line(self) -> Option<i32> {
        let last = match self.table {
            LineTable::LnotabUnsigned | LineTable::LnotabSigned => Some(self.line),
            LineTable::Deltas | LineTable::Locations => None,
        };
        self.answer.unwrap_or(last)
    }

    /// A byte of `co_lnotab`; `lines` is the same byte as a step (`PyCode_Addr2Line`, Objects/codeobject.c of 3.9).
    fn lnotab(&mut self, byte: u8, lines: i32) {
        if let State::Lines = self.state {
            self.line = self.line.wrapping_add(lines);
            self.state = State::Between;
            return;
        }
        self.end = self.end.wrapping_add(i64::from(byte));
        if self.end > self.lasti {
            self.answer = Some(Some(self.line));
        }
        self.state = State::Lines;
    }

    /// A byte of `co_linetable` of 3.10 (`advance`, Objects/codeobject.c of 3.10).
    fn delta(&mut self, byte: u8) {
        let State::Bytes(bytes) = self.state else {
            self.state = State::Bytes(byte);
            return;
        };
        self.state = State::Between;
        match byte as i8 {
            i8::MIN => self.cover(bytes, None),
            lines => self.step(bytes, i32::from(lines)),
        }
    }

    /// A byte of `co_linetable` since 3.11 (`advance` and `get_line_delta`, Objects/codeobject.c).
    fn location(&mut self, byte: u8) {
        if byte & 0x80 != 0 {
            return self.entry(byte >> 3 & 15, ((byte & 7) + 1) * 2);
        }
        let State::Step { bytes, value, shift } = self.state else { return };
        // Bits that do not fit into 32 are lost, as they are in CPython.
        let value = value | u32::from(byte & 0x3f).checked_shl(shift).unwrap_or(0);
        if byte & 0x40 != 0 {
            self.state = State::Step { bytes, value, shift: shift.saturating_add(6) };
            return;
        }
        self.state = State::Between;
        let lines = (value >> 1) as i32;
        self.step(bytes, if value & 1 == 0 { lines } else { -lines });
    }

    /// The first byte of an entry.
    fn entry(&mut self, kind: u8, bytes: u8) {
        self.state = State::Between;
        match kind {
            kind::NO_COLUMNS | kind::LONG => self.state = State::Step { bytes, value: 0, shift: 0 },
            kind::NONE => self.cover(bytes, None),
            kind if kind::ONE_LINE.contains(&kind) => {
                self.step(bytes, i32::from(kind - kind::ONE_LINE.start()))
            }
            _ => self.step(bytes, 0),
        }
    }

    /// The next `bytes` of code belong to the line that is `lines` further on.
    fn step(&mut self, bytes: u8, lines: i32) {
        self.line = self.line.wrapping_add(lines);
        self.cover(bytes, Some(self.line));
    }

    /// The next `bytes` of code belong to `line`.
    fn cover(&mut self, bytes: u8, line: Option<i32>) {
        self.end = self.end.wrapping_add(i64::from(bytes));
        if self.end > self.lasti {
            self.answer = Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LineTable::*;
    use std::vec::Vec;

    const AREA: [(LineTable, &[u8], &[i32]); 4] = [
        (LnotabUnsigned, &[0, 2, 3, 1], &[22, 22, 22, 23, 23, 23, 23, 23, 23, 23, 23, 23]),
        (LnotabSigned, &[0, 2, 2, 1, 6, 0xff], &[22, 22, 23, 23, 23, 23, 23, 23, 22, 22, 22, 22]),
        (Deltas, &[2, 2, 6, 1, 4, 0xff], &[22, 22, 23, 23, 23, 23, 23, 23, 22, 22, 22, 22]),
        (
            Locations,
            b"\x80\x00\xe0\x0b\x0c\xd8\x08\x09\x88\x41\x89\x05\xf1\x03\x01\x0c\x0f\xf0\x00\x01\x05\x0f",
            &[20, 20, 22, 22, 23, 23, 23, 23, 23, 23, 23, 23, 22, 22, 22, 22, 22, 22],
        ),
    ];

    fn line(table: LineTable, bytes: &[u8], first_line: i32, lasti: i64) -> Option<i32> {
        let mut search = Search::new(table, first_line, lasti);
        search.feed(bytes);
        search.line()
    }

    #[test]
    fn the_example_is_read_as_it_says() {
        for (table, bytes, lines) in AREA {
            let read: Vec<_> = (0..lines.len()).map(|at| line(table, bytes, 20, at as i64)).collect();
            assert_eq!(read, lines.iter().copied().map(Some).collect::<Vec<_>>(), "{table:?}");
        }
    }

    #[test]
    fn before_the_first_instruction_it_is_the_first_line() {
        for (table, bytes, _) in AREA {
            for lasti in [-1, -2, i64::MIN] {
                assert_eq!(line(table, bytes, 20, lasti), Some(20), "{table:?}");
                assert_eq!(line(table, &[], 20, lasti), Some(20), "{table:?}");
            }
        }
    }

    #[test]
    fn behind_the_table_there_is_no_line_but_in_lnotab() {
        for (table, bytes, lines) in AREA {
            let lnotab = matches!(table, LnotabUnsigned | LnotabSigned);
            for lasti in [lines.len() as i64, i64::from(i32::MAX), i64::MAX] {
                let last = lnotab.then(|| lines[lines.len() - 1]);
                assert_eq!(line(table, bytes, 20, lasti), last, "{table:?}");
            }
            assert_eq!(line(table, &[], 20, 0), lnotab.then_some(20), "{table:?}");
        }
    }

    #[test]
    fn code_without_a_line_leaves_the_line_of_what_follows() {
        // 2 bytes in line 11, 4 without a line, an empty pair of 100 lines, 2 bytes in 11 + 100 + 5.
        let deltas = [2, 1, 4, 0x80, 0, 100, 2, 5];
        // The same: +1 (kind 11), none (kind 15, two units), +105 as a varint of two bytes (kind 13).
        let locations = [0xd8, 0, 0, 0xf9, 0xe8, 0x52, 0x03];
        for (table, bytes) in [(Deltas, &deltas[..]), (Locations, &locations[..])] {
            let read = [0, 1, 2, 5, 6, 7, 8].map(|at| line(table, bytes, 10, at));
            assert_eq!(read, [Some(11), Some(11), None, None, Some(116), Some(116), None], "{table:?}");
        }
    }

    #[test]
    fn varints_that_do_not_fit_lose_bits_and_nothing_else() {
        let step = |varint: &[u8]| line(Locations, &[&[0xe8], varint].concat(), 0, 0);
        assert_eq!(step(&[0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x03]), Some(-i32::MAX));
        assert_eq!(step(&[0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x3f]), Some(i32::MAX));
        let endless = [0x40; 1000];
        assert_eq!(step(&[&endless[..], &[0x3f]].concat()), Some(0));
        assert_eq!(step(&endless), None);
        assert_eq!(line(Locations, &[0xe8, 0x02], i32::MAX, 0), Some(i32::MIN));
        assert_eq!(line(LnotabSigned, &[0, 0x80], i32::MIN, 1), Some(i32::MAX - 127));
    }

    /// A plain generator (Vigna's splitmix64), so that a failure comes back.
    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
    }

    #[test]
    fn any_bytes_cut_anywhere_give_what_they_give_whole() {
        let mut seed = 1;
        for round in 0..4000u64 {
            let bytes: Vec<u8> = (0..random(&mut seed) % 90).map(|_| random(&mut seed) as u8).collect();
            let lasti = (random(&mut seed) % 400) as i64;
            let table = [LnotabUnsigned, LnotabSigned, Deltas, Locations][round as usize % 4];
            let whole = line(table, &bytes, 7, lasti);
            let mut search = Search::new(table, 7, lasti);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, next) = rest.split_at(rest.len().min(random(&mut seed) as usize % 5));
                rest = next;
                if search.feed(piece) {
                    assert!(search.feed(&[0xaa; 9]), "settled and open again");
                    break;
                }
            }
            assert_eq!(search.line(), whole, "{table:?} {bytes:02x?} at {lasti}");
        }
    }
}
