//! The file in which a blocked target tells its stacks (see `tests/programs/blocked.py`).

use crate::stacks::Frame;
use crate::verdict::{Checked, Trouble, ensure};

/// What a target knows about itself.
#[derive(Default)]
pub struct Truth {
    pub threads: Vec<Known>,
    /// Threads that are there, but move.
    pub others: Vec<u64>,
}

/// A thread and its stack, newest frame first.
pub struct Known {
    pub ident: u64,
    /// The kernel's number, where Python knows it.
    pub native: Option<String>,
    pub name: String,
    pub frames: Vec<Frame>,
}

impl Truth {
    /// Reads the file. A target that could not do what it should is a failure.
    pub fn parse(text: &str) -> Result<Truth, Trouble> {
        let mut truth = Truth::default();
        for line in text.lines() {
            truth.line(line).ok_or_else(|| format!("the target says {line:?}"))?;
        }
        Ok(truth)
    }

    /// Takes in one line; `None` if it is an error or not understood.
    fn line(&mut self, line: &str) -> Option<()> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["thread", ident, native, name] => self.threads.push(Known {
                ident: ident.parse().ok()?,
                native: Some(native.to_string()).filter(|native| native != "-"),
                name: String::from_utf8_lossy(&bytes(name)?).into_owned(),
                frames: Vec::new(),
            }),
            ["frame", line, file, function] => {
                let frame =
                    Frame { file: bytes(file)?, function: bytes(function)?, line: line.parse().ok()? };
                self.threads.last_mut()?.frames.push(frame);
            }
            ["other", ident] => self.others.push(ident.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

/// Bytes in hexadecimal, none of them as `-`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_start_matches('-');
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}

impl Known {
    /// That one of the stacks found is this one.
    pub fn is_among(&self, found: &[&[Frame]]) -> Checked {
        ensure(found.contains(&self.frames.as_slice()), || match found {
            [] => format!("{}: thread {} was not found", self.name, self.ident),
            [first, ..] => format!("{}: {}", self.name, difference(&self.frames, first)),
        })
    }
}

/// Where two stacks begin to differ.
fn difference(right: &[Frame], found: &[Frame]) -> String {
    let at = right.iter().zip(found).take_while(|(a, b)| a == b).count();
    let shown = |stack: &[Frame]| format!("{:?}", stack.get(at..stack.len().min(at + 2)).unwrap_or_default());
    let (right_frames, found_frames) = (right.len(), found.len());
    format!(
        "{right_frames} frames, found {found_frames}; frame {at} is {}, found {}",
        shown(right),
        shown(found)
    )
}
