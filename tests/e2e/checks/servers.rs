//! Prefork servers, as `scripts/servers` has them: gunicorn, uWSGI, which has Python in it, and a worker of Celery. Each has two
//! workers that compute.

use super::{Setting, read};
use crate::profiler::Run;
use crate::stacks::{Folded, Frame};
use crate::target::{self, Target};
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// A server: its name, how it is told to end at once, and how the titles of its processes begin.
struct Server {
    name: &'static str,
    end: &'static str,
    master: &'static str,
    worker: &'static str,
    arguments: &'static str,
}

const SERVERS: [Server; 3] = [
    Server {
        name: "gunicorn",
        end: "INT",
        master: "gunicorn: master [served:application]",
        worker: "gunicorn: worker [served:application]",
        arguments: "-w 2 -t 100 -b unix:$PLACE/socket --chdir $PROGRAMS served:application",
    },
    Server {
        name: "uwsgi",
        end: "INT",
        master: "uWSGI master",
        worker: "uWSGI worker ",
        arguments: "--master --processes 2 --http-socket $PLACE/socket --auto-procname --wsgi-file $PROGRAMS/served.py",
    },
    Server {
        name: "celery",
        end: "TERM",
        master: "[celeryd: tests@here:MainProcess]",
        worker: "[celeryd: tests@here:ForkPoolWorker-",
        arguments: "-A tasked worker -c 2 -n tests@here --without-gossip --without-mingle",
    },
];

const OPTIONS: &str = "--verbose -C -r 0.002";
/// Workers that compute all the time have equal shares, but for this part, in percent.
const TOLERANCE: u64 = 5;
/// How long a server may take to have its workers busy.
const START: Duration = Duration::from_secs(60);

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    for server in &SERVERS {
        for (what, check) in CHECKS {
            let name = format!("servers: {}, {what}", server.name);
            score.enter(&name, patiently(|| check(setting, server)));
        }
    }
    Ok(())
}

type Check = fn(&Setting, &Server) -> Checked;

const CHECKS: [(&str, Check); 3] =
    [("two workers", two_workers), ("a worker is replaced", replaced), ("as a command", as_a_command)];

/// A server that runs, and those who wait for its answers.
struct Serving {
    target: Target,
    waiting: Vec<UnixStream>,
}

impl Drop for Serving {
    /// Its workers do not outlive it.
    fn drop(&mut self) {
        for pid in descendants(self.target.pid()) {
            let _ = target::signal(pid, "KILL");
        }
    }
}

fn descendants(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = text.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    children.iter().flat_map(|&child| [descendants(child), vec![child]].concat()).collect()
}

/// The server's executable, which is a script or a program.
fn executable(setting: &Setting, server: &Server) -> Result<(PathBuf, PathBuf), Trouble> {
    let (major, minor) = setting.python.version;
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/pyflame/servers");
    let all = env::var_os("PYFLAME_SERVERS").map_or(home, PathBuf::from).join(format!("{major}.{minor}"));
    let path = all.join("bin").join(server.name);
    if !path.exists() {
        let why = format!("no {} for Python {major}.{minor} here: scripts/servers", server.name);
        return Err(Trouble::Skipped(why));
    }
    Ok((path, all.join(format!("lib/python{major}.{minor}/site-packages"))))
}

/// Starts a server below `command`, whose two workers are to compute for so many seconds, and waits until they do.
fn serve(setting: &Setting, server: &Server, command: &str, seconds: &str) -> Result<Serving, Trouble> {
    let (path, packages) = executable(setting, server)?;
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");
    let arguments = server.arguments.replace("$PROGRAMS", programs);
    let script = format!(
        "export PLACE=$PWD SECONDS={seconds} C_FORCE_ROOT=1 PYTHONDONTWRITEBYTECODE=1 \
         PYTHONPATH={}:{programs}; exec {command} {} {arguments} >log 2>&1",
        packages.display(),
        path.display(),
    );
    let target = Target::other("sh", &["-c", &script])?;
    let mut serving = Serving { target, waiting: Vec::new() };
    if server.name != "celery" {
        serving.request(seconds)?;
        serving.request(seconds)?;
    }
    serving.workers(2)?;
    Ok(serving)
}

