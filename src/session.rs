//! The life of a target while it is sampled: from finding its interpreter, through `exec` and the end of the time, to
//! its own end. Owns what has to be made anew when the target changes; knows nothing of what is counted.

use crate::error::Error;
use crate::locate::{Interpreter, locate};
use crate::profile::Profile;
use crate::sampler::{Sampled, Sampler};
use crate::sys::clock::{self, Nanos, SECOND, SIGCHLD, SIGTSTP, Signals};
use crate::sys::proc::executable_id;
use crate::sys::remote::Remote;
use crate::sys::stat::Identity;
use crate::target::{self, Images};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, waitpid};

/// Time from one look for an interpreter to the next: at first, and at most.
const SOON: Nanos = SECOND / 1000;
const LATER: Nanos = SECOND / 50;
/// A program that was just started has loaded its libraries after so long, if not much sooner.
const LOADING: Nanos = SECOND / 20;
/// A target that ends during a longer sleep is noticed after so long.
const NOTICE: Nanos = SECOND / 25;

/// When to sample.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// Time from one sample to the next.
    pub period: Nanos,
    /// How long; none: until the end.
    pub duration: Option<Nanos>,
}

/// How long to wait for an interpreter.
#[derive(Clone, Copy)]
pub enum Patience {
    /// At the start: a command that we started may come to run one at any time, a program that was just started has
    /// perhaps not loaded it, and one that is starting, or ending, has no thread.
    First,
    /// Until this moment.
    Until(Nanos),
}

/// A process under observation.
pub struct Session {
    pid: Pid,
    /// We started it.
    ours: bool,
    /// Which process it is, if we did not: of a child the number is its own until we collect it.
    identity: Option<Identity>,
    images: Images,
    signals: Signals,
    status: Option<WaitStatus>,
    /// Somebody wants us to end.
    asked_to_end: bool,
}

impl Session {
    /// Observes `pid`.
    pub fn new(pid: Pid, ours: bool, images: Images, signals: Signals) -> Session {
        let identity = if ours { None } else { Some(Identity::of(pid)) };
        Session { pid, ours, identity, images, signals, status: None, asked_to_end: false }
    }

