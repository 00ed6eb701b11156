use super::words;
use super::*;
use std::format;
use std::string::String;
use std::vec::Vec;

const RUNNING: Stat = Stat { state: b'S', parent: 5, flags: 0, threads: 3, start: 9 };
const ALL: u64 = (1 << 41) - 1;

/// A process of our own user that is refused for no reason to be seen.
#[derive(Clone)]
struct Seen {
    files: u64,
    proc_is_ours: bool,
    exists: bool,
    stat: Option<Stat>,
    ours: String,
    theirs: String,
    visible: bool,
    owner: u64,
    ptrace_scope: u64,
    outside_user_namespace: bool,
    labelled: bool,
    filtered: bool,
    stopping: i32,
    contained: bool,
    renamed: u64,
}

/// A status of a process with these users, these groups, and capabilities.
fn status(users: [u64; 3], groups: [u64; 3], capabilities: u64, tracer: u64) -> String {
    let ([a, b, c], [d, e, f]) = (users, groups);
    format!(
        "Name:\tx\nTracerPid:\t{tracer}\nUid:\t{a}\t{b}\t{c}\t{b}\nGid:\t{d}\t{e}\t{f}\t{e}\n\
        CapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n"
    )
}

fn user() -> String {
    status([1000; 3], [100; 3], 0, 0)
}

fn root() -> String {
    status([0; 3], [0; 3], ALL, 0)
}

fn seen() -> Seen {
    Seen {
        files: 1024,
        proc_is_ours: true,
        exists: true,
        stat: Some(RUNNING),
        ours: user(),
        theirs: user(),
        visible: false,
        owner: 1000,
        ptrace_scope: 0,
        outside_user_namespace: false,
        labelled: false,
        filtered: false,
        stopping: 1,
        contained: false,
        renamed: 0,
    }
}

impl Facts for Seen {
    fn files(&self) -> u64 {
        self.files
    }
    fn proc_is_ours(&self) -> bool {
        self.proc_is_ours
    }
    fn exists(&self) -> bool {
        self.exists
    }
    fn stat(&self) -> Option<Stat> {
        self.stat
    }
    fn ours(&self) -> &[u8] {
        self.ours.as_bytes()
    }
    fn theirs(&self) -> &[u8] {
        self.theirs.as_bytes()
    }
    fn visible(&self) -> bool {
        self.visible
    }
    fn owner(&self) -> u64 {
        self.owner
    }
    fn ptrace_scope(&self) -> u64 {
        self.ptrace_scope
    }
    fn outside_user_namespace(&self) -> bool {
        self.outside_user_namespace
    }
    fn labelled(&self) -> bool {
        self.labelled
    }
    fn filtered(&self) -> bool {
        self.filtered
    }
    fn stopping(&self) -> i32 {
        self.stopping
    }
    fn contained(&self) -> bool {
        self.contained
    }
    fn renamed(&self) -> u64 {
        self.renamed
    }
}

/// Why reading is refused if this is changed.
fn cause(change: impl FnOnce(&mut Seen)) -> Cause {
    let mut facts = seen();
    change(&mut facts);
    decide(&facts, Refused::Reading)
}

#[test]
fn whether_the_number_means_anything() {
    assert_eq!(cause(|f| (f.proc_is_ours, f.stat) = (false, None)), Cause::NoProc);
    assert_eq!(cause(|f| f.proc_is_ours = false), Cause::NoProc);
    assert_eq!(cause(|f| (f.proc_is_ours, f.files) = (false, 4)), Cause::Files);
    assert_eq!(cause(|f| (f.stat, f.exists) = (None, false)), Cause::NoProcess);
    assert_eq!(cause(|f| (f.stat, f.exists, f.renamed) = (None, false, 7)), Cause::Renamed);
    assert_eq!(cause(|f| (f.stat, f.renamed) = (None, 7)), Cause::Hidden);
}

#[test]
fn whether_there_is_anything_to_read() {
    let is = |stat| cause(|f| f.stat = Some(stat));
    assert_eq!(is(Stat { state: b'Z', threads: 1, ..RUNNING }), Cause::Zombie);
    assert_eq!(is(Stat { state: b'X', threads: 1, ..RUNNING }), Cause::Zombie);
    assert_eq!(is(Stat { flags: 0x20_0000, ..RUNNING }), Cause::Kernel);
}

