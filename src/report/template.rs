//! Texts with places for values: what most of a format consists of, and what the program says.
//!
//! ```text
//! "% of % %\n" with String(parse), Number(214), Bytes(samples)    "parse" of 214 samples
//! ```

use super::Sink;
use super::escape::{self, Notation};
use crate::text::Decimal;

/// What stands for a `%`.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A number, in decimal.
    Number(u64),
    /// So many tenths, as 117.5 or 117.
    Tenths(u64),
    /// A PY_VERSION_HEX as 3.13.0; as 3.8 where no more is known, since one that is whole has a level, which is not 0.
    Version(u64),
    /// Bytes as they are.
    Bytes(&'a [u8]),
    /// A name.
    Name(Notation, &'a [u8]),
    /// A string of JSON, with its quotes.
    String(&'a [u8]),
}

impl Value<'_> {
    fn put(&self, out: &mut dyn Sink) {
        match *self {
            Value::Number(number) => out.put(Decimal::new(number).bytes()),
            Value::Tenths(tenths) => {
                let text: &[u8] = if tenths.is_multiple_of(10) { b"%" } else { b"%.%" };
                fill(text, &[Value::Number(tenths / 10), Value::Number(tenths % 10)], out);
            }
            Value::Version(version) => {
                let text: &[u8] = if version & 0xffff == 0 { b"%.%" } else { b"%.%.%" };
                fill(text, &[24, 16, 8].map(|shift| Value::Number(version >> shift & 0xff)), out);
            }
            Value::Bytes(bytes) => out.put(bytes),
            Value::Name(notation, name) => escape::put(out, notation, name),
            Value::String(text) => fill(b"\"%\"", &[Value::Name(Notation::Json, text)], out),
        }
    }
}

/// Writes `text`, in which each `%` stands for the next of `values`. Behind the last of them it is a `%`.
pub fn fill(text: &[u8], values: &[Value<'_>], out: &mut dyn Sink) {
    let mut values = values.iter();
    for &byte in text {
        if byte == b'%'
            && let Some(value) = values.next()
        {
            value.put(out);
        } else {
            out.put(&[byte]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value::{Bytes, Name, Number, String, Tenths, Version};
    use super::*;
    use std::vec::Vec;

    fn filled(text: &str, values: &[Value<'_>]) -> std::string::String {
        let mut out = Vec::new();
        fill(text.as_bytes(), values, &mut out);
        std::string::String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_mark_is_a_value_as_long_as_there_are_some() {
        let values = [String(b"parse"), Number(214), Bytes(b"samples"), Name(Notation::Xml, b"<a>")];
        assert_eq!(filled("% of % %\n", &values), "\"parse\" of 214 samples\n");
        assert_eq!(filled("%%%%%\n", &values), "\"parse\"214samples&lt;a&gt;%\n");
        assert_eq!(filled("%, %", &[Tenths(1175), Tenths(1170)]), "117.5, 117");
    }

    #[test]
    fn of_a_version_only_what_is_known_is_written() {
        for (version, expected) in
            [(0x0308_0000, "3.8"), (0x030d_00f0, "3.13.0"), (0x030f_00a1, "3.15.0"), (0x0206_09f0, "2.6.9")]
        {
            assert_eq!(filled("%", &[Version(version)]), expected);
        }
    }
}
