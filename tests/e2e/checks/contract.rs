//! The command line: options, what goes to which stream, exit statuses.

use super::Setting;
use crate::profiler::Run;
use crate::stacks::Folded;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure, patiently};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// An error is reported within so much time; a busy machine may double it.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A check that needs a computing target.
type OnTarget = fn(&Setting, &Target) -> Checked;

const ON_TARGET: [(&str, OnTarget); 14] = [
    ("one sample", one_sample),
    ("units of time", units),
    ("no line numbers", no_line_numbers),
    ("clusters of short options", clusters),
    ("abbreviated long options", abbreviations),
    ("ways to name the process", ways_to_name),
    ("output to a file", to_file),
    ("output to stdout by name", to_stdout),
    ("output that cannot be opened", unwritable),
    ("output to a full disk", full_disk),
    ("output to a closed pipe", closed_pipe),
    ("all streams are closed", closed_streams),
    ("output is sorted", sorted),
    ("refused words beside a good process", refused_beside),
];

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("contract: help", help(setting));
    score.enter("contract: version", version(setting));
    for (words, message) in REFUSED {
        score.enter(&format!("contract: refused {words:?}"), patiently(|| refused(setting, words, message)));
    }
    score.enter("contract: not Python", patiently(|| not_python(setting)));
    score.enter("contract: not there", patiently(|| not_there(setting)));
    let absent = Trouble::Skipped("no 32-bit program on this machine".into());
    score.enter("contract: 32-bit process", Err(absent));
    let mut target = setting.start("spin.py", &["1"])?;
    for (name, check) in ON_TARGET {
        score.enter(&format!("contract: {name}"), patiently(|| check(setting, &target)));
    }
    score.enter("contract: target undisturbed", target.undisturbed());
    Ok(())
}

fn help(setting: &Setting) -> Checked {
    let (short, long) = (setting.profiler.succeed("-h")?, setting.profiler.succeed("--help")?);
    ensure(short.stdout == long.stdout, || "-h and --help differ".into())?;
    let text = short.output();
    let missing =
        ["--seconds", "--rate", "--dump", "--threads", "--output", "--exclude-idle", "--no-line-numbers"];
    let missing: Vec<_> = missing.iter().filter(|option| !text.contains(**option)).collect();
    ensure(missing.is_empty() && text.contains("pyflame"), || format!("help lacks {missing:?}"))?;
    let wide = text.lines().find(|line| line.chars().count() > 80);
    ensure(wide.is_none(), || format!("a line of the help is too wide: {wide:?}"))
}

fn version(setting: &Setting) -> Checked {
    let (short, long) = (setting.profiler.succeed("-v")?, setting.profiler.succeed("--version")?);
    ensure(short.stdout == long.stdout, || "-v and --version differ".into())?;
    let text = short.output();
    let right = text.starts_with("pyflame ") && text.contains("ABI list:") && text.lines().count() == 1;
    ensure(right, || format!("version says {text:?}"))
}

/// Command lines that are refused, and what the message holds.
const REFUSED: [(&str, &str); 20] = [
    ("", "Usage: "),
    ("1 2", "Usage: "),
    ("-1", ""),
    ("0", "failed to parse"),
    ("words", "failed to parse"),
    ("1606938044258990275541962092341162602522202993782792835301376", "failed to parse"),
    ("-p words", "failed to parse"),
    ("-p 0", "failed to parse"),
    ("-p", ""),
    ("--no-such-option 1", "no-such-option"),
    ("-Q 1", "Q"),
    ("--abi=0 1", "Unknown or unsupported ABI"),
    ("-s words 1", ""),
    ("-s -r 1", ""),
    ("-s 1x 1", ""),
    ("-r words 1", ""),
    ("-r -1 1", ""),
    ("-s nan 1", ""),
    ("--help=yes", "help"),
    ("--threads=yes 1", "threads"),
];

fn refused(setting: &Setting, words: &str, message: &str) -> Checked {
    let run = setting.profiler.run(words)?;
    run.has_refused(message)?;
    let first = words.is_empty() || words == "1 2";
    ensure(!first || run.errors().starts_with(message), || run.describe())?;
    at_once(&run)
}

fn at_once(run: &Run) -> Checked {
    ensure(run.took <= AT_ONCE, || run.describe())
}

