//! Notes of an image, for the one that tells which file it is: the build id.
//!
//! Owns the layout of PT_NOTE segments. Refuses to read more than a few notes, and to know any other kind.
//!
//! ```text
//! 04 00 00 00  14 00 00 00  03 00 00 00   name of 4 bytes, content of 20, type 3: NT_GNU_BUILD_ID
//! 47 4e 55 00                             "GNU"
//! 83 d5 9b …                              the build id, 20 bytes
//! ```
//!
//! Source: gABI chapter 5, "Note Section"; ld(1), `--build-id`.

use crate::memory::{Addr, Memory, Miss};

/// Notes in one PT_NOTE segment. Linkers write about three.
const MAX_NOTES: u32 = 64;

/// Bytes of `Elf64_Nhdr`, the head of a note; its name follows, then its content.
const HEAD: u64 = 12;
/// The second word of the note that is wanted: NT_GNU_BUILD_ID, and the name.
const BUILD_ID: u64 = u64::from_le_bytes(*b"\x03\0\0\0GNU\0");

/// The linker's fingerprint of an image: NT_GNU_BUILD_ID, 20 bytes by default. Equal ids mean the same file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuildId {
    bytes: [u8; 32],
    size: u32,
}

impl BuildId {
    /// From its `size` bytes at `at`. Of a longer one the first 32 are kept.
    fn read(memory: &impl Memory, at: Addr, size: u32) -> Result<BuildId, Miss> {
        let mut id = BuildId { bytes: [0; 32], size };
        let kept = id.bytes.len().min(size as usize);
        memory.read(at, id.bytes.get_mut(..kept).unwrap_or_default())?;
        Ok(id)
    }

    /// Its bytes, at most 32.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size as usize).unwrap_or(&self.bytes)
    }
}

/// The build id among the notes at `at`, `size` bytes of them. `align`: `p_align` of their segment.
pub(super) fn id_in_notes(
    memory: &impl Memory,
    at: Addr,
    size: u64,
    align: u64,
) -> Result<Option<BuildId>, Miss> {
    // Names and contents are padded to the alignment: 8 for program properties, else 4.
    let mask = if align == 8 { 7 } else { 3 };
    let padded = |size: u64| (size + mask) & !mask;
    let mut offset = 0;
    for _ in 0..MAX_NOTES {
        if offset + 16 > size {
            break;
        }
        let [sizes, kind] = memory.words(at.plus(offset))?;
        let content = padded(HEAD + (sizes & 0xffff_ffff));
        if kind == BUILD_ID {
            return BuildId::read(memory, at.plus(offset + content), (sizes >> 32) as u32).map(Some);
        }
        offset += padded(content + (sizes >> 32));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::super::sample::{ID, PIE, put};
    use super::*;
    use crate::memory::Bytes;

    fn memory(bytes: &[u8]) -> Bytes<'_> {
        Bytes { base: Addr(0), bytes }
    }

    #[test]
    fn build_ids_are_found_behind_other_notes() {
        let file = PIE.file();
        let bytes = memory(&file);
        let id = File::new(&bytes).unwrap().build_id().unwrap().unwrap();
        assert_eq!(id.bytes(), ID);
        let mut other = file.clone();
        let at = file.windows(ID.len()).position(|window| window == ID).unwrap();
        put(&mut other, at + ID.len() - 1, b"e");
        let bytes = memory(&other);
        assert_ne!(File::new(&bytes).unwrap().build_id(), Ok(Some(id)));
        // Longer than we keep, and than there is.
        put(&mut other, at - 12, &[33]);
        assert_eq!(File::new(&memory(&other)).unwrap().build_id().unwrap().unwrap().bytes().len(), 32);
        put(&mut other, at - 8, &[4]);
        assert_eq!(File::new(&memory(&other)).unwrap().build_id(), Ok(None));
    }

    #[test]
    fn notes_of_eight_byte_alignment() {
        let mut notes = std::vec::Vec::from(*b"\x04\0\0\0\x05\0\0\0\x05\0\0\0GNU\0abcde\0\0\0");
        notes.extend_from_slice(b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0xyz");
        let found = |align| id_in_notes(&memory(&notes), Addr(0), notes.len() as u64, align);
        assert_eq!(found(8).unwrap().unwrap().bytes(), b"xyz");
        assert_eq!(found(4).unwrap().unwrap().bytes(), b"xyz");
    }
}
