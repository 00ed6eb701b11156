//! One profile in all formats, for the viewers that tests/viewers drives: in the directory that PYFLAME_VIEWERS names,
//! beside what they have to find in them. Without it, only that all formats can be written.

use super::*;
use crate::testing::Random;
use std::{env, format, fs, path::Path};

/// What a viewer could stumble over, in files and in functions.
const NAMES: [&[u8]; 24] = [
    b"app.py",
    b"/srv/app/lib/python3.13/site-packages/a b/c.py",
    b"<frozen importlib._bootstrap>",
    b"<module>",
    b"f.<locals>.<lambda>",
    b"</script><script>alert(1)</script>",
    b"]]>",
    b"<!--",
    b"&amp;",
    b"'\"`${x}\\",
    b"a;b",
    b"C:\\a:b",
    b"new\nline\ttab\r",
    b"\x1b[31mred\x1b]0;title\x07",
    b"nul\0in it",
    b"\xff\xfe no text",
    b"\xed\xa0\x80 surrogate",
    "\u{202e}right to left\u{200f}".as_bytes(),
    "na\u{ef}ve \u{65e5}\u{672c}\u{8a9e} \u{1f40d}".as_bytes(),
    b" leading and trailing ",
    b"100%25",
    b"(x)",
    b"__proto__",
    b"",
];

/// Some stacks of three threads of two processes, with their counts.
fn stacks(profile: &mut Profile, by_thread: bool) -> Vec<(Vec<Frame>, u64)> {
    let mut random = Random(7);
    let processes = [&b"pid 71 python3 app.py"[..], b"pid 72 gunicorn: worker [\"a\"]"];
    let threads = [&b"thread 71 python3"[..], b"thread 73 wor\"ker", b"thread 72 gunicorn"];
    let roots = [(0, 0), (0, 1), (1, 2)]
        .map(|(p, t)| [profile.titled(processes[p], PROCESS), profile.titled(threads[t], THREAD)]);
    let mut stacks: Vec<(Vec<Frame>, u64)> = Vec::new();
    for i in 0..400 {
        let depth = 1 + random.below(if i % 50 == 0 { 60 } else { 8 });
        let frames = (0..depth).map(|_| {
            let [file, name] = [0; 2].map(|_| NAMES[random.below(NAMES.len() as u64) as usize]);
            // Nothing is called by no name, and a name in brackets in no file would be ours.
            let name = if name.is_empty() { b"f" } else { name };
            let file = if name == b"(x)" && file.is_empty() { b"x" } else { file };
            let function = profile.function(file, name);
            Frame { function, line: random.below(5) as u32 * 100 }
        });
        let frames: Vec<Frame> = frames.collect();
        let roots = if by_thread { &roots[random.below(3) as usize][..] } else { &[] };
        let stack = [roots, &frames].concat();
        if !stacks.iter().any(|(known, _)| *known == stack) {
            stacks.push((stack, 1 + random.below(9)));
        }
    }
    stacks
}

/// A name in a notation, as a JSON string.
fn quoted(notation: escape::Notation, name: &[u8]) -> String {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    escape::put(&mut once, notation, name);
    if notation == escape::Notation::Json {
        twice = once;
    } else {
        escape::put(&mut twice, escape::Notation::Json, &once);
    }
    format!("\"{}\"", String::from_utf8(twice).unwrap())
}

/// The stacks as JSON: of each its count, and of each frame the file and the function, as they are and as text, the line,
/// and how it stands in a folded stack.
fn expected(profile: &Profile, stacks: &[(Vec<Frame>, u64)]) -> String {
    let frame = |frame: &Frame| {
        let (file, name) = profile.function_names(frame.function);
        let line = if frame.is_root() { -1 } else { i64::from(frame.line) };
        let mut folded = Vec::new();
        super::folded::put_frame(profile, *frame, true, &mut folded);
        let folded = quoted(escape::Notation::Json, &folded);
        let [a, b] = [escape::Notation::Json, escape::Notation::Text]
            .map(|notation| format!("{},{}", quoted(notation, file), quoted(notation, name)));
        format!("[{a},{b},{line},{folded}]")
    };
    let stack = |(frames, count): &(Vec<Frame>, u64)| {
        let frames: Vec<String> = frames.iter().map(frame).collect();
        format!("{{\"count\":{count},\"frames\":[{}]}}", frames.join(","))
    };
    let stacks: Vec<String> = stacks.iter().map(stack).collect();
    format!("[{}]\n", stacks.join(",\n"))
}

/// A name as the flame graph's script shows it.
fn shown(name: &[u8]) -> String {
    let unit = |unit| match unit {
        escape::Unit::Char(c) if c.is_control() || "\u{202e}\u{200f}".contains(c) => match u32::from(c) {
            code @ 0..=0xff => format!("\\\\x{code:02x}"),
            code => format!("\\\\u{code:04x}"),
        },
        escape::Unit::Char(c @ ('"' | '\\')) => format!("\\{c}"),
        escape::Unit::Char(c) => c.into(),
        escape::Unit::Byte(byte) => format!("\\\\x{byte:02x}"),
        escape::Unit::Surrogate(code) => format!("\\\\u{code:04x}"),
    };
    format!("\"{}\"", escape::Units::new(name).map(unit).collect::<String>())
}

