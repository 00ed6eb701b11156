//! Reads what the profiler writes: folded stacks and dumps, with names as the bytes that they stand for.
//!
//! ```text
//! (idle) 12
//! a\x3b.py:main:3;b.py:work:14 7            folded: root first, then the number of samples
//! pid 12 gunicorn: worker;a.py:main:3 2     the same of several processes
//!
//! 140737352963328*: 4711 python running     a dump: newest frame first, threads apart by an empty line
//! b.py:work:14
//! a\x3b.py:main:3
//! ```

use std::fmt;

/// One frame. Names are bytes, since those of Python need not be Unicode.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    pub file: Vec<u8>,
    pub function: Vec<u8>,
    pub line: u32,
}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &[u8]| name.escape_ascii().to_string().chars().take(80).collect::<String>();
        write!(out, "{}:{}:{}", shown(&self.file), shown(&self.function), self.line)
    }
}

impl Frame {
    /// The function's name, for comparing with names that are ASCII.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.function).unwrap_or("?")
    }

    /// The file's name without its directories.
    pub fn base(&self) -> &str {
        std::str::from_utf8(&self.file).unwrap_or("?").rsplit('/').next().unwrap_or("?")
    }
}

/// A profile read back.
#[derive(Default)]
pub struct Folded {
    /// Stacks, root first, and how often each was seen.
    pub stacks: Vec<(Vec<Frame>, u64)>,
    pub idle: u64,
    pub failed: u64,
    /// Samples of stacks of which a part is missing, and of any other line in brackets.
    pub cut: u64,
    /// Samples that should have been taken while the one before was not done.
    pub missed: u64,
}

/// A thread of a dump.
pub struct Thread {
    /// As Python's `threading` has it.
    pub ident: u64,
    pub holds_gil: bool,
    /// The rest of the header's words.
    pub words: Vec<String>,
    /// Newest first.
    pub frames: Vec<Frame>,
}

impl Folded {
    /// Reads a profile; anything that is not in its grammar is an error.
    pub fn parse(bytes: &[u8]) -> Result<Folded, String> {
        let mut folded = Folded::default();
        let mut before = "";
        for line in lines(bytes)? {
            let (stack, count) = line.rsplit_once(' ').ok_or_else(|| format!("no count in {line:?}"))?;
            let count: u64 = count.parse().map_err(|_| format!("no count in {line:?}"))?;
            match stack {
                "(idle)" => folded.idle += count,
                "(failed)" => folded.failed += count,
                _ if stack.starts_with('(') && !stack.contains(':') => folded.cut += count,
                _ => folded.stacks.push((frames(stack)?, count)),
            }
            if !stack.starts_with('(') && stack == std::mem::replace(&mut before, stack) {
                return Err(format!("a stack is there twice: {stack:?}"));
            }
        }
        Ok(folded)
    }

    /// Takes from the summary of `--verbose` how many deadlines were missed: `12 missed deadlines`, if any were.
    pub fn read_summary(&mut self, text: &str) -> Result<(), String> {
        let before = |words| text.split(words).next().filter(|before| before.len() < text.len());
        before(" samples in ").ok_or_else(|| format!("no summary: {text:?}"))?;
        let number = before(" missed deadlines").and_then(|before| before.rsplit(' ').next());
        self.missed = number.map_or(Ok(0), |n| n.parse().map_err(|_| format!("no number in {text:?}")))?;
        Ok(())
    }

    /// Adds another profile of the same process.
    pub fn add(&mut self, other: Folded) {
        self.stacks.extend(other.stacks);
        self.idle += other.idle;
        self.failed += other.failed;
        self.cut += other.cut;
        self.missed += other.missed;
    }

    /// Samples with a stack.
    pub fn samples(&self) -> u64 {
        self.stacks.iter().map(|(_, count)| count).sum()
    }

    /// All samples that were taken.
    pub fn total(&self) -> u64 {
        self.samples() + self.idle + self.failed + self.cut
    }

