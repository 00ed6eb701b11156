//! One sample after the other: wait for the deadline, look, prove, count.
//!
//! A look that cannot be proven is repeated, and where that does not help, the thread is stopped for it. To accept or
//! reject by the state of the very sample would prefer long-lived frames, so that is decided by [`History`]: where what is
//! shown instead of what failed is out of balance, a target is stopped for every sample, until looks taken only to find
//! out show that it no longer is.
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
mod look;
mod steady;
mod stops;
mod tids;

use crate::cli::Mode;
use crate::locate::Interpreter;
use crate::memory::Addr;
use crate::prefetch::Prefetch;
use crate::profile::{Frame, Profile};
use crate::python::code::{Codes, Found};
use crate::python::frames::Seen;
use crate::python::threads::{self, Only, Thread, Which};
use crate::stopper::Stopper;
use crate::sys::clock;
use crate::sys::peek::Peek;
use crate::sys::remote::Remote;
use crate::table::List;
use crate::target;
use belief::Belief;
use confirm::TRIES;
use history::{ACQUAINTED, History, Plan};
pub use lanes::Lane;
use look::{Look, Runners, calls_of};
use rustix::process::Pid;
use steady::Steady;
use tids::Tids;

/// After so long the threads of a sample that are left are given up, and looks to get acquainted: there is no end to what
/// a target may have us read.
const LONGEST: clock::Nanos = 2 * clock::SECOND;
/// Looks to get acquainted for which a list of the threads will do.
const LISTED: u32 = 16;
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
pub struct Sampler {
    pid: Pid,
    /// Where there are several processes: what stands below all stacks of this one.
    root: Option<Frame>,
    interpreter: Interpreter,
    choice: Choice,
    prefetch: Prefetch<Remote>,
    codes: Codes,
    threads: List<Thread>,
    /// What the last walk found, the innermost frame first.
    seen: List<Seen>,
    /// The last stack with its names, from the root.
    path: List<Step>,
    /// So many of its steps are reached by calls that are known, and of so many the code objects are believed.
    known: usize,
    trusted: usize,
    /// It begins with frames that are not the root's, since it did not fit.
    cut: bool,
    history: History,
    stopper: Stopper,
    /// The last look showed a call or a code object that was never seen before, believed or not.
    strange: bool,
    /// Something changed at its first moment.
    torn: bool,
    /// The code object in which it seemed to be at that; 0: none was seen.
    seemed: Addr,
    /// The thread that was in a system call when it was stopped last.
    called: Option<Pid>,
    /// How often what was there before a stop in a system call was not proven lately, of `history::ALL`.
    unseen: u32,
    steady: Steady,
    /// The last `pthread_t` that the kernel's thread id was looked up for.
    native: Option<(u64, Pid)>,
    tids: Tids,
    /// Samples in a row that gave nothing but failures, and how many there may be.
    fruitless: u32,
    patience: u32,
    /// The interpreter, if there is but one.
    only: Option<Only>,
    /// The threads that can have run while the last fetch read, where that was asked for.
    runners: Option<Runners>,
    belief: Belief,
    /// The threads of which there was a stack, where they are kept apart.
    lanes: List<Lane>,
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
            tids: Tids::new(pid),
            fruitless: 0,
            patience: FRUITLESS,
            only: None,
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

    /// Why threads cannot be stopped, if that was tried and refused the last time.
    pub fn stop_refused(&self) -> Option<rustix::io::Errno> {
        self.stopper.refused()
    }

    /// Lets threads go that stopped when nobody waited for that any more.
    pub fn attend(&mut self) {
        self.stopper.attend();
    }

    /// Waits for threads that were told to stop and have not done so yet: nobody will any more.
    pub fn part(&mut self) {
        self.stopper.finish();
    }

    /// Whether a thread that was told to stop has not done so yet.
    pub fn waits_for_stop(&self) -> bool {
        self.stopper.waits() || self.remote().peek().is_some_and(Peek::waits)
    }

    /// Puts `root` below all stacks. None: the process has ended, and another may follow.
    pub fn set_root(&mut self, root: Option<Frame>) {
        self.root = root;
    }

    /// Whether another process may follow: one without a root has ended, and no thread of it is waited for.
    pub fn is_free(&self) -> bool {
        self.root.is_none() && !self.waits_for_stop()
    }

