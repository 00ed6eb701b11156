//! A process, with `--children` all its descendants, too: which there are, which of them run Python now, and a sampler for
//! each that does.
//!
//! A look at the table of processes is taken some 20 times a second ([`Family::tend`]): who is gone, who has called
//! `exec`, who has new children. Whether a process runs Python is found out when it is first seen, and when its
//! program changes; else after pauses that grow, since an interpreter may be loaded late. A process is its pid and the
//! time at which it was started. One whose parent ended before it was seen is not found.
//!
//! Owns the table and the samplers, from the first look for an interpreter to the last sample. Knows nothing of samples
//! but when they are due.

mod process;

use crate::check;
use crate::cli::{Action, Options};
use crate::dump::{Dump, Style};
use crate::error::{Error, explain};
use crate::locate::Interpreter;
use crate::profile::Profile;
use crate::program::words::say_found;
use crate::report::escape::{self, Notation};
use crate::report::timeline::Timeline;
use crate::report::{Format, Sink};
use crate::sampler::{Choice, Sampled, Sampler};
use crate::session::{Schedule, Session};
use crate::status::Status;
use crate::storage::Storage;
use crate::sys::children;
use crate::sys::clock::{self, Nanos, SECOND};
use crate::sys::out::Output;
use crate::sys::proc::{executable_id, read_of};
use crate::sys::remote::Remote;
use crate::sys::stat::Stat;
use crate::table::List;
use crate::title::Title;
pub use process::{Process, Remarks};
use process::{UNKNOWN, meet, sampler};
use rustix::process::Pid;

/// Time from one look at the table to the next, and how much of it is to be there for each file that a look reads: some
/// 3 us are needed.
const POLL: Nanos = SECOND / 20;
const EACH: Nanos = 100_000;
/// The same when nothing but `exec` is to be noticed.
const ALONE: Nanos = SECOND / 2;
/// A program that was just started has loaded its libraries after so long, if not much sooner.
const LOADING: Nanos = SECOND / 20;
/// Time to the second look for an interpreter. It doubles up to the longest.
const FIRST_PAUSE: Nanos = SECOND / 1000;
const LONGEST_PAUSE: Nanos = 2 * SECOND;
/// A process that cannot be read after a pause as long as this is one that we shall not read. Before, it may be that it
/// has not begun, or is ending.
const PATIENCE: Nanos = SECOND / 2;

/// How children are found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ways {
    /// They are not.
    Alone,
    /// By the kernel's lists.
    Lists,
    /// By everybody's parent.
    Parents,
}

/// The processes, and their samplers.
pub struct Family<'a> {
    session: Session,
    storage: Storage,
    options: &'a Options<'a>,
    choice: Choice,
    processes: List<Process>,
    /// Some are free.
    samplers: &'static mut [Option<&'static mut Sampler>],
    ways: Ways,
    /// When to look for children, and when to look at any process.
    next: Nanos,
    due: Nanos,
    /// Processes that did not fit into the table at the last look.
    crowd: u64,
    /// Why the first process cannot be sampled; none as soon as any can.
    error: Option<Error<'static>>,
    remarks: Remarks,
    /// Of the first process, where the format shows it.
    title: Title,
}

