//! Profiles and dumps in the formats that are not folded: the stacks that the target itself tells, and every sample counted.
//! What viewers make of them is tested by tests/viewers.

use super::truth::{Known, Truth};
use super::{Setting, check};
use crate::profiler::Run;
use crate::stacks::Frame;
use crate::target::Target;
use crate::verdict::{Checked, Score, Trouble, ensure};
use serde_json::Value;
use std::collections::BTreeSet;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    let target = setting.start("blocked.py", &[])?;
    let truth = Truth::parse(&target.told()?)?;
    score.enter("formats: dump as JSON", dump(setting, &target, &truth));
    score.enter("formats: speedscope, each thread", threads(setting, &target, &truth));
    score.enter("formats: chrome, each thread", tracks(setting, &target, &truth));
    drop(target);
    let target = setting.start("spin.py", &["2"])?;
    for (format, count) in FORMATS {
        for options in ["", "--threads", "-C -n"] {
            let name = format!("formats: {format} {options}");
            score.enter(name.trim_end(), counted(setting, &target, format, options, count));
        }
    }
    score.enter("formats: chosen by the name of the file", by_name(setting, &target));
    Ok(())
}

/// A thread or a process as JSON has it: names that are not text are shown in another way.
fn is_text(frame: &Frame) -> bool {
    let plain = |name: &[u8]| str::from_utf8(name).is_ok_and(|name| !name.contains(char::is_control));
    plain(&frame.file) && plain(&frame.function)
}

fn text(name: &[u8]) -> &str {
    str::from_utf8(name).unwrap_or("?")
}

fn is_number(value: &Value, digits: &str) -> bool {
    value.as_u64() == digits.parse().ok()
}

fn parse(run: &Run) -> Result<Value, Trouble> {
    serde_json::from_slice(&run.stdout).map_err(|error| format!("{error}: {}", run.describe()).into())
}

/// The items of a list, which has to be one.
fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, Trouble> {
    value[name].as_array().ok_or_else(|| format!("no list {name}").into())
}

fn plain(known: &&Known) -> bool {
    known.frames.iter().all(is_text)
}

fn dump(setting: &Setting, target: &Target, truth: &Truth) -> Checked {
    let dump = parse(&setting.profiler.succeed(&format!("-d --json {}", target.pid()))?)?;
    let [process] = &list(&dump, "processes")?[..] else { return Err("not one process".into()) };
    let version = format!("Python {}, found by ", process["python"].as_str().unwrap_or_default());
    ensure(version.starts_with(&check::begin(setting)), || version.clone())?;
    ensure(process["pid"] == target.pid(), || format!("pid {}", process["pid"]))?;
    let threads = list(process, "threads")?;
    ensure(threads.len() == truth.threads.len() + truth.others.len(), || {
        format!("{} threads", threads.len())
    })?;
    for known in truth.threads.iter().filter(plain) {
        let frame = |frame: &Frame| {
            let (file, function) = (text(&frame.file), text(&frame.function));
            serde_json::json!({"file": file, "function": function, "line": frame.line})
        };
        let frames: Value = known.frames.iter().map(frame).collect();
        let found = |thread: &&Value| thread["ident"] == known.ident && thread["frames"] == frames;
        let Some(thread) = threads.iter().find(found) else {
            return Err(format!("{}: no thread {} with {frames}", known.name, known.ident).into());
        };
        // In an interpreter that is not the first one the kernel's number is not known before 3.13.
        let unknown = thread["tid"].is_null() && thread["interpreter"] != 0;
        let native = known.native.as_ref().is_none_or(|native| unknown || is_number(&thread["tid"], native));
        let named = thread["name"].is_string() || thread["tid"].is_null();
        let waits = thread["holds_gil"] == false && thread["state"] == "waiting";
        ensure(native && waits && named, || format!("{}: {thread}", known.name))?;
    }
    Ok(())
}

