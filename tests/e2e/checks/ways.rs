//! All ways to read memory: what `process_vm_readv` gives must be had from `/proc/PID/mem` and from `PTRACE_PEEKDATA`, too. The
//! better ones are closed for real, by filters on system calls and by a mount.

use super::truth::Truth;
use super::{Sampling, Setting, blocked, calls, ending, mixed};
use crate::profiler::Profiler;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What is closed (modes of `tests/programs/confine.py`), and how memory is read then.
const WAYS: [(&str, &str); 4] = [
    ("readv=1", "through /proc/PID/mem"),
    ("readv=38", "through /proc/PID/mem"),
    ("readv=kill", "through /proc/PID/mem"),
    ("readv=kill,mem", "by PTRACE_PEEKDATA"),
];

/// The closest to nothing that is left.
const PEEK: &str = "readv=38,mem,kcmp=kill";

/// The same for a few threads, so that it takes little time with every interpreter: in what way the best one is closed makes
/// no difference to that, so each has one of three, by its path.
const QUICK: [[(&str, &str); 2]; 3] = [
    [("readv=1", "through /proc/PID/mem"), ("readv=1,mem", "by PTRACE_PEEKDATA")],
    [("readv=38", "through /proc/PID/mem"), ("readv=38,mem", "by PTRACE_PEEKDATA")],
    [("readv=kill", "through /proc/PID/mem"), ("readv=kill,mem", "by PTRACE_PEEKDATA")],
];

/// Where the system's own Python is.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Cases of `blocked.py` that every version has.
const FEW_CASES: [&str; 5] =
    ["mutual_recursion", "generators", "metaclass", "special_methods", "warm_method"];

/// A few blocked threads by each way, frame by frame and line by line.
pub fn quick(setting: &Setting, score: &mut Score) -> Checked {
    let mut target = setting.start("blocked.py", &FEW_CASES)?;
    let truth = Truth::parse(&target.told()?)?;
    ensure(truth.threads.len() > FEW_CASES.len(), || format!("{} threads", truth.threads.len()))?;
    score.enter("each way: process_vm_readv", by_way(setting, &target, &truth, "by process_vm_readv"));
    let path = setting.python.path.as_os_str().as_encoded_bytes();
    let mine = path.iter().map(|&byte| usize::from(byte)).sum::<usize>() % QUICK.len();
    let all = QUICK.iter().enumerate().filter(|(number, _)| setting.full || *number == mine);
    for &(closed, way) in all.flat_map(|(_, ways)| ways) {
        let profiler = confined(setting.profiler, closed)?;
        let setting = Setting { profiler: &profiler, ..*setting };
        let check = || by_way(&setting, &target, &truth, way);
        score.enter(&format!("each way: {closed}"), in_time(check));
    }
    score.enter("each way: target undisturbed", target.undisturbed());
    Ok(())
}

/// That memory is read this way, and stacks are those that the target tells.
fn by_way(setting: &Setting, target: &Target, truth: &Truth, way: &str) -> Checked {
    let run = setting.profiler.run(&format!("-V -s 0 {}", target.pid()))?;
    ensure(run.status.success() && run.errors().contains(way), || run.describe())?;
    blocked::dump(setting, target, truth)?;
    blocked::all_threads(setting, target, truth)?;
    ending::all_are_free(target.pid())
}

/// A word at a time takes seconds, so each version has another part of the kinds of stacks, one in so many.
const PART: u32 = 4;

/// Blocked threads by each way: stacks are those that the target tells.
pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for (closed, way) in WAYS {
        if closed.ends_with("mem") && !setting.profiler.is_shipped {
            let why = "a development build takes too long for a word at a time";
            score.enter(&format!("ways: {closed}"), Err(Trouble::Skipped(why.into())));
            continue;
        }
        let first = (setting.python.version.1 / 2 % PART).to_string(); // of 2.7, 3.8, 3.11, 3.13 and 3.14: 3, 0, 1, 2, 3
        let some = closed.ends_with("mem") && !setting.full;
        let arguments: &[&str] = if some { &[&first, &PART.to_string()] } else { &[] };
        let mut target = setting.start("blocked.py", arguments)?;
        let truth = Truth::parse(&target.told()?)?;
        let profiler = confined(setting.profiler, closed)?;
        let setting = Setting { profiler: &profiler, ..*setting };
        score.enter(&format!("ways: {closed}"), in_time(|| by_way(&setting, &target, &truth, way)));
        score.enter(&format!("ways: {closed}, target undisturbed"), target.undisturbed());
    }
    Ok(())
}

/// A word at a time takes seconds, and what a busy machine does not do within the bound of a sample is `(failed)`. That
/// may be tried again; a stack that is wrong may not.
fn in_time(check: impl Fn() -> Checked) -> Checked {
    let is_late = |result: &Checked| matches!(result, Err(Trouble::Failed(why)) if why.contains("failed"));
    (0..3).map(|_| check()).find(|result| !is_late(result)).unwrap_or_else(check)
}

