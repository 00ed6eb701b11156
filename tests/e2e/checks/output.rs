//! `-o`: a file has its name when it is complete and not before, nobody can make us write elsewhere, and what is no
//! ordinary file is written as it always was.

use super::{Setting, denied};
use crate::profiler::{Run, Running};
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const BEFORE: &str = "what was there before\n";

/// A check with a target that computes, in whose directory there is an empty one called `o`.
type OnTarget = fn(&Setting, &Target, &Path) -> Checked;

const CHECKS: [(&str, OnTarget); 15] = [
    ("a new file", new_file),
    ("a file that is there", old_file),
    ("ended by signals", signals),
    ("killed", killed),
    ("too large", too_large),
    ("nothing to write", nothing),
    ("a name that is taken meanwhile", taken),
    ("a link", link),
    ("a link in a shared directory", planted),
    ("somebody's file in a shared directory", foreign),
    ("a file with two names", two_names),
    ("a directory that cannot be written", closed_directory),
    ("a FIFO", fifo),
    ("descriptors", descriptors),
    ("for root alone", private),
];

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let target = setting.start_busy("ending.py", &["60"])?;
    let directory = target.file("o");
    for (name, check) in CHECKS {
        fs::create_dir(&directory)?;
        score.enter(&format!("output: {name}"), check(setting, &target, &directory));
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// Names in a directory.
fn names(directory: &Path) -> Result<Vec<String>, Trouble> {
    let entries = fs::read_dir(directory)?.flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn has_names(directory: &Path, wanted: &[&str]) -> Checked {
    let found = names(directory)?;
    ensure(found == wanted, || format!("expected {wanted:?}, there are {found:?}"))
}

fn is_profile(path: &Path) -> Checked {
    let folded = Folded::parse(&fs::read(path)?)?;
    ensure(folded.with(|frame| frame.name() == "compute") > 3, || format!("{} samples", folded.total()))
}

fn is_untouched(path: &Path) -> Checked {
    let text = fs::read_to_string(path)?;
    ensure(text == BEFORE, || format!("{} was written: {text}", path.display()))
}

fn sample(setting: &Setting, target: &Target, path: &Path) -> Result<Run, Trouble> {
    setting.profiler.run(&format!("-s 0.1 -o {} {}", path.display(), target.pid()))
}

/// A run that has begun to sample, into `out` of the directory.
fn begin(setting: &Setting, target: &Target, directory: &Path) -> Result<Running, Trouble> {
    let words = format!("-s 60 -o {} {}", directory.join("out").display(), target.pid());
    let running = setting.profiler.start(&words)?;
    let began = Instant::now();
    let temporary = format!(".out.pyflame-{}", running.pid());
    while !names(directory)?.contains(&temporary) {
        ensure(began.elapsed() < Duration::from_secs(10), || format!("{temporary} never came"))?;
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(100));
    Ok(running)
}

fn new_file(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    sample(setting, target, &directory.join("out"))?.has_succeeded()?;
    has_names(directory, &["out"])?;
    is_profile(&directory.join("out"))?;
    // Whatever the name is, and from wherever it is looked for.
    let script = format!(
        "cd {} && umask 027 && $PYFLAME -s 0.1 -o {} {pid} && mkdir in && cd in && $PYFLAME -s 0.1 -o ../-b {pid}",
        directory.display(),
        "x".repeat(255),
        pid = target.pid()
    );
    setting.profiler.shell(&script)?.has_succeeded()?;
    has_names(directory, &["-b", "in", "out", &"x".repeat(255)])?;
    let mode = fs::metadata(directory.join("-b"))?.mode() & 0o777;
    ensure(mode == 0o640, || format!("mode {mode:o}"))?;
    is_profile(&directory.join("-b"))?;
    is_profile(&directory.join("x".repeat(255)))
}

fn old_file(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let path = directory.join("out");
    for mode in [0o600, 0o640, 0o666] {
        fs::write(&path, BEFORE)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        sample(setting, target, &path)?.has_succeeded()?;
        has_names(directory, &["out"])?;
        is_profile(&path)?;
        let kept = fs::metadata(&path)?.mode() & 0o777;
        ensure(kept == mode, || format!("mode was {mode:o}, is {kept:o}"))?;
    }
    Ok(())
}

fn signals(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    // A hangup that is ignored here, as below nohup(1), is so there (SigIgn of proc_pid_status(5)).
    let ignored = target::status(std::process::id(), "SigIgn")
        .is_some_and(|mask| mask.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']));
    let names: &[&str] = if ignored { &["INT", "TERM"] } else { &["INT", "TERM", "HUP"] };
    for name in names {
        let path = directory.join("out");
        fs::write(&path, BEFORE)?;
        let running = begin(setting, target, directory)?;
        is_untouched(&path)?;
        target::signal(running.pid(), name)?;
        running.finish()?.has_succeeded()?;
        has_names(directory, &["out"])?;
        is_profile(&path)?;
    }
    Ok(())
}

fn killed(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let running = begin(setting, target, directory)?;
    let temporary = format!(".out.pyflame-{}", running.pid());
    target::signal(running.pid(), "KILL")?;
    running.finish()?;
    has_names(directory, &[&temporary])
}

fn too_large(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let path = directory.join("out");
    fs::write(&path, BEFORE)?;
    // Not even the first byte; what is written on standard error is a pipe.
    let script = format!("ulimit -f 0; exec $PYFLAME -s 0.1 -o {} {}", path.display(), target.pid());
    setting.profiler.shell(&script)?.has_refused("cannot write the profile to ")?;
    has_names(directory, &["out"])?;
    is_untouched(&path)
}

/// A mistake is found before anything is written, or sampled.
fn nothing(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let path = directory.join("out");
    let command = format!("-s 60 -o {} -t /no/such/command", path.display());
    setting.profiler.run(&command)?.has_refused("/no/such/command: ")?;
    has_names(directory, &[])?;
    for (name, word) in [("none/out", "ENOENT"), ("", "EISDIR"), (".", "EISDIR"), ("out/", "ENOENT")] {
        let path = format!("{}/{name}", directory.display());
        let run = setting.profiler.run(&format!("-s 60 -o {path} {}", target.pid()))?;
        let word = if name.is_empty() { "ENOENT" } else { word };
        run.has_refused(word)?;
        ensure(run.took < Duration::from_secs(5), || run.describe())?;
    }
    has_names(directory, &[])
}

/// What cannot get its name is not lost.
fn taken(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let running = begin(setting, target, directory)?;
    let temporary = format!(".out.pyflame-{}", running.pid());
    fs::create_dir(directory.join("out"))?;
    target::signal(running.pid(), "INT")?;
    running.finish()?.has_refused("cannot rename the profile to ")?;
    has_names(directory, &[&temporary, "out"])?;
    is_profile(&directory.join(temporary))
}

fn link(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    fs::create_dir(directory.join("d"))?;
    symlink("d/second", directory.join("first"))?;
    symlink(directory.join("d/out"), directory.join("d/second"))?;
    for _ in 0..2 {
        sample(setting, target, &directory.join("first"))?.has_succeeded()?;
        has_names(directory, &["d", "first"])?;
        has_names(&directory.join("d"), &["out", "second"])?;
        is_profile(&directory.join("d/out"))?;
    }
    Ok(())
}

/// In a directory where anybody may make a link, nobody's is followed: not to a file, not to none, not to a directory.
fn planted(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let (shared, victim) = (directory.join("shared"), directory.join("victim"));
    fs::create_dir(&shared)?;
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777))?;
    fs::write(&victim, BEFORE)?;
    for (name, to) in [("file", "../victim"), ("none", "../none"), ("directory", "..")] {
        symlink(to, shared.join(name))?;
    }
    symlink("shared/file", directory.join("indirect"))?;
    for path in ["shared/file", "shared/none", "shared/directory/victim", "indirect"] {
        sample(setting, target, &directory.join(path))?.has_refused("ELOOP")?;
    }
    is_untouched(&victim)?;
    has_names(directory, &["indirect", "shared", "victim"])?;
    // One that comes while we sample is replaced, not followed.
    let running = begin(setting, target, &shared)?;
    symlink("../victim", shared.join("out"))?;
    target::signal(running.pid(), "INT")?;
    running.finish()?.has_succeeded()?;
    is_untouched(&victim)?;
    is_profile(&shared.join("out"))?;
    ensure(!fs::symlink_metadata(shared.join("out"))?.is_symlink(), || "still a link".into())
}

fn foreign(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let path = directory.join("out");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))?;
    fs::write(&path, BEFORE)?;
    if chown(&path, Some(12_345), None).is_err() {
        return Err(Trouble::Skipped("only root can give files away".into()));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    sample(setting, target, &path)?.has_refused("EACCES")?;
    is_untouched(&path)
}

