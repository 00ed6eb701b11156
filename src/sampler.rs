//! One sample after the other: wait for the deadline, look, prove, count.
//!
//! A look that cannot be proven is repeated, and where that does not help, the thread is stopped for it. To accept or
//! reject by the state of the very sample would prefer long-lived frames, so that is decided by [`History`]: a target
//! whose looks often fail is stopped for every sample, until looks taken only to find out succeed again.

use crate::cli::Mode;
use crate::locate::Interpreter;
use crate::memory::{Addr, Memory, Miss};
use crate::prefetch::{Moment, Prefetch, Sight};
use crate::profile::{Frame, Profile};
use crate::python::code::{Codes, Context};
use crate::python::frames::{self, End, Seen};
use crate::python::threads::{self, Thread, Which};
use crate::stopper::Stopper;
use crate::sys::clock;
use crate::sys::remote::Remote;
use crate::table::List;
use rustix::process::Pid;

/// Looks at one thread before it is stopped, or given up.
const TRIES: u32 = 4;
/// The same when it may not be stopped: each costs some microseconds.
const TRIES_NONBLOCKING: u32 = 8;

/// How and what to sample.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Whether threads are stopped.
    pub mode: Mode,
    /// Which threads.
    pub which: Which,
    /// With line numbers.
    pub lines: bool,
    /// Without threads that wait.
    pub exclude_idle: bool,
}

/// Samples one process.
pub struct Sampler<'a> {
    pid: Pid,
    interpreter: &'a Interpreter,
    choice: Choice,
    prefetch: Prefetch<Remote>,
    codes: Codes,
    threads: List<Thread>,
    seen: List<Seen>,
    frames: List<Frame>,
    history: History,
    stopper: Stopper,
}

/// The fixed storage of a [`Sampler`].
pub struct Storage {
    /// Threads of a sample.
    pub threads: &'static mut [Thread],
    /// Frames of a stack as found.
    pub seen: &'static mut [Seen],
    /// Frames of a stack by name.
    pub frames: &'static mut [Frame],
}

/// What a look at a thread gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// `frames` holds its stack.
    Proven,
    /// It moved.
    Moved,
    /// Something had to be learned first, or was not what it should be.
    Unproven,
}

