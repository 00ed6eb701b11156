//! The time from one sample to the next, and what ends it: a signal, or the end of the process that it is all about.
//! Finds interpreters; knows nothing of what is counted.

use crate::cli::{Mode, Options};
use crate::error::Error;
use crate::locate::{Interpreter, locate};
use crate::profile::Profile;
use crate::sampler::Sampler;
use crate::sys::clock::{self, Nanos, SECOND, SIGCHLD, SIGTSTP, Signals};
use crate::sys::identity::Identity;
use crate::sys::remote::Remote;
use crate::sys::spawn;
use crate::target::{self, Images};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// Where there is no sleep between samples, signals are attended to so often.
const ATTEND: Nanos = SECOND / 1000;
/// A target that ends during a longer sleep is noticed after so long.
const NOTICE: Nanos = SECOND / 25;
/// The same of one whose number another process gets before the next sample, which then is one of that.
const REUSE: Nanos = SECOND / 10;

/// When to sample.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// Time from one sample to the next.
    pub period: Nanos,
    /// How long; none: until the end.
    pub duration: Option<Nanos>,
}

impl Schedule {
    /// Goes on to the next `deadline`, past those that were missed. Whether that is behind the `end`.
    pub fn is_over(&self, deadline: &mut Nanos, end: Option<Nanos>, profile: &mut Profile) -> bool {
        *deadline += self.period;
        let now = clock::now();
        // What would have come after the end is not missed.
        let until = now.min(end.unwrap_or(now));
        if *deadline < until && self.period > 0 {
            let late = (until - *deadline) / self.period;
            profile.counts.missed += late;
            *deadline += late * self.period;
        }
        end.is_some_and(|end| now.max(*deadline) >= end)
    }
}

/// A process under observation.
pub struct Session {
    pid: Pid,
    /// We started it.
    ours: bool,
    /// Which process it is, if its end ends the session and we did not start it: of a child the number is its own until we
    /// collect it.
    identity: Option<Identity>,
    images: Images,
    signals: Signals,
    /// Somebody wants us to end.
    asked_to_end: bool,
    /// When to look for signals although there is nothing to wait for.
    attend: Nanos,
    /// When to look whether the process has ended, although it could be read.
    look: Nanos,
}

impl Session {
    /// Observes `pid`. Unless it is `alone`, its end is not that of all: others may live on, or there is but one look.
    #[inline(never)] // so that its caller has a small frame
    pub fn new(pid: Pid, ours: bool, alone: bool, images: Images, signals: Signals) -> Session {
        let identity = if ours || !alone { None } else { Some(Identity::of(pid)) };
        Session { pid, ours, identity, images, signals, asked_to_end: false, attend: 0, look: 0 }
    }

    /// The memory and the interpreter of a process, as they are now. `tid`: its first thread, or another if that has ended.
    #[inline(never)] // for its frame, in which every address takes longer instructions
    pub fn find(
        &mut self,
        pid: Pid,
        tid: Pid,
        options: &Options<'_>,
    ) -> Result<(Remote, Interpreter), Error<'static>> {
        let remote = target::open(pid, tid, options.mode != Mode::Nonblocking)?;
        self.images.read(tid).map_err(|_| Error::Denied(pid))?;
        let interpreter = locate(pid, &remote, &self.images, options.abi)?;
        Ok((remote, interpreter))
    }

    /// The images of the process in which an interpreter was looked for last.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sleeps until `deadline`. True when there is no reason to go on: it has ended, or we shall.
    pub fn sleep(&mut self, deadline: Nanos, samplers: &mut [Option<&mut Sampler>]) -> bool {
        let now = clock::now();
        if deadline <= now && now < self.attend {
            return self.asked_to_end;
        }
        self.attend = now + ATTEND;
        loop {
            // The SIGCHLD of a stop can be one with that of another, and be taken by who waits for that.
            samplers.iter_mut().flatten().for_each(|sampler| sampler.attend());
            let is_waited_for = samplers.iter().flatten().any(|sampler| sampler.waits_for_stop());
            let slice = deadline.min(clock::now() + if is_waited_for { ATTEND } else { NOTICE });
            // Each stop sends a SIGCHLD, too, which mostly is of no interest. We do not stop before all are let go.
            let signals = match is_waited_for {
                true => self.signals.but(SIGTSTP),
                false if self.ours => self.signals,
                false => self.signals.but(SIGCHLD),
            };
            match clock::sleep_until(slice, signals) {
                Some(signal) if signal.number == SIGTSTP => {
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                Some(signal) if signal.number == SIGCHLD => {}
                Some(signal) if self.ours => {
                    // The command decides what the signal does to it; a terminal has sent it there, too. As long as we
                    // have not collected it, the number is its own.
                    let sent = signal.sent && !self.has_ended(samplers);
                    if let Some(signal) = Signal::from_named_raw(signal.number).filter(|_| sent) {
                        let _ = kill_process(self.pid, signal);
                    }
                }
                Some(_) => self.asked_to_end = true,
                None if slice == deadline => {
                    return self.asked_to_end || now >= self.look && self.look_again(now, samplers);
                }
                None => {}
            }
            if self.asked_to_end || self.look_again(now, samplers) {
                return true;
            }
        }
    }

    /// Whether the process has ended, which is not asked again for a while.
    fn look_again(&mut self, now: Nanos, samplers: &[Option<&mut Sampler>]) -> bool {
        self.look = now + REUSE;
        self.has_ended(samplers)
    }

    /// Whether the process has ended. One that we started is collected then.
    fn has_ended(&mut self, samplers: &[Option<&mut Sampler>]) -> bool {
        // A stop of it that is waited for would be told here, and to nobody else.
        let is_waited_for = |sampler: &&mut Sampler| sampler.pid() == self.pid && sampler.waits_for_stop();
        self.ours && !samplers.iter().flatten().any(is_waited_for) && spawn::ended().is_some()
            || self.identity.as_mut().is_some_and(Identity::has_ended)
    }

    /// Waits for the end of a process that we started: its status as a shell gives it.
    pub fn exit_status(&mut self, samplers: &mut [Option<&mut Sampler>]) -> i32 {
        while !self.has_ended(samplers) {
            self.sleep(clock::now() + SECOND, samplers);
        }
        spawn::ended().unwrap_or(0)
    }
}