fn two_names(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let (one, two) = (directory.join("one"), directory.join("two"));
    fs::write(&one, BEFORE.repeat(1000))?;
    fs::hard_link(&one, &two)?;
    sample(setting, target, &one)?.has_succeeded()?;
    is_profile(&two)?;
    let links = fs::metadata(&one)?.nlink();
    ensure(links == 2, || format!("{links} names"))
}

/// As a user who may write the file, but not make one beside it.
fn closed_directory(setting: &Setting, _target: &Target, directory: &Path) -> Checked {
    if target::status(std::process::id(), "Uid").is_none_or(|uid| !uid.starts_with("0\t")) {
        return Err(Trouble::Skipped("only root can become another user".into()));
    }
    let guest = setting.start("guest.py", &["user"])?;
    let (path, none) = (directory.join("out"), directory.join("none"));
    fs::write(&path, BEFORE.repeat(1000))?;
    chown(&path, Some(65_534), None)?;
    fs::set_permissions(directory.parent().unwrap_or(directory), fs::Permissions::from_mode(0o755))?;
    let command = |path: &Path| format!("$USER $PYFLAME -s 0.1 -o {} $PID", path.display());
    let run = setting.profiler.shell(&denied::script(setting, &guest, guest.pid(), &command(&path))?)?;
    run.has_succeeded()?;
    has_names(directory, &["out"])?;
    Folded::parse(&fs::read(&path)?)?;
    let run = setting.profiler.shell(&denied::script(setting, &guest, guest.pid(), &command(&none))?)?;
    run.has_refused("EACCES")
}

