//! Which threads there are and which of them run Python code now.
//!
//! The lists of interpreters and threads are CPython's own (Python/pystate.c): the newest comes first, NULL ends them.
//! Believes no list to have an end.

use super::layout::{ATTACHED, Gil, Layout};
use crate::memory::{Addr, Gather, Memory, Miss};
use crate::prefetch::{Moment, Prefetch, Sight, View};
use crate::table::List;

/// Interpreters of a process, at most.
const MAX_INTERPRETERS: usize = 1 << 12;
/// Threads of all interpreters that are looked at; the caller's storage bounds how many are listed.
const MAX_THREADS: usize = 1 << 16;

/// Where the walk begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roots {
    /// The word that points to the newest interpreter. Unknown only where nothing exports it (up to 3.6).
    pub interpreters: Option<Addr>,
    /// The word that points to the thread state of the GIL holder, where the process has one GIL (up to 3.11).
    pub holder: Option<Addr>,
    /// `last_holder` of that GIL, where it is known (3.7 to 3.11).
    pub last: Option<Addr>,
}

/// A thread to be looked at.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Its PyThreadState.
    pub state: Addr,
    /// Whether it may run Python code: it holds its GIL, or is attached where there is none.
    pub running: bool,
    /// Whether its interpreter is the main one, the last of the list.
    pub in_main: bool,
    /// Its interpreter, where that was looked at.
    pub interpreter_state: Option<Addr>,
    /// The number of its interpreter.
    pub interpreter: i64,
}

/// Which threads to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The ones that run Python code.
    Running,
    /// All.
    All,
}

/// The only interpreter of a process.
#[derive(Clone, Copy)]
pub struct Only {
    /// Its PyInterpreterState.
    pub state: Addr,
    id: i64,
    gil: Addr,
}

/// Bytes from `switch_number` to the end of a GIL with the smallest mutexes.
const GIL_LOCKS: i64 = 8 + 2 * (48 + 40);

/// What of a GIL says whether a thread can have run: `last_holder`, and `switch_number`, which rises when another thread
/// takes the GIL (`take_gil`, ceval_gil.c).
#[derive(Clone, Copy)]
pub struct Turns {
    last: Addr,
    switches: Addr,
}

impl Turns {
    /// Those of the GIL by which all threads take turns, if there is such a one.
    pub fn of(layout: &Layout, roots: &Roots, only: Option<Only>) -> Option<Turns> {
        match layout.gil {
            // Behind `last_holder` come `locked`, an int, and `switch_number`, a long.
            Gil::Word => roots.last.map(|last| Turns { last, switches: last.plus(16) }),
            Gil::PerInterpreter { enabled: Some(_), .. } => None,
            Gil::PerInterpreter { locked, holder, .. } => {
                only.map(|Only { gil, .. }| Turns { last: holder.of(gil), switches: locked.of(gil).plus(8) })
            }
        }
    }

    /// Whether a condition variable or a mutex of this GIL is at `address`: the place that a thread waits at which waits
    /// for it. They stand behind `switch_number`, four of them.
    pub fn has(&self, address: Addr) -> bool {
        (0..GIL_LOCKS).contains(&address.from_base(self.switches))
    }

    /// The only threads that can have run while this fetch read: the one that held the GIL last before, and the one that
    /// did behind all threads, if it was handed over once. None when it was more often. Errors: as loads give them.
    pub fn runners<M: Gather>(&self, prefetch: &Prefetch<M>) -> Result<Option<[Addr; 2]>, Miss> {
        let (before, after) = (prefetch.with(Sight::Root), prefetch.with(Sight::Last));
        let switches = after.word::<u64>(self.switches)?.wrapping_sub(before.word(self.switches)?);
        let runners = [before.word(self.last)?, after.word(self.last)?];
        Ok((switches <= 1).then_some(runners))
    }
}

/// Whether interpreters have to be walked to find out who runs.
pub fn is_walk(layout: &Layout, which: Which) -> bool {
    which == Which::Running && matches!(layout.gil, Gil::PerInterpreter { .. })
}

/// Lists who holds the GIL of the only interpreter. Errors: when that is a thread of another one.
pub fn list_holder<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    only: Only,
    threads: &mut List<Thread>,
) -> Result<(), Miss> {
    threads.truncate(0);
    let Some(state) = holder_of(&prefetch.with(Sight::Root), layout, only.gil)? else { return Ok(()) };
    prefetch.enter(state, Moment::At);
    if prefetch.with(Sight::Once).load(state, layout.thread.interpreter)? != only.state {
        return Err(Miss::Moved);
    }
    let (interpreter_state, interpreter) = (Some(only.state), only.id);
    add(threads, Thread { state, running: true, in_main: true, interpreter_state, interpreter })
}

