//! Processes that look like Python and mean no good: whatever they do, a run ends, in time, with little memory, says or
//! writes nothing that a terminal or a viewer would take for its own, and leaves them as they were.

use super::{Setting, deleted};
use crate::profiler::{Run, Running};
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What `tests/programs/hostile.c` can be, but for what has a check of its own.
const MODES: [&str; 13] = [
    "interpreters",
    "threads",
    "frames",
    "long",
    "lengths",
    "sizes",
    "offsets",
    "guarded",
    "truncated",
    "many",
    "escapes",
    "changing",
    "mappings",
];

/// How each of them is looked at.
const WAYS: [&str; 5] =
    ["-s 0.3", "-s 0.3 --threads --blocking", "-s 0.2 -C --nonblocking -r 0", "-d", "--check"];

/// Formats for viewers, and what may not stand in any as it is.
const FORMATS: [&str; 6] = ["svg", "speedscope", "chrome", "cpuprofile", "folded", "flamechart"];
const FORBIDDEN: [&[u8]; 4] = [b"\x1b", b"\x07", b"<script>alert", b"\xc2\x9b"];

/// A run of half a second may take so much more on a busy machine, and so much memory, in KiB.
const SOON: Duration = Duration::from_secs(15);
const LITTLE: u64 = 40 << 10;
/// A read that takes longer is given up (`LOOKS` in src/sys/watch.rs).
const PATIENCE: Duration = Duration::from_secs(4);

/// What a library can become while it is mapped.
type Put = fn(&Path) -> Checked;
const REPLACED: [(&str, Put); 4] =
    [("FIFO", put_fifo), ("device", put_device), ("link", put_link), ("file of the kernel", put_kernel_file)];

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let directory = Target::other("true", &[])?;
    let program = compile("hostile.c", &directory.file("hostile"), "-rdynamic")?;
    let stripped = compile("hostile.c", &directory.file("stripped"), "-s")?;
    score.enter("hostile: plain", plain(setting, &program));
    for mode in MODES {
        score.enter(&format!("hostile: {mode}"), endured(setting, &program, mode));
    }
    score.enter("hostile: formats", formats(setting, &program));
    score.enter("hostile: silent", silent(setting, &program));
    score.enter("hostile: later silent", silent_later(setting, &program));
    score.enter("hostile: held up by others", held_up(setting, &program));
    score.enter("hostile: says that it is another", stranger(setting, &program));
    let server = compile("silent.c", &directory.file("server"), "-s")?;
    score.enter("hostile: nobody serves a page", unserved_page(setting, &program, &server));
    for (name, put) in REPLACED {
        score.enter(&format!("hostile: its library is now a {name}"), replaced(setting, &stripped, put));
    }
    Ok(())
}

/// Which pages of its files are in memory, is a matter of the interpreter.
pub fn files(setting: &Setting, score: &mut Score) -> Checked {
    let directory = Target::other("true", &[])?;
    let server = compile("silent.c", &directory.file("server"), "-s")?;
    score.enter("unserved: nobody serves its files", unserved(setting, &server));
    Ok(())
}

fn compile(source: &str, to: &Path, symbols: &str) -> Result<PathBuf, Trouble> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
    let arguments = ["-O1", symbols, "-pthread", "-o"];
    match Command::new("cc").args(arguments).arg(to).arg(&source).output() {
        Err(_) => Err(Trouble::Skipped("no C compiler".into())),
        Ok(output) if !output.status.success() => {
            Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
        Ok(_) => Ok(to.to_path_buf()),
    }
}

fn start(program: &Path, mode: &str) -> Result<Target, Trouble> {
    started(Target::other(program, &["ready", mode])?)
}

