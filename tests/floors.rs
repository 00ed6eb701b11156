//! The rules of the house, held against the sources themselves: who may use whom, where `unsafe` and `cfg(target_arch)`
//! may stand, who may ask for a version.
//!
//! ```text
//!  program   the command line, finding, sampling, messages: the only place where both sides meet
//!  sys       Linux, every effect   |   python, report   CPython and formats: all meaning, no effect
//!  words     memory, tables, numbers, profiles, file formats: pure
//! ```
//!
//! Reads text, not syntax: a comment ends its line, a path begins with `crate::`. A rule is broken with file and line,
//! an exception stands here with its reason, and one that nothing needs any more is a failure, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Modules that may use the same others.
struct Floor {
    modules: &'static [&'static str],
    /// Paths below `crate`; what stands below an allowed path is allowed.
    may_use: &'static [&'static str],
}

const WORDS: &[&str] = &["elf", "maps", "memory", "paged", "prefetch", "profile", "table", "text", "title"];

/// Fake targets for unit tests; only tests are built with it.
const TESTING: &str = "testing";

const FLOORS: [Floor; 6] = [
    Floor { modules: &[TESTING], may_use: &["python"] },
    Floor { modules: WORDS, may_use: &[] },
    Floor { modules: &["sys"], may_use: &["sys", "report::Sink"] },
    Floor { modules: &["python"], may_use: &["python"] },
    Floor { modules: &["report"], may_use: &["report"] },
    Floor {
        modules: &[
            "check", "children", "cli", "denial", "dump", "error", "locate", "program", "sampler", "session",
            "status", "stopper", "storage", "target",
        ],
        may_use: &[
            "check", "children", "cli", "denial", "dump", "error", "locate", "program", "python", "report",
            "sampler", "session", "status", "stopper", "storage", "sys", "target",
        ],
    },
];

/// The root of the crate and the start of the process belong to no floor.
const ROOT: [&str; 3] = ["src/lib.rs", "src/main.rs", "src/rt.rs"];

/// Something that a rule forbids and that is right where it stands.
struct Exception {
    file: &'static str,
    /// The path used, or a part of the line.
    what: &'static str,
    #[expect(dead_code, reason = "for those who read this")]
    reason: &'static str,
}

const fn exception(file: &'static str, what: &'static str, reason: &'static str) -> Exception {
    Exception { file, what, reason }
}

const ABOVE: [Exception; 1] = [exception(
    "src/sys/region.rs",
    "",
    "names the types of which zero bytes are a value, whatever their floor: that is an `unsafe impl`",
)];

const COMPARED: [Exception; 2] = [
    exception(
        "src/cli.rs",
        "FIRST_PUBLISHED",
        "lists the known versions and refuses others; nothing is read by it",
    ),
    exception(
        "src/program/words.rs",
        "NEWEST",
        "says that a version is newer than this program; nothing is read by it",
    ),
];

/// A source file, its comments blanked out.
struct Source {
    /// Below the root of the package, with slashes.
    name: String,
    text: String,
    /// The same without comments.
    code: String,
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        let code = text.lines().map(|line| without_comment(line).to_owned() + "\n").collect();
        Source { name, text, code }
    }

    /// The module below `crate` that it belongs to: `elf` for `src/elf/file.rs`.
    fn module(&self) -> &str {
        let below = self.name.strip_prefix("src/").unwrap_or(&self.name);
        below.split(['/', '.']).next().unwrap_or(below)
    }

    /// Lines of code and their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The same without the unit tests at its foot.
    fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(_, line)| *line != "mod tests {")
    }
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn sources() -> Vec<Source> {
    let (mut folders, mut files) = (vec![root().join("src")], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            let is_test = ["tests.rs", "testing.rs", "testing"].iter().any(|name| path.ends_with(name));
            if is_test {
                continue; // the rules are for what is shipped
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.insert(path);
            }
        }
    }
    files.iter().map(|path| Source::read(path)).collect()
}

/// What stands before a comment, which begins a line or follows a space.
fn without_comment(line: &str) -> &str {
    let mut starts = line.match_indices("//").map(|(at, _)| at);
    let start = starts.find(|&at| line[..at].chars().next_back().is_none_or(char::is_whitespace));
    &line[..start.unwrap_or(line.len())]
}