impl<'a> Family<'a> {
    /// The process of `session`, and those that come from it if there may be any.
    pub fn new(
        session: Session,
        storage: Storage,
        options: &'a Options<'a>,
        choice: Choice,
        processes: List<Process>,
        samplers: &'static mut [Option<&'static mut Sampler>],
    ) -> Family<'a> {
        Family {
            session,
            storage,
            options,
            choice,
            processes,
            samplers,
            ways: Ways::Alone,
            next: 0,
            due: 0,
            crowd: 0,
            error: None,
            remarks: Remarks::default(),
            title: Title::EMPTY,
        }
    }

    /// Finds something to sample: now, when a program is just being started within [`LOADING`], when an interpreter is or
    /// there may be children within a second, and of a command that we started before it ends. Errors: why there is
    /// nothing.
    pub fn begin(&mut self, profile: &mut Profile) -> Result<(), Error<'static>> {
        let (ours, all) = (self.options.command.is_some(), self.options.children);
        if all {
            self.ways = if children::are_listed() { Ways::Lists } else { Ways::Parents };
        }
        let pid = self.session.pid();
        self.error = Some(Error::Denied(pid));
        meet(&mut self.processes, pid, false);
        let began = clock::now();
        loop {
            self.tend(profile);
            let Some(error) = self.error else { return Ok(()) };
            let patience = match error {
                _ if ours => Nanos::MAX,
                _ if all => SECOND,
                Error::NoThreads(_) => SECOND,
                Error::NotPython(_) => LOADING,
                _ => 0,
            };
            let given_up = self.processes.is_empty() || self.due >= began.saturating_add(patience);
            if given_up || self.session.sleep(self.due, self.samplers) {
                let number = pid.as_raw_nonzero().get() as u64;
                return Err(match error {
                    // It has ended, and nothing is left to be seen of why it could not be read.
                    Error::Denied(_) if ours && all => Error::NotPython(number),
                    Error::Denied(_) if ours => Error::Alone(number),
                    Error::NotPython(_) if !all => Error::Alone(number),
                    error => error,
                });
            }
        }
    }

    /// The first process.
    pub fn pid(&self) -> Pid {
        self.session.pid()
    }

    /// The first process and its command line, in short, where the format shows it.
    pub fn title(&self) -> Title {
        self.title
    }

    /// Samples until the time is over, all processes have ended, or somebody wants us to end. `out`: for what is written
    /// at once.
    pub fn run(&mut self, profile: &mut Profile, timeline: &mut Timeline, out: &mut Output) {
        let schedule = Schedule { period: self.options.period, duration: self.options.duration };
        let mut deadline = clock::now();
        let end = schedule.duration.map(|duration| deadline.saturating_add(duration));
        let is_wanted = self.options.command.is_none() && schedule.duration != Some(0);
        let mut status = Status::new(schedule.duration, is_wanted);
        loop {
            self.sample(profile, timeline, out);
            let now = clock::now();
            status.show(profile, now);
            if now >= self.due {
                self.tend(profile);
            }
            if self.processes.is_empty()
                || schedule.is_over(&mut deadline, end, profile)
                || self.session.sleep(deadline, self.samplers)
            {
                break;
            }
        }
        self.samplers.iter_mut().flatten().for_each(|sampler| sampler.finish(profile));
        self.part();
        timeline.finish(profile, clock::now(), out);
        status.finish();
    }

    /// Ends a run in which a read does not end.
    pub fn give_up(&mut self, profile: &mut Profile, timeline: &mut Timeline, out: &mut Output) {
        self.samplers.iter_mut().flatten().for_each(|sampler| sampler.give_up(profile));
        timeline.finish(profile, clock::now(), out);
    }

    /// Writes the stacks of all processes, once, where there may be several each below its title. False when those of one
    /// could not be listed.
    pub fn dump(&mut self, profile: &mut Profile, style: Style, out: &mut dyn Sink) -> bool {
        let mut dump = Dump::new(style, out);
        let mut all = true;
        for process in self.processes.items() {
            let (Some(pid), Some(sampler)) = (process.pid, sampler(self.samplers, process)) else { continue };
            let is_titled = self.options.children;
            let is_shown = is_titled || style == Style::Json;
            let title = if is_shown { title_of(pid, sampler.remote().pid()) } else { Title::EMPTY };
            all &= dump.put(title.bytes(), is_titled, sampler, profile);
        }
        dump.finish();
        self.part();
        all
    }

    /// Leaves the processes as if nobody had looked.
    fn part(&mut self) {
        self.samplers.iter_mut().flatten().for_each(|sampler| sampler.part());
    }

    /// Writes what was found in each process, and whether its threads may be stopped, or why it cannot be profiled; with
    /// children each below its title. False when none can be.
    pub fn check(&mut self, out: &mut dyn Sink) -> bool {
        let (mut between, mut any) = (b"".as_slice(), false);
        for process in self.processes.items() {
            let Some(pid) = process.pid else { continue };
            let tid = Stat::read(pid).unwrap_or_default().living(pid);
            out.put(core::mem::replace(&mut between, b"\n"));
            if self.options.children {
                escape::put(out, Notation::FoldedFile, title_of(pid, tid).bytes());
                out.put(b"\n");
            }
            match self.session.find(pid, tid, self.options) {
                Ok((remote, interpreter)) => {
                    any = true;
                    check::write(pid, &remote, &interpreter, self.session.images(), out);
                }
                Err(error) => explain(&error, out),
            }
        }
        any
    }

    /// What there is to say.
    pub fn remarks(&mut self) -> Remarks {
        for sampler in self.samplers.iter().flatten() {
            self.remarks.note(sampler);
        }
        self.remarks.left_out += self.crowd;
        let mut index = 0;
        while let Some(process) = self.processes.get_mut(index) {
            index += 1;
            let lives = |&pid: &Pid| Stat::read(pid).is_ok_and(|stat| !stat.is_ending());
            if let Some(pid) = process.pid.filter(|_| process.denied).filter(lives) {
                self.remarks.leave_out(process);
                self.remarks.denied = Some(pid);
            }
        }
        self.remarks
    }

    /// Waits for the end of the process that we started: its status as a shell gives it.
    pub fn exit_status(&mut self) -> i32 {
        self.session.exit_status(self.samplers)
    }

    /// One sample of each process.
    fn sample(&mut self, profile: &mut Profile, timeline: &mut Timeline, out: &mut Output) {
        let (mut index, before) = (0, profile.counts.samples);
        while let Some(process) = self.processes.get_mut(index) {
            index += 1;
            let Some(sampler) = sampler(self.samplers, process) else { continue };
            let now = if timeline.is_on() { clock::now() } else { 0 };
            let sampled = sampler.sample(profile);
            if timeline.is_on() {
                timeline.note(profile, process.root, sampler.counted(), now, out);
            }
            if sampled == Sampled::Lost {
                process.program = UNKNOWN;
                // One that has ended is replaced by another.
                index -= u32::from(self.visit(index - 1, profile).is_none());
            }
        }
        profile.counts.rounds += u64::from(profile.counts.samples > before);
    }

    /// Looks at each process that it is time for, and for new ones.
    fn tend(&mut self, profile: &mut Profile) {
        let now = clock::now();
        let all = now >= self.next;
        let mut files = 0;
        if all {
            self.crowd = 0;
            if self.ways == Ways::Parents {
                files = self.meet_by_parents();
            }
        }
        let mut index = 0;
        while let Some(&Process { pid: Some(pid), due, .. }) = self.processes.get(index) {
            index += 1;
            if !all && due > now {
                continue;
            }
            match self.visit(index - 1, profile) {
                None => index -= 1,
                Some(threads) if all && self.ways == Ways::Lists => {
                    files += threads + 2;
                    let (processes, crowd) = (&mut self.processes, &mut self.crowd);
                    children::each(pid, threads, &mut |child| *crowd += meet(processes, child, false));
                }
                Some(_) => {}
            }
        }
        if all {
            // One that is alone need not be looked at so often, once it is found.
            let poll = if self.ways == Ways::Alone && self.error.is_none() { ALONE } else { POLL };
            self.next = now + poll.max(EACH * files);
        }
        let dues = self.processes.items().iter().map(|process| process.due);
        self.due = dues.fold(self.next, Nanos::min);
    }

    /// Where the kernel has no lists of children: those whose parent is in the table. How many processes there are.
    fn meet_by_parents(&mut self) -> u64 {
        let (processes, crowd) = (&mut self.processes, &mut self.crowd);
        let mut count = 0;
        loop {
            let before = processes.len();
            children::everybody(&mut |number| {
                count += 1;
                *crowd += Pid::from_raw(number as i32).map_or(0, |pid| meet(processes, pid, true));
            });
            if processes.len() == before {
                return count;
            }
        }
    }

    /// Looks at a process, if it is time for that: how many threads it has, none when it has ended.
    fn visit(&mut self, index: u32, profile: &mut Profile) -> Option<u64> {
        let mut process = *self.processes.get(index)?;
        let pid = process.pid?;
        let is_it = |stat: &Stat| !stat.is_over() && [0, stat.start].contains(&process.started);
        let Some(stat) = Stat::read(pid).ok().filter(is_it) else {
            self.remove(index, profile);
            return None;
        };
        process.started = stat.start;
        let tid = stat.living(pid);
        let program = executable_id(tid);
        let changed = core::mem::replace(&mut process.program, program) != program;
        if changed {
            (process.due, process.pause) = (0, FIRST_PAUSE);
        }
        if clock::now() >= process.due {
            if changed || process.place == 0 {
                self.find(&mut process, (pid, tid), stat, profile);
            }
            self.entitle(&mut process, (pid, tid), profile);
            self.due = self.due.min(process.due);
            *self.processes.get_mut(index)? = process;
        }
        Some(stat.threads)
    }

    /// Takes a process that has ended out of the table. The last one gets its number.
    fn remove(&mut self, index: u32, profile: &mut Profile) {
        if let Some(sampler) = self.processes.get(index).and_then(|gone| sampler(self.samplers, gone)) {
            sampler.forget_fruitless(profile);
            sampler.set_root(None);
        }
        self.processes.swap_remove(index);
    }

    /// Looks for an interpreter, and for a sampler. `tid`: the first thread, or another if that has ended.
    #[inline(never)] // what it calls has a large frame, in which every address takes longer instructions
    fn find(&mut self, process: &mut Process, (pid, tid): (Pid, Pid), stat: Stat, profile: &mut Profile) {
        let parent = Pid::from_raw(stat.parent as i32).filter(|_| stat.is_forked());
        let parent = parent.and_then(|parent| Some(Stat::read(parent).ok()?.living(parent)));
        let found = if parent.is_some_and(|parent| children::share_memory(parent, tid)) {
            Err(Error::NotPython(stat.parent)) // what runs there is the parent's
        } else {
            self.session.find(pid, tid, self.options)
        };
        let sampler = sampler(self.samplers, process);
        process.denied = matches!(found, Err(Error::Denied(_)));
        let error = match found {
            Ok((remote, interpreter)) => {
                if let Some(sampler) = sampler {
                    return sampler.adopt(remote, interpreter);
                }
                let acquaint = self.options.action == Action::Sample && self.options.duration != Some(0);
                if let Some(sampler) = self.seat(process, pid, remote, &interpreter).filter(|_| acquaint) {
                    sampler.acquaint(profile);
                }
                return;
            }
            Err(error) => error,
        };
        if let Some(sampler) = sampler {
            sampler.set_root(None);
        }
        process.place = 0;
        if self.error.is_some() && pid == self.session.pid() {
            self.error = Some(error);
        }
        let is_said = matches!(
            error,
            Error::Denied(..) | Error::OnlyStopped(..) | Error::Version(..) | Error::Misfit(..)
        );
        if is_said && process.pause >= PATIENCE {
            self.remarks.leave_out(process);
        }
    }

    /// Gives a process in which an interpreter was found a sampler, as far as there is room.
    fn seat(
        &mut self,
        process: &mut Process,
        pid: Pid,
        remote: Remote,
        interpreter: &Interpreter,
    ) -> Option<&mut Sampler> {
        if self.error.take().is_some() {
            self.remarks.version = interpreter.version;
            if self.options.format() != Format::Folded {
                self.title = title_of(pid, remote.pid());
            }
        }
        say_found(pid, interpreter, &remote, self.options.verbose);
        let is_free =
            |slot: &Option<&'static mut Sampler>| slot.as_ref().is_none_or(|sampler| sampler.is_free());
        let place = self.samplers.iter().position(is_free);
        let slot = place.and_then(|place| self.samplers.get_mut(place));
        process.place = place.map_or(0, |place| place as u32 + 1);
        match slot {
            Some(Some(sampler)) => {
                self.remarks.note(sampler);
                sampler.turn_to(pid, remote, *interpreter);
                Some(sampler)
            }
            Some(slot) if process.place == 1 || self.storage.grow().is_ok() => {
                *slot = self.storage.sampler(pid, remote, interpreter, self.choice);
                slot.as_deref_mut()
            }
            _ => {
                process.place = 0;
                self.remarks.leave_out(process);
                None
            }
        }
    }

    /// What the command line says now stands below all stacks of a process, also those of before. When to look again.
    #[inline(never)] // for its buffers
    fn entitle(&mut self, process: &mut Process, (pid, tid): (Pid, Pid), profile: &mut Profile) {
        process.due = clock::now() + process.pause;
        process.pause *= 2;
        match sampler(self.samplers, process) {
            None => process.pause = process.pause.min(LONGEST_PAUSE),
            Some(_) if self.ways == Ways::Alone && !self.choice.by_thread => process.due = Nanos::MAX,
            // It may get its title late. Each that it gets takes room, so they are asked for ever more seldom.
            Some(sampler) => {
                profile.entitle(&mut process.root, title_of(pid, tid).bytes());
                sampler.set_root(Some(process.root));
            }
        }
    }
}

/// What the command line of a process says.
#[inline(never)] // for its buffer
fn title_of(pid: Pid, tid: Pid) -> Title {
    let mut buffer = [0; 1024];
    let words = read_of(tid, 0, b"cmdline", &mut buffer).unwrap_or_default();
    Title::new(pid.as_raw_nonzero().get() as u64, words)
}
