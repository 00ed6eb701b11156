//! `-t`: a command runs under the profiler as it would alone, and is profiled from when it runs Python to its end.

use super::Setting;
use crate::profiler::Run;
use crate::stacks::Folded;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// What is sampled of a second of computing, at least on a busy machine.
const LEAST: u64 = 100;
/// Clock ticks of 10 ms that a second of waiting may take.
const WAITING: u64 = 5;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("command: as alone", patiently(|| as_alone(setting)));
    for status in [0, 7, 255] {
        score.enter(&format!("command: status {status}"), patiently(|| ends_with(setting, status, status)));
    }
    for signal in [15, 9] {
        let check = || ends_with(setting, -signal, 128 + signal);
        score.enter(&format!("command: signal {signal}"), patiently(check));
    }
    for (name, script) in LAUNCHERS {
        score.enter(&format!("command: {name}"), patiently(|| launched(setting, script)));
    }
    score.enter("command: goes on after sampling", patiently(|| goes_on(setting)));
    score.enter("command: interrupted", patiently(|| interrupted(setting)));
    score.enter("command: waits without work", patiently(|| waits(setting)));
    score.enter("command: no Python in it", no_python(setting));
    score.enter("command: cannot be run", cannot_run(setting));
    score.enter("command: profile on standard output", to_stdout(setting));
    Ok(())
}

/// What is not there, is no program, or is the profiler itself: a message, status 1, and nothing on standard output.
fn cannot_run(setting: &Setting) -> Checked {
    for (words, said) in [
        ("-t /no/such/command", "/no/such/command: No such file or directory"),
        ("-t no-such-command-in-path", "no-such-command-in-path: No such file or directory"),
        ("-t /", "/: Permission denied"),
        ("-t pyflame 1", "You tried to pyflame a pyflame"),
        ("-t /usr/bin/pyflame", "You tried to pyflame a pyflame"),
    ] {
        setting.profiler.run(words)?.has_refused(said)?;
    }
    Ok(())
}

/// Without `-o` the profile follows what the command itself writes there.
fn to_stdout(setting: &Setting) -> Checked {
    let python = setting.python.path.display();
    let script = format!(
        "exec $PYFLAME -s inf -t {python} -c 'import sys; sys.stdout.write(str(sum(range(3*10**6)))); sys.stdout.write(chr(10))'"
    );
    let run = setting.profiler.shell(&script)?;
    let output = run.output();
    let (first, rest) = output.split_once('\n').ok_or("no line")?;
    ensure(run.status.success() && first == "4499998500000", || run.describe())?;
    let folded = Folded::parse(rest.as_bytes())?;
    ensure(folded.total() > 0, || run.describe())
}

/// How a Python may come to run; `$RUN` is the interpreter with its program and arguments.
const LAUNCHERS: [(&str, &str); 5] = [
    ("found in PATH", "PATH=$DIRECTORY:$PATH exec $PYFLAME $OPTIONS $NAME $ARGUMENTS"),
    ("by env", "exec $PYFLAME $OPTIONS env A=1 $RUN"),
    ("by a shell that becomes it", "exec $PYFLAME $OPTIONS sh -c 'sleep 0.2; exec $RUN'"),
    ("by a script", "exec $PYFLAME $OPTIONS ./script $ARGUMENTS"),
    ("by a script of a script", "exec $PYFLAME $OPTIONS ./outer $ARGUMENTS"),
];

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/command.py")
}

/// A directory to be in, which a sleeping process holds.
fn place() -> Result<Target, Trouble> {
    Target::other("sleep", &["600"])
}

/// Runs a shell script in `place`, its words replaced.
fn shell(setting: &Setting, place: &Target, script: &str, arguments: &str) -> Result<Run, Trouble> {
    let python = setting.python.path.display().to_string();
    let (directory, name) = python.rsplit_once('/').unwrap_or(("", &python));
    let program = program().display().to_string();
    let arguments = format!("{program} {arguments}");
    let environment =
        setting.python.environment.iter().map(|(name, value)| format!("export {name}='{value}'; "));
    let script = script
        .replace("$RUN", &format!("{python} {arguments}"))
        .replace("$NAME", name)
        .replace("$DIRECTORY", directory)
        .replace("$ARGUMENTS", &arguments)
        .replace("$OPTIONS", "-V -s inf -o out -t");
    let cd = format!("cd {}; export A_WORD='with blanks'; ", place.file("").display());
    setting.profiler.shell(&(cd + &environment.collect::<String>() + &script))
}

fn profile(place: &Target) -> Result<Folded, Trouble> {
    Ok(Folded::parse(&fs::read(place.file("out"))?)?)
}

fn computed(folded: &Folded) -> u64 {
    folded.with(|frame| frame.name() == "compute")
}

/// Arguments, working directory, environment, signals, descriptors and standard streams are those that it has alone.
fn as_alone(setting: &Setting) -> Checked {
    let place = place()?;
    let alone = shell(setting, &place, "echo input | exec $RUN", "0.1 3")?;
    let profiled = shell(setting, &place, "echo input | exec $PYFLAME -s inf -o out -t $RUN", "0.1 3")?;
    ensure(alone.stdout == profiled.stdout && alone.output().contains("with blanks"), || {
        format!("{} {}", alone.describe(), profiled.describe())
    })?;
    ensure(alone.stderr == profiled.stderr && !alone.stderr.is_empty(), || profiled.describe())?;
    ensure(profiled.status.code() == alone.status.code(), || profiled.describe())
}