/// Each thread has a profile of its own, with its stack and nothing else.
fn threads(setting: &Setting, target: &Target, truth: &Truth) -> Checked {
    let run = setting.profiler.succeed(&format!("-f speedscope --threads -s 0.1 {}", target.pid()))?;
    let file = parse(&run)?;
    let frames = list(&file["shared"], "frames")?;
    let profiles = list(&file, "profiles")?;
    let one = |profile: &Value| -> Option<Vec<(Value, Value, Value)>> {
        let [stack] = &profile["samples"].as_array()?[..] else { return None };
        let frame = |number: &Value| frames.get(number.as_u64()? as usize);
        let key = |frame: &Value| (frame["name"].clone(), frame["file"].clone(), frame["line"].clone());
        stack.as_array()?.iter().map(|number| frame(number).map(key)).collect()
    };
    let found: Vec<_> = profiles.iter().filter_map(one).collect();
    for known in truth.threads.iter().filter(plain) {
        let key = |frame: &Frame| {
            (text(&frame.function).into(), text(&frame.file).into(), u64::from(frame.line).into())
        };
        let stack: Vec<(Value, Value, Value)> = known.frames.iter().rev().map(key).collect();
        ensure(found.contains(&stack), || format!("{}: not found: {stack:?}", known.name))?;
    }
    let named = |native: &String| {
        let part = format!("thread {native} ");
        profiles.iter().any(|profile| profile["name"].as_str().is_some_and(|name| name.contains(&part)))
    };
    let unnamed =
        truth.threads.iter().filter_map(|known| known.native.as_ref()).find(|native| !named(native));
    ensure(unnamed.is_none(), || format!("no profile of thread {unnamed:?}"))
}

/// Each thread has a track in which its frames begin once and end once, at the end.
fn tracks(setting: &Setting, target: &Target, truth: &Truth) -> Checked {
    let run = setting.profiler.succeed(&format!("-f chrome --threads -s 0.1 {}", target.pid()))?;
    let file = parse(&run)?;
    let events = list(&file, "traceEvents")?;
    ensure(events.iter().all(|event| event["pid"] == target.pid()), || "another process".into())?;
    for known in truth.threads.iter().filter(plain) {
        let Some(native) = &known.native else { continue };
        let of = |phase: &'static str| {
            let is_it = move |event: &&Value| event["ph"] == phase && is_number(&event["tid"], native);
            events.iter().filter(is_it).map(|event| event["name"].as_str().unwrap_or_default())
        };
        let name = |frame: &Frame| format!("{} ({})", text(&frame.function), text(&frame.file));
        let frames: Vec<String> = known.frames.iter().rev().map(name).collect();
        let right = of("B").eq(frames.iter()) && of("E").eq(frames.iter().rev()) && of("M").count() == 1;
        ensure(right, || format!("{}: thread {native}: {:?}", known.name, of("B").collect::<Vec<_>>()))?;
    }
    Ok(())
}

/// How many samples of so many nanoseconds a file has, if that can be told.
type Count = fn(&[u8], f64) -> Result<Option<u64>, Trouble>;

const FORMATS: [(&str, Count); 6] = [
    ("svg", |bytes, _| {
        let text = text(bytes);
        let number =
            text.split_once(",\"samples\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        ensure(text.contains("spinner") && text.ends_with("</svg>\n"), || "no flame graph".into())?;
        Ok(Some(number.ok_or("no number of samples")?))
    }),
    ("speedscope", |bytes, sample| {
        let file = json(bytes)?;
        let weights = |profile: &Value| numbers(&profile["weights"]);
        let time: u64 = list(&file, "profiles")?.iter().flat_map(weights).sum();
        Ok(Some((time as f64 / sample).round() as u64))
    }),
    ("chrome", |bytes, _| {
        let file = json(bytes)?;
        let events = list(&file, "traceEvents")?;
        let count = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
        ensure(count("B") == count("E") && count("B") > 0 && count("M") > 1, || "not all ends".into())?;
        Ok(None)
    }),
    ("cpuprofile", |bytes, _| {
        let file = json(bytes)?;
        let hits: u64 = list(&file, "nodes")?.iter().filter_map(|node| node["hitCount"].as_u64()).sum();
        let (deltas, samples) = (numbers(&file["timeDeltas"]), numbers(&file["samples"]));
        let time = file["endTime"].as_u64().zip(file["startTime"].as_u64()).map(|(end, start)| end - start);
        let right = deltas.len() == samples.len() && Some(deltas.iter().sum()) == time;
        ensure(right, || format!("{} samples, {} deltas", samples.len(), deltas.len()))?;
        Ok(Some(hits))
    }),
    ("pprof", |bytes, _| {
        ensure(
            bytes.starts_with(b"\x1f\x8b\x08") && bytes.windows(7).any(|part| part == b"spinner"),
            || "no gzip".into(),
        )?;
        Ok(None)
    }),
    ("flamechart", |bytes, _| {
        let lines: Vec<&str> = text(bytes).lines().collect();
        let times: Option<Vec<u64>> = lines.iter().step_by(2).map(|line| line.parse().ok()).collect();
        let times = times.ok_or("a line that is no time")?;
        ensure(times.is_sorted() && lines.len() == 2 * times.len(), || "times out of order".into())?;
        let is_stack = |line: &&str| line.ends_with(';') || ["(idle)", "(failed)"].contains(line);
        ensure(lines.iter().skip(1).step_by(2).all(is_stack), || "a line that is no stack".into())?;
        Ok(Some(times.len() as u64))
    }),
];

fn json(bytes: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string().into())
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_u64).collect()).unwrap_or_default()
}