/// Lists threads of the process into `threads`, running ones or all: its interpreter, if it has but one. Errors: `Endless`
/// when there are more than fit, whatever was found before an error stays listed.
pub fn list<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    roots: &Roots,
    which: Which,
    threads: &mut List<Thread>,
) -> Result<Option<Only>, Miss> {
    threads.truncate(0);
    let memory = prefetch.with(if is_walk(layout, which) { Sight::Proof } else { Sight::Root });
    let holder = match roots.holder {
        Some(word) => memory.word::<Option<Addr>>(word)?,
        None => None,
    };
    if which == Which::Running && matches!(layout.gil, Gil::Word) && roots.holder.is_some() {
        let Some(state) = holder else { return Ok(None) };
        let thread = Thread { state, running: true, in_main: true, interpreter_state: None, interpreter: 0 };
        return add(threads, thread).map(|()| None);
    }
    let mut next = match roots.interpreters {
        Some(word) => memory.word::<Option<Addr>>(word)?,
        None => None,
    };
    let (mut only, mut left) = (None, MAX_THREADS);
    for number in 0..MAX_INTERPRETERS {
        let Some(interpreter) = next else { return Ok(only) };
        next = memory.load(interpreter, layout.interpreter.next)?;
        let main = (which, holder, next.is_none());
        let listed = list_interpreter(prefetch, layout, interpreter, main, threads, &mut left)?;
        only = listed.filter(|_| number == 0);
    }
    Err(Miss::Endless)
}

fn list_interpreter<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    interpreter: Addr,
    (which, holder, in_main): (Which, Option<Addr>, bool),
    threads: &mut List<Thread>,
    left: &mut usize,
) -> Result<Option<Only>, Miss> {
    let memory = prefetch.with(if is_walk(layout, which) { Sight::Proof } else { Sight::Root });
    let id = match layout.interpreter.id {
        Some(field) => memory.load(interpreter, field)?,
        None => 0,
    };
    let interpreter_state = Some(interpreter);
    let make = |state, running| Thread { state, running, in_main, interpreter_state, interpreter: id };
    let gil = match layout.gil {
        Gil::PerInterpreter { gil, .. } => memory.load(interpreter, gil)?,
        Gil::Word => None,
    };
    let (holder, free_threaded) = gil_holder(&prefetch.with(Sight::Root), layout, gil, holder)?;
    // Where a GIL can be switched off, that is looked at every time.
    let switched = matches!(layout.gil, Gil::PerInterpreter { enabled: Some(_), .. });
    let only = gil.filter(|_| !switched).map(|gil| Only { state: interpreter, id, gil });
    if which == Which::Running && !free_threaded {
        let Some(state) = holder else { return Ok(only) };
        // A GIL that interpreters share is held for the one that the thread belongs to.
        prefetch.enter(state, Moment::At);
        let own = prefetch.with(Sight::Once).load(state, layout.thread.interpreter)?;
        if own == interpreter {
            add(threads, make(state, true))?;
        }
        return Ok(only);
    }
    let first = memory.load(interpreter, layout.interpreter.threads)?;
    each_state(prefetch, layout, first, left, |thread, state| {
        let running = match layout.thread.status.filter(|_| free_threaded) {
            Some(status) => thread.load(state, status)? & ATTACHED != 0,
            None => holder == Some(state),
        };
        if running || which == Which::All { add(threads, make(state, running)) } else { Ok(()) }
    })?;
    Ok(only)
}

/// Visits the thread states of an interpreter. `left`: how many there may be.
fn each_state<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    mut next: Option<Addr>,
    left: &mut usize,
    mut visit: impl FnMut(&View<'_, M>, Addr) -> Result<(), Miss>,
) -> Result<(), Miss> {
    while let Some(state) = next {
        *left = left.checked_sub(1).ok_or(Miss::Endless)?;
        prefetch.enter(state, Moment::At);
        let thread = prefetch.with(Sight::Once);
        next = thread.load(state, layout.thread.next)?;
        visit(&thread, state)?;
    }
    Ok(())
}

fn add(threads: &mut List<Thread>, thread: Thread) -> Result<(), Miss> {
    threads.push(thread).map(drop).map_err(|_| Miss::Endless)
}

/// Who holds the GIL of an interpreter, and whether it runs without one. `of_process`: the holder where there is one
/// GIL for all.
fn gil_holder<M: Memory>(
    memory: &M,
    layout: &Layout,
    gil: Option<Addr>,
    of_process: Option<Addr>,
) -> Result<(Option<Addr>, bool), Miss> {
    let Gil::PerInterpreter { enabled, .. } = layout.gil else { return Ok((of_process, false)) };
    let Some(gil) = gil else { return Ok((None, false)) };
    if let Some(enabled) = enabled
        && memory.load(gil, enabled)? == 0
    {
        return Ok((None, true));
    }
    Ok((holder_of(memory, layout, gil)?, false))
}

/// Who holds `gil`. The holder's name stays when it is let go; `locked` is 1 while it is held (ceval_gil.c).
fn holder_of<M: Memory>(memory: &M, layout: &Layout, gil: Addr) -> Result<Option<Addr>, Miss> {
    let Gil::PerInterpreter { locked, holder, .. } = layout.gil else { return Ok(None) };
    if memory.load(gil, locked)? == 1 { memory.load(gil, holder) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