/// The command's status is the profiler's.
fn ends_with(setting: &Setting, status: i32, expected: i32) -> Checked {
    let place = place()?;
    let run = shell(setting, &place, "exec $PYFLAME $OPTIONS $RUN </dev/null", &format!("1 {status}"))?;
    ensure(run.status.code() == Some(expected), || run.describe())?;
    let samples = computed(&profile(&place)?);
    ensure(samples >= LEAST, || format!("{samples} samples: {}", run.describe()))
}

fn launched(setting: &Setting, script: &str) -> Checked {
    let place = place()?;
    let write = |name: &str, text: String| {
        fs::write(place.file(name), text)?;
        fs::set_permissions(place.file(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
    };
    write("script", format!("#!{}\n{}", setting.python.path.display(), fs::read_to_string(program())?))?;
    write("outer", "#!/bin/sh\nshift\n./script \"$@\"\nexit $?\n".into())?;
    let script = script.replace("./script $ARGUMENTS", "./script 1 4");
    if script.contains("./outer") {
        // A shell that does not become it is no Python: its children are seen with -C.
        let run = shell(setting, &place, &script.replace("$OPTIONS", "-V -C -s inf -o out -t"), "1 4")?;
        ensure(run.status.code() == Some(4), || run.describe())?;
    } else {
        let run = shell(setting, &place, &script, "1 4")?;
        ensure(run.status.code() == Some(4), || run.describe())?;
    }
    let samples = computed(&profile(&place)?);
    ensure(samples >= LEAST, || format!("{samples} samples"))
}

/// The profile is written when its time is over; the command ends when it wants to.
fn goes_on(setting: &Setting) -> Checked {
    let place = place()?;
    let python = setting.python.path.to_string_lossy();
    let program = program();
    let words = ["-s", "1", "-o", "out", "-t", &python, &program.to_string_lossy(), "3", "6"];
    let started = Instant::now();
    let mut target = Target::other(&setting.profiler.path, &words)?;
    while fs::metadata(target.file("out")).map_or(0, |file| file.len()) == 0 {
        ensure(started.elapsed() < Duration::from_secs(20), || "no profile".into())?;
        thread::sleep(Duration::from_millis(2));
    }
    ensure(target.ended().is_none(), || "the command did not go on".into())?;
    let status = end_of(&mut target)?;
    ensure(status == Some(6) && started.elapsed() >= Duration::from_secs(3), || format!("{status:?}"))?;
    drop(place);
    let samples = computed(&Folded::parse(&fs::read(target.file("out"))?)?);
    ensure((20..=1001).contains(&samples), || format!("{samples} samples"))
}

fn end_of(target: &mut Target) -> Result<Option<i32>, Trouble> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if let Some(status) = target.ended() {
            return Ok(status.code());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err("the profiler does not end".into())
}

/// A signal that is sent to the profiler is the command's; what was sampled is written.
fn interrupted(setting: &Setting) -> Checked {
    let python = setting.python.path.to_string_lossy();
    let program = program();
    let words = ["-s", "inf", "-o", "out", "-t", &python, &program.to_string_lossy(), "30", "6"];
    let mut target = Target::other(&setting.profiler.path, &words)?;
    thread::sleep(Duration::from_secs(1));
    target.signal("TERM")?;
    let status = end_of(&mut target)?;
    ensure(status == Some(128 + 15), || format!("ended with {status:?}"))?;
    let samples = computed(&Folded::parse(&fs::read(target.file("out"))?)?);
    ensure(samples >= LEAST, || format!("{samples} samples"))
}

/// A second before there is a Python takes hardly any processor time.
fn waits(setting: &Setting) -> Checked {
    let python = setting.python.path.display();
    let script = format!("sleep 1.2; exec {python} {} 0.5 0 </dev/null", program().display());
    let words = ["-s", "inf", "-o", "out", "-t", "sh", "-c", &script];
    let mut target = Target::other(&setting.profiler.path, &words)?;
    thread::sleep(Duration::from_secs(1));
    let used = target::processor_time(target.pid())?;
    ensure(used <= WAITING, || format!("{used} ticks while it waited"))?;
    let status = end_of(&mut target)?;
    ensure(status == Some(0), || format!("ended with {status:?}"))?;
    let samples = computed(&Folded::parse(&fs::read(target.file("out"))?)?);
    ensure(samples >= LEAST / 2, || format!("{samples} samples"))
}

/// That is said when the command has ended.
fn no_python(setting: &Setting) -> Checked {
    let run = setting.profiler.run("-t sh -c exit")?;
    run.has_refused("has no CPython interpreter")?;
    let started = Instant::now();
    setting.profiler.run("-t sleep 0.5")?.has_refused("has no CPython interpreter")?;
    ensure(started.elapsed() >= Duration::from_millis(500), || "did not wait for its end".into())
}