/// Fails with all `faults`, those that are excepted left out, and with the exceptions to this rule that none needed.
fn judge(rule: &str, faults: Vec<(&Source, usize, String)>, exceptions: &[Exception]) {
    let fits = |exception: &Exception, source: &Source, what: &str| {
        exception.file == source.name && what.contains(exception.what)
    };
    let excepted = |fault: &&(&Source, usize, String)| exceptions.iter().any(|e| fits(e, fault.0, &fault.2));
    let mut found: Vec<String> = faults
        .iter()
        .filter(|fault| !excepted(fault))
        .map(|(source, line, what)| format!("{}:{line}: {what}", source.name))
        .collect();
    for exception in exceptions {
        if !faults.iter().any(|(source, _, what)| fits(exception, source, what)) {
            found.push(format!("{}: no longer needs its exception for {}", exception.file, exception.what));
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// All paths that begin with `crate::`, from the module on, braces expanded, with their lines.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1) + usize::from(code[..at].ends_with('\n'));
        expand("", &code[at + start.len()..], &mut |path| found.push((line, path)));
    }
    found
}

/// The paths that begin `rest`, each behind `before`; gives what follows them.
fn expand<'a>(before: &str, rest: &'a str, take: &mut impl FnMut(String)) -> &'a str {
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            list = list.trim_start();
            if let Some(rest) = list.strip_prefix('}') {
                return rest;
            }
            // Behind the path, perhaps `as another_name`.
            let after = expand(before, list, take);
            let end = after.find([',', '}']).unwrap_or_else(|| panic!("braces that do not end: {rest:.80}"));
            list = after[end..].strip_prefix(',').unwrap_or(&after[end..]);
        }
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let (name, mut after) = rest.split_at(end);
    if let Some(below) = after.strip_prefix("::")
        && below.starts_with(|c| is_name(c) || c == '{' || c == '*')
    {
        let path = format!("{before}{name}::");
        return expand(&path, below, take);
    }
    after = after.strip_prefix('*').unwrap_or(after);
    take(format!("{before}{name}"));
    after
}

#[test]
fn a_module_uses_its_own_floor_and_those_below() {
    let sources = sources();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !ROOT.contains(&source.name.as_str())) {
        let Some(floor) = FLOORS.iter().find(|floor| floor.modules.contains(&source.module())) else {
            faults.push((source, 1, "belongs to no floor: tests/floors.rs has to say to which".into()));
            continue;
        };
        let allowed = |path: &str| {
            let below = |of: &&str| {
                path.strip_prefix(*of).is_some_and(|rest| matches!(rest, "") || rest.starts_with("::"))
            };
            WORDS.iter().chain(floor.may_use).chain(&[TESTING]).any(below)
        };
        let wrong = paths(&source.code).into_iter().filter(|(_, path)| !allowed(path));
        faults.extend(wrong.map(|(line, path)| (source, line, path)));
    }
    judge("used from a floor above or beside", faults, &ABOVE);
}

#[test]
fn unsafe_stands_at_the_bottom_and_with_its_reason() {
    let sources = sources();
    let mut faults = Vec::new();
    for source in &sources {
        let at_the_bottom =
            source.module() == "sys" || ["src/rt.rs", "src/main.rs"].contains(&source.name.as_str());
        for (number, line) in source.lines().filter(|(_, line)| has_word(line, "unsafe")) {
            let what = line.trim().to_owned();
            if !at_the_bottom {
                faults.push((source, number, what));
            } else if (line.contains("unsafe {") || line.contains("unsafe impl"))
                && !has_reason(source, number)
            {
                faults.push((source, number, what + " (no SAFETY comment)"));
            }
        }
    }
    judge("unsafe outside src/sys and the entry point, or without a reason", faults, &[]);
}