#[test]
fn users_and_groups() {
    let is = |users, groups| cause(|f| f.theirs = status(users, groups, 0, 0));
    for users in [[7; 3], [0; 3], [7, 1000, 1000], [1000, 0, 0], [1000, 1000, 0]] {
        assert_eq!(is(users, [100; 3]), Cause::User, "{users:?}");
    }
    for groups in [[7; 3], [0; 3], [7, 100, 100], [100, 0, 0], [100, 100, 0]] {
        assert_eq!(is([1000; 3], groups), Cause::User, "{groups:?}");
    }
    // Another user is the reason whatever else is true.
    assert_eq!(cause(|f| (f.theirs, f.owner, f.labelled) = (root(), 0, true)), Cause::User);
}

#[test]
fn capabilities_and_what_is_not_dumpable() {
    let some = |capabilities| status([1000; 3], [100; 3], capabilities, 0);
    assert_eq!(cause(|f| f.owner = 0), Cause::NotDumpable);
    assert_eq!(cause(|f| f.theirs = some(1)), Cause::Capabilities);
    assert_eq!(cause(|f| (f.ours, f.theirs) = (some(3), some(1))), Cause::Unknown);
    assert_eq!(cause(|f| (f.owner, f.theirs) = (0, some(1))), Cause::NotDumpable);
    let fewer = status([0; 3], [0; 3], ALL & !CAP_SYS_PTRACE, 0);
    assert_eq!(cause(|f| (f.ours, f.theirs, f.owner) = (fewer.clone(), root(), 0)), Cause::Capabilities);
    assert_eq!(cause(|f| (f.ours, f.theirs, f.owner) = (fewer.clone(), fewer, 0)), Cause::Unknown);
}

#[test]
fn yama_refuses_what_can_be_seen() {
    for (scope, refused) in [(1, Cause::Yama), (2, Cause::Yama), (3, Cause::YamaForever)] {
        let is = |visible| cause(|f| (f.visible, f.ptrace_scope) = (visible, scope));
        assert_eq!(is(true), refused);
        assert_eq!(is(false), Cause::Unknown);
    }
    assert_eq!(cause(|f| f.visible = true), Cause::Unknown);
}

#[test]
fn user_namespaces() {
    let inside = |f: &mut Seen| (f.ours, f.outside_user_namespace) = (root(), true);
    assert_eq!(cause(inside), Cause::UserNamespace);
    // Without capabilities, a user that has no number here.
    let users =
        |user| cause(|f| (f.outside_user_namespace, f.theirs) = (true, status([user; 3], [100; 3], 0, 0)));
    assert_eq!(users(UNMAPPED), Cause::UserNamespace);
    assert_eq!(users(7), Cause::User);
}

#[test]
fn security_modules() {
    assert_eq!(cause(|f| f.ours = root()), Cause::Unknown);
    assert_eq!(cause(|f| (f.ours, f.labelled) = (root(), true)), Cause::Label);
}

#[test]
fn why_the_last_way_to_read_is_closed() {
    let traced = status([1000; 3], [100; 3], 0, 12);
    assert_eq!(cause(|f| f.filtered = true), Cause::Seccomp);
    assert_eq!(cause(|f| f.theirs = traced.clone()), Cause::Traced);
    assert_eq!(cause(|f| (f.theirs, f.filtered) = (traced.clone(), true)), Cause::Seccomp);
    assert_eq!(cause(|f| (f.labelled, f.filtered) = (true, true)), Cause::Label);
    assert_eq!(cause(|f| (f.owner, f.filtered) = (0, true)), Cause::NotDumpable);
    assert_eq!(cause(|f| f.stopping = 0), Cause::Late);
    let us = |f: &mut Seen| (f.ours, f.theirs) = (f.ours.clone() + "Pid:\t12\n", traced.clone());
    assert_eq!(cause(us), Cause::Late);
    assert_eq!(cause(|f| (f.labelled, f.stopping) = (true, 0)), Cause::Label);
}

