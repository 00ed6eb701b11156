//! One sample after the other: wait for the deadline, look, prove, count.
//!
//! `listing` says which threads, `stack` how the stack of each is got: by a `look` at what was fetched, by looks that
//! `confirm` one another, or by `stops`.
//!
//! A look that cannot be proven shows a thread in the middle of a step from one stack to another, or a mixture of two. If it
//! is a stack that is in the profile, it is no mixture, and counts. Else it is repeated, and where that does not help, the
//! thread is stopped for it. To accept or reject by the state of the very sample would prefer long-lived frames, so that
//! is decided by [`History`]: where what is shown instead of what failed is out of balance, a target is stopped for every
//! sample, until looks taken only to find out show that it no longer is: by then its stacks are in the profile.
//!
//! Equal copies before and after a moment prove a stack unless what changed had changed back. On call chains of a
//! microsecond that does happen. So a call that was never seen before (this position of this caller to that callee) is
//! believed only when so many looks in a row show it that chance is no explanation ([`History::confirming`]), or when the
//! thread stood still; calls that happen are soon known, calls that cannot happen never are.

mod belief;
mod bias;
mod confirm;
mod history;
mod lanes;
mod listing;
mod look;
mod stack;
mod steady;
mod stops;
mod successor;
mod tids;

use crate::cli::Mode;
use crate::locate::Interpreter;
use crate::memory::Addr;
use crate::prefetch::Prefetch;
use crate::profile::{Frame, Profile};
use crate::python::code::{Codes, Found};
use crate::python::frames::Seen;
use crate::python::threads::{Only, Thread, Which};
use crate::stopper::Stopper;
use crate::sys::clock;
use crate::sys::remote::Remote;
use crate::table::List;
use belief::Belief;
use history::History;
pub use lanes::Lane;
use look::Runners;
use rustix::process::Pid;
use steady::Steady;
use tids::Tids;

/// After so long the threads of a sample that are left are given up, and looks to get acquainted: there is no end to what
/// a target may have us read.
const LONGEST: clock::Nanos = 2 * clock::SECOND;
/// Samples in a row that give nothing before the process is looked at anew.
const FRUITLESS: u32 = 3;

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
    /// With a frame for each thread below its stacks.
    pub by_thread: bool,
    /// Each sample goes out at once, so nothing can be taken back.
    pub at_once: bool,
}

/// Samples one process.
#[repr(C)] // what is used most first: a field in the first 128 bytes takes shorter instructions
pub struct Sampler {
    /// What the last walk found, the innermost frame first.
    seen: List<Seen>,
    /// The last stack with its names, from the root.
    path: List<Step>,
    threads: List<Thread>,
    /// So many of its steps are reached by calls that are known, and of so many the code objects are believed.
    known: usize,
    trusted: usize,
    /// It begins with frames that are not the root's, since it did not fit.
    cut: bool,
    /// The last look showed a call or a code object that was never seen before, believed or not.
    strange: bool,
    /// Something changed around its moment.
    torn: bool,
    /// The code object in which it seemed to be at that; 0: nothing says so.
    seemed: Addr,
    pid: Pid,
    /// The thread that was in a system call when it was stopped last.
    called: Option<Pid>,
    /// How often what was there before a stop in a system call was not proven lately, of `history::ALL`.
    unseen: u32,
    /// Samples in a row that gave nothing but failures, and how many there may be.
    fruitless: u32,
    patience: u32,
    choice: Choice,
    /// Threads of the sample that there is still to look at, with the one that is looked at.
    left: usize,
    /// The only thread of the last fetch; none: it was of all.
    fetched: Option<Addr>,
    /// Where there are several processes: what stands below all stacks of this one.
    root: Option<Frame>,
    /// The last `pthread_t` that the kernel's thread id was looked up for, and until when that need not be checked.
    native: Option<(u64, Pid)>,
    checked: clock::Nanos,
    /// The interpreter, if there is but one.
    only: Option<Only>,
    /// The threads that can have run while the last fetch read, where that was asked for.
    runners: Option<Runners>,
    /// The threads of which there was a stack, where they are kept apart.
    lanes: List<Lane>,
    belief: Belief,
    steady: Steady,
    tids: Tids,
    stopper: Stopper,
    history: History,
    prefetch: Prefetch<Remote>,
    codes: Codes,
    interpreter: Interpreter,
}

/// The fixed storage of a [`Sampler`].
pub struct Storage {
    /// Threads of a sample.
    pub threads: &'static mut [Thread],
    /// Frames of a stack as found.
    pub seen: &'static mut [Seen],
    /// The same with their names.
    pub path: &'static mut [Step],
    /// Stacks with code objects that are believed.
    pub unsettled: &'static mut [u32],
    /// Threads with a frame of their own.
    pub lanes: &'static mut [Lane],
}

