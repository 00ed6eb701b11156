//! The title of a process, in a profile of several: its pid, and what its command line says in short. That of a thread: its
//! id, and its name.
//!
//! ```text
//! /usr/bin/python3 NUL /srv/app/serve.py NUL --port=80 NUL      pid 71 python3 serve.py --port=80
//! gunicorn: worker [app:main] NUL NUL NUL                       pid 72 gunicorn: worker [app:main]
//! ```
//!
//! Knows nothing of how it is written down: a name may hold any byte.

use crate::text::Decimal;

/// Bytes of a title at most: what follows is cut off.
const LONGEST: usize = 100;

/// A title.
#[derive(Clone, Copy)]
pub struct Title {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Title {
    /// None.
    pub const EMPTY: Title = Title { bytes: [0; LONGEST], len: 0 };

    /// That of process `pid` with this command line: words that end with a NUL (proc_pid_cmdline(5)). Of one that is
    /// a path its last part is taken.
    pub fn new(pid: u64, command_line: &[u8]) -> Title {
        let mut title = Title::EMPTY;
        title.number(b"pid ", pid);
        let (mut word, mut is_path) = (title.len, false);
        for &byte in command_line {
            is_path |= byte == b'/' && title.len == word;
            if byte == 0 {
                title.put(b" ");
                (word, is_path) = (title.len, false);
            } else if byte == b'/' && is_path {
                title.len = word;
            } else {
                title.put(&[byte]);
            }
        }
        title
    }

    /// That of thread `tid` with this name, in that interpreter: one thread may be in several.
    pub fn thread(interpreter: u64, tid: u64, name: &[u8]) -> Title {
        let mut title = Title::EMPTY;
        if interpreter > 0 {
            title.number(b"interpreter ", interpreter);
        }
        title.number(b"thread ", tid);
        title.put(name);
        title
    }

    fn number(&mut self, what: &[u8], number: u64) {
        self.put(what);
        self.put(Decimal::new(number).bytes());
        self.put(b" ");
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }

    /// The title.
    #[inline(never)] // smaller
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default().trim_ascii_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn title(command_line: &str) -> String {
        String::from_utf8(Title::new(71, command_line.as_bytes()).bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn paths_lose_their_directories_and_the_rest_stays() {
        assert_eq!(
            title("/usr/bin/python3\0/srv/app/serve.py\0--port=80\0"),
            "pid 71 python3 serve.py --port=80"
        );
        assert_eq!(title("gunicorn: worker [app:main]\0\0\0"), "pid 71 gunicorn: worker [app:main]");
        assert_eq!(title("python\0-c\0import a; a.b()\0x/y\0"), "pid 71 python -c import a; a.b() x/y");
        assert_eq!(title(""), "pid 71");
        assert_eq!(title("\0\0"), "pid 71");
        assert_eq!(Title::thread(0, 72, b"worker-1").bytes(), b"thread 72 worker-1");
        assert_eq!(Title::thread(3, 72, b"").bytes(), b"interpreter 3 thread 72");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        for len in 0..200 {
            let whole = ["pid 71 ", &"x".repeat(len)].concat();
            assert_eq!(title(&whole[7..]), whole[..whole.len().min(LONGEST)].trim_end());
            let path = ["/", &"x".repeat(len), "/y\0", &"/z".repeat(len)].concat();
            assert_eq!(title(&path), if len > 0 { "pid 71 y z" } else { "pid 71 y" });
        }
        assert_eq!(Title::new(u64::MAX, &[0xff; 100]).bytes().len(), LONGEST);
    }
}
