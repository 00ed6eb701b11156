//! The words on the test program's command line: `cargo test --test e2e -- 3.11 churn`.
//!
//! A word that occurs in the label of an interpreter chooses interpreters, one that occurs in the name of a group
//! of checks chooses groups. Flags of the standard test harness are accepted and mean nothing here.

/// What was asked for.
#[derive(Default)]
pub struct Options {
    words: Vec<String>,
    /// Someone only asks for the names of tests: there are none to choose from.
    pub list: bool,
}

/// Flags of the standard harness that take a value as the next word.
const WITH_VALUE: [&str; 6] =
    ["--test-threads", "--skip", "--format", "--color", "--logfile", "--shuffle-seed"];

impl Options {
    /// Sorts the words of a command line, without the program's name.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Options {
        let mut options = Options::default();
        while let Some(word) = arguments.next() {
            if word == "--list" {
                options.list = true;
            } else if WITH_VALUE.contains(&word.as_str()) {
                arguments.next();
            } else if !word.starts_with('-') {
                options.words.push(word);
            }
        }
        options
    }

    /// Those of `names` that the words choose; all of them if no word fits any.
    pub fn choose<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let fits = |name: &&str| self.words.iter().any(|word| name.contains(word.as_str()));
        let chosen: Vec<_> = names.iter().copied().filter(|name| fits(name)).collect();
        if chosen.is_empty() { names.to_vec() } else { chosen }
    }

    /// Words that fit nothing in either list of names.
    pub fn unknown(&self, names: &[&str]) -> Vec<&str> {
        let fits = |word: &&String| names.iter().any(|name| name.contains(word.as_str()));
        self.words.iter().filter(|word| !fits(word)).map(String::as_str).collect()
    }
}
