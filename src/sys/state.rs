//! What changes as long as the program runs, outside of its image, which is read-only by then ([`seal`](super::seal)).

use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// A few words.
pub struct State {
    /// The pid of the command, and how it ended (wait(2)); below 0 as long as that is not known.
    pub command: AtomicI32,
    /// See above.
    pub status: AtomicI32,
    /// What is known of each risk that a filter may bring (see `filter`).
    pub risks: [AtomicU8; 4],
    /// Calls to be watched (see `watch`) that have begun and that have returned: odd while there is one.
    pub calls: AtomicU64,
    /// The one that the thread wants to take over from; 0: none.
    pub taken: AtomicU64,
    /// To which process it is.
    pub called: AtomicI32,
    /// What is done under watch, and what instead, should a call not return.
    pub work: AtomicPtr<()>,
}

impl State {
    /// Nothing is known.
    pub const fn new() -> State {
        State {
            command: AtomicI32::new(0),
            status: AtomicI32::new(-1),
            risks: [const { AtomicU8::new(0) }; 4],
            calls: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            called: AtomicI32::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Keeps it here from now on.
    ///
    /// # Safety
    /// It stays where it is as long as the program runs.
    pub unsafe fn keep(&self) {
        STATE.store((&raw const *self).cast_mut(), Ordering::Relaxed);
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

/// Where it is in tests, and before the start of the process has said where.
static FIRST: State = State::new();
static STATE: AtomicPtr<State> = AtomicPtr::new((&raw const FIRST).cast_mut());

/// The state.
pub fn get() -> &'static State {
    // SAFETY: it points to FIRST or to what is kept as long as the program runs.
    unsafe { &*STATE.load(Ordering::Relaxed) }
}