    /// Goes on with another process, in the same storage.
    pub fn turn_to(&mut self, pid: Pid, remote: Remote, interpreter: Interpreter) {
        self.pid = pid;
        self.tids = Tids::new(pid);
        self.history = history(self.choice, &remote);
        self.stopper = Stopper::new(self.choice.mode != Mode::Nonblocking);
        (self.called, self.unseen, self.fruitless, self.patience) = (None, 0, 0, FRUITLESS);
        self.steady = Steady::new();
        self.read_anew(remote, interpreter);
    }

    /// Goes on with what the process is now: another program, or the same one begun anew.
    #[inline(never)] // for the moves of `interpreter`, which would be one of each field
    pub fn adopt(&mut self, remote: Remote, interpreter: Interpreter) {
        self.fruitless = 0;
        remote.follow(self.remote());
        if interpreter.roots == self.interpreter.roots && interpreter.version == self.interpreter.version {
            // It is still there, only hard to read, or no longer by the number of its first thread.
            self.patience = self.patience.saturating_mul(2);
            self.prefetch.follow(remote);
            return;
        }
        self.read_anew(remote, interpreter);
    }

    #[inline(never)] // as above
    fn read_anew(&mut self, remote: Remote, interpreter: Interpreter) {
        self.prefetch.adopt(remote, interpreter.layout.frame.room);
        self.codes.forget();
        self.only = None;
        self.belief.forget(); // it is as of its last proof, and there is none any more
        self.lanes.truncate(0);
        (self.known, self.trusted) = (0, 0);
        self.native = None;
        self.interpreter = interpreter;
    }

    /// Looks at the threads that run, to learn what is there and how fast it moves; not where they are always stopped.
    pub fn acquaint(&mut self, profile: &mut Profile) {
        if self.remote().peek().is_some() {
            return;
        }
        self.belief.on = false;
        self.prefetch.next_sample();
        let until = clock::now() + LONGEST;
        for look in 0..ACQUAINTED {
            if look % LISTED == 0 && self.list().is_err() {
                return;
            }
            for index in 0..self.threads.len() {
                if clock::now() >= until {
                    return;
                }
                if let Some(&thread) = self.threads.get(index as u32).filter(|thread| thread.running)
                    && self.fetch(thread)
                {
                    let mut look = self.look(profile, thread, false);
                    let first = (self.torn, self.seemed);
                    if look == Look::Moved && self.fetch(thread) {
                        look = self.look(profile, thread, false);
                    }
                    self.note_moved(thread, Some(first).filter(|_| look == Look::Proven));
                }
            }
        }
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
        let cut = self.cut_off(profile);
        let roots = self.root.into_iter().chain(self.lane(profile, index)).chain(cut);
        let node = profile.count(roots.chain(self.frames()), 1);
        if let Some(node) = node.filter(|node| !self.belief.note(*node)) {
            profile.take_back(node);
        }
        true
    }

    /// What stands for the outermost frames of the last stack, where it has more than fit.
    pub fn cut_off(&self, profile: &mut Profile) -> Option<Frame> {
        self.cut.then(|| Frame { function: profile.function(b"", b"(truncated)"), line: 0 })
    }

    /// Looks at every thread chosen and calls `visit` with its number and whether [`frames`](Self::frames) is its
    /// stack. Errors: when the threads cannot be listed.
    pub fn each_thread(
        &mut self,
        profile: &mut Profile,
        visit: &mut dyn FnMut(&mut Self, &mut Profile, usize, bool),
    ) -> Result<(), Unlisted> {
        self.prefetch.next_sample();
        self.stop_ahead(profile);
        let listed = self.list();
        if listed.is_ok() {
            self.each_listed(profile, visit);
        }
        self.end_ahead();
        self.let_go();
        listed
    }

    fn each_listed(
        &mut self,
        profile: &mut Profile,
        visit: &mut dyn FnMut(&mut Self, &mut Profile, usize, bool),
    ) {
        if !self.belief.on {
            self.settle(profile);
        }
        let slow = self.remote().peek().is_some();
        let until = clock::now() + if slow { 8 * LONGEST } else { LONGEST };
        let mut late = false;
        for index in 0..self.threads.len() {
            let Some(&thread) = self.threads.get(index as u32) else { break };
            late |= index % 16 == 15 && clock::now() > until;
            let proven = !late && self.stack_of(profile, thread);
            visit(self, profile, index, proven);
        }
    }

    /// Where memory can only be read while a thread stands still, has one do so until it is let go.
    fn hold(&self) {
        if let Some(peek) = self.remote().peek() {
            peek.hold();
        }
    }

    /// Lets go whom `hold` holds.
    pub fn let_go(&self) {
        if let Some(peek) = self.remote().peek() {
            peek.let_go();
        }
    }

