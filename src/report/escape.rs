//! Names as they stand in an output: what every notation does to the characters that it cannot show.
//!
//! Owns the walk over the bytes of a name and the escapes. A name is UTF-8, with lone surrogates in generalized UTF-8,
//! or, from 2.x, any bytes at all; what comes out is valid UTF-8 in one line, always. Refuses no name, and changes none
//! that is made of ordinary letters.
//!
//! An example: the function `f:<a>` in the file `ré;1\.py`, where the `é` is the single byte e9 of an old file system:
//!
//! | notation | file | function |
//! |---|---|---|
//! | folded | `r\xe9\x3b1\\.py` | `f\x3a<a>` |
//! | JSON | `r\\xe9;1\\.py` | `f:\u003ca\u003e` |
//! | text | `r\xe9;1\.py` | `f:<a>` |
//! | XML | `r\xe9;1\.py` | `f:&lt;a&gt;` |
//!
//! **Folded.** A line is `frame;frame;… count` and a frame `file:function:line`. The count follows the last space, the
//! line the last colon of its frame, the function the last but one: names may hold spaces, and file names colons.
//! The names come back exactly when these are undone: `\\`, `\n`, `\r`, `\t`; `\xHH` below 80 is that control, `;` or
//! `:`; `\xHH` from 80 on is a byte that was no text (Python shows it as U+DCHH, PEP 383); `\uXXXX` is that character
//! or lone surrogate, where the character is invisible and breaks or turns round a line.
//!
//! **JSON, XML and text** are for eyes and for programs that show names: what the notation can write comes back exactly, and
//! what it cannot stands there in the form that folded uses, not to be told from a name with such backslashes in it.

use super::Sink;

/// What a name consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A character.
    Char(char),
    /// A byte, 0x80 to 0xff, that is not part of one: it stood there, or as U+DC80 to U+DCFF (PEP 383).
    Byte(u8),
    /// Any other lone surrogate, 0xd800 to 0xdfff.
    Surrogate(u16),
}

impl Unit {
    fn code(self) -> u32 {
        match self {
            Unit::Char(char) => char.into(),
            Unit::Byte(byte) => byte.into(),
            Unit::Surrogate(code) => code.into(),
        }
    }
}

/// The units of a name, from its bytes.
pub struct Units<'a> {
    rest: &'a [u8],
}

impl<'a> Units<'a> {
    /// From the first byte of `name` on.
    pub fn new(name: &'a [u8]) -> Units<'a> {
        Units { rest: name }
    }

    /// Passes what every notation leaves alone, most of most names, faster than unit by unit.
    fn skip_ordinary(&mut self) {
        let ordinary =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-' | b' ');
        let end = self.rest.iter().position(|byte| !ordinary(byte)).unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    /// A character or surrogate of several bytes at the front: its number, and what follows it.
    /// Overlong forms and numbers above U+10FFFF are none (Unicode, table 3-7).
    fn sequence(&self) -> Option<(u32, &'a [u8])> {
        let (&first, rest) = self.rest.split_first()?;
        let (size, least, bits) = match first {
            0xc2..=0xdf => (1, 0x80, first & 0x1f),
            0xe0..=0xef => (2, 0x800, first & 0xf),
            0xf0..=0xf4 => (3, 0x1_0000, first & 7),
            _ => return None,
        };
        let (tail, rest) = rest.split_at_checked(size)?;
        let mut code = u32::from(bits);
        for &byte in tail {
            code = code << 6 | u32::from(byte & 0x3f);
        }
        let valid = tail.iter().all(|byte| byte & 0xc0 == 0x80) && (least..=0x10_ffff).contains(&code);
        valid.then_some((code, rest))
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (&first, rest) = self.rest.split_first()?;
        let (code, rest) = match self.sequence() {
            Some(sequence) => sequence,
            None if first < 0x80 => (first.into(), rest),
            None => (0xdc00 | u32::from(first), rest),
        };
        self.rest = rest;
        Some(match char::from_u32(code) {
            Some(char) => Unit::Char(char),
            None if (0xdc80..0xdd00).contains(&code) => Unit::Byte(code as u8),
            None => Unit::Surrogate(code as u16),
        })
    }
}

/// Where a name is to stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notation {
    /// The file of a folded frame.
    FoldedFile,
    /// The function of a folded frame: no colon in it.
    FoldedFunction,
    /// Between the quotes of a JSON string (RFC 8259); also inside of XML and HTML: no `<`, `>` and `&`.
    Json,
    /// Where any text may stand.
    Text,
    /// Text or an attribute of XML 1.0, SVG, HTML.
    Xml,
}

/// Writes `name` in `notation`.
pub fn put(sink: &mut dyn Sink, notation: Notation, name: &[u8]) {
    let mut units = Units::new(name);
    let mut run = name;
    loop {
        units.skip_ordinary();
        let before = units.rest.len();
        let Some(unit) = units.next() else { break };
        let escape = notation.escape(unit);
        if escape.is_empty() {
            continue;
        }
        sink.put(run.get(..run.len() - before).unwrap_or_default());
        run = units.rest;
        for (left, byte) in (0..escape.len()).rev().zip(escape.bytes()) {
            let digit = (unit.code() >> (4 * left) & 15) as u8;
            sink.put(&[match byte {
                b'%' if digit < 10 => b'0' + digit,
                b'%' => b'a' + digit - 10,
                byte => byte,
            }]);
        }
    }
    sink.put(run);
}

/// What stands for a unit is a text in which each `%` is a hexadecimal digit of its number, the last at the end. Nothing:
/// it stands for itself.
impl Notation {
    #[inline(never)] // smaller
    fn escape(self, unit: Unit) -> &'static str {
        let char = match unit {
            Unit::Char(char) => char,
            // In JSON the backslash itself has to be escaped.
            Unit::Byte(_) if self == Notation::Json => return "\\\\x%%",
            Unit::Byte(_) => return "\\x%%",
            Unit::Surrogate(_) if self == Notation::Json => return "\\\\u%%%%",
            Unit::Surrogate(_) => return "\\u%%%%",
        };
        match (self, char) {
            (Notation::Json, '"') => "\\\"",
            (Notation::Json | Notation::FoldedFile | Notation::FoldedFunction, '\\') => "\\\\",
            (Notation::Json, '<' | '>' | '&') => "\\u%%%%",
            (Notation::FoldedFile | Notation::FoldedFunction, ';') => "\\x3b",
            (Notation::FoldedFunction, ':') => "\\x3a",
            (Notation::Xml, '&') => "&amp;",
            (Notation::Xml, '<') => "&lt;",
            (Notation::Xml, '>') => "&gt;",
            (Notation::Xml, '"') => "&quot;",
            (Notation::Xml, '\'') => "&#39;",
            (_, char) if !is_hidden(char) => "",
            (Notation::Json, _) => "\\u%%%%",
            (_, '\n') => "\\n",
            (_, '\r') => "\\r",
            (_, '\t') => "\\t",
            (_, char) if char.is_ascii() => "\\x%%",
            // Not \x: from 80 on that is a byte that was no text.
            _ => "\\u%%%%",
        }
    }
}

/// Controls, what ends a line or changes its direction (Unicode: Cc, Zl, Zp, Bidi_Control), and the two characters of
/// four digits that XML 1.0 does not have.
fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fffe}'..='\u{ffff}'
    )
}

#[cfg(test)]
mod tests;