/// Threads that compute, calls that are waited in, a stopped target, and ends, all by `PTRACE_PEEKDATA`.
pub fn peek(setting: &Setting, score: &mut Score) -> Checked {
    let profiler = confined(setting.profiler, PEEK)?;
    let confined = Setting { profiler: &profiler, ..*setting };
    let mut inner = Score::default();
    for group in [chains, calls::run] {
        group(&confined, &mut inner).unwrap_or_else(|trouble| inner.enter("peek", Err(trouble)));
    }
    inner.enter("looks that end early", early_ends(&confined));
    inner.enter("target is stopped and goes on", ending::stopped(&confined, "STOP"));
    inner.enter("never with --nonblocking", nonblocking(&confined));
    inner.enter("--check", check(&confined));
    inner.enter("no way is left", nothing_left(setting));
    inner.remarks.iter_mut().for_each(|remark| *remark = remark.replacen(' ', " peek: ", 1));
    score.add(&inner);
    Ok(())
}

/// The profiler with these ways closed.
fn confined(profiler: &Profiler, closed: &str) -> Result<Profiler, Trouble> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/confine.py");
    // What is called python3 may be a script that takes ten times as long to find another.
    let python = if Path::new(SYSTEM_PYTHON).exists() { SYSTEM_PYTHON } else { "python3" };
    let below = [python, &program.display().to_string(), closed];
    let tried = Command::new(below[0]).args(&below[1..]).args(["/bin/true", "self"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(profiler.below(&below)),
        Ok(output) => Err(Trouble::Skipped(format!(
            "{closed}: python3, ctypes, root and seccomp are needed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(error) => Err(Trouble::Skipped(format!("no python3: {error}"))),
    }
}

/// Stacks of short calls, which would be mixed if the wrong thread stood still.
fn chains(setting: &Setting, score: &mut Score) -> Checked {
    let sampling = Sampling { period: 0.001, ..setting.samples(100, 10_000) };
    let target = setting.start_busy("mixed.py", &["all"])?;
    score.enter("mixed", mixed::sample(setting, &target, "", sampling));
    drop(target);
    let target = setting.start_busy("mixed.py", &["all", "2"])?;
    score.enter("mixed, two threads", mixed::two_threads(setting, &target, "", sampling));
    Ok(())
}

/// Each ended at another moment: all threads work on.
fn early_ends(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("spin.py", &["2"])?;
    for number in 0..12 {
        let mode = ["", "--threads"][number % 2];
        let running = setting.profiler.start(&format!("{mode} -s 30 {}", target.pid()))?;
        let begun = Instant::now();
        while target::status(running.pid(), "Name").is_none_or(|name| name != "pyflame") {
            ensure(begun.elapsed() < Duration::from_secs(20), || "it did not begin".into())?;
        }
        thread::sleep(Duration::from_millis(number as u64 * 37 % 61));
        let name = ["KILL", "INT", "TERM"][number % 3];
        target::signal(running.pid(), name)?;
        let sent = Instant::now();
        let run = running.finish()?;
        ensure(sent.elapsed() < Duration::from_secs(10), || format!("{mode} SIG{name}: {}", run.describe()))?;
        target.undisturbed()?;
        ending::all_are_free(target.pid())?;
    }
    target.computes()
}

fn nonblocking(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    for options in ["", "-d", "--check"] {
        let run = setting.profiler.run(&format!("{options} --nonblocking {}", target.pid()))?;
        run.has_refused("PTRACE_PEEKDATA, which stops a thread each time, and --nonblocking forbids that")?;
    }
    target.undisturbed()
}

/// Also of a process that is stopped for job control, and stays so.
fn check(setting: &Setting) -> Checked {
    let mut target = setting.start_busy("ending.py", &["60"])?;
    for signal in ["CONT", "STOP"] {
        target.signal(signal)?;
        while target.status("State").is_some_and(|state| state.starts_with('T')) != (signal == "STOP") {}
        let run = setting.profiler.succeed(&format!("--check {}", target.pid()))?;
        ensure(run.output().contains(", read by PTRACE_PEEKDATA"), || run.describe())?;
        let state = target.status("State").unwrap_or_default();
        ensure(state.starts_with('T') == (signal == "STOP"), || format!("after SIG{signal}: {state}"))?;
    }
    target.signal("CONT")?;
    target.undisturbed()?;
    target.computes()
}

/// Where nothing is left, the reason is the last one.
fn nothing_left(setting: &Setting) -> Checked {
    let target = setting.start("ending.py", &["60"])?;
    for last in ["ptrace=1", "ptrace=kill"] {
        let profiler = confined(setting.profiler, &format!("{PEEK},{last}"))?;
        profiler.run(&target.pid().to_string())?.has_refused("a seccomp filter forbids ptrace")?;
    }
    Ok(())
}