fn fifo(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    let script = format!(
        "cd {} && mkfifo f && timeout 20 cat f >copy 2>&1 & sleep 0.3; cd {} && $PYFLAME -s 0.1 -o f {} && wait",
        directory.display(),
        directory.display(),
        target.pid()
    );
    setting.profiler.shell(&script)?.has_succeeded()?;
    has_names(directory, &["copy", "f"])?;
    is_profile(&directory.join("copy"))
}

fn descriptors(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    for name in ["/dev/stdout", "/dev/fd/3", "/proc/self/fd/3", "/proc/thread-self/fd/3"] {
        let path = directory.join("out");
        fs::write(&path, BEFORE.repeat(1000))?;
        let inode = fs::metadata(&path)?.ino();
        let redirection = if name.ends_with('3') { "3>" } else { ">" };
        let run = format!("$PYFLAME -s 0.1 -o {name} {} {redirection}{}", target.pid(), path.display());
        setting.profiler.shell(&run)?.has_succeeded()?;
        is_profile(&path)?;
        ensure(fs::metadata(&path)?.ino() == inode, || format!("{name}: another file"))?;
        has_names(directory, &["out"])?;
    }
    let run = setting.profiler.shell(&format!("$PYFLAME -s 0.1 -o /dev/stdout {} | cat", target.pid()))?;
    run.has_succeeded()?;
    Folded::parse(&run.stdout)?;
    sample(setting, target, Path::new("/dev/null"))?.has_succeeded()?;
    ensure(!fs::metadata("/dev/null")?.is_file(), || "/dev/null is a file now".into())
}

/// What root reads out of another user's process is not for all; what it reads out of its own is as always.
fn private(setting: &Setting, target: &Target, directory: &Path) -> Checked {
    if target::status(std::process::id(), "Uid").is_none_or(|uid| !uid.starts_with("0\t")) {
        return Err(Trouble::Skipped("only root can look at another user's process".into()));
    }
    let guest = setting.start("guest.py", &["undumpable"])?;
    for (pid, options, wanted) in
        [(guest.pid(), "", 0o600), (target.pid(), "", 0o644), (target.pid(), "-C", 0o600)]
    {
        let path = directory.join("out");
        let script = format!("umask 022; $PYFLAME {options} -s 0.1 -o {} {pid}", path.display());
        setting.profiler.shell(&script)?.has_succeeded()?;
        let mode = fs::metadata(&path)?.mode() & 0o7777;
        ensure(mode == wanted, || format!("mode {mode:o}, not {wanted:o}"))?;
        fs::remove_file(&path)?;
    }
    Ok(())
}