    /// Lists the threads in what is fetched for that. A list that grows or shrinks just now is read again.
    fn list(&mut self) -> Result<(), Unlisted> {
        let mut is_list = false;
        for _ in 0..TRIES {
            self.codes.next_fetch();
            self.runners = None;
            self.hold();
            if !self.prefetch.fetch(None, !self.belief.on) {
                return Err(Unlisted::Gone);
            }
            let Interpreter { layout, roots, .. } = &self.interpreter;
            let which = self.choice.which;
            let listed = match self.only.take() {
                Some(only) if self.belief.on && which == Which::Running => {
                    threads::list_holder(&self.prefetch, layout, only, &mut self.threads).map(|()| Some(only))
                }
                _ => threads::list(&self.prefetch, layout, roots, which, &mut self.threads),
            };
            is_list = listed.is_ok();
            self.only = listed.ok().flatten();
            // Where the GIL was handed over meanwhile, another fetch of all is cheaper than one for each that waits.
            if is_list && (which == Which::Running || self.runners() != Runners::Any) {
                break;
            }
        }
        if is_list { Ok(()) } else { Err(Unlisted::Changing) }
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

    /// Reads `thread` anew; with all the others where it is the only one.
    fn fetch(&mut self, thread: Thread) -> bool {
        self.fetch_with(thread, !self.belief.on)
    }

    /// The same, with what proves code objects or without.
    fn fetch_with(&mut self, thread: Thread, proofs: bool) -> bool {
        self.codes.next_fetch();
        self.runners = None;
        self.hold();
        self.prefetch.fetch((self.threads.len() > 1).then_some(thread.state), proofs)
    }

    /// Gets the stack of `thread` into `path`; whether it is proven.
    fn stack_of(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        // Word by word, one look at what stands still is much less to read than several that agree.
        let by_word = self.remote().peek().is_some();
        if by_word && self.stopped_look(profile, thread, Some(false)) {
            return true;
        }
        let may_stop = thread.running && self.stopper.may_stop();
        let plan = self.history.plan(may_stop);
        let mut seen = by_word.then_some(false);
        let mut open = None;
        if plan != Plan::Stop {
            let first = self.look(profile, thread, false);
            let strange = self.strange;
            // What has to be learned is learned once.
            open = Some((self.torn, self.seemed)).filter(|_| first != Look::Unproven);
            seen = Some(plan == Plan::Probe && first == Look::Proven);
            let mut proven =
                first == Look::Proven || first == Look::New && plan == Plan::Look && self.confirm(thread);
            let mut moved = !proven && first != Look::Unproven;
            if !proven && plan == Plan::Look {
                // What had to be learned for it is the look's own matter, as long as it can be repeated.
                let calls = calls_of(self.seen.items());
                proven = self.look_again(profile, thread, may_stop);
                moved |= calls_of(self.seen.items()) != calls;
            }
            if thread.running {
                self.history.note_strange(strange && (moved || plan == Plan::Probe && !proven));
                self.prefetch.set_second(self.history.moves());
            }
            // Time in calls that cannot be believed must not be shown as time in those that are known.
            let replaced = moved && strange && self.history.is_stopping();
            if proven && (self.stopper.may_stop() || !replaced) {
                self.note_moved(thread, open.take());
                if plan == Plan::Look {
                    return true;
                }
            }
        }
        // One that was waiting when the threads were listed, and moves, has begun to run since.
        let stopped = self.stopper.may_stop() && self.stopped_look(profile, thread, seen);
        self.note_moved(thread, open.filter(|_| stopped));
        stopped
    }

    /// Notes what `path` shows in place of a first look at `thread`: whether that was torn, and in what it seemed to be then.
    fn note_moved(&mut self, thread: Thread, first: Option<(bool, Addr)>) {
        if let Some((torn, seemed)) = first.filter(|_| thread.running) {
            let shown = self.path.items().last().map_or(Addr(0), |step| step.seen.code);
            self.history.note_moved(torn, Some([seemed, shown]).filter(|_| seemed != shown));
        }
    }

    /// Whether a thread waits in a system call, where that is to be left out.
    fn leave_out(&self, index: usize) -> bool {
        if !self.choice.exclude_idle || self.choice.which == Which::Running {
            return false;
        }
        let Some(&thread) = self.threads.get(index as u32) else { return false };
        !thread.running && self.native_id(thread).is_none_or(|tid| !target::on_processor(self.pid, tid))
    }
}
