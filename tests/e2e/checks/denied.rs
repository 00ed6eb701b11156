//! Whatever denies access is named, and what can be done in spite of it is done. Each cause is made to happen for real.

use super::{Setting, read};
use crate::profiler::Run;
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Runs a command as a user who may do nothing, and owns nothing but what `guest.py` has become.
const AS_USER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
/// Without the one capability that matters.
const INCAPABLE: &str = "setpriv --bounding-set=-sys_ptrace";

/// Name of the check, mode of the target (`tests/programs/guest.py`), how `$PYFLAME` is run on `$PID`, and what it says.
const REFUSED: [(&str, &str, &str, &str); 16] = [
    ("other user", "plain", "$USER $PYFLAME $PID", "it runs as user 0, group 0, "),
    ("other user, --check", "plain", "$USER $PYFLAME --check $PID", "it takes CAP_SYS_PTRACE (sudo)"),
    ("not dumpable", "undumpable", "$USER $PYFLAME $PID", "it is not dumpable"),
    ("set-user-ID", "setuid", "$USER $PYFLAME $PID", "it runs as user 0"),
    ("fewer capabilities", "plain", "$INCAPABLE $PYFLAME $PID", "it has capabilities that pyflame lacks"),
    ("user namespace", "plain", "unshare -U -r $PYFLAME $PID", "another user namespace"),
    ("PID namespace", "plain", "unshare -p -f --mount-proc $PYFLAME $PID", "shareProcessNamespace"),
    (
        "/proc of another PID namespace",
        "plain",
        "unshare -p -f $PYFLAME $PID",
        "not that of this PID namespace",
    ),
    ("no /proc", "plain", "unshare -m sh -c 'umount -l /proc; $PYFLAME $PID'", "mount -t proc proc /proc"),
    ("hidepid=1", "plain", "unshare -m sh -c '$HIDE=1 /proc; $USER $PYFLAME $PID'", "hidepid"),
    ("hidepid=2", "plain", "unshare -m sh -c '$HIDE=2 /proc; $USER $PYFLAME $PID'", "hidepid"),
    ("no thread stops", "vfork", "$CONFINE readv=1,mem $PYFLAME $PID", "does not stop in time"),
    ("after the first thread", "leaderless", "$USER $PYFLAME $PID", "it runs as user 0, group 0, "),
    ("another security module", "plain", "$CONFINE landlock $PYFLAME $PID", "(Landlock, BPF)"),
    (
        "in a container",
        "plain",
        "unshare -C $INCAPABLE $PYFLAME $PID",
        "--cap-add SYS_PTRACE; Kubernetes securityContext.capabilities.add",
    ),
    ("in a container, kubectl", "plain", "unshare -C $INCAPABLE $PYFLAME $PID", "--profile=general"),
];

/// The same for what is profiled all the same, and what it says then.
const SERVED: [(&str, &str, &str, &str); 10] = [
    ("the same user", "user", "$USER $PYFLAME -V -s 0.1 $PID", "process_vm_readv"),
    ("the one capability", "plain", "$CAPABLE $PYFLAME -V -s 0.5 -r 0.1 $PID", "process_vm_readv"),
    ("seccomp: readv EPERM", "plain", "$CONFINE readv=1 $PYFLAME -V -s 0.1 $PID", "through /proc/PID/mem"),
    ("seccomp: readv ENOSYS", "plain", "$CONFINE readv=38 $PYFLAME -V -s 0.1 $PID", "through /proc/PID/mem"),
    (
        "seccomp: ptrace EPERM",
        "busy",
        "$CONFINE ptrace=1 $PYFLAME --blocking -V -s 0.1 $PID",
        "seccomp filter",
    ),
    (
        "seccomp: ptrace ENOSYS",
        "busy",
        "$CONFINE ptrace=38 $PYFLAME --blocking -V -s 0.1 $PID",
        "seccomp filter",
    ),
    ("from outside a user namespace", "inner", "$PYFLAME -V -s 0.1 $PID", "process_vm_readv"),
    ("traced by another", "traced", "$PYFLAME --blocking -V -s 0.1 $PID", ") traces it"),
    ("the first thread ended", "leaderless", "$PYFLAME -V -s 0.1 $PID", "process_vm"),
    (
        "the number of another thread",
        "leaderless",
        "$PYFLAME -V -s 0.1 $(ls /proc/$PID/task | tail -1)",
        "process_vm",
    ),
];

