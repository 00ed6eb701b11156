//! Which threads there are and which of them run Python code now.
//!
//! The lists of interpreters and threads are CPython's own (Python/pystate.c): the newest comes first, NULL ends them.
//! Believes no list to have an end.

use super::layout::{ATTACHED, Gil, Layout};
use crate::memory::{Addr, Gather, Memory, Miss};
use crate::prefetch::{Moment, Prefetch, Sight};
use crate::table::List;

/// Interpreters of a process, at most.
const MAX_INTERPRETERS: usize = 1 << 12;
/// Threads of an interpreter, at most; the caller's storage is the tighter bound.
const MAX_THREADS: usize = 1 << 16;

/// Where the walk begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roots {
    /// The word that points to the newest interpreter. Unknown only where nothing exports it (up to 3.6).
    pub interpreters: Option<Addr>,
    /// The word that points to the thread state of the GIL holder, where the process has one GIL (up to 3.11).
    pub holder: Option<Addr>,
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

/// Lists threads of the process into `threads`, running ones or all. Errors: `Endless` when there are more than fit,
/// whatever was found before an error stays listed.
pub fn list<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    roots: &Roots,
    which: Which,
    threads: &mut List<Thread>,
) -> Result<(), Miss> {
    threads.truncate(0);
    let memory = prefetch.with(Sight::Root);
    let holder = match roots.holder {
        Some(word) => memory.word::<Option<Addr>>(word)?,
        None => None,
    };
    if which == Which::Running && matches!(layout.gil, Gil::Word) && roots.holder.is_some() {
        let Some(state) = holder else { return Ok(()) };
        let thread = Thread { state, running: true, in_main: true, interpreter_state: None, interpreter: 0 };
        return add(threads, thread);
    }
    let mut next = match roots.interpreters {
        Some(word) => memory.word::<Option<Addr>>(word)?,
        None => None,
    };
    for _ in 0..MAX_INTERPRETERS {
        let Some(interpreter) = next else { return Ok(()) };
        next = memory.load(interpreter, layout.interpreter.next)?;
        list_interpreter(prefetch, layout, interpreter, (which, holder, next.is_none()), threads)?;
    }
    Err(Miss::Endless)
}

fn list_interpreter<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    interpreter: Addr,
    (which, holder, in_main): (Which, Option<Addr>, bool),
    threads: &mut List<Thread>,
) -> Result<(), Miss> {
    let memory = prefetch.with(Sight::Root);
    let id = match layout.interpreter.id {
        Some(field) => memory.load(interpreter, field)?,
        None => 0,
    };
    let make = |state, running| Thread {
        state,
        running,
        in_main,
        interpreter_state: Some(interpreter),
        interpreter: id,
    };
    let (holder, free_threaded) = gil_holder(&memory, layout, interpreter, holder)?;
    if which == Which::Running && !free_threaded {
        let Some(state) = holder else { return Ok(()) };
        // A GIL that interpreters share is held for the one that the thread belongs to.
        prefetch.enter(state, Moment::First);
        let own = prefetch.with(Sight::Once).load(state, layout.thread.interpreter)?;
        return if own == interpreter { add(threads, make(state, true)) } else { Ok(()) };
    }
    let mut next = memory.load(interpreter, layout.interpreter.threads)?;
    for _ in 0..MAX_THREADS {
        let Some(state) = next else { return Ok(()) };
        prefetch.enter(state, Moment::First);
        let thread = prefetch.with(Sight::Once);
        next = thread.load(state, layout.thread.next)?;
        let running = match layout.thread.status.filter(|_| free_threaded) {
            Some(status) => thread.load(state, status)? & ATTACHED != 0,
            None => holder == Some(state),
        };
        if running || which == Which::All {
            add(threads, make(state, running))?;
        }
    }
    Err(Miss::Endless)
}

fn add(threads: &mut List<Thread>, thread: Thread) -> Result<(), Miss> {
    threads.push(thread).map(drop).map_err(|_| Miss::Endless)
}

/// Who holds the GIL of an interpreter, and whether it runs without one. `of_process`: the holder where there is one
/// GIL for all.
fn gil_holder<M: Memory>(
    memory: &M,
    layout: &Layout,
    interpreter: Addr,
    of_process: Option<Addr>,
) -> Result<(Option<Addr>, bool), Miss> {
    let Gil::PerInterpreter { gil, locked, holder, enabled } = layout.gil else {
        return Ok((of_process, false));
    };
    let Some(gil) = memory.load(interpreter, gil)? else { return Ok((None, false)) };
    if let Some(enabled) = enabled
        && memory.load(gil, enabled)? == 0
    {
        return Ok((None, true));
    }
    // The holder's name stays when the GIL is let go; `locked` is 1 while it is held (ceval_gil.c).
    let held = memory.load(gil, locked)? == 1;
    Ok((if held { memory.load(gil, holder)? } else { None }, false))
}

#[cfg(test)]
mod tests;
