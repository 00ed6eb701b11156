//! What is fuzzed: every function that is given bytes of a target or of a user, and all of them together on a target whose
//! memory is the input. Each has to return; what it returns must keep the few promises that can be told from outside.

mod target;

use pyflame::elf::{File, Image};
use pyflame::maps::Lines;
use pyflame::memory::{Addr, Bytes};
use pyflame::paged::{BLOCKS, Block, Paged};
use pyflame::python::lines::{LineTable, Search};
use pyflame::python::offsets;
use pyflame::report::Sink;
use pyflame::report::escape::{self, Notation};
use pyflame::sys::stat::{behind_name, line, number};
use pyflame::{cli, report};
pub use target::{Fake, target};

/// The functions, and inputs to begin with.
pub const FUNCTIONS: [(&str, fn(&[u8]), fn() -> Vec<Vec<u8>>); 9] = [
    ("elf", elf, seeds_elf),
    ("maps", maps, seeds_maps),
    ("lines", lines, seeds_words),
    ("strings", target::strings, seeds_words),
    ("offsets", table, target::seeds_table),
    ("arguments", arguments, seeds_arguments),
    ("status", status, seeds_status),
    ("escapes", escapes, seeds_escapes),
    ("target", target, target::seeds),
];

/// Keeps what is written.
#[derive(Default)]
pub struct Text(pub Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

fn elf(input: &[u8]) {
    let bytes = Bytes { base: Addr(0x1000), bytes: input };
    let mut blocks = [[0; size_of::<Block>()]; BLOCKS];
    let memory = Paged::new(&bytes, &mut blocks);
    if let Ok(image) = Image::in_memory(&memory, Addr(0x1000)) {
        let _ = (image.build_id(), image.symbol(b"_PyRuntime"), image.segments().count());
    }
    let bytes = Bytes { base: Addr(0), bytes: input };
    let mut blocks = [[0; size_of::<Block>()]; BLOCKS];
    let memory = Paged::new(&bytes, &mut blocks);
    if let Ok(file) = File::new(&memory) {
        let _ = (file.build_id(), file.bias(Addr(0x7f00_0000), 4096), file.section(b".PyRuntime"));
        let _ = (file.symbol(b"_PyRuntime"), file.symbol(b"interp_head"));
    }
}

fn maps(input: &[u8]) {
    let mut lines = Lines::new(input);
    for mapping in lines.by_ref() {
        assert!(mapping.start < mapping.end && input.len() >= mapping.path().len());
    }
    assert!(lines.taken() <= input.len());
}

fn lines(input: &[u8]) {
    let Some((&head, rest)) = input.split_first() else { return };
    let Some((lasti, bytes)) = rest.split_at_checked(4) else { return };
    let lasti = i32::from_le_bytes(lasti.try_into().expect("four bytes")).into();
    for table in [LineTable::LnotabUnsigned, LineTable::LnotabSigned, LineTable::Deltas, LineTable::Locations]
    {
        let mut search = Search::new(table, i32::from(head) << (head & 24), lasti);
        // In pieces, as it is read.
        for piece in bytes.chunks(usize::from(head % 7) + 1) {
            if !search.feed(piece) {
                break;
            }
        }
        let _ = search.line();
    }
}

fn table(input: &[u8]) {
    let bytes = Bytes { base: Addr(0x1000), bytes: input };
    if let Ok(Some(header)) = offsets::header(&bytes, Addr(0x1000)) {
        for version in [header.version, 0x030d_00f0, 0x030e_00f0, 0x030f_00f0, 0x0310_00f0] {
            let _ = offsets::read(&bytes, Addr(0x1000), offsets::Header { version, ..header });
        }
    }
}

fn arguments(input: &[u8]) {
    let words: Vec<&[u8]> = input.split(|&byte| byte == 0).collect();
    let _ = cli::parse(&|index| words.get(index).copied(), &mut cli::DEFAULTS.clone());
}

fn status(input: &[u8]) {
    for name in [&b"\nUid:\t"[..], b"\nSigPnd:\t", b"\nNSpid:\t", b"State:"] {
        let line = line(input, name);
        assert!(!line.contains(&b'\n'));
        for index in 0..5 {
            let _ = (number(line, 10, index), number(line, 16, index), number(behind_name(input), 10, index));
        }
    }
}

fn escapes(input: &[u8]) {
    for notation in [Notation::FoldedFile, Notation::FoldedFunction] {
        let mut text = Text::default();
        escape::put(&mut text, notation, input);
        let text = String::from_utf8(text.0).expect("UTF-8");
        assert!(!text.chars().any(|c| c.is_control() || c == ';'), "{text:?}");
        assert!(notation != Notation::FoldedFunction || !text.contains(':'), "{text:?}");
    }
    let mut text = Text::default();
    report::json::put_string(input, &mut text);
    assert!(text.0.starts_with(b"\"") && text.0.ends_with(b"\"") && text.0.iter().all(|&byte| byte >= b' '));
}

fn seeds_elf() -> Vec<Vec<u8>> {
    let mut image = vec![0; 8192];
    image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 3u16), (54, 56), (56, 3), (58, 64), (60, 6), (62, 5)] {
        image[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    let mut put = |at: usize, words: &[u64]| {
        for (index, word) in words.iter().enumerate() {
            image[at + 8 * index..at + 8 * index + 8].copy_from_slice(&word.to_le_bytes());
        }
    };
    put(32, &[64, 4096]);
    put(64, &[1 | 5 << 32, 0, 0, 0, 8192, 8192, 4096]);
    put(120, &[2 | 6 << 32, 1024, 1024, 0, 256, 256, 8]);
    put(176, &[4 | 4 << 32, 768, 768, 0, 56, 56, 4]);
    put(768, &[4 | 20 << 32, 3 | 0x55_4e47 << 32]);
    put(1024, &[4, 1536, 5, 2048, 6, 2304, 0x6fff_fef5, 2560, 0, 0]);
    let sections: Vec<[u64; 8]> =
        (0..6).map(|n| [n | (2 + n % 2) << 32, 0, 0, 2304, 96, 1 | n << 32, 8, 24]).collect();
    for (index, section) in sections.iter().enumerate() {
        put(4096 + 64 * index, section);
    }
    vec![
        image,
        std::fs::read("/proc/self/exe")
            .map(|file| file[..file.len().min(16384)].to_vec())
            .unwrap_or_default(),
    ]
}

fn seeds_maps() -> Vec<Vec<u8>> {
    vec![
        std::fs::read("/proc/self/maps").unwrap_or_default(),
        b"00400000-00410000 r--p 00000000 fe:01 7  /usr/lib/libpython3.8.so.1.0 (deleted)\n7f00-".to_vec(),
    ]
}

fn seeds_words() -> Vec<Vec<u8>> {
    let words = (0..64u64).flat_map(|n| (n * 0x0101_0408_0fef_0001).to_le_bytes()).collect();
    vec![words, (0..=255).collect(), vec![0xef; 300], vec![0xff; 300]]
}

fn seeds_arguments() -> Vec<Vec<u8>> {
    let line = |text: &str| text.replace(' ', "\0").into_bytes();
    let all = "pyflame --pid=12 -xs 0.5 --rate=1ms --abi=311 -o out -f svg --nonblocking -C -t cmd a b";
    vec![line(all), line("pyflame -d 7 --json"), line("pyflame 1 -s inf -r 10us"), line("p --check -- 7")]
}

fn seeds_status() -> Vec<Vec<u8>> {
    ["/proc/self/status", "/proc/self/stat"].iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn seeds_escapes() -> Vec<Vec<u8>> {
    let odd = ["r\u{e9};1\\.py", "\x1b]0;x\x07", "\u{202e}\u{9b}\u{feff}", "</script>\"'&", "a:b;c d\n\r\t"];
    let mut seeds: Vec<Vec<u8>> = odd.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds.push(b"\xed\xa0\x80\xff\xf4\x90\x80\x80\xc0\x80\xe2\x82".to_vec());
    seeds
}