fn not_python(setting: &Setting) -> Checked {
    let mut target = Target::other("sleep", &["1000"])?;
    for options in ["", "-d", "--threads"] {
        let run = setting.profiler.run(&format!("{options} {}", target.pid()))?;
        run.has_refused("")?;
        at_once(&run)?;
    }
    target.undisturbed()
}

fn not_there(setting: &Setting) -> Checked {
    let target = Target::other("true", &[])?;
    let gone = target.pid();
    drop(target);
    for pid in [gone, 4_194_303, 2_147_483_647] {
        let run = setting.profiler.run(&pid.to_string())?;
        run.has_refused(&pid.to_string())?;
        at_once(&run)?;
    }
    Ok(())
}

fn samples(setting: &Setting, words: &str) -> Result<Folded, Trouble> {
    Ok(Folded::parse(&setting.profiler.succeed(words)?.stdout)?)
}

fn one_sample(setting: &Setting, target: &Target) -> Checked {
    for options in ["-s 0", "--seconds 0", "--seconds=0", "-s0", "-s 1 -r 5", "-s 0ms"] {
        let folded = samples(setting, &format!("{options} {}", target.pid()))?;
        ensure(folded.total() == 1, || format!("{options}: {} samples", folded.total()))?;
    }
    Ok(())
}

fn units(setting: &Setting, target: &Target) -> Checked {
    let wanted = [
        ("-s 200ms -r 2ms", 100),
        ("-s 0.2 -r 0.002", 100),
        ("-s 200000us -r 2000us", 100),
        ("-s .2s -r 2e-3", 100),
    ];
    for (options, count) in wanted {
        let run = setting.profiler.run(&format!("{options} {}", target.pid()))?;
        if options.contains("e-3") && !run.status.success() {
            continue; // a number with an exponent may be refused, but not misread
        }
        run.has_succeeded()?;
        let total = Folded::parse(&run.stdout)?.total();
        ensure(total <= count + 2 && total >= count / 10, || format!("{options}: {total} samples"))?;
        let took = run.took.as_secs_f64();
        ensure((0.15..0.5).contains(&took), || format!("{options}: took {took} s"))?;
    }
    Ok(())
}

fn no_line_numbers(setting: &Setting, target: &Target) -> Checked {
    for option in ["-n", "--no-line-numbers"] {
        let run = setting.profiler.succeed(&format!("{option} -s 0.1 {}", target.pid()))?;
        let text = run.output();
        let stacks = || text.lines().filter(|line| !line.starts_with('('));
        let frames =
            stacks().filter_map(|line| line.rsplit_once(' ')).flat_map(|(stack, _)| stack.split(';'));
        let numbered = frames.clone().find(|frame| frame.matches(':').count() != 1);
        ensure(frames.count() > 0 && numbered.is_none(), || {
            format!("{option}: {numbered:?} {}", run.describe())
        })?;
        let distinct: std::collections::HashSet<_> =
            stacks().filter_map(|line| line.rsplit_once(' ')).map(|l| l.0).collect();
        ensure(distinct.len() == stacks().count(), || {
            format!("{option}: stacks that are equal were not merged")
        })?;
    }
    Ok(())
}

fn clusters(setting: &Setting, target: &Target) -> Checked {
    let pid = target.pid();
    for words in [
        format!("-xs 0 {pid}"),
        format!("-xns0 -p{pid}"),
        format!("-xs0 -p {pid}"),
        format!("-ns 0 -- {pid}"),
    ] {
        let run = setting.profiler.succeed(&words)?;
        ensure(run.output().lines().count() <= 1, || run.describe())?;
    }
    Ok(())
}

fn abbreviations(setting: &Setting, target: &Target) -> Checked {
    let pid = target.pid();
    for words in ["--thre --sec 0", "--thre --sec=0 --excl", "--no-li --seconds 0", "--rat 0.01 --se 0"] {
        setting.profiler.succeed(&format!("{words} {pid}"))?;
    }
    let all = setting.profiler.succeed(&format!("--thre --sec 0 {pid}"))?.output().lines().count();
    ensure(all >= 2, || format!("--thre: {all} lines"))
}