fn started(mut target: Target) -> Result<Target, Trouble> {
    while !target.file("ready").exists() {
        if let Some(status) = target.ended() {
            return Err(Trouble::Skipped(format!("it cannot be had here: {status}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(target)
}

/// If this did not work, the rest would mean nothing.
fn plain(setting: &Setting, program: &Path) -> Checked {
    let target = start(program, "plain")?;
    let run = setting.profiler.succeed(&format!("-s 0.3 {}", target.pid()))?;
    let text = run.output();
    ensure(text.starts_with("hostile.py:main:6;hostile.py:victim:7 "), || run.describe())
}

fn endured(setting: &Setting, program: &Path, mode: &str) -> Checked {
    let mut target = start(program, mode)?;
    for way in WAYS {
        let run = setting.profiler.run(&format!("-V {way} {}", target.pid()))?;
        is_well(&run)?;
        if way.starts_with("-s") && run.status.success() {
            Folded::parse(&run.stdout)?;
        }
        target.undisturbed()?;
    }
    Ok(())
}

/// It ended by itself, soon, without much memory, and everything that it wrote can be printed.
fn is_well(run: &Run) -> Checked {
    ensure(matches!(run.status.code(), Some(0 | 1)), || run.describe())?;
    ensure(run.took < SOON && run.peak < LITTLE, || format!("{} KiB, {}", run.peak, run.describe()))?;
    for text in [&run.stdout, &run.stderr] {
        let is_control = |c: char| c.is_control() && c != '\n';
        let control = std::str::from_utf8(text).map(|text| text.chars().find(|c| is_control(*c)));
        ensure(control == Ok(None), || format!("{control:?}: {}", run.describe()))?;
    }
    Ok(())
}

fn formats(setting: &Setting, program: &Path) -> Checked {
    let target = start(program, "escapes")?;
    for format in FORMATS {
        let run = setting.profiler.succeed(&format!("-s 0.5 -f {format} {}", target.pid()))?;
        ensure(run.stdout.len() > 100, || run.describe())?;
        // What is no markup, folded and flamechart, may hold what looks like it.
        let mut forbidden =
            FORBIDDEN.iter().filter(|text| !format.starts_with('f') || !text.starts_with(b"<"));
        let found = forbidden.find(|text| run.stdout.windows(text.len()).any(|bytes| bytes == **text));
        ensure(found.is_none(), || format!("{format}: {found:?} in {}", run.output()))?;
        if ["speedscope", "chrome", "cpuprofile"].contains(&format) {
            let path = target.file("profile.json");
            fs::write(&path, &run.stdout)?;
            let read = Command::new(&setting.python.path).args(["-m", "json.tool"]).arg(&path).output()?;
            ensure(read.status.success(), || format!("{format}: {}", String::from_utf8_lossy(&read.stderr)))?;
        }
    }
    Ok(())
}

/// The kernel waits for a page for ever, and then only what kills us ends that.
fn silent(setting: &Setting, program: &Path) -> Checked {
    let mut target = start(program, "silent")?;
    let out = target.file("out");
    let words = [format!("-s 1 -o {} {}", out.display(), target.pid()), format!("-d {}", target.pid())];
    let begun = words.iter().map(|words| setting.profiler.start(words)).collect::<Result<Vec<_>, _>>()?;
    for run in begun {
        let run = given_up(run)?;
        ensure(run.stdout.is_empty() && !out.exists(), || run.describe())?;
    }
    target.undisturbed()
}

/// The same when samples were taken already: they are written.
fn silent_later(setting: &Setting, program: &Path) -> Checked {
    let mut begun = Vec::new();
    for format in ["folded", "svg", "speedscope", "chrome", "pprof"] {
        let target = start(program, "later")?;
        let words = format!("-s 3 -f {format} -o {} {}", target.file("out").display(), target.pid());
        begun.push((format, setting.profiler.start(&words)?, target));
    }
    for (format, run, mut target) in begun {
        let run = given_up(run)?;
        let profile = fs::read(target.file("out"))?;
        let text = String::from_utf8_lossy(&profile);
        let is_well = match format {
            "folded" => Folded::parse(&profile)?.total() > 100 && text.contains("hostile.py:victim:7 "),
            "svg" => text.contains(">victim") && text.ends_with("</svg>\n"),
            "pprof" => profile.starts_with(b"\x1f\x8b"),
            _ => serde_json::from_slice::<Value>(&profile).is_ok() && text.contains("victim"),
        };
        ensure(is_well, || format!("{} wrote {text}", run.describe()))?;
        target.undisturbed()?;
    }
    Ok(())
}

/// A run that ends with a word on a read that does not.
fn given_up(run: Running) -> Result<Run, Trouble> {
    let run = run.finish()?;
    let is_said = run.errors().contains("cannot be read any more: the kernel waits");
    ensure(run.status.code() == Some(1) && is_said, || run.describe())?;
    ensure(run.took > PATIENCE && run.took < SOON, || run.describe())?;
    Ok(run)
}

/// Not the target is what does not go on: somebody stops us, or does not read what we write.
fn held_up(setting: &Setting, program: &Path) -> Checked {
    let target = start(program, "plain")?;
    let stopped = setting.profiler.start(&format!("-s 1 {}", target.pid()))?;
    let script = format!("$PYFLAME -s 10 -r 0 -f chrome {} | (sleep 8; grep -c victim)", target.pid());
    std::thread::sleep(Duration::from_millis(300));
    let pid = stopped.pid().to_string();
    let kill = |signal: &str| Command::new("kill").args([signal, pid.as_str()]).status();
    kill("-STOP")?;
    let unread = setting.profiler.shell(&script)?;
    kill("-CONT")?;
    unread.has_succeeded()?;
    ensure(unread.took > 2 * PATIENCE, || unread.describe())?;
    let run = stopped.finish()?;
    run.has_succeeded()?;
    ensure(run.output().starts_with("hostile.py:main:6;hostile.py:victim:7 "), || run.describe())
}

/// No thread is stopped because a process says that it is one of its own.
fn stranger(setting: &Setting, program: &Path) -> Checked {
    let other = Target::other("sleep", &["1000"])?;
    let target = started(Target::other(program, &["ready", "stranger", &other.pid().to_string()])?)?;
    let command = "exec strace -e trace=ptrace -o";
    let trace = target.file("trace");
    let options = format!("-V --blocking -s 0.2 {}", target.pid());
    let run = setting.profiler.shell(&format!("{command} {} $PYFLAME {options}", trace.display()))?;
    if run.status.code() == Some(127) {
        return Err(Trouble::Skipped("no strace".into()));
    }
    let trace = fs::read_to_string(trace)?;
    ensure(run.status.success() && !trace.contains(&format!(", {},", other.pid())), || trace)
}

/// What is mounted there, if anything is, is not any more when this is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(std::process::Stdio::null()).status();
    }
}

/// The same for a page of a name. All is said and written in time, though the end of the server may be what ends the wait.
fn unserved_page(setting: &Setting, program: &Path, server: &Path) -> Checked {
    let home = Target::other("true", &[])?;
    let [data, mounted, stop, out] = ["data", "mounted", "stop", "out"].map(|name| home.file(name));
    fs::create_dir(&data)?;
    fs::create_dir(&mounted)?;
    fs::write(data.join("page"), [b'n'; 4096])?;
    let path = |path: &Path| path.display().to_string();
    let served = Target::other(server, &["ready", &path(&data), &path(&mounted), &path(&stop)])?;
    let served = (Mounted(mounted.clone()), started(served)?);
    let target = Target::other(program, &["ready", "unserved", &path(&mounted.join("page"))])?;
    let mut target = started(target)?;
    fs::write(&stop, "")?;
    let run = setting.profiler.start(&format!("-s 1 --threads -o {} {}", out.display(), target.pid()))?;
    std::thread::sleep(2 * PATIENCE);
    target.undisturbed()?;
    drop(served);
    let run = run.finish()?;
    let is_said = run.errors().contains("cannot be read any more: the kernel waits");
    ensure(run.status.code() == Some(1) && is_said, || run.describe())
}

/// The interpreter and its library are on a file system that does not answer any more, as one of a host that is gone.
/// What is mapped of them is still there, and so are the threads: nobody may be asked for more.
fn unserved(setting: &Setting, server: &Path) -> Checked {
    let original = setting.start("spin.py", &["0"])?;
    let files = deleted::files_of(&original)?;
    if files.len() < 2 {
        return Err(Trouble::Skipped("what is not mapped of an executable has to be asked for".into()));
    }
    let (data, mounted) = (original.file("data"), original.file("mounted"));
    let python = deleted::copy(setting.python, &files, &data)?;
    fs::create_dir(&mounted)?;
    let stop = original.file("stop");
    let path = |path: &Path| path.display().to_string();
    let served = Target::other(server, &["ready", &path(&data), &path(&mounted), &path(&stop)])?;
    let served = (Mounted(mounted.clone()), started(served)?);
    let python = deleted::moved(python, &data, &mounted);
    let mut target = Target::python(&python, "spin.py", &["0"])?;
    fs::write(&stop, "")?;
    for options in ["-d", "-d -C", "--check", "-s 0.2 --threads"] {
        let run = setting.profiler.start(&format!("{options} {}", target.pid()))?;
        let begun = Instant::now();
        while target::status(run.pid(), "State").is_some_and(|state| !state.starts_with('Z')) {
            if begun.elapsed() > SOON {
                drop(served); // whose end ends the wait
                return Err(format!("{options} waits: {}", run.finish()?.describe()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let run = run.finish()?;
        run.has_succeeded()?;
        ensure(options == "--check" || run.output().contains("sleeper"), || run.describe())?;
    }
    target.undisturbed()
}

fn put_fifo(path: &Path) -> Checked {
    let made = Command::new("mkfifo").arg(path).status()?;
    ensure(made.success(), || format!("mkfifo: {made}"))
}

fn put_device(path: &Path) -> Checked {
    let made = Command::new("mknod").arg(path).args(["c", "1", "5"]).status()?; // /dev/zero
    if made.success() { Ok(()) } else { Err(Trouble::Skipped("no device can be made here".into())) }
}

fn put_link(path: &Path) -> Checked {
    Ok(std::os::unix::fs::symlink("/etc/passwd", path)?)
}

/// Reading it would take messages from those who they are for.
fn put_kernel_file(path: &Path) -> Checked {
    fs::write(path, "")?;
    let made = Command::new("mount").args(["--bind", "/proc/kmsg"]).arg(path).status()?;
    if made.success() { Ok(()) } else { Err(Trouble::Skipped("nothing can be mounted here".into())) }
}

/// A library that says in its name what it is, but exports nothing, so that its file is looked for: and that is now
/// something else. It is looked at, but not opened.
fn replaced(setting: &Setting, program: &Path, put: Put) -> Checked {
    let target = start(program, "library")?;
    let path = target.file("libpython3.13.so.1.0");
    fs::remove_file(&path)?;
    let _mounted = Mounted(path.clone());
    put(&path)?;
    let trace = target.file("trace");
    let user = if target::status(std::process::id(), "Uid").is_some_and(|uid| uid.starts_with("0\t")) {
        "setpriv --bounding-set=-sys_admin,-checkpoint_restore"
    } else {
        ""
    };
    let command = format!(
        "exec {user} strace -o {} -e trace=open,openat,openat2 $PYFLAME -s 0.1 {}",
        trace.display(),
        target.pid()
    );
    let run = setting.profiler.shell(&command)?;
    if run.status.code() == Some(127) {
        return Err(Trouble::Skipped("no strace".into()));
    }
    // It is found all the same: by the cookie, in memory.
    ensure(run.took < SOON && run.output().contains(":victim:7 "), || run.describe())?;
    let trace = fs::read_to_string(trace)?;
    let opened: Vec<_> = trace.lines().filter(|line| line.contains("\"libpython3.13.so.1.0\"")).collect();
    ensure(!opened.is_empty() && opened.iter().all(|line| line.contains("O_PATH")), || {
        format!("{opened:?}")
    })?;
    // A file that is opened is so right after it was looked at.
    let library = |line: &str| line.contains("\"libpython3.13.so.1.0\"");
    let lines: Vec<_> = trace.lines().collect();
    let read = lines.windows(2).any(|pair| library(pair[0]) && pair[1].contains("/proc/self/fd/"));
    ensure(!read && !trace.contains("passwd"), || trace)
}
