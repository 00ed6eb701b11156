//! An interpreter whose files are gone or have been replaced, as after an upgrade, is profiled as any other.

use super::Setting;
use crate::interpreters::Python;
use crate::stacks::parse_dump;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let original = setting.start("spin.py", &["0"])?;
    let files = files_of(&original)?;
    let copies = original.file("copies");
    for (name, remove) in KINDS {
        fs::create_dir_all(&copies)?;
        score.enter(&format!("deleted: {name}"), without_files(setting, &files, &copies, remove));
        fs::remove_dir_all(&copies)?;
    }
    Ok(())
}

/// What becomes of the files, and what sees to it.
type Removal = fn(&Path) -> Checked;
const KINDS: [(&str, Removal); 7] = [
    ("deleted", delete),
    ("replaced", |file| replace(file, "yes 'not what was mapped' | head -c 2000000 >$1")),
    ("replaced by another version", another_version),
    ("replaced by nothing", |file| replace(file, ": >$1")),
    ("replaced by a FIFO", |file| replace(file, "mkfifo $1")),
    ("replaced by a device", |file| replace(file, "ln -s /dev/zero $1")),
    ("replaced by a directory", |file| replace(file, "mkdir $1")),
];

/// No look at what hangs or has no end takes so long.
const SOON: Duration = Duration::from_secs(20);

fn delete(file: &Path) -> Checked {
    Ok(fs::remove_file(file)?)
}

/// Puts something else, which this command makes, at the same path, as an upgrade does.
fn replace(file: &Path, make: &str) -> Checked {
    let other = file.with_extension("new");
    let made = Command::new("sh").args(["-c", make, "sh"]).arg(&other).status()?;
    ensure(made.success(), || format!("{make}: {made}"))?;
    fs::remove_file(file)?;
    Ok(fs::rename(other, file)?)
}

fn another_version(file: &Path) -> Checked {
    let versions = PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".pyenv/versions");
    let libraries = fs::read_dir(versions).into_iter().flatten().flatten().filter_map(|version| {
        let mut files = fs::read_dir(version.path().join("lib")).ok()?.flatten();
        Some(files.find(|file| file.file_name().to_string_lossy().starts_with("libpython"))?.path())
    });
    let others = libraries.filter(|library| library.file_name() != file.file_name());
    let other = others.chain(["/usr/bin/python3".into()]).find(|other| other.exists());
    let other = other.ok_or_else(|| Trouble::Skipped("there is no other version".into()))?;
    replace(file, &format!("cp {} $1", other.display()))
}

/// The executable of a process and its library of Python, if it has one.
pub fn files_of(target: &Target) -> Result<BTreeSet<PathBuf>, Trouble> {
    let proc = PathBuf::from(format!("/proc/{}", target.pid()));
    let executable = fs::read_link(proc.join("exe"))?;
    let maps = fs::read_to_string(proc.join("maps"))?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let library =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libpython"));
    Ok(paths.filter(library).chain([executable]).collect())
}

/// Runs a copy of the interpreter, removes the copy, and asks for the stacks.
fn without_files(setting: &Setting, files: &BTreeSet<PathBuf>, copies: &Path, remove: Removal) -> Checked {
    let python = copy(setting.python, files, copies)?;
    let target = Target::python(&python, "spin.py", &["0"])?;
    for file in fs::read_dir(copies)? {
        remove(&file?.path())?;
    }
    let kept = files_of(&target)?.into_iter().find(|file| !file.to_string_lossy().ends_with("(deleted)"));
    ensure(kept.is_none(), || format!("still there: {kept:?}"))?;
    let run = setting.profiler.succeed(&format!("-d {}", target.pid()))?;
    ensure(run.took < SOON, || run.describe())?;
    let threads = parse_dump(&run.stdout)?;
    let found: BTreeSet<String> = threads.iter().map(|thread| format!("sleeps {}", thread.ident)).collect();
    let known: BTreeSet<String> = target.told()?.lines().map(String::from).collect();
    ensure(found == known, || format!("threads {known:?}, found {found:?}"))?;
    let names = |wanted| threads.iter().filter(|t| t.frames.iter().any(|f| f.name() == wanted)).count();
    ensure(names("sleeper") == 3 && names("main") == 1, || "stacks are not those of the program".into())
}

/// The interpreter with its executable and library in another place, and its modules where they were.
pub fn copy(python: &Python, files: &BTreeSet<PathBuf>, to: &Path) -> Result<Python, Trouble> {
    fs::create_dir_all(to)?;
    let mut copy = python.clone();
    for file in files {
        let name = file.file_name().ok_or("a file without a name")?;
        // By another process: a child of another thread could inherit the open file, and it could not be executed.
        let copied = Command::new("cp").args([file, &to.join(name)]).status()?;
        ensure(copied.success(), || format!("cp {}: {copied}", file.display()))?;
        if !name.to_string_lossy().starts_with("libpython") {
            copy.path = to.join(name);
        }
    }
    copy.environment.push(("PYTHONHOME".into(), python.prefix.clone()));
    copy.environment.push(("LD_LIBRARY_PATH".into(), to.to_string_lossy().into_owned()));
    Ok(copy)
}

/// The same copy, when it is seen in another place.
pub fn moved(mut copy: Python, from: &Path, to: &Path) -> Python {
    if let Ok(name) = copy.path.strip_prefix(from) {
        copy.path = to.join(name);
    }
    copy.environment.push(("LD_LIBRARY_PATH".into(), to.to_string_lossy().into_owned()));
    copy
}
