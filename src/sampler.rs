//! One sample after the other: wait for the deadline, look, prove, count.
//!
//! A look that cannot be proven is repeated, and where that does not help, the thread is stopped for it. To accept or
//! reject by the state of the very sample would prefer long-lived frames, so that is decided by [`History`]: a target
//! whose looks often fail is stopped for every sample, until looks taken only to find out succeed again.
//!
//! Equal copies before and after a moment prove a stack unless what changed had changed back. On call chains of a
//! microsecond that does happen. So a call that was never seen before (this position of this caller to that callee) is
//! believed only when so many looks in a row show it that chance is no explanation ([`History::confirming`]), or when the
//! thread stood still; calls that happen are soon known, calls that cannot happen never are.

mod history;

use crate::cli::Mode;
use crate::locate::Interpreter;
use crate::memory::{Addr, Memory, Miss};
use crate::prefetch::{Moment, Prefetch, Sight};
use crate::profile::{Frame, Profile, ROOT};
use crate::python::code::{Codes, Context, Found};
use crate::python::frames::{self, End, Seen};
use crate::python::layout::Position;
use crate::python::threads::{self, Only, Thread, Turns, Which};
use crate::stopper::{Still, Stopper};
use crate::sys::clock;
use crate::sys::remote::Remote;
use crate::table::{List, hash_words};
use crate::target;
use history::{ACQUAINTED, History, Plan};
use rustix::process::{Pid, WaitStatus};

/// Looks at one thread before it is stopped, or given up.
const TRIES: u32 = 4;
/// The same when it may not be stopped: each costs some microseconds.
const TRIES_NONBLOCKING: u32 = 8;
/// Looks of one sample that may have to learn something although they show the same calls.
const LEARNING: u32 = 16;

/// Looks at a thread that has been told to stop and has not done so, and the time from one to the next, in ns.
const LATE_LOOKS: u32 = 64;
const LATE_PAUSE: clock::Nanos = 200_000;
/// Stops of one sample that may give no stack: 1 in 60 does on 3.12 where generators call each other.
const STOPS: u32 = 8;
/// Looks to get acquainted for which a list of the threads will do.
const LISTED: u32 = 16;
/// Samples in a row that give nothing before the process is looked at anew.
const FRUITLESS: u32 = 3;
/// Samples from one in which all code objects are proven to the next; and the most that follow each other when some of
/// what is seen is too young to be believed.
const BELIEVED: u32 = 16;
const WARY: u32 = 64;

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
    /// The last look showed a call that was never seen before, believed or not.
    strange: bool,
    /// The thread that was in a system call when it was stopped last.
    called: Option<Pid>,
    /// The last `pthread_t` that the kernel's thread id was looked up for.
    native: Option<(u64, Pid)>,
    /// Samples in a row that gave nothing but failures, and how many there may be.
    fruitless: u32,
    patience: u32,
    /// The interpreter, if there is but one.
    only: Option<Only>,
    /// The threads that can have run while the last fetch read, where that was asked for.
    runners: Option<Runners>,
    /// It is believed in this sample that there is no other, and so are code objects that were proven often.
    believe: bool,
    /// Samples since all was proven, the nodes of their stacks, and for how many samples nothing is believed: now, and
    /// the next time that something young is seen.
    believed: u32,
    unsettled: List<u32>,
    wary: u32,
    caution: u32,
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

/// Which threads can have run while a fetch read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runners {
    /// Nothing says that.
    Unknown,
    /// The GIL was handed over several times.
    Any,
    /// No others than these.
    These([Addr; 2]),
}

/// What a look at a thread gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// `path` is its stack.
    Proven,
    /// The same, with a call that was never seen before.
    New,
    /// It moved.
    Moved,
    /// Something had to be learned first, or was not what it should be.
    Unproven,
}