fn ways_to_name(setting: &Setting, target: &Target) -> Checked {
    let pid = target.pid();
    for words in [
        format!("{pid} -s 0"),
        format!("-s 0 {pid}"),
        format!("-p {pid} -s 0"),
        format!("--pid={pid} -s 0"),
        format!("-p 1 --pid {pid} -s 0"),
    ] {
        let folded = samples(setting, &words)?;
        ensure(folded.total() == 1, || format!("{words}: {} samples", folded.total()))?;
    }
    Ok(())
}

fn to_file(setting: &Setting, target: &Target) -> Checked {
    let path = target.file("profile");
    fs::write(&path, "something longer that was there before\n".repeat(1000))?;
    for option in ["-o ", "-o", "--output ", "--output="] {
        let run =
            setting.profiler.succeed(&format!("-s 0.05 {option}{} {}", path.display(), target.pid()))?;
        ensure(run.stdout.is_empty(), || run.describe())?;
        let folded = Folded::parse(&fs::read(&path)?)?;
        ensure(folded.total() >= 3, || format!("{option}: {} samples", folded.total()))?;
    }
    let run = setting.profiler.succeed(&format!("-d -o {} {}", path.display(), target.pid()))?;
    ensure(run.stdout.is_empty() && crate::stacks::parse_dump(&fs::read(&path)?)?.len() == 5, || {
        run.describe()
    })
}

fn to_stdout(setting: &Setting, target: &Target) -> Checked {
    let folded = samples(setting, &format!("-s 0 -o - {}", target.pid()))?;
    ensure(folded.total() == 1, || format!("{} samples", folded.total()))?;
    ensure(!Path::new("-").exists(), || "a file of the name - was made".into())
}

fn unwritable(setting: &Setting, target: &Target) -> Checked {
    for path in ["/no/such/directory/profile", "/proc/self/no-such-file", "/"] {
        let run = setting.profiler.run(&format!("-s 5 -o {path} {}", target.pid()))?;
        run.has_refused(path)?;
        at_once(&run)?;
    }
    Ok(())
}

fn full_disk(setting: &Setting, target: &Target) -> Checked {
    let pid = target.pid();
    for script in [
        format!("exec \"$PYFLAME\" -s 0.05 {pid} >/dev/full"),
        format!("exec \"$PYFLAME\" -s 0.05 -o /dev/full {pid}"),
        format!("exec \"$PYFLAME\" -d {pid} >/dev/full"),
        "exec \"$PYFLAME\" -h >/dev/full".into(),
    ] {
        setting.profiler.shell(&script)?.has_refused("")?;
    }
    Ok(())
}

fn closed_pipe(setting: &Setting, target: &Target) -> Checked {
    let pid = target.pid();
    for words in ["-s 0.1", "-d"] {
        let script = format!("{{ sleep 0.1; \"$PYFLAME\" {words} {pid}; echo status $? >&2; }} | true");
        let run = setting.profiler.shell(&script)?;
        ensure(run.errors().contains("status 1"), || run.describe())?;
    }
    let closed = setting.profiler.shell(&format!("exec \"$PYFLAME\" -s 0.05 {pid} >&-"))?;
    closed.has_refused("")
}

/// What belongs on a closed stream does not get into the file that was opened next.
fn closed_streams(setting: &Setting, target: &Target) -> Checked {
    let (pid, path) = (target.pid(), target.file("all-closed"));
    let script = format!("exec \"$PYFLAME\" -V -s 0.05 -o {} {pid} <&- >&- 2>&-", path.display());
    let run = setting.profiler.shell(&script)?;
    let text = std::fs::read_to_string(&path)?;
    ensure(run.status.success() && !text.contains("pyflame: ") && text.contains(".py:"), || text)
}

fn sorted(setting: &Setting, target: &Target) -> Checked {
    let run = setting.profiler.succeed(&format!("--threads -s 0.2 {}", target.pid()))?;
    let text = run.output();
    let stacks: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('('))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|l| l.0)
        .collect();
    ensure(stacks.len() >= 3, || run.describe())?;
    ensure(stacks.is_sorted(), || format!("not sorted: {stacks:?}"))
}

/// What is refused is refused before anything is sampled, also with a process that is there.
fn refused_beside(setting: &Setting, target: &Target) -> Checked {
    for words in ["--no-such-option", "-Q", "-s words", "-r words", "--abi 0", "--abi words", "1", "-o"] {
        let run = setting.profiler.run(&format!("{} {words}", target.pid()))?;
        run.has_refused("")?;
        at_once(&run)?;
    }
    Ok(())
}
