//! The gzip format (RFC 1952), with blocks that are stored as they are (RFC 1951, 3.2.4): nothing is compressed.
//!
//! ```text
//! 1f 8b 08 00 00 00 00 00 00 ff     deflate, no time, an unknown system
//! 00 02 00 fd ff 68 69              a block that is not the last, 2 bytes, and their complement: "hi"
//! 01 00 00 ff ff                    the last one, empty
//! ac 2a 93 d8 02 00 00 00           CRC-32, and the length of all that was stored
//! ```

use crate::report::Sink;

/// Writes what is put into it as a gzip file.
pub struct Gzip<'a> {
    out: &'a mut dyn Sink,
    block: [u8; 4096],
    used: usize,
    crc: u32,
    length: u32,
}

impl<'a> Gzip<'a> {
    /// Begins a file.
    pub fn new(out: &'a mut dyn Sink) -> Gzip<'a> {
        out.put(b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
        Gzip { out, block: [0; 4096], used: 0, crc: !0, length: 0 }
    }

    /// Ends it.
    pub fn finish(&mut self) {
        self.put_block(0);
        self.used = 0;
        self.put_block(1);
        self.out.put(&(!self.crc).to_le_bytes());
        self.out.put(&self.length.to_le_bytes());
    }

    fn put_block(&mut self, last: u8) {
        let length = self.used as u16;
        self.out.put(&[last]);
        self.out.put(&length.to_le_bytes());
        self.out.put(&(!length).to_le_bytes());
        self.out.put(self.block.get(..self.used).unwrap_or_default());
        self.used = 0;
    }
}

impl Sink for Gzip<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.used == self.block.len() {
                self.put_block(0);
            }
            if let Some(place) = self.block.get_mut(self.used) {
                *place = byte;
                self.used += 1;
            }
            self.length = self.length.wrapping_add(1);
            self.crc = (0..8)
                .fold(self.crc ^ u32::from(byte), |crc, _| crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_example_is_written_as_it_says() {
        let mut file = Vec::new();
        let mut gzip = Gzip::new(&mut file);
        gzip.put(b"h");
        gzip.put(b"i");
        gzip.finish();
        let head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";
        let blocks = b"\0\x02\0\xfd\xffhi\x01\0\0\xff\xff";
        assert_eq!(file, [&head[..], blocks, b"\xac\x2a\x93\xd8\x02\0\0\0"].concat());
    }

    #[test]
    fn what_is_long_goes_into_several_blocks() {
        let mut file = Vec::new();
        let mut gzip = Gzip::new(&mut file);
        gzip.put(&[b'x'; 10_000]);
        gzip.finish();
        let mut rest = &file[10..];
        let mut sizes = Vec::new();
        while let [last, low, high, not_low, not_high, after @ ..] = rest {
            let size = u16::from_le_bytes([*low, *high]);
            assert_eq!(!size, u16::from_le_bytes([*not_low, *not_high]));
            sizes.push(size);
            rest = &after[size as usize..];
            if *last == 1 {
                break;
            }
        }
        assert_eq!((sizes, rest.len()), ([4096, 4096, 1808, 0].to_vec(), 8));
        assert_eq!(&rest[4..], 10_000u32.to_le_bytes());
    }
}