impl<'a> Sampler<'a> {
    /// Ready to sample the process whose memory `prefetch` reads.
    pub fn new(
        pid: Pid,
        interpreter: &'a Interpreter,
        choice: Choice,
        prefetch: Prefetch<Remote>,
        codes: Codes,
        storage: Storage,
    ) -> Sampler<'a> {
        Sampler {
            pid,
            interpreter,
            choice,
            prefetch,
            codes,
            threads: List::new(storage.threads),
            seen: List::new(storage.seen),
            frames: List::new(storage.frames),
            history: History::new(choice.mode),
            stopper: Stopper::new(choice.mode != Mode::Nonblocking),
        }
    }

    /// The memory of the target.
    pub fn remote(&self) -> &Remote {
        self.prefetch.target()
    }

    /// Why threads cannot be stopped, if that was tried and refused.
    pub fn stop_refused(&self) -> Option<rustix::io::Errno> {
        self.stopper.refused()
    }

    /// Gives signals that arrived at traced threads back to them.
    pub fn attend(&mut self) {
        self.stopper.attend();
    }

    /// Takes one sample and counts it. False when the target is gone.
    pub fn sample(&mut self, profile: &mut Profile) -> bool {
        let mut any = false;
        let alive = self.each_thread(profile, |sampler, profile, index, proven| {
            any = true;
            if !proven {
                profile.counts.failed += 1;
            } else if sampler.frames.is_empty() || sampler.leave_out(index) {
                any = false;
            } else {
                profile.count(sampler.frames.items().iter().copied(), 1);
            }
        });
        if !alive {
            return false;
        }
        profile.counts.samples += 1;
        if !any && !self.choice.exclude_idle {
            profile.counts.idle += 1;
        }
        true
    }

    /// Looks at every thread chosen and calls `visit` with its number and whether [`frames`](Self::frames) is its
    /// stack. False when the target is gone.
    pub fn each_thread(
        &mut self,
        profile: &mut Profile,
        mut visit: impl FnMut(&mut Self, &mut Profile, usize, bool),
    ) -> bool {
        self.prefetch.next_sample();
        if !self.fetch(None) {
            return false;
        }
        for _ in 0..TRIES {
            let list = threads::list(
                &self.prefetch,
                &self.interpreter.layout,
                &self.interpreter.roots,
                self.choice.which,
                &mut self.threads,
            );
            if list.is_ok() {
                break;
            }
            self.threads.truncate(0);
            if !self.fetch(None) {
                return false;
            }
        }
        for index in 0..self.threads.len() {
            let Some(&thread) = self.threads.get(index as u32) else { break };
            let proven = self.stack_of(profile, thread);
            visit(self, profile, index, proven);
        }
        true
    }

    /// Thread number `index` of the last sample.
    pub fn thread(&self, index: usize) -> Option<&Thread> {
        self.threads.get(index as u32)
    }

    /// The last stack, the innermost frame first.
    pub fn frames(&self) -> &[Frame] {
        self.frames.items()
    }

    /// The layout that is walked by.
    pub fn layout(&self) -> &crate::python::layout::Layout {
        &self.interpreter.layout
    }

    fn fetch(&mut self, only: Option<Addr>) -> bool {
        self.codes.next_fetch();
        self.prefetch.fetch(only)
    }

    /// Gets the stack of `thread` into `frames`; whether it is proven.
    fn stack_of(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let may_stop = thread.running && self.stopper.may_stop();
        let first = match self.history.stop_now(may_stop) {
            Plan::Stop => return self.stopped_look(profile, thread),
            Plan::Look => self.look(profile, thread, false),
            Plan::Probe => {
                let look = self.look(profile, thread, false);
                self.history.note(look);
                return self.stopped_look(profile, thread);
            }
        };
        if thread.running {
            self.history.note(first);
        }
        if first == Look::Proven {
            return true;
        }
        let tries = if may_stop { TRIES } else { TRIES_NONBLOCKING };
        for _ in 1..tries {
            if !self.fetch(Some(thread.state)) {
                return false;
            }
            if self.look(profile, thread, false) == Look::Proven {
                return true;
            }
        }
        may_stop && self.stopped_look(profile, thread)
    }

    /// Stops `thread` for one look. Whether that gave its stack.
    fn stopped_look(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let Some(tid) = self.native_id(thread) else { return false };
        let Some(index) = self.stopper.trace(tid) else { return false };
        // The tracee is taken out for the time of the look, since it borrows what the look needs.
        let Some(tracee) = self.stopper.take(index) else { return false };
        let proven = match tracee.interrupt() {
            Ok(stopped) => {
                profile.counts.stopped += 1;
                let alive = self.fetch(Some(thread.state));
                let look = if alive { self.look(profile, thread, true) } else { Look::Unproven };
                drop(stopped);
                look == Look::Proven
            }
            Err(_) => false,
        };
        self.stopper.put_back(index, tracee);
        proven
    }

    /// The kernel's id of a thread.
    pub fn native_id(&self, thread: Thread) -> Option<Pid> {
        let fields = &self.interpreter.layout.thread;
        self.prefetch.enter(thread.state, Moment::First);
        let memory = self.prefetch.with(Sight::Once);
        if let Some(native) = fields.native {
            // Before 3.13 a sub-interpreter's thread state has the id of the thread that made it.
            let tid =
                (thread.in_main || fields.native_is_own).then(|| memory.load(thread.state, native).ok());
            return Pid::from_raw(tid??.try_into().ok()?);
        }
        let pthread = memory.load(thread.state, fields.ident).ok()?;
        crate::target::native_id(self.remote(), self.pid, pthread)
    }

    /// One look at `thread` in what was fetched. `stopped`: nothing of it can move.
    fn look(&mut self, profile: &mut Profile, thread: Thread, stopped: bool) -> Look {
        let layout = &self.interpreter.layout;
        for moment in [Moment::First, Moment::Second] {
            self.prefetch.enter(thread.state, moment);
            match frames::walk(&self.prefetch, layout, thread.state, &mut self.seen) {
                Ok(end) => {
                    return match self.resolve(profile, thread, end) {
                        Ok(()) if stopped || !self.prefetch.was_late() => Look::Proven,
                        _ => Look::Unproven,
                    };
                }
                Err(Miss::Moved) if moment == Moment::First => {}
                Err(Miss::Moved) => return Look::Moved,
                Err(_) => return Look::Unproven,
            }
        }
        Look::Moved
    }

    /// Names and lines of the frames found.
    fn resolve(&mut self, profile: &mut Profile, thread: Thread, end: End) -> Result<(), Miss> {
        self.frames.truncate(0);
        let layout = &self.interpreter.layout;
        let generation = match (layout.interpreter.code_generation, thread.interpreter_state) {
            (Some(field), Some(interpreter)) => {
                Some(self.prefetch.with(Sight::Root).load(interpreter, field)?)
            }
            _ => None,
        };
        let now = clock::now();
        for (depth, seen) in self.seen.items().iter().enumerate() {
            let context = Context { now, depth, generation, lines: self.choice.lines };
            let at = (seen.code, seen.position);
            if let Some(frame) = self.codes.locate(&self.prefetch, layout, profile, at, context)? {
                let _ = self.frames.push(frame); // as long as `seen`
            }
        }
        if end == End::Cut {
            let frame = Frame { function: profile.function(b"", b"(truncated)"), line: 0 };
            if let Some(last) = self.frames.items_mut().last_mut() {
                *last = frame;
            }
        }
        Ok(())
    }

    /// Whether a thread waits in a system call, where that is to be left out.
    fn leave_out(&self, index: usize) -> bool {
        if !self.choice.exclude_idle || self.choice.which == Which::Running {
            return false;
        }
        let Some(&thread) = self.threads.get(index as u32) else { return false };
        !thread.running
            && self.native_id(thread).is_some_and(|tid| !crate::target::on_processor(self.pid, tid))
    }
}