    /// Samples of stacks that hold such a frame.
    pub fn with(&self, wanted: impl Fn(&Frame) -> bool) -> u64 {
        self.stacks.iter().filter(|(stack, _)| stack.iter().any(&wanted)).map(|(_, count)| count).sum()
    }

    /// Samples of stacks whose innermost frame is such a one.
    pub fn in_leaf(&self, wanted: impl Fn(&Frame) -> bool) -> u64 {
        self.stacks
            .iter()
            .filter(|(stack, _)| stack.last().is_some_and(&wanted))
            .map(|(_, count)| count)
            .sum()
    }
}

/// Reads a dump; anything that is not in its grammar is an error.
pub fn parse_dump(bytes: &[u8]) -> Result<Vec<Thread>, String> {
    let text = lines(bytes)?;
    text.split(|line| line.is_empty()).filter(|block| !block.is_empty()).map(thread).collect()
}

fn thread(block: &[&str]) -> Result<Thread, String> {
    let [header, frames @ ..] = block else { return Err("an empty thread".into()) };
    let (ident, words) = header.split_once(':').ok_or_else(|| format!("no header: {header:?}"))?;
    let holds_gil = ident.ends_with('*');
    let ident = ident.trim_end_matches('*').parse().map_err(|_| format!("no thread's number: {header:?}"))?;
    let words = words.split_whitespace().map(String::from).collect();
    let frames = frames.iter().map(|line| frame(line)).collect::<Result<_, _>>()?;
    Ok(Thread { ident, holds_gil, words, frames })
}

/// The lines of an output, which must be UTF-8, free of control characters, and end in a newline.
fn lines(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("output is not UTF-8: {e}"))?;
    if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("a control character in the output: {bad:?}"));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("output does not end in a newline".into());
    }
    Ok(text.lines().collect())
}

fn frames(stack: &str) -> Result<Vec<Frame>, String> {
    // In a profile of several processes the first is the process, `pid 12 title`, and has neither function nor line.
    let title = stack.split(';').next().filter(|first| first.starts_with("pid "));
    let process = title.map(|title| Ok(Frame { file: unescape(title)?, function: Vec::new(), line: 0 }));
    let skipped = usize::from(process.is_some());
    process.into_iter().chain(stack.split(';').skip(skipped).map(frame)).collect()
}

/// `file:function:line`; a colon in the function's name is escaped, one in the file's need not be.
fn frame(text: &str) -> Result<Frame, String> {
    let (rest, line) = text.rsplit_once(':').ok_or_else(|| format!("no frame: {text:?}"))?;
    // Of what the profiler says itself there is no file.
    let own = rest.starts_with('(').then_some(("", rest));
    let (file, function) = rest.rsplit_once(':').or(own).ok_or_else(|| format!("no file: {text:?}"))?;
    let line = line.parse().map_err(|_| format!("no line number: {text:?}"))?;
    Ok(Frame { file: unescape(file)?, function: unescape(function)?, line })
}

/// The bytes that a name stands for: `\\`, `\n`, `\r`, `\t`, `\xHH` (a byte), `\uXXXX` and `\UXXXXXXXX` (a character).
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("no escape: {text:?}");
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let kind = *rest.as_bytes().get(at + 1).ok_or_else(bad)?;
        let digits = match kind {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let number = rest.get(at + 2..at + 2 + digits).ok_or_else(bad)?;
        match kind {
            b'\\' => bytes.push(b'\\'),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'x' => bytes.push(u8::from_str_radix(number, 16).map_err(|_| bad())?),
            b'u' | b'U' => encode(u32::from_str_radix(number, 16).map_err(|_| bad())?, &mut bytes),
            _ => return Err(bad()),
        }
        rest = &rest[at + 2 + digits..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// UTF-8, also of a lone surrogate; one that stands for an undecodable byte is that byte.
fn encode(code: u32, bytes: &mut Vec<u8>) {
    match (char::from_u32(code), code) {
        (Some(c), _) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        (None, 0xDC80..=0xDCFF) => bytes.push((code & 0xFF) as u8),
        (None, _) => {
            bytes.extend([0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F].map(|b| b as u8))
        }
    }
}
