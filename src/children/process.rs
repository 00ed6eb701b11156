//! A process of the table, and what there is to say of processes that were in it. Looks at nothing but whether a
//! process lives and who its parent is.

use crate::profile::Frame;
use crate::sampler::Sampler;
use crate::sys::clock::Nanos;
use crate::sys::peek::Peek;
use crate::sys::stat::Stat;
use crate::table::List;
use rustix::process::Pid;

/// What a process runs that has to be looked at.
pub const UNKNOWN: u64 = u64::MAX;

/// A process of the table.
#[derive(Clone, Copy)]
pub struct Process {
    /// Its pid, and when it was started, in ticks since boot: both together are no other's. 0 before the first look.
    pub pid: Option<Pid>,
    /// See above.
    pub started: u64,
    /// What it runs.
    pub program: u64,
    /// What stands below its stacks; function 0 before it has any.
    pub root: Frame,
    /// The number of its sampler and 1; 0 while it has none.
    pub place: u32,
    /// It was counted among those that are left out.
    pub left_out: bool,
    /// It could not be read when an interpreter was looked for last.
    pub denied: bool,
    /// When it is looked at again.
    pub due: Nanos,
    /// How long it is left alone then.
    pub pause: Nanos,
}

/// What there is to say at the end besides the profile.
#[derive(Clone, Copy, Default)]
pub struct Remarks {
    /// A process whose threads could not be stopped.
    pub refused: Option<Pid>,
    /// PY_VERSION_HEX of the first interpreter.
    pub version: u64,
    /// A process that cannot be read now.
    pub denied: Option<Pid>,
    /// Read calls, and stops of threads for nothing but these.
    pub reads: u64,
    /// See above.
    pub stops: u64,
    /// Processes that are not in the profile, for all the time or a part of it: there was no room, or no permission.
    pub left_out: u64,
}

impl Remarks {
    /// Adds what a sampler has to say of its process, when it goes on to another or all is over.
    pub fn note(&mut self, sampler: &Sampler) {
        self.refused = self.refused.or(sampler.stop_refused().map(|_| sampler.pid()));
        self.reads += sampler.remote().calls();
        self.stops += sampler.remote().peek().map_or(0, Peek::stops);
    }

    /// Counts a process that cannot be sampled, once.
    pub fn leave_out(&mut self, process: &mut Process) {
        self.left_out += u64::from(!core::mem::replace(&mut process.left_out, true));
    }
}

/// The sampler of a process, if it has one.
pub fn sampler<'a>(
    samplers: &'a mut [Option<&'static mut Sampler>],
    process: &Process,
) -> Option<&'a mut Sampler> {
    samplers.get_mut(process.place.checked_sub(1)? as usize)?.as_deref_mut()
}

/// Enters a process, if it is new; `below`: only one whose parent is in the table. How many did not fit.
pub fn meet(processes: &mut List<Process>, pid: Pid, below: bool) -> u64 {
    let is_there = |pid| processes.items().iter().any(|process| process.pid == pid);
    let parent = || Pid::from_raw(Stat::read(pid).ok()?.parent as i32);
    if is_there(Some(pid)) || below && !parent().is_some_and(|parent| is_there(Some(parent))) {
        return 0;
    }
    let process = Process {
        pid: Some(pid),
        started: 0,
        program: UNKNOWN,
        root: Frame::default(),
        place: 0,
        left_out: false,
        denied: false,
        due: 0,
        pause: 0,
    };
    u64::from(processes.push(process).is_err())
}