impl Sampler {
    /// Ready to sample the process whose memory `prefetch` reads.
    #[inline(never)] // so that it is put together where it stays
    pub fn new(
        pid: Pid,
        interpreter: Interpreter,
        choice: Choice,
        child: Option<Pid>,
        prefetch: Prefetch<Remote>,
        codes: Codes,
        storage: Storage,
    ) -> Sampler {
        Sampler {
            pid,
            root: None,
            interpreter,
            choice,
            prefetch,
            codes,
            threads: List::new(storage.threads),
            seen: List::new(storage.seen),
            path: List::new(storage.path),
            known: 0,
            trusted: 0,
            cut: false,
            history: History::new(choice.mode),
            stopper: Stopper::new(choice.mode != Mode::Nonblocking, child),
            strange: false,
            called: None,
            native: None,
            fruitless: 0,
            patience: FRUITLESS,
            only: None,
            runners: None,
            believe: false,
            believed: 0,
            unsettled: List::new(storage.unsettled),
            wary: WARY,
            caution: 1,
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

    /// Why threads cannot be stopped, if that was tried and refused.
    pub fn stop_refused(&self) -> Option<rustix::io::Errno> {
        self.stopper.refused()
    }

    /// Lets threads go that stopped when nobody waited for that any more.
    pub fn attend(&mut self) {
        self.stopper.attend();
    }

    /// Whether a thread that was told to stop has not done so yet.
    pub fn waits_for_stop(&self) -> bool {
        self.stopper.waits()
    }

    /// How the child that was named ended, if a stop told.
    pub fn ended(&self) -> Option<WaitStatus> {
        self.stopper.ended()
    }

    /// Puts `root` below all stacks. None: the process has ended, and another may follow.
    pub fn set_root(&mut self, root: Option<Frame>) {
        self.root = root;
    }

    /// Whether another process may follow: one without a root has ended, and no thread of it is waited for.
    pub fn is_free(&self) -> bool {
        self.root.is_none() && !self.waits_for_stop()
    }

    /// Goes on with another process, in the same storage. `child`: if it is one that we started ourselves.
    pub fn turn_to(&mut self, pid: Pid, child: Option<Pid>, remote: Remote, interpreter: Interpreter) {
        self.pid = pid;
        self.history = History::new(self.choice.mode);
        self.stopper = Stopper::new(self.choice.mode != Mode::Nonblocking, child);
        (self.called, self.fruitless, self.patience) = (None, 0, FRUITLESS);
        self.read_anew(remote, interpreter);
    }

    /// Goes on with what the process is now: another program, or the same one begun anew.
    #[inline(never)] // for the moves of `interpreter`, which would be one of each field
    pub fn adopt(&mut self, remote: Remote, interpreter: Interpreter) {
        self.fruitless = 0;
        if interpreter.roots == self.interpreter.roots && interpreter.version == self.interpreter.version {
            // It is still there, only hard to read.
            self.patience = self.patience.saturating_mul(2);
            return;
        }
        self.read_anew(remote, interpreter);
    }

    #[inline(never)] // as above
    fn read_anew(&mut self, remote: Remote, interpreter: Interpreter) {
        self.prefetch.adopt(remote, interpreter.layout.frame.room);
        self.codes.forget();
        self.only = None;
        self.unsettled.truncate(0); // they are as of their last proof, and there is none any more
        self.known = 0;
        self.native = None;
        self.interpreter = interpreter;
    }

    /// Looks at the threads that run, to learn what is there and how fast it moves.
    pub fn acquaint(&mut self, profile: &mut Profile) {
        self.believe = false;
        self.prefetch.next_sample();
        for look in 0..ACQUAINTED {
            if look % LISTED == 0 && self.list().is_err() {
                return;
            }
            for index in 0..self.threads.len() {
                if let Some(&thread) = self.threads.get(index as u32).filter(|thread| thread.running)
                    && self.fetch(thread)
                {
                    self.look(profile, thread, false);
                }
            }
        }
    }

    /// Takes one sample and counts it.
    pub fn sample(&mut self, profile: &mut Profile) -> Sampled {
        self.plan_proofs();
        let (mut stacks, mut failures) = (0u64, 0);
        let each = self.each_thread(profile, &mut |sampler, profile, index, proven| {
            if !proven {
                failures += 1;
            } else if !sampler.leave_out(index) && sampler.count(profile) {
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

    /// Counts the last stack. False when it has no frame.
    fn count(&mut self, profile: &mut Profile) -> bool {
        if self.frames().next().is_none() {
            return false;
        }
        let cut = self.cut.then(|| Frame { function: profile.function(b"", b"(truncated)"), line: 0 });
        let node = profile.count(self.root.into_iter().chain(cut).chain(self.frames()), 1);
        if let Some(node) = node.filter(|_| self.believe)
            && self.unsettled.push(node).is_err()
        {
            profile.take_back(node);
        }
        true
    }

    /// Decides whether what was proven often is believed in the next sample. Mostly it is; but that costs calls where
    /// many code objects are young, so then all are read with each sample for a while.
    fn plan_proofs(&mut self) {
        if self.codes.is_unsettled() {
            self.caution = WARY.min(2 * self.caution);
            self.wary = self.caution;
        }
        let layout = &self.interpreter.layout;
        let walks = self.only.is_none() && threads::is_walk(layout, self.choice.which);
        // A frame's position may depend on what its code object says now.
        let copies = matches!(layout.frame.position, Position::Pointer { copies: Some(_), .. });
        let crowded = self.unsettled.len() + self.threads.len() > self.unsettled.capacity();
        self.believed += 1;
        self.believe = !(walks || copies || crowded || self.wary > 0 || self.believed >= BELIEVED);
        if !self.believe {
            self.caution = if self.wary == 0 { 1 } else { self.caution };
            self.wary = self.wary.saturating_sub(1);
            self.believed = 0;
        }
    }

    /// Proves what was believed lately, and takes back what turns out to be wrong.
    fn settle(&mut self, profile: &mut Profile) {
        let generation = self.only.and_then(|only| self.generation(only.state).ok()?);
        let unsettled = &mut self.unsettled;
        self.codes.settle(&self.prefetch, &self.interpreter.layout, generation, |function| {
            for node in unsettled.items_mut() {
                if function.is_none_or(|function| profile.is_in(function, *node)) {
                    profile.take_back(core::mem::replace(node, ROOT));
                }
            }
        });
        self.unsettled.truncate(0);
    }

    /// How often `interpreter` has freed a code object, where it counts that and is not believed.
    fn generation(&self, interpreter: Addr) -> Result<Option<u64>, Miss> {
        let field = self.interpreter.layout.interpreter.code_generation.filter(|_| !self.believe);
        field.map(|field| self.prefetch.with(Sight::Proof).load(interpreter, field)).transpose()
    }

    /// The last sample was taken: settles what is open.
    pub fn finish(&mut self, profile: &mut Profile) {
        self.believe = false;
        if !self.unsettled.is_empty() && self.list().is_ok() {
            self.settle(profile);
        }
    }

    /// Looks at every thread chosen and calls `visit` with its number and whether [`frames`](Self::frames) is its
    /// stack. Errors: when the threads cannot be listed.
    pub fn each_thread(
        &mut self,
        profile: &mut Profile,
        visit: &mut dyn FnMut(&mut Self, &mut Profile, usize, bool),
    ) -> Result<(), Unlisted> {
        self.prefetch.next_sample();
        self.list()?;
        if !self.believe {
            self.settle(profile);
        }
        for index in 0..self.threads.len() {
            let Some(&thread) = self.threads.get(index as u32) else { break };
            let proven = self.stack_of(profile, thread);
            visit(self, profile, index, proven);
        }
        Ok(())
    }

    /// Lists the threads in what is fetched for that. A list that grows or shrinks just now is read again.
    fn list(&mut self) -> Result<(), Unlisted> {
        let mut is_list = false;
        for _ in 0..TRIES {
            self.codes.next_fetch();
            self.runners = None;
            if !self.prefetch.fetch(None, !self.believe) {
                return Err(Unlisted::Gone);
            }
            let Interpreter { layout, roots, .. } = &self.interpreter;
            let which = self.choice.which;
            let listed = match self.only.take() {
                Some(only) if self.believe && which == Which::Running => {
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
        self.codes.next_fetch();
        self.runners = None;
        self.prefetch.fetch((self.threads.len() > 1).then_some(thread.state), !self.believe)
    }

    /// Gets the stack of `thread` into `path`; whether it is proven.
    fn stack_of(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let may_stop = thread.running && self.stopper.may_stop();
        let plan = self.history.plan(may_stop);
        if plan != Plan::Stop {
            let first = self.look(profile, thread, false);
            let strange = self.strange;
            let mut proven = first == Look::Proven
                || first == Look::New && plan == Plan::Look && self.confirm(profile, thread);
            let mut moved = !proven && first != Look::Unproven;
            if !proven && plan == Plan::Look {
                // What had to be learned for it is the look's own matter, as long as it can be repeated.
                let calls = calls_of(self.seen.items());
                proven = self.look_again(profile, thread, may_stop);
                moved |= calls_of(self.seen.items()) != calls;
            }
            if thread.running {
                let strange = first != Look::Moved && (moved || plan == Plan::Probe && !proven);
                self.history.note(first == Look::Moved, strange);
                self.prefetch.set_second(self.history.moves());
            }
            // Time in calls that cannot be believed must not be shown as time in those that are known.
            let replaced = moved && strange && self.history.is_stopping();
            if plan == Plan::Look && proven && (self.stopper.may_stop() || !replaced) {
                return true;
            }
        }
        // One that was waiting when the threads were listed, and moves, has begun to run since.
        self.stopper.may_stop() && self.stopped_look(profile, thread)
    }

    /// Looks until a look is proven, or there were too many.
    fn look_again(&mut self, profile: &mut Profile, thread: Thread, may_stop: bool) -> bool {
        let (most, calls) = (if may_stop { TRIES } else { TRIES_NONBLOCKING }, calls_of(self.seen.items()));
        let (mut tries, mut learning) = (1, 0);
        while tries < most {
            if !self.fetch(thread) {
                return false;
            }
            match self.look(profile, thread, false) {
                Look::Proven => return true,
                Look::New if self.confirm(profile, thread) => return true,
                Look::Unproven if learning < LEARNING && calls_of(self.seen.items()) == calls => {
                    learning += 1
                }
                _ => tries += 1,
            }
        }
        false
    }

    /// Whether further looks show the same frames, so that the new calls in it can be believed.
    fn confirm(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        if !self.confirm_root(profile, thread) {
            return false;
        }
        let calls = calls_of(self.seen.items());
        let (mut looks, mut learning) = (1, 0);
        while looks < self.history.confirming() {
            if !self.fetch(thread) {
                return false;
            }
            let look = self.look(profile, thread, false);
            match look {
                _ if calls_of(self.seen.items()) != calls => return false,
                Look::New => looks += 1,
                // The innermost frame was at a line that had to be learned.
                Look::Unproven if learning < LEARNING => learning += 1,
                _ => return false,
            }
        }
        self.learn_calls();
        true
    }

    /// Whether the root of the last look is one, as further looks show. A generator changes between having a caller and
    /// having none with every item, so that takes more of them; but they need have nothing in common but the root.
    fn confirm_root(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        // Where a stack has to begin at a shim, the walk has seen that it does.
        let root = self.path.get(0).map(|step| step.found.serial);
        let Some(root) = root.filter(|_| self.interpreter.layout.frame.owner.is_none()) else { return true };
        let wanted = self.history.confirming_root();
        let mut same = 0;
        for _ in 0..4 * wanted {
            if same == wanted || self.codes.is_call(None, root) {
                self.codes.learn_call(None, root);
                return true;
            }
            if !self.fetch(thread) {
                return false;
            }
            if matches!(self.look(profile, thread, false), Look::Proven | Look::New) {
                if self.path.get(0).map(|step| step.found.serial) != Some(root) {
                    return false;
                }
                same += 1;
            }
        }
        false
    }

    fn learn_calls(&mut self) {
        self.known = self.path.len();
        let mut caller = None;
        for step in self.path.items() {
            self.codes.learn_call(caller, step.found.serial);
            caller = Some(&step.found);
        }
    }

    /// Stops `thread` for one look. Whether that gave its stack.
    fn stopped_look(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let Some(tid) = self.native_id(thread) else { return false };
        self.note_native(thread, tid);
        // One that waits in a system call holds still anyway, and it is not to be woken time and again.
        if (!thread.running || self.called == Some(tid)) && !target::on_processor(self.pid, tid) {
            return self.look_again(profile, thread, false);
        }
        let mut refused = 0;
        for _ in 0..LATE_LOOKS {
            match self.stopper.stop(tid) {
                None => return false,
                Some(Still::Stopped(stopped)) => {
                    profile.counts.stopped += 1;
                    self.called = stopped.in_call().then_some(tid);
                    if !self.fetch(thread) {
                        return false;
                    }
                    if self.accept(profile, thread) {
                        return true;
                    }
                    refused += 1;
                    if refused == STOPS {
                        return false;
                    }
                    // It stands in the middle of a step from frame to frame. Stopped again at once, it would not have gone
                    // on: that takes more than to let it go, which has also sent a SIGCHLD.
                    clock::wait_for_child(0);
                }
                // It is on no processor, so it does not move; at least not as long as a virtual one is given to it.
                Some(Still::Late) if self.look_again(profile, thread, true) => return true,
                Some(Still::Late) => {}
            }
            clock::wait_for_child(LATE_PAUSE);
        }
        false
    }

    /// A look at a thread that stands still: new calls and all.
    fn accept(&mut self, profile: &mut Profile, thread: Thread) -> bool {
        let look = self.look(profile, thread, true);
        if look == Look::New {
            self.learn_calls();
        }
        matches!(look, Look::Proven | Look::New)
    }

    /// Remembers where before 3.11 the kernel's id of a thread has to be looked up.
    fn note_native(&mut self, thread: Thread, tid: Pid) {
        let fields = &self.interpreter.layout.thread;
        if fields.native.is_none() {
            let pthread = self.prefetch.with(Sight::Once).load(thread.state, fields.ident);
            self.native = pthread.ok().map(|pthread| (pthread, tid));
        }
    }

    /// Whether thread `tid` waits for the GIL by which all threads take turns. Not known before 3.7.
    pub fn waits_for_gil(&self, tid: Pid) -> bool {
        let Interpreter { layout, roots, .. } = &self.interpreter;
        let turns = Turns::of(layout, roots, self.only);
        turns.is_some_and(|turns| target::waits_at(self.pid, tid).is_some_and(|at| turns.has(at)))
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
        let known = self.native.filter(|(known, _)| *known == pthread).map(|(_, tid)| tid);
        known.or_else(|| target::native_id(self.remote(), self.pid, pthread))
    }

    /// One look at `thread` in what was fetched. `stopped`: nothing of it can move.
    fn look(&mut self, profile: &mut Profile, thread: Thread, stopped: bool) -> Look {
        self.strange = false;
        let runners = if thread.running { Runners::Unknown } else { self.runners() };
        let moves = match runners {
            Runners::Unknown => true,
            Runners::Any if !stopped => return Look::Moved,
            Runners::Any => false,
            Runners::These(states) => states.contains(&thread.state),
        };
        let layout = &self.interpreter.layout;
        for moment in [Moment::First, Moment::Second] {
            self.prefetch.enter(thread.state, moment);
            let walk = frames::walk(&self.prefetch, layout, (thread.state, moves), &mut self.seen);
            if thread.running && !stopped && moment == Moment::First {
                self.history.note_moment(walk == Err(Miss::Moved));
            }
            match walk {
                Ok(end) => {
                    self.cut = end == End::Cut;
                    return match self.resolve(profile, thread) {
                        Ok(look) => {
                            self.strange = look == Look::New;
                            if stopped || !self.prefetch.was_late() { look } else { Look::Unproven }
                        }
                        Err(_) => Look::Unproven,
                    };
                }
                Err(Miss::Moved) if moment == Moment::First => {}
                Err(Miss::Moved) => return Look::Moved,
                Err(_) => return Look::Unproven,
            }
        }
        Look::Moved
    }

    /// The threads that can have run while the last fetch read.
    fn runners(&mut self) -> Runners {
        let Interpreter { layout, roots, .. } = &self.interpreter;
        *self.runners.get_or_insert_with(|| {
            let turns = Turns::of(layout, roots, self.only);
            match turns.and_then(|turns| turns.runners(&self.prefetch).ok()) {
                None => Runners::Unknown,
                Some(None) => Runners::Any,
                Some(Some(states)) => Runners::These(states),
            }
        })
    }

    /// Names and lines of the frames found: `Proven`, or `New` when there is a new call between them. As far as the
    /// last stack was the same, its names and its calls are used again.
    fn resolve(&mut self, profile: &mut Profile, thread: Thread) -> Result<Look, Miss> {
        let layout = &self.interpreter.layout;
        let generation = match thread.interpreter_state {
            Some(state) => self.generation(state)?,
            None => None,
        };
        let context = Context { generation, believe: self.believe, lines: self.choice.lines };
        let (mut look, mut caller) = (Look::Proven, None);
        let (known, mut same) = (self.known, true);
        self.known = self.seen.len();
        let trusted = if self.believe { self.trusted } else { 0 };
        self.trusted = 0;
        for (depth, seen) in self.seen.items().iter().enumerate().rev() {
            let place = self.seen.len() - 1 - depth;
            let last = self.path.get(place as u32).filter(|step| same && place < known && step.seen == *seen);
            let last = match last.map(|step| step.found) {
                Some(found) if place < trusted => Some(found),
                Some(found) if self.codes.is_still(&self.prefetch, layout, &found, context)? => Some(found),
                _ => None,
            };
            if last.is_none() && same {
                same = false;
                self.path.truncate(place);
            }
            let found = match last {
                Some(found) => found,
                None => {
                    let at = (seen.code, seen.position);
                    let found = self.codes.locate(&self.prefetch, layout, profile, at, context)?;
                    let _ = self.path.push(Step { seen: *seen, found }); // as long as `seen`
                    found
                }
            };
            // The calls of the part that is the same are known.
            if last.is_none() && !self.codes.is_call(caller.as_ref(), found.serial) {
                look = Look::New;
                self.known = self.known.min(place);
            }
            caller = Some(found);
        }
        self.path.truncate(self.seen.len());
        if self.believe && !self.codes.is_unsettled() {
            self.trusted = self.path.len();
        }
        Ok(look)
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

/// A digest of a stack but for the position of its innermost frame.
fn calls_of(seen: &[Seen]) -> u64 {
    let mut digest = 0;
    for (depth, frame) in seen.iter().enumerate() {
        let position = if depth == 0 { 0 } else { frame.position };
        digest = hash_words(&[digest, frame.code.0, position as u64]);
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_compared_but_for_where_the_innermost_frame_is() {
        let seen = |frames: &[(u64, i64)]| -> std::vec::Vec<Seen> {
            frames.iter().map(|&(code, position)| Seen { code: Addr(code), position }).collect()
        };
        let stack = seen(&[(1, 2), (3, 4), (5, 6)]);
        assert!(calls_of(&stack) == calls_of(&seen(&[(1, 7), (3, 4), (5, 6)])));
        for other in [&[][..], &[(1, 2)], &[(2, 2), (3, 4), (5, 6)], &[(1, 2), (3, 5), (5, 6)]] {
            assert!(calls_of(&stack) != calls_of(&seen(other)), "{other:?}");
        }
    }
}