#[test]
fn what_keeps_a_thread_from_being_stopped() {
    let is = |stopping, tracer, filtered| {
        let theirs = status([1000; 3], [100; 3], 0, tracer);
        decide(&Seen { stopping, theirs, filtered, ..seen() }, Refused::Stopping)
    };
    assert_eq!(is(1, 12, false), Cause::Traced);
    assert_eq!(is(1, 0, true), Cause::Seccomp);
    assert_eq!(is(13, 0, false), Cause::Label);
    assert_eq!(is(1, 0, false), Cause::Unknown);
    assert_eq!(is(0, 0, false), Cause::Past);
    let gone = Seen { stat: None, exists: false, ..seen() };
    assert_eq!(decide(&gone, Refused::Stopping), Cause::NoProcess);
}

#[derive(Default)]
struct Text(Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

#[test]
fn the_name_of_a_tracer_is_nothing_that_a_terminal_obeys() {
    let shown = |comm: &[u8]| {
        let mut text = Text::default();
        words::put_name(comm, &mut text);
        String::from_utf8(text.0).unwrap()
    };
    assert_eq!(shown(b"strace\n\0\0\0\0\0\0\0\0\0"), "strace");
    assert_eq!(shown(b"a\x1b[2J\n\xc2\x9b\x9b\x7f\n\0\0\0"), r"a\x1b[2J\n\u009b\x9b\x7f");
    assert_eq!(shown(b"fifteen letters\n"), "fifteen letters");
    assert_eq!(shown(&[0; 16]), "");
}

fn said(cause: Cause, contained: bool) -> String {
    let mut text = Text::default();
    let theirs = status([1, 33, 1], [2, 44, 2], 0, std::process::id().into());
    let facts = Seen { theirs, contained, renamed: 71, ptrace_scope: 2, ..seen() };
    words::put(cause, &facts, &mut text);
    String::from_utf8(text.0).unwrap()
}

#[test]
fn words_are_those_of_the_cause() {
    let tracer = format!("PID {} (", std::process::id());
    for (cause, words) in [
        (Cause::Files, "pyflame may open only 1024 files"),
        (Cause::NoProc, "/proc is not"),
        (Cause::NoProcess, "no such process"),
        (Cause::Renamed, "no such process; PID 71 has that number"),
        (Cause::Hidden, "hidepid"),
        (Cause::Zombie, "PID 5 has not collected it"),
        (Cause::Kernel, "kernel thread"),
        (Cause::User, "user 33, group 44"),
        (Cause::Capabilities, "capabilities that pyflame lacks"),
        (Cause::NotDumpable, "not dumpable"),
        (Cause::Yama, "ptrace_scope is 2"),
        (Cause::YamaForever, "scope is 3: nobody may"),
        (Cause::UserNamespace, "user namespace"),
        (Cause::Label, "AppArmor or SELinux"),
        (Cause::Seccomp, "seccomp"),
        (Cause::Traced, &tracer),
        (Cause::Past, "would not now"),
        (Cause::Unknown, "Landlock"),
    ] {
        for contained in [false, true] {
            let text = said(cause, contained);
            assert!(text.contains(words), "{cause:?}: {text}");
            assert!(!text.contains(['%', '@', '+', '*', '&', '\0']) && !text.ends_with('\n'), "{text}");
            assert!(text.lines().all(|line| line.len() < 120) && text.lines().count() < 5, "{text}");
        }
    }
}

#[test]
fn in_a_container_the_words_are_those_of_its_tools() {
    for cause in [Cause::User, Cause::Capabilities, Cause::Yama, Cause::Seccomp, Cause::NotDumpable] {
        let (inside, outside) = (said(cause, true), said(cause, false));
        for words in
            ["--cap-add SYS_PTRACE", "securityContext.capabilities.add", "kubectl debug", "--profile="]
        {
            assert!(inside.contains(words) && !outside.contains(words), "{inside} {outside}");
        }
        // Whoever is filtered cannot get out of it.
        let sudo = outside.contains("it takes CAP_SYS_PTRACE (sudo)");
        assert_eq!(sudo, cause != Cause::Seccomp, "{outside}");
    }
    let absent = said(Cause::NoProcess, true);
    assert!(absent.contains("shareProcessNamespace") && absent.contains("--pid=container:"));
    assert_eq!(said(Cause::NoProcess, false), "no such process");
    assert_eq!(said(Cause::YamaForever, true), said(Cause::YamaForever, false));
}