/// Whether the statement at this line has a comment above it that begins with SAFETY.
fn has_reason(source: &Source, number: usize) -> bool {
    let above: Vec<&str> = source.text.lines().take(number - 1).map(str::trim).collect();
    let mut comment = false;
    for line in above.iter().rev() {
        if line.starts_with("// SAFETY:") {
            return true;
        }
        let is_comment = line.starts_with("//");
        // Above a comment that says something else, or in another statement.
        if !is_comment && (comment || line.is_empty() || line.ends_with([';', '}'])) {
            return false;
        }
        comment = is_comment;
    }
    false
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

#[test]
fn only_the_bottom_knows_the_processor() {
    let sources = sources();
    let knows = |line: &str| line.contains("target_arch") || line.contains("target_env");
    let above = |source: &&Source| source.module() != "sys" && source.name != "src/rt.rs";
    let faults = sources.iter().filter(above).flat_map(|source| {
        source
            .lines()
            .filter(|(_, line)| knows(line))
            .map(move |(number, line)| (source, number, line.trim().into()))
    });
    judge("cfg(target_...) outside src/sys and src/rt.rs", faults.collect(), &[]);
}

/// A version is looked up once, as a row or as a table that the target has. After that a difference is a value of the
/// layout, never a question for a number: not `version >= ...`, not 0x30c, not the constants of `versions`.
#[test]
fn versions_are_compared_where_layouts_are_looked_up() {
    const MAY: [&str; 3] = ["src/python/versions.rs", "src/python/offsets.rs", "src/locate.rs"];
    let sources = sources();
    let above = |source: &&Source| !MAY.contains(&source.name.as_str());
    let faults = sources.iter().filter(above).flat_map(|source| {
        source
            .lines_before_tests()
            .filter(|(_, line)| asks_for_version(line))
            .map(move |(number, line)| (source, number, line.trim().into()))
    });
    judge("a version is compared", faults.collect(), &COMPARED);
}

fn asks_for_version(line: &str) -> bool {
    const NAMES: [&str; 4] = ["version", "minor", "major", "abi"];
    const CONSTANTS: [&str; 3] = ["versions::FIRST_PUBLISHED", "versions::NEWEST", "minor_of"];
    let compared = line.match_indices(['<', '>']).any(|(at, sign)| {
        // Not a shift, an arrow, or the brackets of a type: there is no space on both sides of those.
        let sign_end = at + sign.len();
        let (before, after) = (&line[..at], line[sign_end..].trim_start_matches('='));
        before.ends_with(' ') && after.starts_with(' ') && {
            let left = before.trim_end().rsplit([' ', '(', '!', '&', '.']).next().unwrap_or("");
            let right = after.trim_start().split([' ', ')', ',', ';', '.']).next().unwrap_or("");
            NAMES.iter().any(|name| left.contains(name) || right.contains(name))
        }
    });
    // PY_VERSION_HEX >> 16 of 2.6, 2.7 and all of 3.
    let spelled = line.match_indices("0x").any(|(at, _)| {
        let digits: String = line[at + 2..].chars().take_while(|c| c.is_ascii_hexdigit()).collect();
        matches!(
            digits.trim_start_matches('0').as_bytes(),
            [b'2', b'0', b'6' | b'7'] | [b'3', b'0' | b'1', _]
        )
    });
    compared || spelled || CONSTANTS.iter().any(|constant| line.contains(constant))
}

#[test]
fn files_begin_with_what_they_are() {
    let sources = sources();
    let bare = |source: &&Source| {
        !source
            .text
            .lines()
            .find(|line| !line.starts_with("#!["))
            .is_some_and(|line| line.starts_with("//! "))
    };
    let faults = sources.iter().filter(bare).map(|source| (source, 1, "no //! comment at its head".into()));
    judge("a file says what it owns and what it refuses", faults.collect(), &[]);
}

#[test]
fn the_rules_find_what_they_are_for() {
    let found =
        paths("use crate::a::{self, b::C, d as e};\nfn f(x: &crate::e::F) {}\nuse crate::{g, h::*};\n");
    let found: Vec<String> = found.into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    assert_eq!(found, ["1 a::self", "1 a::b::C", "1 a::d", "2 e::F", "3 g", "3 h::"]);
    assert_eq!(without_comment("let a = b; // crate::c"), "let a = b; ");
    assert_eq!(without_comment("//! text"), "");
    assert_eq!(without_comment("\"a://b\""), "\"a://b\"");
    for line in ["if version >= 3 {", "if !(a.minor < 11) {", "x == 0x30c", "0x030d0000", "3 > abi.major"] {
        assert_eq!(asks_for_version(line), !line.contains("0000"), "{line}");
    }
    for line in ["version >> 8", "fn version() -> u8", "Vec<Version>", "0x300f0", "let version = 3;"] {
        assert!(!asks_for_version(line), "{line}");
    }
    assert!(has_word("(unsafe { x })", "unsafe") && !has_word("sort_unsafe", "unsafe"));
}
