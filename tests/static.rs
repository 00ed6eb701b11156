//! The executable as it is handed out: its shape, that it runs where there is nothing else, and that README says of it
//! what it says itself.
//!
//! It is `target/release/pyflame`, built here if need be, or the one that `PYFLAME_EXE` names. Its format is read by
//! hand, since the library's reader of ELF files is part of what is tested.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::{env, fs, io};

const ET_DYN: u64 = 3;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_GNU_STACK: u64 = 0x6474_e551;
const PF_X: u64 = 1;
const PF_W: u64 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_TEXTREL: u64 = 22;
const SHT_SYMTAB: u64 = 2;
const SHT_DYNSYM: u64 = 11;

/// The executable under test.
fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = env::var_os("PYFLAME_EXE") {
            return path.into();
        }
        // Cargo builds what this file was built with, not the profile that is handed out.
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let built =
            cargo.args(["build", "--release", "--quiet"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.is_ok_and(|status| status.success()), "cargo build --release");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp lies in target");
        target.join("release/pyflame")
    })
}

/// Says `text` where no harness holds it back.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// An ELF file, little endian, 64-bit (elf(5)).
struct Elf(Vec<u8>);

impl Elf {
    fn read(path: &Path) -> Elf {
        Elf(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn number(&self, at: u64, size: usize) -> u64 {
        let mut raw = [0; 8];
        raw[..size].copy_from_slice(&self.0[at as usize..at as usize + size]);
        u64::from_le_bytes(raw)
    }

    /// Type, flags, offset in the file, size in the file.
    fn programs(&self) -> Vec<[u64; 4]> {
        let place = |index| self.number(32, 8) + 56 * index;
        let program = |at| {
            [self.number(at, 4), self.number(at + 4, 4), self.number(at + 8, 8), self.number(at + 32, 8)]
        };
        (0..self.number(56, 2)).map(place).map(program).collect()
    }

    fn tags(&self) -> Vec<u64> {
        let dynamic =
            self.programs().into_iter().find(|program| program[0] == PT_DYNAMIC).expect("a dynamic section");
        let places = (0..dynamic[3] / 16).map(|index| dynamic[2] + 16 * index);
        places.map(|at| self.number(at, 8)).take_while(|&tag| tag != DT_NULL).collect()
    }

    /// Symbols that it expects from elsewhere: section 0, but for the first of a table, which is none.
    fn undefined(&self) -> usize {
        let sections = (0..self.number(60, 2)).map(|index| self.number(40, 8) + 64 * index);
        let tables = sections.filter(|&at| [SHT_SYMTAB, SHT_DYNSYM].contains(&self.number(at + 4, 4)));
        let symbols = tables.flat_map(|at| {
            let start = self.number(at + 24, 8);
            (1..self.number(at + 32, 8) / 24).map(move |index| start + 24 * index)
        });
        symbols.filter(|at| self.number(at + 6, 2) == 0).count()
    }
}

#[test]
fn it_is_one_static_file_that_needs_nothing() {
    let path = executable();
    let elf = Elf::read(path);
    say(&format!("{}: {} bytes", path.display(), elf.0.len()));
    assert_eq!(elf.0[..6], *b"\x7fELF\x02\x01", "64-bit, little endian");
    assert_eq!(elf.number(16, 2), ET_DYN, "position independent");
    let programs = elf.programs();
    assert!(programs.iter().all(|program| program[0] != PT_INTERP), "asks for a dynamic linker");
    assert_eq!(elf.undefined(), 0, "symbols that are not in it");
    for tag in [DT_NEEDED, DT_TEXTREL] {
        assert!(!elf.tags().contains(&tag), "dynamic tag {tag}");
    }
    for libc in [&b"GLIBC_"[..], b"__libc_", b"/lib64/ld-", b"/lib/ld-"] {
        assert!(!elf.0.windows(libc.len()).any(|bytes| bytes == libc), "{}", String::from_utf8_lossy(libc));
    }
}

#[test]
fn nothing_in_it_is_writable_and_executable() {
    let programs = Elf::read(executable()).programs();
    let loaded: Vec<_> = programs.iter().filter(|program| program[0] == PT_LOAD).collect();
    assert!(!loaded.is_empty());
    for program in loaded {
        assert_ne!(program[1] & (PF_W | PF_X), PF_W | PF_X, "a segment of {programs:x?}");
    }
    // Without this header the kernel of some processors makes the stack executable.
    let stack = programs.iter().find(|program| program[0] == PT_GNU_STACK).expect("a stack header");
    assert_eq!(stack[1] & PF_X, 0, "an executable stack");
}

/// System calls that may be in it, by their numbers on x86_64 (asm/unistd_64.h): none writes to another process.
const CALLS: [u64; 38] = [
    0,   // read
    1,   // write
    3,   // close
    5,   // fstat
    9,   // mmap
    10,  // mprotect
    13,  // rt_sigaction
    14,  // rt_sigprocmask
    16,  // ioctl: whether it is a terminal
    17,  // pread64
    21,  // access
    39,  // getpid
    56,  // clone
    59,  // execve
    61,  // wait4
    62,  // kill
    77,  // ftruncate
    91,  // fchmod
    97,  // getrlimit
    101, // ptrace
    107, // geteuid
    128, // rt_sigtimedwait
    138, // fstatfs
    157, // prctl
    217, // getdents64
    228, // clock_gettime
    231, // exit_group
    257, // openat
    262, // newfstatat
    263, // unlinkat
    264, // renameat
    267, // readlinkat
    271, // ppoll
    293, // pipe2
    310, // process_vm_readv
    312, // kcmp
    332, // statx
    434, // pidfd_open
];

/// The instructions of the executable, as operation and operands; none where there is no objdump.
fn instructions() -> Option<Vec<(String, String)>> {
    let output =
        Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(executable()).output().ok()?;
    let line = |line: &str| {
        let (_, code) = line.split_once(":\t")?;
        let (operation, operands) = code.split_once(' ').unwrap_or((code, ""));
        let operands = operands.split('#').next().unwrap_or_default();
        Some((operation.to_string(), operands.trim().to_string()))
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect())
}

/// A register by its 64-bit name, `rax` for `%eax`.
fn register(operand: &str) -> Option<String> {
    let name = operand.strip_prefix('%')?;
    Some(match name.strip_prefix('e') {
        Some(rest) => format!("r{rest}"),
        None => name.trim_end_matches('d').to_string(),
    })
}

/// The number that the last of `code`, a system call, makes: what the nearest write to rax put there.
fn number_of_call(code: &[(String, String)]) -> Option<u64> {
    let immediate = |text: &str| u64::from_str_radix(text.strip_prefix("$0x")?, 16).ok();
    let mut wanted = "rax".to_string();
    let mut popped = false;
    for (operation, operands) in code.iter().rev().skip(1).take(60) {
        let (source, target) = operands.rsplit_once(',').unwrap_or(("", operands));
        if popped && operation == "push" {
            return immediate(operands);
        }
        if popped || register(target).as_ref() != Some(&wanted) {
            continue;
        }
        match operation.as_str() {
            "pop" => popped = true,
            "xor" if register(source).as_ref() == Some(&wanted) => return Some(0),
            "mov" | "movabs" if source.starts_with('$') => return immediate(source),
            "mov" => wanted = register(source)?,
            "cmp" | "test" | "push" | "call" | "jmp" => {}
            _ => return None,
        }
    }
    None
}

/// What reads the disassembly finds nearly all calls; where it cannot tell the number it says so. What the program does
/// when it runs is held by `cargo test --test e2e -- hands`.
#[test]
fn no_system_call_in_it_writes_to_another_process() {
    if !cfg!(target_arch = "x86_64") {
        return say("skipped: reads x86_64 code");
    }
    let Some(code) = instructions() else { return say("skipped: no objdump") };
    let ends = code.iter().enumerate().filter(|(_, (operation, _))| operation == "syscall");
    let numbers: Vec<_> = ends.map(|(end, _)| number_of_call(&code[..=end])).collect();
    let told: Vec<u64> = numbers.iter().flatten().copied().collect();
    let untold = numbers.len() - told.len();
    say(&format!("{} system calls, of {untold} of them the number is not told", numbers.len()));
    assert!(told.len() > 20 && untold * 10 <= numbers.len(), "{numbers:?}");
    let strange: Vec<_> = told.iter().filter(|number| !CALLS.contains(number)).collect();
    assert!(strange.is_empty(), "system calls {strange:?}");
    let sysenter = code.iter().filter(|(operation, _)| operation == "sysenter" || operation == "int");
    let other: Vec<_> = sysenter.filter(|(_, operands)| operands != "$0x3").collect();
    assert!(other.is_empty(), "other ways into the kernel: {other:?}");
}

/// A Python that runs until this value is gone.
struct Busy(Child);

impl Busy {
    const PROGRAM: &str = "import sys\ndef busy():\n    sys.stdout.write('ready\\n')\n    sys.stdout.flush()\n    while True: pass\nbusy()\n";

    /// None where there is no Python.
    fn start() -> Option<Busy> {
        let start = |python: &&str| {
            Command::new(python)
                .args(["-c", Busy::PROGRAM])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .ok()
        };
        let mut busy = Busy(["/usr/bin/python3", "python3"].iter().find_map(start)?);
        let mut line = String::new();
        BufReader::new(busy.0.stdout.take()?).read_line(&mut line).ok()?;
        (line == "ready\n").then_some(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the executable in a directory that holds nothing else, but for `/proc`.
fn run_alone(directory: &Path, arguments: &[&str]) -> Output {
    const SCRIPT: &str = r#"mount --rbind /proc "$1/proc" && exec chroot "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(directory).arg("/pyflame").args(arguments);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.output().expect("unshare runs")
}

#[test]
fn it_profiles_from_an_empty_directory() {
    // Only root may make a namespace of mounts and change its root, and not in every container.
    if !Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success())
    {
        return say("skipped: an empty root directory needs root (unshare --mount)");
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("proc")).expect("a directory of ours");
    fs::copy(executable(), directory.join("pyflame")).expect("a copy");

    let version = run_alone(&directory, &["--version"]);
    let words = format!("pyflame {} Linux {} (ABI list: ", env!("CARGO_PKG_VERSION"), env::consts::ARCH);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with(&words), "{version:?}");

    let Some(busy) = Busy::start() else { return say("skipped: no python3 to profile") };
    let pid = busy.0.id().to_string();
    let profile = run_alone(&directory, &["-s", "0.3", &pid]);
    assert!(profile.status.success() && profile.stderr.is_empty(), "{profile:?}");
    let text = String::from_utf8_lossy(&profile.stdout);
    assert!(text.lines().any(|line| line.starts_with("<string>:<module>:6;<string>:busy:5 ")), "{text}");
}

/// Its stack is its own: with one of the kernel's of 64 KiB nothing else but small programs runs.
#[test]
fn it_needs_no_stack_of_the_kernel_s() {
    let Some(busy) = Busy::start() else { return say("skipped: no python3 to profile") };
    for arguments in ["-d", "-s 0.2 -f svg", "-s 0.2 --threads -C -f pprof"] {
        let script = format!("ulimit -s 64; exec \"$1\" {arguments} {}", busy.0.id());
        let output =
            Command::new("sh").args(["-c", &script, "sh"]).arg(executable()).output().expect("sh runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments}: {output:?}");
        assert!(!output.stdout.is_empty(), "{arguments}");
    }
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("README.md")
}

fn printed(option: &str) -> String {
    let output = Command::new(executable()).arg(option).output().expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn readme_has_the_options_that_there_are() {
    let help = printed("--help");
    assert!(
        readme().contains(&format!("```text\n$ pyflame --help\n{help}```")),
        "README.md does not have:\n{help}"
    );
}

#[test]
fn readme_has_a_row_for_every_version_and_no_other() {
    let version = printed("--version");
    let list = version.split("(ABI list: ").nth(1).and_then(|rest| rest.split(')').next()).expect("a list");
    let known: Vec<String> = list.split(' ').map(|abi| format!("{}.{}", &abi[..1], &abi[1..])).collect();
    let readme = readme();
    let section = readme.split("\n## Supported versions\n").nth(1).expect("the section of versions");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let rows: Vec<&str> = rows.filter(|first| first.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(rows.join(", ").split(", ").collect::<Vec<_>>(), known);
}
