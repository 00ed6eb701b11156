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
//! | JSON | `r\\xe9;1\\.py` | `f:\u003ca>` |
//! | XML | `r\xe9;1\.py` | `f:&lt;a&gt;` |
//!
//! **Folded.** A line is `frame;frame;… count` and a frame `file:function:line`. The count follows the last space, the
//! line the last colon of its frame, the function the last but one: names may hold spaces, and file names colons.
//! The names come back exactly when these are undone: `\\`, `\n`, `\r`, `\t`; `\xHH` below 80 is that control, `;` or
//! `:`; `\xHH` from 80 on is a byte that was no text (Python shows it as U+DCHH, PEP 383); `\uXXXX` is that character
//! or lone surrogate, where the character is invisible and breaks or turns round a line.
//!
//! **JSON and XML** are for eyes and for programs that show names: what the notation can write comes back exactly, and
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
    /// Between the quotes of a JSON string (RFC 8259); also inside a `<script>`: no `<`.
    Json,
    /// Text or an attribute of XML 1.0, SVG, HTML.
    Xml,
}

/// How one unit is written.
enum Written {
    /// As it is.
    Itself,
    /// As this.
    Text(&'static str),
    /// As this, and two hexadecimal digits.
    Hex2(&'static str, u32),
    /// As this, and four.
    Hex4(&'static str, u32),
}

/// Writes `name` in `notation`.
pub fn put(sink: &mut dyn Sink, notation: Notation, name: &[u8]) {
    let mut units = Units::new(name);
    let mut run = name;
    loop {
        units.skip_ordinary();
        let before = units.rest.len();
        let Some(unit) = units.next() else { break };
        let written = notation.written(unit);
        if let Written::Itself = written {
            continue;
        }
        sink.put(run.get(..run.len() - before).unwrap_or_default());
        run = units.rest;
        written.put(sink);
    }
    sink.put(run);
}

impl Notation {
    fn written(self, unit: Unit) -> Written {
        let char = match unit {
            Unit::Char(char) => char,
            Unit::Byte(byte) => return Written::Hex2(self.backslash("\\x", "\\\\x"), byte.into()),
            Unit::Surrogate(code) => return Written::Hex4(self.backslash("\\u", "\\\\u"), code.into()),
        };
        match self {
            Notation::FoldedFile | Notation::FoldedFunction => self.folded(char),
            Notation::Json => json(char),
            Notation::Xml => xml(char),
        }
    }

    /// The start of an escape that is to be seen: in JSON the backslash itself has to be escaped.
    fn backslash(self, plain: &'static str, json: &'static str) -> &'static str {
        if let Notation::Json = self { json } else { plain }
    }

    fn folded(self, char: char) -> Written {
        match char {
            '\\' => Written::Text("\\\\"),
            ';' => Written::Text("\\x3b"),
            ':' if self == Notation::FoldedFunction => Written::Text("\\x3a"),
            char => visible(char),
        }
    }
}

fn json(char: char) -> Written {
    match char {
        '"' => Written::Text("\\\""),
        '\\' => Written::Text("\\\\"),
        '<' => Written::Text("\\u003c"),
        char if is_hidden(char) => Written::Hex4("\\u", char.into()),
        _ => Written::Itself,
    }
}

fn xml(char: char) -> Written {
    match char {
        '&' => Written::Text("&amp;"),
        '<' => Written::Text("&lt;"),
        '>' => Written::Text("&gt;"),
        '"' => Written::Text("&quot;"),
        '\'' => Written::Text("&#39;"),
        char => visible(char),
    }
}

/// A character in the form that folded uses, if it is one that cannot be seen.
fn visible(char: char) -> Written {
    match char {
        '\n' => Written::Text("\\n"),
        '\r' => Written::Text("\\r"),
        '\t' => Written::Text("\\t"),
        char if !is_hidden(char) => Written::Itself,
        char if char.is_ascii() => Written::Hex2("\\x", char.into()),
        // Not \x: from 80 on that is a byte that was no text.
        char => Written::Hex4("\\u", char.into()),
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

impl Written {
    fn put(self, sink: &mut dyn Sink) {
        let (start, code, digits) = match self {
            Written::Itself => return,
            Written::Text(text) => (text, 0, 0),
            Written::Hex2(start, code) => (start, code, 2),
            Written::Hex4(start, code) => (start, code, 4),
        };
        sink.put(start.as_bytes());
        for digit in (0..digits).rev() {
            let digit = (code >> (4 * digit) & 15) as u8;
            sink.put(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString as _};
    use std::vec::Vec;
    use std::{format, vec};

    const ALL: [Notation; 4] = [FoldedFile, FoldedFunction, Json, Xml];
    use Notation::*;

    impl Sink for Vec<u8> {
        fn put(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
    }

    fn written(notation: Notation, name: &[u8]) -> String {
        let mut bytes = Vec::new();
        put(&mut bytes, notation, name);
        String::from_utf8(bytes).expect("always UTF-8")
    }

    fn units(name: &[u8]) -> Vec<Unit> {
        Units::new(name).collect()
    }

    /// What the module's comment says about folded, backwards.
    fn parse_folded(text: &str) -> Vec<Unit> {
        fn number(rest: &mut std::str::Chars<'_>, digits: usize) -> u32 {
            let digits: String = rest.take(digits).collect();
            u32::from_str_radix(&digits, 16).expect("hexadecimal digits")
        }
        let (mut units, mut rest) = (Vec::new(), text.chars());
        while let Some(char) = rest.next() {
            let escape = if char == '\\' { rest.next() } else { None };
            units.push(match (char, escape) {
                (char, None) => Unit::Char(char),
                (_, Some('\\')) => Unit::Char('\\'),
                (_, Some('n')) => Unit::Char('\n'),
                (_, Some('r')) => Unit::Char('\r'),
                (_, Some('t')) => Unit::Char('\t'),
                (_, Some('x')) => match number(&mut rest, 2) {
                    byte @ 0x80.. => Unit::Byte(byte as u8),
                    code => Unit::Char(code as u8 as char),
                },
                (_, Some('u')) => {
                    let code = number(&mut rest, 4);
                    char::from_u32(code).map_or(Unit::Surrogate(code as u16), Unit::Char)
                }
                (_, Some(other)) => panic!("\\{other} in {text}"),
            });
        }
        units
    }

    /// Reads the inside of a JSON string as RFC 8259 has it.
    fn parse_json(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text.chars());
        while let Some(char) = rest.next() {
            assert!(char >= ' ' && char != '"' && char != '<', "{text}");
            out.push(match (char, if char == '\\' { rest.next() } else { None }) {
                (char, None) => char,
                (_, Some(same @ ('"' | '\\'))) => same,
                (_, Some('u')) => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("hexadecimal digits");
                    char::from_u32(code).expect("no surrogates")
                }
                (_, Some(other)) => panic!("\\{other} in {text}"),
            });
        }
        out
    }

    /// Reads XML text, and fails where a character is none of XML 1.0 or would end the text or an attribute.
    fn parse_xml(text: &str) -> String {
        let allowed = |c| matches!(c, ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(|c| allowed(c) && !"<>\"'".contains(c)), "{text}");
        let mut out = text.to_string();
        for (entity, char) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'")] {
            out = out.replace(entity, char);
        }
        assert!(!out.replace("&amp;", "").contains('&'), "{text}");
        out.replace("&amp;", "&")
    }

    /// Every notation of one name keeps its promises.
    fn check(name: &[u8]) {
        for notation in [FoldedFile, FoldedFunction] {
            let text = written(notation, name);
            assert_eq!(parse_folded(&text), units(name), "{text}");
            assert!(!text.chars().any(|c| c == ';' || is_hidden(c)), "{text:?}");
            assert!(notation == FoldedFile || !text.contains(':'), "{text:?}");
        }
        let shown = |unit| match unit {
            Unit::Char(char) => char.to_string(),
            Unit::Byte(byte) => format!("\\x{byte:02x}"),
            Unit::Surrogate(code) => format!("\\u{code:04x}"),
        };
        let plain: String = units(name).into_iter().map(shown).collect();
        assert_eq!(parse_json(&written(Json, name)), plain);
        let xml = parse_xml(&written(Xml, name));
        assert!(!xml.chars().any(is_hidden));
        if !plain.chars().any(is_hidden) {
            assert_eq!(xml, plain);
        }
    }

    #[test]
    fn the_example_is_written_as_it_says() {
        let (file, function) = (&b"r\xe9;1\\.py"[..], &b"f:<a>"[..]);
        let both = |file_as, function_as| [written(file_as, file), written(function_as, function)];
        assert_eq!(both(FoldedFile, FoldedFunction), [r"r\xe9\x3b1\\.py", r"f\x3a<a>"]);
        assert_eq!(both(Json, Json), [r"r\\xe9;1\\.py", r"f:\u003ca>"]);
        assert_eq!(both(Xml, Xml), [r"r\xe9;1\.py", "f:&lt;a&gt;"]);
        assert_eq!(
            written(FoldedFile, "C:\\a b\u{85}\u{202e}\x7f\n".as_bytes()),
            r"C:\\a b\u0085\u202e\x7f\n"
        );
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["", "run_forever", "/usr/lib/python3.12/a b.py", "naïve", "日本語", "a🐍", "A.b.c"]
        {
            for notation in ALL {
                assert_eq!(written(notation, name.as_bytes()), name);
            }
        }
    }

    #[test]
    fn every_byte_alone_and_among_others() {
        for byte in 0..=255u8 {
            let unit = if byte < 0x80 { Unit::Char(byte.into()) } else { Unit::Byte(byte) };
            assert_eq!(units(&[byte]), [unit]);
            for name in [vec![byte], vec![b'a', byte, b'b'], vec![byte, byte], vec![0xe2, byte, 0xac]] {
                check(&name);
            }
        }
    }

    #[test]
    fn every_character_goes_through_every_notation() {
        for code in (0..0x3000).chain(0xd000..0x1_0100).chain(0x10_fff0..=0x10_ffff) {
            if let Some(char) = char::from_u32(code) {
                let name = char.to_string();
                assert_eq!(units(name.as_bytes()), [Unit::Char(char)]);
                check(name.as_bytes());
            }
        }
    }

    #[test]
    fn surrogates_are_bytes_of_pep_383_or_themselves() {
        for code in 0xd800..=0xdfffu16 {
            let name = [0xed, (code >> 6 & 0x3f) as u8 | 0x80, (code & 0x3f) as u8 | 0x80];
            let byte = (0xdc80..=0xdcff).contains(&code);
            let unit = if byte { Unit::Byte(code as u8) } else { Unit::Surrogate(code) };
            assert_eq!(units(&name), [unit]);
            check(&name);
        }
        // A pair is two of them, as Python shows it.
        assert_eq!(written(FoldedFile, b"\xed\xa0\xbd\xed\xb8\x80"), r"\ud83d\ude00");
    }

    #[test]
    fn what_is_no_sequence_is_its_bytes_one_by_one() {
        let bytes = |name: &[u8]| name.iter().map(|&b| Unit::Byte(b)).collect::<Vec<_>>();
        // Overlong forms of `/`, U+7F, U+7FF, U+FFFF; above U+10FFFF; first bytes that begin nothing.
        let none: [&[u8]; 9] = [
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff\xfe",
        ];
        for name in none {
            assert_eq!(units(name), bytes(name));
            check(name);
        }
        for whole in ["é", "日", "🐍", "\u{10ffff}"] {
            for end in 1..whole.len() {
                let prefix = &whole.as_bytes()[..end];
                assert_eq!(units(prefix), bytes(prefix));
                let followed = [prefix, "é".as_bytes()].concat();
                assert_eq!(units(&followed), [&bytes(prefix)[..], &[Unit::Char('é')]].concat());
                check(&followed);
            }
        }
    }

    #[test]
    fn random_names_come_back() {
        let pieces: [&[u8]; 20] = [
            b"\\",
            b";",
            b":",
            b" ",
            b"x",
            b"\\x3b",
            b"\n",
            b"\0",
            b"<",
            b"&",
            b"'",
            b"\"",
            b"\xe9",
            b"\xed\xb3\xa9",
            b"\xed\xa0\x80",
            b"\xe2\x80",
            b"\xe2\x80\xa8",
            b"\xc2\x85",
            b"abc",
            b"\xf0\x9f\x90\x8d",
        ];
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        for _ in 0..20_000 {
            let name: Vec<u8> =
                (0..random() % 12).flat_map(|_| pieces[random() % pieces.len()]).copied().collect();
            check(&name);
            let name: Vec<u8> = (0..random() % 12).map(|_| random() as u8).collect();
            check(&name);
        }
    }

    #[test]
    fn a_frame_can_be_taken_apart() {
        for (file, function) in
            [("a:b.py", "f:g"), ("<string>", ":"), ("", ""), ("a;b 1", "c d"), ("x:1", "y:2")]
        {
            let file_text = written(FoldedFile, file.as_bytes());
            let frame = format!("{file_text}:{}:12", written(FoldedFunction, function.as_bytes()));
            let parts: Vec<&str> = frame.rsplitn(3, ':').collect();
            assert_eq!(parts[0], "12");
            assert_eq!(parse_folded(parts[1]), units(function.as_bytes()));
            assert_eq!(parse_folded(parts[2]), units(file.as_bytes()));
        }
    }
}
