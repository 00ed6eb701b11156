use super::*;
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, vec};

const ALL: [Notation; 5] = [FoldedFile, FoldedFunction, Json, Text, Xml];
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
        assert!(char >= ' ' && !"\"<>&".contains(char), "{text}");
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
    assert_eq!(written(Text, name), xml, "what XML says is the text");
    if !plain.chars().any(is_hidden) {
        assert_eq!(xml, plain);
    }
}

#[test]
fn the_example_is_written_as_it_says() {
    let (file, function) = (&b"r\xe9;1\\.py"[..], &b"f:<a>"[..]);
    let both = |file_as, function_as| [written(file_as, file), written(function_as, function)];
    assert_eq!(both(FoldedFile, FoldedFunction), [r"r\xe9\x3b1\\.py", r"f\x3a<a>"]);
    assert_eq!(both(Json, Json), [r"r\\xe9;1\\.py", r"f:\u003ca\u003e"]);
    assert_eq!(both(Text, Text), [r"r\xe9;1\.py", "f:<a>"]);
    assert_eq!(both(Xml, Xml), [r"r\xe9;1\.py", "f:&lt;a&gt;"]);
    assert_eq!(written(FoldedFile, "C:\\a b\u{85}\u{202e}\x7f\n".as_bytes()), r"C:\\a b\u0085\u202e\x7f\n");
}

#[test]
fn ordinary_names_stay_as_they_are() {
    for name in ["", "run_forever", "/usr/lib/python3.12/a b.py", "naïve", "日本語", "a🐍", "A.b.c"] {
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
    for (file, function) in [("a:b.py", "f:g"), ("<string>", ":"), ("", ""), ("a;b 1", "c d"), ("x:1", "y:2")]
    {
        let file_text = written(FoldedFile, file.as_bytes());
        let frame = format!("{file_text}:{}:12", written(FoldedFunction, function.as_bytes()));
        let parts: Vec<&str> = frame.rsplitn(3, ':').collect();
        assert_eq!(parts[0], "12");
        assert_eq!(parse_folded(parts[1]), units(function.as_bytes()));
        assert_eq!(parse_folded(parts[2]), units(file.as_bytes()));
    }
}
