//! Threads as they stand in a profile that keeps them apart: below the stacks of each a frame with its id and its name.
//!
//! ```text
//! thread 4711 worker-1
//! interpreter 2 thread 4712 worker-2
//! ```

use super::Sampler;
use crate::memory::{Addr, Memory as _};
use crate::prefetch::{Moment, Sight};
use crate::profile::{Frame, Profile, THREAD};
use crate::python::threads::Thread;
use crate::sys::proc::read_of;
use crate::title::Title;

/// The frame of a thread.
#[derive(Clone, Copy)]
pub struct Lane {
    /// Its PyThreadState, and the kernel's id or, where that is not there, the `pthread_t`. Before 3.11 a thread that was
    /// started when another had ended may have both of it, and is taken for it.
    state: Addr,
    id: u64,
    frame: Frame,
}

impl Sampler {
    /// What stands below the stacks of thread `index`, where threads are kept apart.
    pub(super) fn lane(&mut self, profile: &mut Profile, index: usize) -> Option<Frame> {
        let thread = self.thread(index).filter(|_| self.choice.by_thread).copied()?;
        let fields = &self.interpreter.layout.thread;
        let field = fields.native.filter(|_| thread.in_main || fields.native_is_own).unwrap_or(fields.ident);
        self.prefetch.enter(thread.state, Moment::At);
        let id = self.prefetch.with(Sight::Once).load(thread.state, field).ok();
        let is_it = |lane: &&Lane| lane.state == thread.state && id.is_none_or(|id| lane.id == id);
        if let Some(lane) = self.lanes.items().iter().find(is_it) {
            return Some(lane.frame);
        }
        let id = id?;
        let frame = self.new_lane(profile, thread, id);
        if self.lanes.len() == self.lanes.capacity() {
            self.lanes.truncate(0);
        }
        let _ = self.lanes.push(Lane { state: thread.state, id, frame });
        Some(frame)
    }

    #[inline(never)] // for its buffer
    fn new_lane(&self, profile: &mut Profile, thread: Thread, id: u64) -> Frame {
        let mut buffer = [0; 64];
        // Where the kernel's id is not known, Python's own tells it from others.
        let tid = self.native_id(thread).map(|tid| tid.as_raw_nonzero().get() as u32);
        let name = tid.map(|tid| read_of(self.pid, tid, b"comm", &mut buffer));
        let name = name.and_then(Result::ok).unwrap_or_default().trim_ascii_end();
        let title = Title::thread(thread.interpreter as u64, tid.map_or(id, u64::from), name);
        profile.titled(title.bytes(), THREAD)
    }
}
