//! Runs of the real binary: what it wrote, how it ended, how long it took and how much memory it had.

use crate::target;
use crate::verdict::{Checked, Trouble, ensure};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No run lasts longer: then it is killed and the check has failed.
const LIMIT: Duration = Duration::from_secs(300);

/// The executable under test.
pub struct Profiler {
    pub path: PathBuf,
    /// Whether it is a release build.
    pub is_shipped: bool,
    /// A command that becomes the one that follows it, to be run with.
    pub below: Vec<String>,
}

/// A development build is larger, in bytes, a release build is a small part of that.
const SHIPPED_SIZE: u64 = 1 << 20;

/// A run that is over.
pub struct Run {
    /// What was run, for messages.
    pub words: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
    /// The largest resident size that was seen, in KiB: `VmHWM`, and for a development build, whose code takes more
    /// than all its data, without the pages of files (`RssFile`).
    pub peak: u64,
}

/// A run that is not over.
pub struct Running {
    words: String,
    is_shipped: bool,
    child: Child,
    start: Instant,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

impl Profiler {
    /// The binary named by `PYFLAME_EXE`, else the one that cargo built for this test.
    pub fn find() -> Profiler {
        let path = std::env::var_os("PYFLAME_EXE").unwrap_or_else(|| env!("CARGO_BIN_EXE_pyflame").into());
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        Profiler { path: Path::new(&path).to_path_buf(), is_shipped: size < SHIPPED_SIZE, below: Vec::new() }
    }

    /// The same, run below another command.
    pub fn below(&self, command: &[&str]) -> Profiler {
        let below = command.iter().map(|word| word.to_string()).collect();
        Profiler { path: self.path.clone(), is_shipped: self.is_shipped, below }
    }

    /// Starts the profiler with these words, separated by blanks.
    pub fn start(&self, words: &str) -> Result<Running, Trouble> {
        let path = self.path.as_os_str();
        let mut line =
            self.below.iter().map(OsStr::new).chain([path]).chain(words.split_whitespace().map(OsStr::new));
        let mut command = Command::new(line.next().unwrap_or(path));
        command.args(line);
        self.spawn(command, words)
    }

    /// The same below another command, which becomes the profiler.
    pub fn start_in(&self, wrapper: &[&str], words: &str) -> Result<Running, Trouble> {
        let [first, rest @ ..] = wrapper else { return self.start(words) };
        let mut command = Command::new(first);
        command.args(rest).arg(&self.path).args(words.split_whitespace());
        self.spawn(command, words)
    }

    /// Runs the profiler to its end with these words, separated by blanks.
    pub fn run(&self, words: &str) -> Result<Run, Trouble> {
        self.start(words)?.finish()
    }

    /// Runs it as `run` does, and sees to it that it succeeds and says nothing on stderr.
    pub fn succeed(&self, words: &str) -> Result<Run, Trouble> {
        let run = self.run(words)?;
        run.has_succeeded()?;
        Ok(run)
    }

    /// Runs a shell command in which `$PYFLAME` is the profiler.
    pub fn shell(&self, script: &str) -> Result<Run, Trouble> {
        let mut command = Command::new("sh");
        command.env("PYFLAME", &self.path).args(["-c", script]);
        self.spawn(command, script)?.finish()
    }

    fn spawn(&self, mut command: Command, words: &str) -> Result<Running, Trouble> {
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        Ok(Running { words: words.into(), is_shipped: self.is_shipped, child, start, stdout, stderr })
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end and collects what was written.
    pub fn finish(mut self) -> Result<Run, Trouble> {
        let mut peak = 0;
        let status = loop {
            peak = self.resident_peak().unwrap_or(0).max(peak);
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.start.elapsed() > LIMIT {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(1));
        };
        let took = self.start.elapsed();
        let (stdout, stderr) =
            (self.stdout.join().unwrap_or_default(), self.stderr.join().unwrap_or_default());
        Ok(Run { words: self.words, status, stdout, stderr, took, peak })
    }

    /// The largest resident size so far, in KiB.
    fn resident_peak(&self) -> Option<u64> {
        let size = |key| target::status(self.pid(), key)?.split(' ').next()?.parse::<u64>().ok();
        let files = if self.is_shipped { 0 } else { size("RssFile")? };
        Some(size("VmHWM")?.saturating_sub(files))
    }
}

/// Reads a pipe to its end, on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

impl Run {
    /// Exit status 0 and nothing on stderr.
    pub fn has_succeeded(&self) -> Checked {
        ensure(self.status.code() == Some(0) && self.stderr.is_empty(), || self.describe())
    }

    /// Exit status 1, nothing on stdout, and these words somewhere on stderr.
    pub fn has_refused(&self, words: &str) -> Checked {
        let right = self.status.code() == Some(1) && self.stdout.is_empty() && !self.stderr.is_empty();
        ensure(right && self.errors().contains(words), || {
            format!("expected exit 1 and {words:?}: {}", self.describe())
        })
    }

    /// What was written to stdout, as text.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What was written to stderr, as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The run in a line or two, for a failure's message.
    pub fn describe(&self) -> String {
        let start = |text: String| text.chars().take(400).collect::<String>();
        let (out, err) = (start(self.output()), start(self.errors()));
        format!(
            "pyflame {} took {:?}, {}; stdout {out:?}, stderr {err:?}",
            self.words, self.took, self.status
        )
    }
}