/// What to do for the next sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// Look without stopping.
    Look,
    /// Stop.
    Stop,
    /// Stop, and look before, only to find out whether that would have done.
    Probe,
}

/// How looks at running threads fared lately.
struct History {
    always: bool,
    stopping: bool,
    /// Share of looks that failed because the thread moved, of 2^16, the older ones forgotten.
    moved: u32,
    until_probe: u32,
}

/// More failed looks than this, of 2^16, and threads are stopped: 2 %.
const TOO_MANY: u32 = 1311;
/// Fewer, and they no longer are: 0.5 %.
const FEW: u32 = 328;
/// A look counts for a 64th of the share.
const WEIGHT: u32 = 64;
/// Samples from one probe to the next.
const PROBE_EVERY: u32 = 8;

impl History {
    fn new(mode: Mode) -> History {
        History { always: mode == Mode::Blocking, stopping: false, moved: 0, until_probe: 0 }
    }

    fn stop_now(&mut self, may_stop: bool) -> Plan {
        if !may_stop || !(self.always || self.stopping) {
            return Plan::Look;
        }
        if self.always {
            return Plan::Stop;
        }
        self.until_probe = self.until_probe.checked_sub(1).unwrap_or(PROBE_EVERY - 1);
        if self.until_probe == 0 { Plan::Probe } else { Plan::Stop }
    }

    fn note(&mut self, look: Look) {
        if look == Look::Unproven {
            return; // says nothing of how the thread moves
        }
        let moved = if look == Look::Moved { 1 << 16 } else { 0 };
        self.moved = self.moved - self.moved / WEIGHT + moved / WEIGHT;
        if self.moved > TOO_MANY {
            self.stopping = true;
        } else if self.moved < FEW {
            self.stopping = false;
        }
    }
}