/// For one at a time: what is denied to all by Yama would be denied to the others, too.
static ALONE: Mutex<()> = Mutex::new(());

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if target::status(std::process::id(), "Uid").is_none_or(|uid| !uid.starts_with("0\t")) {
        return Err(Trouble::Skipped("only root can make others be denied".into()));
    }
    for (name, mode, command, words) in REFUSED {
        let check = || ran(setting, mode, command).and_then(|run| run.has_refused(words));
        score.enter(&format!("denied: {name}"), check());
    }
    for (name, mode, command, words) in SERVED {
        score.enter(&format!("denied: {name}"), served(setting, mode, command, words));
    }
    score.enter("denied: traced for a while", traced_for_a_while(setting));
    score.enter("denied: zombie", zombie(setting));
    score.enter("denied: kernel thread", kernel_thread(setting));
    score.enter("denied: a number of an inner PID namespace", renamed(setting));
    score.enter("denied: Yama", yama(setting));
    let absent = Trouble::Skipped("neither AppArmor nor SELinux confines anybody here".into());
    score.enter("denied: security label", Err(absent));
    Ok(())
}

/// The target of this mode, its tracer if it has one, and the pid to be profiled.
fn guest(setting: &Setting, mode: &str) -> Result<(Target, Option<Target>, u32), Trouble> {
    let target = match mode {
        "busy" | "traced" => setting.start_busy("ending.py", &["60"])?,
        "inner" => Target::python_in(setting.python, &["unshare", "-U", "-r"], "guest.py", &["plain"])?,
        "vfork" if setting.python.version < (3, 8) => {
            return Err(Trouble::Skipped("no os.posix_spawn() before 3.8".into()));
        }
        mode => setting.start("guest.py", &[mode])?,
    };
    let pid = target.pid();
    let tracer = if mode == "traced" { Some(setting.start("tracer.py", &[&pid.to_string()])?) } else { None };
    tracer.as_ref().map_or(Ok(String::new()), Target::told)?;
    Ok((target, tracer, pid))
}

fn ran(setting: &Setting, mode: &str, command: &str) -> Result<Run, Trouble> {
    let (mut target, _tracer, pid) = guest(setting, mode)?;
    let run = setting.profiler.shell(&script(setting, &target, pid, command)?)?;
    if run.status.code() == Some(77) {
        return Err(Trouble::Skipped(format!("this kernel does not do it: {}", run.errors())));
    }
    ensure(target.ended().is_none(), || format!("the target has ended: {}", run.describe()))?;
    Ok(run)
}