impl Serving {
    /// Asks for something and does not wait for the answer.
    fn request(&mut self, seconds: &str) -> Checked {
        let (start, socket) = (Instant::now(), self.target.file("socket"));
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => self.patience(start, &format!("{error}"))?,
            }
        };
        stream.write_all(format!("GET /{seconds} HTTP/1.0\r\n\r\n").as_bytes())?;
        self.waiting.push(stream);
        Ok(())
    }

    /// The pids of the workers that have begun to compute, which are to be so many.
    fn workers(&mut self, count: usize) -> Result<BTreeSet<u32>, Trouble> {
        let start = Instant::now();
        loop {
            let names = fs::read_dir(self.target.file(""))?.flatten();
            let pid = |name: &str| name.strip_prefix("busy.")?.parse().ok();
            let pids: BTreeSet<u32> =
                names.filter_map(|entry| pid(&entry.file_name().to_string_lossy())).collect();
            if pids.len() >= count {
                return Ok(pids);
            }
            self.patience(start, &format!("{} workers compute", pids.len()))?;
        }
    }

    /// Waits a little, if there is time left.
    fn patience(&mut self, start: Instant, what: &str) -> Checked {
        let gone = self.target.ended();
        ensure(gone.is_none() && start.elapsed() < START, || {
            let log = fs::read_to_string(self.target.file("log")).unwrap_or_default();
            format!("{what}, {gone:?}: {log}")
        })?;
        thread::sleep(Duration::from_millis(5));
        Ok(())
    }
}

/// The samples in which a worker computes, below its title; nobody else may.
fn samples_of(folded: &Folded, server: &Server, workers: &BTreeSet<u32>) -> Result<Vec<u64>, Trouble> {
    let computes = |stack: &[Frame]| stack.iter().any(|frame| frame.name() == "busy_worker");
    let title = |pid: &u32| format!("pid {pid} {}", server.worker);
    let of = |stack: &[Frame], pid: &u32| stack[0].file.starts_with(title(pid).as_bytes());
    let strange =
        folded.stacks.iter().find(|(stack, _)| computes(stack) && !workers.iter().any(|pid| of(stack, pid)));
    ensure(strange.is_none(), || format!("impossible of any of {workers:?}: {strange:?}"))?;
    let samples = |pid: &u32| {
        let its = folded.stacks.iter().filter(|(stack, _)| computes(stack) && of(stack, pid));
        its.map(|(_, count)| count).sum()
    };
    Ok(workers.iter().map(samples).collect())
}

/// That the file with the name of the server is where a worker's Python begins, where it does.
fn begins_in_script(folded: &Folded, server: &Server) -> Checked {
    let script = format!("/bin/{}", server.name);
    let begins = |stack: &[Frame]| {
        stack
            .get(1)
            .is_some_and(|frame| frame.file.ends_with(script.as_bytes()) && frame.name() == "<module>")
    };
    let wrong = folded.stacks.iter().find(|(stack, _)| {
        stack.iter().any(|frame| frame.name() == "busy_worker") && begins(stack) == (server.name == "uwsgi")
    });
    ensure(wrong.is_none(), || format!("{wrong:?}"))
}

