//! `--children`: each process of a tree with its own stacks, however it was started.

use super::{Setting, check, read};
use crate::interpreters::{self, Python};
use crate::profiler::Run;
use crate::stacks::{Folded, parse_dump};
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How the workers are started.
const KINDS: [&str; 6] = ["fork", "forkserver", "spawn", "prefork", "subprocess", "shell"];
/// Seconds for which the targets live, if nobody ends them, and the options of a run.
const LIFE: &str = "40";
const OPTIONS: &str = "--verbose -C -s 1 -r 0.002";
/// Workers that compute all the time have equal shares, but for this part, in percent.
const TOLERANCE: u64 = 5;
/// Resident memory for processes that come and go, in KiB.
const MEMORY: u64 = 2048;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for kind in KINDS {
        score.enter(&format!("children: {kind}"), patiently(|| workers(setting, kind, "")));
    }
    score.enter("children: of another version", patiently(|| other_version(setting)));
    score.enter("children: one is killed", patiently(|| one_dies(setting)));
    for mode in ["", "--blocking"] {
        let name = format!("children: they come and go {mode}");
        score.enter(name.trim_end(), patiently(|| come_and_go(setting, mode)));
    }
    score.enter("children: dump", dump(setting));
    score.enter("children: check", check(setting));
    score.enter("children: pid of a shell", patiently(|| of_a_shell(setting)));
    score.enter("children: of a command", patiently(|| of_a_command(setting)));
    score.enter("children: none", none(setting));
    Ok(())
}

/// Both workers are sampled, all the time, and each by itself.
fn workers(setting: &Setting, kind: &str, other: &str) -> Checked {
    let target = setting.start("children.py", &[kind, LIFE, other])?;
    target.told()?;
    let run = setting.profiler.run(&format!("{OPTIONS} {}", target.pid()))?;
    let folded = read(&run)?;
    adds_up(&folded, &run)?;
    has_both(&folded, &target, "")
}

/// The pid that a worker wrote.
fn pid_of(target: &Target, worker: &str) -> Result<u32, Trouble> {
    let text = target.wait_for(&format!("ready.{worker}"))?;
    text.trim().parse().map_err(|_| format!("no pid: {text:?}").into())
}

/// Samples of a worker's function below its process. Nobody else may have any of it.
fn samples_of(folded: &Folded, pid: u32, worker: &str) -> Result<u64, Trouble> {
    let (title, function) = (format!("pid {pid} "), format!("busy_{worker}"));
    let is_its = |stack: &[crate::stacks::Frame]| stack[0].file.starts_with(title.as_bytes());
    let mut samples = 0;
    for (stack, count) in &folded.stacks {
        let busy = stack.iter().find(|frame| frame.name().starts_with("busy_"));
        match (is_its(stack), busy.is_some_and(|frame| frame.name() == function)) {
            (true, true) => samples += count,
            (true, false) if busy.is_none() => {}
            (false, false) => {}
            _ => return Err(format!("{worker} is {pid}, impossible of it: {stack:?}").into()),
        }
    }
    Ok(samples)
}

/// That both have equally many samples, and one at nearly every deadline of a second.
fn has_both(folded: &Folded, target: &Target, title: &str) -> Checked {
    let mut samples = Vec::new();
    for worker in ["alpha", "beta"] {
        let pid = pid_of(target, worker)?;
        samples.push(samples_of(folded, pid, worker)?);
        let whole = format!("pid {pid} {title}");
        let titled = folded.stacks.iter().any(|(stack, _)| stack[0].file.starts_with(whole.as_bytes()));
        ensure(titled, || format!("no process is {whole:?}"))?;
    }
    let (most, least) = (samples[0].max(samples[1]), samples[0].min(samples[1]));
    let fits = most - least <= most * TOLERANCE / 100 + 5 && least + folded.missed >= 440;
    ensure(fits, || format!("{samples:?} samples, {} missed", folded.missed))
}

