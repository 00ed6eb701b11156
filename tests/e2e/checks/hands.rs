//! What the profiler's own hands may do: nothing to another process but stop it, and to files only what `-o` asks for.

use super::{Setting, denied};
use crate::profiler::Run;
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::fs;

/// Every mode, and what shows on either stream that it did its work. The calls of the target are so short
/// that `--blocking` has to stop it.
const MODES: [(&str, &str); 11] = [
    ("-V -s 0.5 $PID", " samples in "),
    ("-V --blocking -s 0.5 $PID", " stops"),
    ("-V --blocking --threads -s 0.5 $PID", " stops"),
    ("-V --nonblocking -s 0.5 $PID", " samples in "),
    ("-V --threads -s 0.5 $PID", " samples in "),
    ("-V -x -n -s 0.2 $PID", " samples in "),
    ("-V -C -s 0.5 $PID", "pid "),
    ("-d $PID", "tid "),
    ("-d -C $PID", "tid "),
    ("--check $PID", "It can be profiled"),
    ("-V -s 1 -t $PYTHON -B -c 'for i in range(10**7): pass'", " samples in "),
];

/// What the filter has to kill, and what not, as Python: else it would prove nothing.
const TRIED: [(&str, bool); 7] = [
    ("c.ptrace(4, 1, 0, 0)", true),  // PTRACE_POKETEXT
    ("c.ptrace(13, 1, 0, 0)", true), // PTRACE_SETREGS
    ("c.ptrace(16, 1, 0, 0)", true), // PTRACE_ATTACH
    ("c.process_vm_writev(1, 0, 0, 0, 0, 0)", true),
    ("os.open('/proc/self/mem', os.O_RDWR)", true),
    ("os.open('/proc/self/mem', os.O_RDONLY)", false),
    ("c.ptrace(17, 1, 0, 0)", false), // PTRACE_DETACH
];

/// What a shell says of a command that SIGSYS has ended.
const KILLED: i32 = 128 + 31;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for (code, is_killed) in TRIED {
        score.enter(&format!("hands: the filter, {code}"), filter(setting, code, is_killed));
    }
    for (words, shown) in MODES {
        score.enter(&format!("hands: {words}"), harmless(setting, words, shown));
    }
    score.enter("hands: no page is writable and executable", pages(setting));
    Ok(())
}

fn confined(setting: &Setting, command: &str) -> Result<Run, Trouble> {
    let target = setting.start_busy("calls.py", &[])?;
    let command = command.replace("$PYTHON", &setting.python.path.display().to_string());
    let script = denied::script(setting, &target, target.pid(), &format!("$CONFINE harmless {command}"))?;
    let run = setting.profiler.shell(&script)?;
    if run.status.code() == Some(77) {
        return Err(Trouble::Skipped(format!("this kernel does not do it: {}", run.errors())));
    }
    Ok(run)
}

fn filter(setting: &Setting, code: &str, is_killed: bool) -> Checked {
    let code = format!("import ctypes, os; c = ctypes.CDLL(None); {code}");
    let run = confined(setting, &format!("$PYTHON -B -c \"{code}\"; exit $?"))?;
    let expected = if is_killed { KILLED } else { 0 };
    ensure(run.status.code() == Some(expected), || run.describe())
}

fn harmless(setting: &Setting, words: &str, shown: &str) -> Checked {
    let run = confined(setting, &format!("$PYFLAME {words}"))?;
    let right = run.status.success() && (run.output() + &run.errors()).contains(shown);
    ensure(right, || run.describe())
}

/// At work, nothing that it has mapped is writable and executable, its own file least of all.
fn pages(setting: &Setting) -> Checked {
    let target = setting.start_busy("spin.py", &["1"])?;
    let running = setting.profiler.start(&format!("--threads --blocking -s 0.6 {}", target.pid()))?;
    std::thread::sleep(std::time::Duration::from_millis(250));
    let maps = fs::read_to_string(format!("/proc/{}/maps", running.pid()))?;
    running.finish()?.has_succeeded()?;
    let rights = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_string();
    let bad = maps.lines().find(|line| rights(line).starts_with("rwx") || rights(line).starts_with("-wx"));
    ensure(bad.is_none() && maps.contains("[stack]"), || format!("{bad:?} in {maps}"))?;
    let ours = setting.profiler.path.canonicalize()?;
    let ours: Vec<_> = maps.lines().filter(|line| line.ends_with(&*ours.to_string_lossy())).collect();
    let executable = ours.iter().filter(|line| rights(line).contains('x')).count();
    ensure(executable == 1, || format!("{executable} executable parts of {ours:?}"))?;
    let writable = ours.iter().find(|line| rights(line).contains('w'));
    ensure(writable.is_none(), || format!("{writable:?} in {maps}"))
}
