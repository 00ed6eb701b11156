//! What became of a check, and the score of one interpreter.

use std::io;
use std::time::Duration;

/// Why a check did not pass.
pub enum Trouble {
    Failed(String),
    Skipped(String),
}

/// The result of a check.
pub type Checked = Result<(), Trouble>;

impl From<String> for Trouble {
    fn from(why: String) -> Trouble {
        Trouble::Failed(why)
    }
}

impl From<&str> for Trouble {
    fn from(why: &str) -> Trouble {
        Trouble::Failed(why.into())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Failed(error.to_string())
    }
}

/// `Ok` if the condition holds, else a failure with the words given.
pub fn ensure(condition: bool, why: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { Err(Trouble::Failed(why())) }
}

/// Tries a check that depends on the clock again when it fails, since the machine may have been busy. What can only be
/// wrong because of the profiler must not be checked in this way.
pub fn patiently(check: impl Fn() -> Checked) -> Checked {
    (0..4).map(|_| check()).find(|result| !matches!(result, Err(Trouble::Failed(_)))).unwrap_or_else(check)
}

/// What the checks of one interpreter came to.
#[derive(Default)]
pub struct Score {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// A paragraph for each check that did not pass.
    pub remarks: Vec<String>,
    /// How long each group took.
    pub took: Vec<(&'static str, Duration)>,
}

/// More than this of a failure's words is not printed.
const LONGEST_REMARK: usize = 4000;

impl Score {
    /// Enters the result of the check of this name.
    pub fn enter(&mut self, name: &str, result: Checked) {
        match result {
            Ok(()) => self.passed += 1,
            Err(Trouble::Failed(why)) => {
                self.failed += 1;
                let shown: String = why.chars().take(LONGEST_REMARK).collect();
                self.remarks.push(format!("FAILED {name}: {shown}"));
            }
            Err(Trouble::Skipped(why)) => {
                self.skipped += 1;
                self.remarks.push(format!("skipped {name}: {why}"));
            }
        }
    }

    /// Whether a stack was seen that cannot have been.
    pub fn is_wrong(&self) -> bool {
        self.remarks.iter().any(|remark| remark.contains(" impossible of "))
    }

    /// Adds what another score holds.
    pub fn add(&mut self, other: &Score) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.remarks.extend_from_slice(&other.remarks);
        self.took.extend_from_slice(&other.took);
    }

    /// What several scores hold.
    pub fn sum(parts: &[&Score]) -> Score {
        let mut sum = Score::default();
        parts.iter().for_each(|part| sum.add(part));
        sum
    }
}