/// That every sample is somewhere in the profile.
fn adds_up(folded: &Folded, run: &Run) -> Checked {
    let words = run.errors();
    let before = words.split(" samples in ").next().unwrap_or_default();
    let counted: u64 = before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let total = folded.total();
    ensure(total == counted && !words.contains("left out"), || format!("{total}: {}", run.describe()))
}

/// An interpreter of another version than the one that is tested, if there is one.
fn another(setting: &Setting) -> Result<Python, Trouble> {
    static ALL: OnceLock<Vec<Python>> = OnceLock::new();
    let all =
        ALL.get_or_init(|| interpreters::find().into_iter().filter_map(|entry| entry.python.ok()).collect());
    let other = all.iter().find(|python| python.version != setting.python.version && python.gil);
    other.cloned().ok_or_else(|| Trouble::Skipped("there is no other version".into()))
}

fn other_version(setting: &Setting) -> Checked {
    let other = another(setting)?;
    workers(setting, "other", &other.path.to_string_lossy())
}

/// What ends is no error, and what was sampled of it stays.
fn one_dies(setting: &Setting) -> Checked {
    let target = setting.start("children.py", &["prefork", LIFE])?;
    let running = setting.profiler.start(&format!("-C -s 1 -r 0.002 {}", target.pid()))?;
    thread::sleep(Duration::from_millis(500));
    let (alpha, beta) = (pid_of(&target, "alpha")?, pid_of(&target, "beta")?);
    target::signal(beta, "KILL")?;
    let run = running.finish()?;
    run.has_succeeded()?;
    let folded = Folded::parse(&run.stdout)?;
    let (alpha, beta) = (samples_of(&folded, alpha, "alpha")?, samples_of(&folded, beta, "beta")?);
    ensure(beta >= 20 && alpha > beta * 3 / 2 && folded.failed <= 3, || {
        format!("{alpha} and {beta} samples, {} failed", folded.failed)
    })
}

/// Processes that live for 30 ms, one after the other.
fn come_and_go(setting: &Setting, mode: &str) -> Checked {
    let target = setting.start("children.py", &["brief", LIFE])?;
    let run = setting.profiler.run(&format!("--verbose -C {mode} -s 3 -r 0.002 {}", target.pid()))?;
    let folded = read(&run)?;
    adds_up(&folded, &run)?;
    let brief = |stack: &[crate::stacks::Frame]| stack.iter().any(|frame| frame.name() == "busy_brief");
    let stacks = folded.stacks.iter().filter(|(stack, _)| brief(stack));
    let processes: BTreeSet<_> = stacks.map(|(stack, _)| &stack[0].file).collect();
    let master = format!("pid {} ", target.pid());
    ensure(processes.iter().all(|title| !title.starts_with(master.as_bytes())), || {
        "busy is the parent".into()
    })?;
    ensure(processes.len() >= 8 && folded.failed * 50 <= folded.total(), || {
        format!("{} processes, {} of {} failed", processes.len(), folded.failed, folded.total())
    })?;
    ensure(run.peak <= MEMORY || !setting.profiler.is_shipped, || format!("{} KiB", run.peak))
}

/// Each process with its stack, below a line with its title.
fn dump(setting: &Setting) -> Checked {
    let target = setting.start("children.py", &["prefork", LIFE])?;
    let run = setting.profiler.succeed(&format!("-d -C {}", target.pid()))?;
    let text = run.output();
    for worker in ["alpha", "beta"] {
        let title = format!("pid {} ", pid_of(&target, worker)?);
        let (_, rest) = text.split_once(&title).ok_or_else(|| format!("no {title:?} in {text:?}"))?;
        let (_, rest) = rest.split_once('\n').unwrap_or_default();
        let block = rest.split("\npid ").next().unwrap_or_default();
        let threads = parse_dump(format!("{}\n", block.trim_end()).as_bytes())?;
        let [thread] = &threads[..] else {
            return Err(format!("{worker}: not one thread in {block:?}").into());
        };
        let function = format!("busy_{worker}");
        let frames = &thread.frames;
        ensure(frames.iter().any(|frame| frame.name() == function), || format!("{worker}: {frames:?}"))?;
    }
    ensure(text.starts_with(&format!("pid {} ", target.pid())), || format!("not the parent first: {text:?}"))
}