/// What a browser has to show of the flame graph: `tests/viewers/svg.mjs` says what the fields mean.
fn facts(profile: &Profile, stacks: &[(Vec<Frame>, u64)], own: &[(&[u8], u64)]) -> String {
    type Key<'a> = (&'a [u8], &'a [u8], u32);
    let key = |frame: &Frame| -> Key<'_> {
        let (file, name) = profile.function_names(frame.function);
        (file, name, frame.line)
    };
    let counted = stacks.iter().map(|(frames, count)| (frames.iter().map(key).collect(), *count));
    let mut all: Vec<(Vec<Key<'_>>, u64)> = counted.collect();
    all.extend(own.iter().map(|(name, count)| ([(&b""[..], *name, 0)].to_vec(), *count)));
    all.sort();
    let mut boxes = Vec::new();
    for at in 0..all.len() {
        for depth in 1..=all[at].0.len() {
            let path = &all[at].0[..depth];
            if at == 0 || !all[at - 1].0.starts_with(path) {
                let samples: u64 =
                    all.iter().filter(|(stack, _)| stack.starts_with(path)).map(|(_, n)| n).sum();
                let (file, name, line) = path[depth - 1];
                boxes.push(format!("[{depth},{},{},{line},{samples}]", shown(file), shown(name)));
            }
        }
    }
    let total: u64 = all.iter().map(|(_, count)| count).sum();
    let found = all
        .iter()
        .filter(|(stack, _)| stack.iter().any(|(file, name, _)| [*file, *name].contains(&&b"app.py"[..])));
    let share = found.map(|(_, count)| count).sum::<u64>() as f64 * 100.0 / total as f64;
    format!(
        "{{\"title\":\"pid 71 python3 app.py\",\"about\":[\"Python 3.13.0\",\"{total} samples\",\"17 idle\",\"5 failed\"],\
        \"samples\":{total},\"period\":1000000,\"searches\":[[\"^app[.]py$\",{share:.2}]],\n\"boxes\":[{}]}}\n",
        boxes.join(",\n")
    )
}

/// The profile in `format`, and what is expected of it.
fn make(format: Format) -> (Vec<u8>, String, u64) {
    let mut profile = Profile::new(profile_storage(1024, 1 << 14, 64));
    reserve(&mut profile);
    let stacks = stacks(&mut profile, format.by_thread());
    let expected = expected(&profile, &stacks);
    if let (Format::Svg, Ok(directory)) = (format, env::var("PYFLAME_VIEWERS")) {
        let facts = facts(&profile, &stacks, &[(b"(idle)", 17), (b"(failed)", 5)]);
        fs::write(Path::new(&directory).join("svg.facts"), facts).unwrap();
    }
    let total: u64 = stacks.iter().map(|(_, count)| count).sum();
    let mut bytes = Vec::new();
    if format.is_timed() {
        let mut timeline = Timeline::new(format, true, Storage { lanes: zeroed(16), path: zeroed(64) }, 0, 0);
        let mut now = 0;
        for (stack, count) in &stacks {
            let node = profile.count(stack.iter().copied(), *count).unwrap();
            for _ in 0..*count {
                timeline.note(&profile, stack[0], &[node], now, &mut bytes);
                now += 1_000_000;
            }
            // What comes next is a call of its own.
            timeline.note(&profile, stack[0], &[], now, &mut bytes);
        }
        timeline.finish(&profile, now, &mut bytes);
    } else {
        (profile.counts.idle, profile.counts.failed) = (17, 5);
        profile.counts.samples = total + 17 + 5;
        profile.counts.rounds = profile.counts.samples;
        for (stack, count) in &stacks {
            profile.count(stack.iter().copied(), *count);
        }
        let elapsed = profile.counts.samples * 1_000_000;
        write(format, &mut profile, &Facts { elapsed, ..FACTS }, &mut bytes);
    }
    (bytes, expected, total)
}

#[test]
fn hostile_names_are_written_in_every_format() {
    for (format, name, ending, _) in FORMATS {
        let (bytes, expected, total) = make(format);
        assert!(bytes.len() > 10_000 && total > 1000, "{format:?}");
        if format != Format::Pprof {
            let text = String::from_utf8(bytes.clone()).expect("UTF-8");
            let control = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(control, None, "{format:?}");
        }
        if let Ok(directory) = env::var("PYFLAME_VIEWERS") {
            let path = |ending: &[u8]| {
                let name = [name, ending].concat();
                Path::new(&directory).join(std::str::from_utf8(&name).unwrap())
            };
            fs::write(path(ending), bytes).unwrap();
            fs::write(path(b".expected"), expected).unwrap();
        }
    }
}