/// The command with its words in place: what everybody may execute is a copy of the profiler.
pub(super) fn script(setting: &Setting, target: &Target, pid: u32, command: &str) -> Result<String, Trouble> {
    let copy = target.file("pyflame");
    fs::copy(&setting.profiler.path, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/confine.py");
    let confine = format!("{} {}", setting.python.path.display(), program.display());
    let capable = format!("{AS_USER} --inh-caps=+sys_ptrace --ambient-caps=+sys_ptrace");
    let environment =
        setting.python.environment.iter().map(|(name, value)| format!("export {name}='{value}'; "));
    let command = command
        .replace("$CAPABLE", &capable)
        .replace("$USER", AS_USER)
        .replace("$INCAPABLE", INCAPABLE)
        .replace("$CONFINE", &confine)
        .replace("$HIDE", "mount -t proc proc -o hidepid")
        .replace("$PYFLAME", &copy.display().to_string())
        .replace("$PID", &pid.to_string());
    Ok(environment.collect::<String>() + &command)
}

fn served(setting: &Setting, mode: &str, command: &str, words: &str) -> Checked {
    let run = ran(setting, mode, command)?;
    let folded = read(&run)?;
    ensure(folded.total() >= 4 && folded.failed <= folded.total() / 10, || run.describe())?;
    ensure(run.errors().contains(words), || format!("expected {words:?}: {}", run.describe()))
}

/// Who traces the process may let it go, and then threads are stopped after all.
fn traced_for_a_while(setting: &Setting) -> Checked {
    let target = setting.start_busy("ending.py", &["60"])?;
    let tracer = setting.start("tracer.py", &[&target.pid().to_string()])?;
    tracer.told()?;
    let running = setting.profiler.start(&format!("--blocking -V -s 2 -r 0.0005 {}", target.pid()))?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    drop(tracer);
    let run = running.finish()?;
    let folded = read(&run)?;
    ensure(folded.failed <= folded.total() / 10, || run.describe())?;
    let stopped = run.errors().contains(" stops") && !run.errors().contains("as with --nonblocking");
    ensure(stopped, || run.describe())
}

fn zombie(setting: &Setting) -> Checked {
    let target = Target::other("sh", &["-c", "sleep 0.3 & echo $! >child; exec sleep 100"])?;
    let child: u32 = target.wait_for_line("child")?.trim().parse().map_err(|_| "no pid")?;
    while target::status(child, "State").is_some_and(|state| !state.starts_with('Z')) {}
    for options in ["", "--check"] {
        let run = setting.profiler.run(&format!("{options} {child}"))?;
        run.has_refused(&format!("its parent PID {} has not collected it", target.pid()))?;
    }
    Ok(())
}

fn kernel_thread(setting: &Setting) -> Checked {
    if target::status(2, "Name").as_deref() != Some("kthreadd") {
        return Err(Trouble::Skipped("the kernel's threads are not seen from here".into()));
    }
    setting.profiler.run("2")?.has_refused("it is a kernel thread")
}

/// A pid that only exists in an inner namespace is explained by the one that its process has here.
fn renamed(setting: &Setting) -> Checked {
    const INNER: u32 = 3_999_999;
    let set = format!("echo {} >/proc/sys/kernel/ns_last_pid; sleep 100 & echo here >ready; wait", INNER - 1);
    let target = Target::other("unshare", &["-p", "-f", "--mount-proc", "sh", "-c", &set])?;
    target.wait_for_line("ready")?;
    let run = setting.profiler.run(&INNER.to_string())?;
    let here = run.errors();
    let here =
        here.split("no such process; PID ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let here: u32 = here.ok_or_else(|| run.describe())?;
    let numbers = target::status(here, "NSpid").unwrap_or_default();
    ensure(numbers == format!("{here}\t{INNER}"), || format!("{here} is {numbers:?}: {}", run.describe()))
}

/// The setting of Yama as it was, when this is dropped.
struct Scope(PathBuf, String);

impl Drop for Scope {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, &self.1);
    }
}

fn yama(setting: &Setting) -> Checked {
    let path = PathBuf::from("/proc/sys/kernel/yama/ptrace_scope");
    let Ok(before) = fs::read_to_string(&path) else {
        return Err(Trouble::Skipped("this kernel has no Yama".into()));
    };
    let before = Scope(path, before);
    for scope in ["1", "2"] {
        if fs::write(&before.0, scope).is_err() {
            return Err(Trouble::Skipped("ptrace_scope cannot be set here".into()));
        }
        let run = ran(setting, "user", "$USER $PYFLAME $PID")?;
        run.has_refused(&format!("kernel.yama.ptrace_scope is {scope}"))?;
    }
    Ok(())
}
