//! Going on with another process, or with what a process has become.

use super::steady::Steady;
use super::tids::Tids;
use super::{FRUITLESS, Sampler, history};
use crate::cli::Mode;
use crate::locate::Interpreter;
use crate::profile::Frame;
use crate::stopper::Stopper;
use crate::sys::remote::Remote;
use rustix::process::Pid;

impl Sampler {
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
}
