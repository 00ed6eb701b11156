//! Processes to be profiled: started, waited for until they say that they are ready, and killed in the end.

use crate::interpreters::Python;
use crate::verdict::Trouble;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How long a target may take to become ready.
const START: Duration = Duration::from_secs(60);

/// A running process and its directory. Both are gone when this is dropped.
pub struct Target {
    child: Child,
    directory: PathBuf,
}

/// A new empty directory for one target.
fn new_directory() -> Result<PathBuf, Trouble> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("pyflame-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = env::temp_dir().join(name);
    fs::create_dir(&directory)?;
    Ok(directory)
}

impl Target {
    /// Starts `tests/programs/PROGRAM READY ARGUMENTS…` and waits for the file READY.
    pub fn python(python: &Python, program: &str, arguments: &[&str]) -> Result<Target, Trouble> {
        let directory = new_directory()?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(program);
        let mut command = python.command();
        command.arg(path).arg(directory.join("ready")).args(arguments);
        let mut target = Target::spawn(command, directory)?;
        target.wait_until_ready()?;
        Ok(target)
    }

    /// The same below another command, such as unshare(1).
    pub fn python_in(
        python: &Python,
        wrapper: &[&str],
        program: &str,
        arguments: &[&str],
    ) -> Result<Target, Trouble> {
        let directory = new_directory()?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(program);
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(&python.path).arg(path).arg(directory.join("ready")).args(arguments);
        command.envs(python.environment.iter().map(|(name, value)| (name, value)));
        let mut target = Target::spawn(command, directory)?;
        target.wait_until_ready()?;
        Ok(target)
    }

    /// Starts any command, which is ready at once.
    pub fn other(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Target, Trouble> {
        let mut command = Command::new(program);
        command.args(arguments);
        Target::spawn(command, new_directory()?)
    }

    fn spawn(mut command: Command, directory: PathBuf) -> Result<Target, Trouble> {
        let errors = fs::File::create(directory.join("errors"))?;
        let child = command
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()?;
        Ok(Target { child, directory })
    }

    fn wait_until_ready(&mut self) -> Result<(), Trouble> {
        let start = Instant::now();
        while !self.file("ready").exists() {
            let gone = self.child.try_wait()?;
            if (gone.is_some() && !self.file("ready").exists()) || start.elapsed() > START {
                let errors = fs::read(self.file("errors")).unwrap_or_default();
                return Err(
                    format!("target not ready ({gone:?}): {}", String::from_utf8_lossy(&errors)).into()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of a file in the target's own directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the target said when it was ready. A target that cannot be had on its interpreter says `skip REASON`.
    pub fn told(&self) -> Result<String, Trouble> {
        let text = fs::read_to_string(self.file("ready"))?;
        match text.strip_prefix("skip ") {
            Some(why) => Err(Trouble::Skipped(why.trim().into())),
            None => Ok(text),
        }
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) -> Result<(), Trouble> {
        signal(self.pid(), name)
    }

    /// Waits until a file of the target is there and returns what it holds.
    pub fn wait_for(&self, name: &str) -> Result<String, Trouble> {
        let start = Instant::now();
        while !self.file(name).exists() {
            if start.elapsed() > START {
                return Err(format!("the target never wrote {name}").into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(fs::read_to_string(self.file(name))?)
    }

    /// The same for a file that is written in place, a line.
    pub fn wait_for_line(&self, name: &str) -> Result<String, Trouble> {
        let start = Instant::now();
        loop {
            match self.wait_for(name)? {
                text if text.ends_with('\n') => return Ok(text),
                _ if start.elapsed() > START => return Err(format!("no line in {name}").into()),
                _ => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Waits until the process has computed for some time, so that it is past all that it does only once.
    pub fn computes(&self) -> Result<(), Trouble> {
        let (start, before) = (Instant::now(), processor_time(self.pid())?);
        while processor_time(self.pid())? < before + 3 {
            if start.elapsed() > START {
                return Err("the target does not compute".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// For how long the process was ready to run, but had no processor.
    pub fn waited(&self) -> Result<Duration, Trouble> {
        let times = fs::read_to_string(format!("/proc/{}/schedstat", self.pid()))?;
        let nanoseconds = times.split(' ').nth(1).and_then(|number| number.parse().ok());
        Ok(Duration::from_nanos(nanoseconds.ok_or("no waiting time in schedstat")?))
    }

    /// The status with which the target has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The value of a line of `/proc/PID/status`.
    pub fn status(&self, name: &str) -> Option<String> {
        status(self.pid(), name)
    }

    /// Whether the target runs on as if nobody had looked at it.
    pub fn undisturbed(&mut self) -> Result<(), Trouble> {
        if let Some(status) = self.ended() {
            return Err(format!("the target has ended: {status} signal {:?}", status.signal()).into());
        }
        let (tracer, state) = (self.status("TracerPid"), self.status("State"));
        let stopped = state.as_deref().is_none_or(|s| s.starts_with(['T', 't']));
        if tracer.as_deref() == Some("0") && !stopped {
            return Ok(());
        }
        Err(format!("the target was left traced by {tracer:?} in state {state:?}").into())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Sends a signal, by its name without SIG.
pub fn signal(pid: u32, name: &str) -> Result<(), Trouble> {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name} {pid}: {status}").into()) }
}

/// Clock ticks (of 10 ms) that a process has used.
pub fn processor_time(pid: u32) -> Result<u64, Trouble> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

/// Gives a process a higher priority, if we may.
pub fn go_first(pid: u32) {
    let pid = pid.to_string();
    let _ = Command::new("renice")
        .args(["-n", "-15", "-p", &pid])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The value of a line of `/proc/PID/status`, as long as the process lives.
pub fn status(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_string())
}
