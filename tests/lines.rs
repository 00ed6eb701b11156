//! `python::lines` against the interpreters themselves: every instruction of a standard library, for every version.
//!
//! The interpreters are those of the file that `PYFLAME_PYTHONS_LIST` names, a line each of
//! `label<TAB>path<TAB>linkage<TAB>environment` (path `-`: there is none, and why), else those of pyenv and
//! `/usr/bin/python3`. Each runs `lines/dump.py`, which says what there is and what is true. A tenth of the library, or
//! all of it with `PYFLAME_TEST_FULL=1` (then better with `--release`). With `-- --nocapture`: a line an interpreter.

use pyflame::python::lines::{LineTable, Search};
use std::collections::btree_map::{BTreeMap, Entry};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, str};

const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lines/dump.py");
/// Sizes of the pieces that a table is fed in, one after the other, from another start for each instruction.
const PIECES: [usize; 9] = [1, 3, 1000, 2, 7, 1, 64, 5, 13];
/// Bytes fed for one code object in the quick run. A search reads half the table on average, so that all instructions
/// of a big one are too many.
const QUICK_BYTES: usize = 1 << 19;
/// Mistakes shown for each interpreter.
const SHOWN: u64 = 3;

/// What one interpreter gave.
#[derive(Default)]
struct Tally {
    codes: u64,
    instructions: u64,
    wrong: u64,
}

#[test]
fn every_instruction_has_the_line_that_the_interpreter_gives_it() {
    let full = env::var("PYFLAME_TEST_FULL").is_ok_and(|value| value == "1");
    let (mut done, mut bad) = (BTreeMap::new(), Vec::new());
    for (label, python) in interpreters() {
        let compared = python.and_then(|python| match done.entry(python.ask()?) {
            Entry::Occupied(entry) => Err(format!("the same code as {}", entry.get())),
            Entry::Vacant(entry) => {
                entry.insert(label.clone());
                Ok(compare(python, full))
            }
        });
        match compared {
            Err(why) => println!("lines {label}: skipped, {why}"),
            Ok(Err(why)) => {
                println!("lines {label}: FAILED, {why}");
                bad.push(label);
            }
            Ok(Ok((Tally { codes, instructions, wrong }, how))) => {
                println!(
                    "lines {label}: {codes} code objects, {instructions} instructions, {wrong} wrong ({how})"
                );
                bad.extend((wrong > 0).then_some(label));
            }
        }
    }
    assert!(bad.is_empty(), "wrong lines: {bad:?}");
}

/// An interpreter to run.
struct Python {
    path: PathBuf,
    environment: Vec<(String, String)>,
}

impl Python {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(["-B", "-s", "-W", "ignore"]).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Its version and library. Two that give the same compile the same code, however they are linked.
    fn ask(&self) -> Result<String, String> {
        const QUESTION: &str = "import os, sys; print(sys.version + os.path.realpath(os.__file__))";
        let output = self.command().args(["-c", QUESTION]).output();
        let output = output.map_err(|error| format!("{}: {error}", self.path.display()))?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(answer) } else { Err(format!("does not run: {}", output.status)) }
    }
}

/// Interpreters by label, or why there is none.
type Labelled = (String, Result<Python, String>);

fn interpreters() -> Vec<Labelled> {
    let Some(list) = env::var_os("PYFLAME_PYTHONS_LIST") else { return of_this_machine() };
    let list = fs::read_to_string(list).expect("PYFLAME_PYTHONS_LIST names a file that can be read");
    list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(listed).collect()
}

fn listed(line: &str) -> Labelled {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or("");
    let variables = field(3).split_whitespace().filter_map(|word| word.split_once('='));
    let environment = variables.map(|(name, value)| (name.into(), value.into())).collect();
    let python = Python { path: field(1).into(), environment };
    (field(0).into(), if field(1) == "-" { Err(field(2).into()) } else { Ok(python) })
}

fn of_this_machine() -> Vec<Labelled> {
    let versions = PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".pyenv/versions");
    let folders = fs::read_dir(versions).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = folders
        .map(|entry| (entry.file_name().to_string_lossy().into(), entry.path().join("bin/python")))
        .collect();
    found.sort_by_key(|(label, _)| {
        label.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    });
    found.push(("system".into(), "/usr/bin/python3".into()));
    found.into_iter().map(|(label, path)| (label, Ok(Python { path, environment: Vec::new() }))).collect()
}

/// Runs the dump and checks each line of it; also gives the way in which the interpreter found the truth.
fn compare(python: Python, full: bool) -> Result<(Tally, String), String> {
    let mut child = python
        .command()
        .args([DUMP, if full { "1" } else { "10" }])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("does not start: {error}"))?;
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let (mut tally, mut line, mut how) = (Tally::default(), String::new(), None);
    while output.read_line(&mut line).map_err(|error| error.to_string())? > 0 {
        match line.strip_prefix("end ") {
            Some(rest) => how = Some(rest.trim().to_string()),
            None => check(&line, full, &mut tally).ok_or_else(|| format!("dump.py wrote {line:?}"))?,
        }
        line.clear();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let how = how.filter(|_| status.success()).ok_or_else(|| format!("dump.py ended early: {status}"))?;
    Ok((tally, how))
}

/// Checks one code object, a line as described in `dump.py`. `None` where it is no such line.
fn check(line: &str, full: bool, tally: &mut Tally) -> Option<()> {
    let fields: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
    let [variant, first_line, table, step, pairs, end, name] = fields[..] else { return None };
    let variant = match variant {
        "u" => LineTable::LnotabUnsigned,
        "s" => LineTable::LnotabSigned,
        "d" => LineTable::Deltas,
        "l" => LineTable::Locations,
        _ => return None,
    };
    let first_line = first_line.parse().ok()?;
    let table = bytes(table)?;
    let truth = instructions(pairs, step.parse().ok()?, end.parse().ok()?)?;
    let stride = if full { 1 } else { 1 + truth.len() * table.len() / QUICK_BYTES };
    tally.codes += 1;
    for (number, &(lasti, line)) in truth.iter().enumerate().step_by(stride) {
        let found = search(Search::new(variant, first_line, lasti), &table, number);
        tally.instructions += u64::from(lasti >= 0);
        if found != line {
            tally.wrong += 1;
            if tally.wrong <= SHOWN {
                println!(
                    "  {name}, line {first_line}, lasti {lasti}: {found:?}, not {line:?}, in {table:02x?}"
                );
            }
        }
    }
    Some(())
}

fn search(mut search: Search, mut table: &[u8], number: usize) -> Option<i32> {
    for size in PIECES.iter().cycle().skip(number % PIECES.len()) {
        let (piece, rest) = table.split_at((*size).min(table.len()));
        table = rest;
        if search.feed(piece) || rest.is_empty() {
            break;
        }
    }
    search.line()
}

/// Offset and line of every instruction.
fn instructions(pairs: &str, step: usize, end: i64) -> Option<Vec<(i64, Option<i32>)>> {
    let mut given = Vec::new();
    for pair in pairs.split(',') {
        let (at, line) = pair.split_once(':')?;
        given.push((at.parse().ok()?, if line == "-" { None } else { Some(line.parse().ok()?) }));
    }
    if step == 0 {
        return Some(given);
    }
    let mut lines = given.iter().peekable();
    let mut line = lines.next()?.1;
    let mut all = vec![(-1, line)];
    for at in (0..end).step_by(step) {
        line = lines.next_if(|pair| pair.0 == at).map_or(line, |pair| pair.1);
        all.push((at, line));
    }
    lines.next().is_none().then_some(all)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    hex.as_bytes().chunks(2).map(byte).collect()
}