/// What `--check` finds in each process, below a line with its title; and why there is nothing to find.
fn check(setting: &Setting) -> Checked {
    let target = setting.start("children.py", &["shell", LIFE])?;
    target.told()?;
    let run = setting.profiler.succeed(&format!("--check -C {}", target.pid()))?;
    let text = run.output();
    let blocks: Vec<&str> = text.trim_end().split("\n\n").collect();
    let block = |pid: u32| blocks.iter().find(|block| block.starts_with(&format!("pid {pid} "))).copied();
    for pid in [target.pid(), pid_of(&target, "alpha")?, pid_of(&target, "beta")?] {
        let lines: Vec<&str> = block(pid).ok_or_else(|| format!("no {pid} in {text:?}"))?.lines().collect();
        let right = lines.len() == 5
            && lines[1].starts_with(&check::begin(setting))
            && lines[2].starts_with("in /")
            && lines[3..] == ["threads: 1, each may be stopped", "It can be profiled"];
        ensure(right, || format!("{pid}: {lines:?}"))?;
    }
    // The two shells between them, which have no interpreter.
    let without = blocks.iter().filter(|block| block.contains("has no CPython interpreter")).count();
    ensure(blocks.len() == 5 && without == 2, || run.describe())?;
    ensure(target::status(pid_of(&target, "alpha")?, "TracerPid").as_deref() == Some("0"), || "traced".into())
}

/// The target program and its arguments, for a shell that is in the target's directory.
fn command(setting: &Setting, kind: &str, life: &str) -> [String; 5] {
    let program: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/children.py");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    [text(&setting.python.path), text(&program), "ready".into(), kind.into(), life.into()]
}

/// A shell runs no Python, but what it started does.
fn of_a_shell(setting: &Setting) -> Checked {
    let script = command(setting, "prefork", LIFE).join(" ") + "; true";
    let target = Target::other("sh", &["-c", &script])?;
    target.wait_for("ready")?;
    setting.profiler.run(&format!("-s 0.1 {}", target.pid()))?.has_refused("-C")?;
    let run = setting.profiler.run(&format!("{OPTIONS} {}", target.pid()))?;
    let folded = read(&run)?;
    adds_up(&folded, &run)?;
    has_both(&folded, &target, "")
}

/// A command that we start, with its status.
fn of_a_command(setting: &Setting) -> Checked {
    let command = command(setting, "subprocess", "2");
    let options = "-V -C -s inf -r 0.002 -o out -t".split(' ').map(String::from);
    let arguments: Vec<String> = options.chain(command).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut target = Target::other(&setting.profiler.path, &arguments)?;
    target.wait_for("ready")?;
    let (start, pids) = (Instant::now(), (pid_of(&target, "alpha")?, pid_of(&target, "beta")?));
    let status = loop {
        match target.ended() {
            None if start.elapsed() < Duration::from_secs(30) => thread::sleep(Duration::from_millis(10)),
            status => break status,
        }
    };
    ensure(status.is_some_and(|status| status.code() == Some(7)), || format!("ended with {status:?}"))?;
    let folded = Folded::parse(&fs::read(target.file("out"))?)?;
    let (alpha, beta) = (samples_of(&folded, pids.0, "alpha")?, samples_of(&folded, pids.1, "beta")?);
    ensure(alpha >= 100 && beta >= 100, || format!("{alpha} and {beta} samples"))
}

/// Where there is no Python at all, that is said.
fn none(setting: &Setting) -> Checked {
    let target = Target::other("sh", &["-c", "sleep 40; true"])?;
    for mode in ["-s 0.2", "-d", "--check"] {
        let run = setting.profiler.run(&format!("-C {mode} {}", target.pid()))?;
        run.has_refused("has no CPython")?;
        ensure(!run.errors().contains("-C"), || format!("a hint at what was given: {}", run.describe()))?;
    }
    Ok(())
}