/// How a sample went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sampled {
    /// It was counted.
    Counted,
    /// So were it and those before, but they gave nothing: the process has ended, or is no longer what it was.
    Lost,
}

/// Why there is no list of threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unlisted {
    /// There is no memory to read.
    Gone,
    /// What is there is no list, or not for long enough.
    Changing,
}

/// A frame, and what is known of it.
#[derive(Clone, Copy)]
pub struct Step {
    seen: Seen,
    found: Found,
}

/// Nothing is known yet. Who has to stop a thread to read anything stops the one that it is about.
fn history(choice: Choice, remote: &Remote) -> History {
    History::new(if remote.peek().is_some() { Mode::Blocking } else { choice.mode })
}

impl Sampler {
    /// Ready to sample the process whose memory `prefetch` reads.
    #[inline(never)] // so that it is put together where it stays
    pub fn new(
        pid: Pid,
        interpreter: Interpreter,
        choice: Choice,
        prefetch: Prefetch<Remote>,
        codes: Codes,
        storage: Storage,
    ) -> Sampler {
        Sampler {
            pid,
            root: None,
            interpreter,
            choice,
            history: history(choice, prefetch.target()),
            prefetch,
            codes,
            threads: List::new(storage.threads),
            seen: List::new(storage.seen),
            path: List::new(storage.path),
            known: 0,
            trusted: 0,
            cut: false,
            stopper: Stopper::new(choice.mode != Mode::Nonblocking),
            strange: false,
            torn: false,
            seemed: Addr(0),
            called: None,
            unseen: 0,
            steady: Steady::new(),
            native: None,
            checked: 0,
            tids: Tids::new(pid),
            fruitless: 0,
            patience: FRUITLESS,
            only: None,
            left: 0,
            fetched: None,
            runners: None,
            belief: Belief::new(storage.unsettled, choice.at_once),
            lanes: List::new(storage.lanes),
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The memory of the target.
    pub fn remote(&self) -> &Remote {
        self.prefetch.target()
    }

    /// Takes one sample and counts it.
    pub fn sample(&mut self, profile: &mut Profile) -> Sampled {
        self.plan_proofs();
        self.stopper.next_sample();
        let (mut stacks, mut failures) = (0u64, 0);
        let each = self.each_thread(profile, &mut |sampler, profile, index, proven| {
            if !proven {
                failures += 1;
            } else if !sampler.leave_out(index) && sampler.count(profile, index) {
                stacks += 1;
            }
        });
        match each {
            Err(Unlisted::Gone) => return Sampled::Lost,
            Err(Unlisted::Changing) => failures = 1,
            Ok(()) => {}
        }
        profile.counts.samples += 1;
        profile.counts.failed += failures;
        if stacks == 0 && failures == 0 && !self.choice.exclude_idle {
            profile.counts.idle += 1;
        }
        if stacks > 0 || failures == 0 {
            (self.fruitless, self.patience) = (0, FRUITLESS);
            return Sampled::Counted;
        }
        self.fruitless += 1;
        if self.fruitless < self.patience { Sampled::Counted } else { Sampled::Lost }
    }

    /// Takes back what fruitless samples counted, when they turn out to have been of a process that was ending.
    pub fn forget_fruitless(&mut self, profile: &mut Profile) {
        let taken = u64::from(core::mem::take(&mut self.fruitless));
        profile.counts.samples = profile.counts.samples.saturating_sub(taken);
        profile.counts.failed = profile.counts.failed.saturating_sub(taken);
    }

    /// The nodes at which the last sample was counted, where samples go out at once.
    pub fn counted(&self) -> &[u32] {
        self.belief.unsettled()
    }

    /// Counts the last stack, that of thread `index`. False when it has no frame.
    fn count(&mut self, profile: &mut Profile, index: usize) -> bool {
        if self.frames().next().is_none() {
            return false;
        }
        let roots = self.roots(profile, index);
        let node = profile.count(roots.chain(self.frames()), 1);
        if let Some(node) = node.filter(|node| !self.belief.note(*node)) {
            profile.take_back(node);
        }
        true
    }

    /// What stands below the frames of the last stack, that of thread `index`.
    fn roots(&mut self, profile: &mut Profile, index: usize) -> impl Iterator<Item = Frame> + use<> {
        let cut = self.cut_off(profile);
        self.root.into_iter().chain(self.lane(profile, index)).chain(cut)
    }

    /// What stands for the outermost frames of the last stack, where it has more than fit.
    pub fn cut_off(&self, profile: &mut Profile) -> Option<Frame> {
        self.cut.then(|| Frame { function: profile.function(b"", b"(truncated)"), line: 0 })
    }

    /// Thread number `index` of the last sample.
    pub fn thread(&self, index: usize) -> Option<&Thread> {
        self.threads.get(index as u32)
    }

    /// The last stack, from the root.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = Frame> {
        self.path.items().iter().filter_map(|step| step.found.frame)
    }

    /// What is walked.
    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }
}