/// There are as many samples in the file as the profiler says that it took; with all six threads six times as many.
fn counted(setting: &Setting, target: &Target, format: &str, options: &str, count: Count) -> Checked {
    let run = setting.profiler.run(&format!("-V -f {format} {options} -s 0.2 {}", target.pid()))?;
    ensure(run.status.success(), || run.describe())?;
    let errors = run.errors();
    let summary = errors.lines().find(|line| line.contains(" samples in ")).ok_or("no summary")?;
    let number =
        |word| summary.split(' ').nth(word).and_then(|number| number.parse().ok()).ok_or("no number");
    let (said, elapsed): (u64, u64) = (number(1)?, number(4)?);
    let sample = elapsed as f64 * 1e6 / said as f64;
    let Some(count) = count(&run.stdout, sample)? else { return Ok(()) };
    let least = if options == "--threads" { 6 * said } else { said };
    // Without a GIL, every thread that computes has a stack.
    let most = if setting.python.gil { least } else { least.max(2 * said) };
    // A sample whose threads could not be listed has none of them.
    let margin = 5 + most / 50;
    ensure((least - margin..=most + margin).contains(&count), || format!("{count} samples: {summary}"))
}

/// The ending of the file's name chooses, `-f` overrides it, and `-T` is a format, too.
fn by_name(setting: &Setting, target: &Target) -> Checked {
    let directory = std::env::temp_dir().join(format!("pyflame-formats-{}", target.pid()));
    std::fs::create_dir_all(&directory)?;
    let starts: [(&str, &str, &[u8]); 7] = [
        ("", "p.svg", b"<?xml"),
        ("", "p.speedscope.json", b"{\"$schema\""),
        ("", "p.json", b"{\"traceEvents\""),
        ("", "p.cpuprofile", b"{\"nodes\""),
        ("", "p.pb.gz", b"\x1f\x8b"),
        ("-f svg", "p.json", b"<?xml"),
        ("-f folded", "p.svg", b"/"),
    ];
    for (options, name, start) in starts {
        let path = directory.join(name);
        setting.profiler.succeed(&format!("{options} -s 0.05 -x -o {} {}", path.display(), target.pid()))?;
        let bytes = std::fs::read(&path)?;
        ensure(bytes.starts_with(start), || format!("{options} {name}: {}", bytes.escape_ascii()))?;
    }
    std::fs::remove_dir_all(&directory)?;
    let run = setting.profiler.run(&format!("-f svgz {}", target.pid()))?;
    run.has_refused("unknown format svgz")?;
    let run = setting.profiler.run(&format!("--json {}", target.pid()))?;
    run.has_refused("--json")?;
    let runs: Result<BTreeSet<bool>, Trouble> = ["-T", "--flamechart", "-f flamechart"]
        .map(|options| {
            let run = setting.profiler.succeed(&format!("{options} -s 0.05 {}", target.pid()))?;
            Ok(run.output().lines().step_by(2).all(|line| line.parse::<u64>().is_ok()))
        })
        .into_iter()
        .collect();
    ensure(runs? == BTreeSet::from([true]), || "no times".into())
}