/// Both workers have equally many samples, in the profile of the master, and each its own stack in a dump.
fn two_workers(setting: &Setting, server: &Server) -> Checked {
    let mut serving = serve(setting, server, "", "30")?;
    let (master, workers) = (serving.target.pid(), serving.workers(2)?);
    let run = setting.profiler.run(&format!("{OPTIONS} -s 1 {master}"))?;
    let folded = read(&run)?;
    let samples = samples_of(&folded, server, &workers)?;
    let [least, most] = [samples.iter().min(), samples.iter().max()].map(|some| some.copied().unwrap_or(0));
    let fits = most - least <= most * TOLERANCE / 100 + 5 && least + folded.missed >= 440;
    ensure(fits && workers.len() == 2, || format!("{samples:?} samples: {}", run.describe()))?;
    begins_in_script(&folded, server)?;
    let run = setting.profiler.succeed(&format!("-d -C {master}"))?;
    let text = run.output();
    for pid in &workers {
        let rest = text.split_once(&format!("pid {pid} {}", server.worker)).map(|(_, rest)| rest);
        let block = rest.and_then(|rest| rest.split("\npid ").next()).unwrap_or_default();
        let tid = setting.python.version < (3, 11) || block.contains(&format!(": tid {pid} "));
        ensure(tid && block.contains("busy_worker"), || format!("{pid}: {text}"))?;
    }
    ensure(text.starts_with(&format!("pid {master} {}", server.master)), || text)?;
    for pid in [&[master], &*workers.into_iter().collect::<Vec<_>>()].concat() {
        ensure(target::status(pid, "TracerPid").as_deref() == Some("0"), || format!("{pid} is traced"))?;
    }
    Ok(())
}

/// A worker that is killed is no error; what was sampled of it stays, and the one that takes its place is sampled, too.
fn replaced(setting: &Setting, server: &Server) -> Checked {
    let mut serving = serve(setting, server, "", "30")?;
    let before = serving.workers(2)?;
    let running = setting.profiler.start(&format!("{OPTIONS} -s 30 {}", serving.target.pid()))?;
    thread::sleep(Duration::from_millis(600));
    let killed = *before.first().ok_or("nobody")?;
    target::signal(killed, "KILL")?;
    if server.name != "celery" {
        serving.request("30")?;
    }
    let all = serving.workers(3)?;
    thread::sleep(Duration::from_millis(600));
    target::signal(running.pid(), "INT")?;
    let run = running.finish()?;
    let folded = read(&run)?;
    let samples = samples_of(&folded, server, &all)?;
    let right = samples.len() == 3 && samples.iter().all(|&samples| samples >= 50);
    ensure(right && folded.failed * 50 <= folded.total(), || {
        format!("{samples:?} samples: {}", run.describe())
    })?;
    says_nothing_else(&run)
}

/// Each line on stderr is what `--verbose` says.
fn says_nothing_else(run: &Run) -> Checked {
    let words = run.errors();
    let known = |line: &str| line.contains(", found by ") || line.contains(" samples in ");
    ensure(words.lines().all(known), || words.clone())
}

/// A server that we start; a signal ends it as if it ran alone.
fn as_a_command(setting: &Setting, server: &Server) -> Checked {
    let command = format!("{} -C -s inf -r 0.002 -o out -t", setting.profiler.path.display());
    let mut serving = serve(setting, server, &command, "2")?;
    let workers = serving.workers(2)?;
    thread::sleep(Duration::from_millis(1000));
    serving.target.signal(server.end)?;
    let told = Instant::now();
    let status = loop {
        match serving.target.ended() {
            None if told.elapsed() < Duration::from_secs(20) => thread::sleep(Duration::from_millis(5)),
            status => break status,
        }
    };
    let log = fs::read_to_string(serving.target.file("log")).unwrap_or_default();
    ensure(status.is_some_and(|status| status.code() == Some(0)), || {
        format!("ended with {status:?}: {log}")
    })?;
    let folded = Folded::parse(&fs::read(serving.target.file("out"))?)?;
    let samples = samples_of(&folded, server, &workers)?;
    ensure(samples.iter().all(|&samples| samples >= 100), || format!("{samples:?} samples: {log}"))?;
    begins_in_script(&folded, server)
}
