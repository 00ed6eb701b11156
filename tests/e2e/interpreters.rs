//! The interpreters to test with: those of a list, else those that this machine has.
//!
//! A list is a file named by `PYFLAME_PYTHONS_LIST`, a line each of `label<TAB>path<TAB>linkage<TAB>environment`.
//! A path of `-` is an interpreter that is not to be had, its third field says why. The environment is words
//! `NAME=VALUE`, or `-`.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// A line of the list.
pub struct Entry {
    pub label: String,
    /// How the interpreter is linked, in a word.
    pub linkage: String,
    /// The interpreter, or why it is missing.
    pub python: Result<Python, String>,
}

/// An interpreter that can be run.
#[derive(Clone, Default)]
pub struct Python {
    pub path: PathBuf,
    pub environment: Vec<(String, String)>,
    /// Major and minor version.
    pub version: (u32, u32),
    /// Whether one thread at a time runs Python.
    pub gil: bool,
    /// Whether its C library is musl.
    pub musl: bool,
    /// Where its modules are.
    pub prefix: String,
    /// What tells builds apart: the same sources and options may be linked in several ways.
    pub build: String,
}

/// All interpreters, in the order of the list or of their labels.
pub fn find() -> Vec<Entry> {
    match env::var_os("PYFLAME_PYTHONS_LIST") {
        Some(list) => from_list(&fs::read_to_string(&list).unwrap_or_default()),
        None => on_this_machine(),
    }
}

fn from_list(text: &str) -> Vec<Entry> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(entry).collect()
}

fn entry(line: &str) -> Entry {
    let mut fields = line.split('\t').map(str::trim);
    let mut field = || fields.next().unwrap_or("").to_string();
    let (label, path, third, environment) = (field(), field(), field(), field());
    if path == "-" {
        return Entry { label, linkage: "-".into(), python: Err(third) };
    }
    let variables = environment.split_whitespace().filter_map(|word| word.split_once('='));
    let environment = variables.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Entry {
        label,
        linkage: third,
        python: Python { environment, ..Python::at(path.into()) }.asked().map(|(p, _)| p),
    }
}

fn on_this_machine() -> Vec<Entry> {
    let versions = PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".pyenv/versions");
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(versions)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("bin/python")))
        .collect();
    found.sort_by_key(|(label, _)| {
        label.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    });
    found.push(("system".into(), "/usr/bin/python3".into()));
    found.into_iter().filter(|(_, path)| path.exists()).map(|(label, path)| at(label, path)).collect()
}

fn at(label: String, path: PathBuf) -> Entry {
    match Python::at(path).asked() {
        Ok((python, shared)) => {
            let linkage = if shared { "libpython" } else { "executable" };
            Entry { label, linkage: linkage.into(), python: Ok(python) }
        }
        Err(why) => Entry { label, linkage: "-".into(), python: Err(why) },
    }
}

/// Prints numbers (versions, whether there is a GIL, a shared library, musl), then what tells the build, then the prefix.
const QUESTION: &str = "import sys, sysconfig
print('%d %d %d %d %d' % (sys.version_info[0], sys.version_info[1], getattr(sys, '_is_gil_enabled', lambda: True)(),
sysconfig.get_config_var('Py_ENABLE_SHARED') or 0, 'musl' in str(sysconfig.get_config_var('HOST_GNU_TYPE'))))
print(repr((sys.version, hasattr(sys, 'gettotalrefcount'))))
print(sys.prefix)";

impl Python {
    fn at(path: PathBuf) -> Python {
        Python { path, ..Python::default() }
    }

    /// A command that runs this interpreter and leaves no files behind.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Asks the interpreter what it is, and whether it has a shared library.
    fn asked(mut self) -> Result<(Python, bool), String> {
        let output =
            self.command().args(["-c", QUESTION]).output().map_err(|e| format!("does not start: {e}"))?;
        let answer = String::from_utf8_lossy(&output.stdout);
        let mut lines = answer.lines();
        let mut line = || lines.next().unwrap_or_default().to_string();
        let numbers: Vec<u32> = line().split(' ').filter_map(|word| word.parse().ok()).collect();
        let [major, minor, gil, shared, musl] = numbers[..] else {
            return Err(format!("does not run: {}", String::from_utf8_lossy(&output.stderr).trim()));
        };
        (self.version, self.gil, self.musl) = ((major, minor), gil == 1, musl == 1);
        self.build = format!("{} {:?}", line(), self.environment);
        self.prefix = line();
        Ok((self, shared == 1))
    }
}