    /// Its memory and its interpreter, as they are now.
    #[inline(never)] // so that its caller has a small frame
    fn find(&mut self, abi: Option<u16>) -> Result<(Remote, Interpreter), Error<'static>> {
        let remote = target::open(self.pid)?;
        self.images.read(self.pid).map_err(|_| Error::Denied(self.pid))?;
        let interpreter = locate(self.pid, &remote, &self.images, abi)?;
        Ok((remote, interpreter))
    }

    /// The images of the process, as they were when its interpreter was looked for.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Waits until it has an interpreter that has begun to run. Errors: the last reason why there was none, when it
    /// ended before, or `patience` was over.
    pub fn wait(
        &mut self,
        abi: Option<u16>,
        patience: Patience,
    ) -> Result<(Remote, Interpreter), Error<'static>> {
        let (started, mut pause) = (clock::now(), SOON);
        loop {
            let error = match self.find(abi) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let until = match (patience, error) {
                (Patience::Until(until), _) => until,
                (Patience::First, _) if self.ours => Nanos::MAX,
                (Patience::First, Error::NotPython(_)) => started + LOADING,
                (Patience::First, Error::NoThreads(_)) => started + SECOND,
                (Patience::First, _) => started,
            };
            let next = clock::now() + pause;
            if until <= next || self.has_ended() || self.sleep(next, None) {
                return Err(error);
            }
            pause = (2 * pause).min(LATER);
        }
    }

    /// Samples until the time is over, the target is gone, or somebody wants us to end.
    #[inline(never)] // so that its caller has a small frame
    pub fn run(
        &mut self,
        sampler: &mut Sampler,
        profile: &mut Profile,
        schedule: Schedule,
        abi: Option<u16>,
    ) {
        let started = clock::now();
        let end = schedule.duration.map(|duration| started.saturating_add(duration));
        let mut deadline = started;
        let mut identity = (executable_id(self.pid), started);
        self.has_ended(); // from now on it is this process
        if schedule.duration != Some(0) {
            sampler.acquaint(profile);
        }
        loop {
            let lost = match sampler.sample(profile) {
                Sampled::Counted => self.runs_another(&mut identity),
                Sampled::Lost => true,
            };
            if lost {
                if self.has_ended() {
                    return sampler.forget_fruitless(profile);
                }
                match self.wait(abi, Patience::Until(end.unwrap_or(Nanos::MAX))) {
                    Ok((remote, interpreter)) => sampler.adopt(remote, interpreter),
                    Err(_) => return,
                }
                identity = (executable_id(self.pid), clock::now());
            }
            deadline += schedule.period;
            let now = clock::now();
            // What would have come after the end is not missed.
            let until = now.min(end.unwrap_or(now));
            if deadline < until && schedule.period > 0 {
                let late = (until - deadline) / schedule.period;
                profile.counts.missed += late;
                deadline += late * schedule.period;
            }
            if end.is_some_and(|end| deadline.max(now) >= end) || self.sleep(deadline, Some(sampler)) {
                return;
            }
        }
    }

    /// Whether it has called `exec` since the last look, which is taken twice a second, or has ended and its number been
    /// given to a process in which all is at the same addresses.
    fn runs_another(&mut self, (identity, looked): &mut (u64, Nanos)) -> bool {
        let now = clock::now();
        if now < *looked + SECOND / 2 {
            return false;
        }
        *looked = now;
        executable_id(self.pid) != *identity || self.has_ended()
    }

    /// Sleeps until `deadline`. True when there is no reason to go on: it has ended, or we shall.
    fn sleep(&mut self, deadline: Nanos, mut sampler: Option<&mut Sampler>) -> bool {
        loop {
            let slice = deadline.min(clock::now() + NOTICE);
            // Each stop sends a SIGCHLD, too, which mostly is of no interest. We do not stop before all are let go.
            let signals = match sampler.as_deref().is_some_and(Sampler::waits_for_stop) {
                true => self.signals.but(SIGTSTP),
                false if self.ours => self.signals,
                false => self.signals.but(SIGCHLD),
            };
            match clock::sleep_until(slice, signals) {
                Some(signal) if signal.number == SIGTSTP => {
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                Some(signal) if signal.number == SIGCHLD => {
                    if let Some(sampler) = sampler.as_deref_mut() {
                        sampler.attend();
                        self.status = self.status.or(sampler.ended());
                    }
                }
                Some(signal) if self.ours => {
                    // The command decides what the signal does to it; a terminal has sent it there, too. As long as we
                    // have not collected it, the number is its own.
                    self.status = self.status.or(sampler.as_deref().and_then(Sampler::ended));
                    let sent = signal.sent && self.status.is_none();
                    if let Some(signal) = Signal::from_named_raw(signal.number).filter(|_| sent) {
                        let _ = kill_process(self.pid, signal);
                    }
                }
                Some(_) => self.asked_to_end = true,
                None if slice == deadline => return self.asked_to_end,
                None => {}
            }
            if self.asked_to_end || self.has_ended() {
                return true;
            }
        }
    }

    /// Whether the process has ended. One that we started is collected then.
    fn has_ended(&mut self) -> bool {
        if self.ours && self.status.is_none() {
            let status = waitpid(Some(self.pid), WaitOptions::NOHANG).ok().flatten();
            self.status = status.map(|(_, status)| status).filter(|status| !status.stopped());
        }
        self.status.is_some() || self.identity.as_mut().is_some_and(Identity::has_ended)
    }

    /// Waits for the end of a process that we started: its status as a shell gives it.
    pub fn exit_status(&mut self, sampler: Option<&mut Sampler>) -> i32 {
        let mut sampler = sampler;
        while !self.has_ended() {
            self.sleep(clock::now() + SECOND, sampler.as_deref_mut());
        }
        let Some(status) = self.status else { return 0 };
        status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(0)
    }
}
