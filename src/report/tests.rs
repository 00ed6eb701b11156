//! Each format of one small profile: what the comments of the modules show, and that all agree.

use super::timeline::{Storage, Timeline};
use super::*;
use crate::profile::{Frame, PROCESS, THREAD};
use crate::testing::{profile_storage, zeroed};
use std::string::String;
use std::vec::Vec;

mod viewers;

const FACTS: Facts<'static> = Facts {
    title: b"pid 71 python3 app.py",
    version: 0x030d_00f0,
    started: 1_764_036_000_123_456_789,
    elapsed: 214_000_000,
    period: 1_000_000,
    lines: true,
};

fn empty() -> Profile {
    let mut profile = Profile::new(profile_storage(64, 256, 16));
    reserve(&mut profile);
    profile
}

/// The frames of `app.py:<module>:30;app.py:parse:88`, below what stands for the process and the thread if `by_thread`.
fn stack(profile: &mut Profile, by_thread: bool) -> Vec<Frame> {
    let process = profile.titled(b"pid 71 python3 app.py", PROCESS);
    let thread = profile.titled(b"thread 72 worker", THREAD);
    let roots = if by_thread { [process, thread].to_vec() } else { Vec::new() };
    let frames = [("<module>", 30), ("parse", 88)].map(|(name, line)| {
        let function = profile.function(b"app.py", name.as_bytes());
        Frame { function, line }
    });
    [roots, frames.to_vec()].concat()
}

/// 214 samples of one stack.
fn sampled(by_thread: bool) -> Profile {
    let mut profile = empty();
    let stack = stack(&mut profile, by_thread);
    (profile.counts.samples, profile.counts.rounds) = (214, 214);
    profile.count(stack.into_iter(), 214);
    profile
}

fn written(format: Format, mut profile: Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(format, &mut profile, &FACTS, &mut bytes);
    bytes
}

fn text(format: Format, profile: Profile) -> String {
    String::from_utf8(written(format, profile)).expect("UTF-8").replace('\n', "")
}

#[test]
fn speedscope_has_a_profile_for_each_thread() {
    let text = text(Format::Speedscope, sampled(true));
    let begin = "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"pyflame ";
    assert!(text.starts_with(begin), "{text}");
    let frames = "{\"name\":\"\\u003cmodule\\u003e\",\"file\":\"app.py\",\"line\":30},\
        {\"name\":\"parse\",\"file\":\"app.py\",\"line\":88}]},";
    assert!(text.contains(frames), "{text}");
    let (_, profiles) = text.split_once("\"profiles\":").unwrap();
    let expected = "[{\"type\":\"sampled\",\"name\":\"pid 71 python3 app.py, thread 72 worker\",\
        \"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":214000000,\
        \"samples\":[[5,6]],\"weights\":[214000000]}],\"activeProfileIndex\":0}";
    assert_eq!(profiles, expected);
}

#[test]
fn a_sample_of_one_of_several_processes_stands_for_the_whole_time() {
    let mut profile = sampled(true);
    profile.counts.samples = 8 * profile.counts.rounds;
    assert!(text(Format::Speedscope, profile).contains("\"weights\":[214000000]"));
}

#[test]
fn speedscope_opens_with_the_thread_of_most_samples() {
    let mut profile = sampled(true);
    profile.counts.idle = 3;
    let mut stack = stack(&mut profile, true);
    stack[1] = profile.titled(b"thread 73 another", THREAD);
    profile.count(stack.into_iter(), 500);
    let text = text(Format::Speedscope, profile);
    let names: Vec<&str> =
        text.split("\"sampled\",\"name\":\"").skip(1).map(|t| t.split_once('"').unwrap().0).collect();
    let title = "pid 71 python3 app.py, thread 7";
    assert_eq!(names, ["(idle)", &std::format!("{title}2 worker"), &std::format!("{title}3 another")]);
    assert!(text.ends_with("\"activeProfileIndex\":2}"), "{text}");
}

#[test]
fn a_cpu_profile_ends_with_the_root() {
    let text = text(Format::Cpuprofile, sampled(false));
    let node = "\"callFrame\":{\"functionName\":\"parse\",\"scriptId\":\"0\",\"url\":\"app.py\",\
        \"lineNumber\":87,\"columnNumber\":-1},\"hitCount\":214,\"children\":[]}]";
    assert!(text.starts_with("{\"nodes\":[{\"id\":1,\"callFrame\":{\"functionName\":\"(root)\""), "{text}");
    assert!(text.contains(node), "{text}");
    let samples = "\"samples\":[6,1],\"timeDeltas\":[0,214000],\
        \"startTime\":1764036000123456,\"endTime\":1764036000337456}";
    assert!(text.ends_with(samples), "{text}");
}

#[test]
fn a_flame_graph_has_a_table_of_all_boxes_and_draws_the_wide_ones() {
    let mut profile = sampled(false);
    let narrow = Frame { function: profile.function(b"app.py", b"narrow&\"<>"), line: 0 };
    profile.count([narrow].into_iter(), 1);
    let mut thousands = sampled(false);
    let frames = stack(&mut thousands, false);
    thousands.count(frames.into_iter(), 100_000);
    thousands.count([Frame { function: 1, line: 1 }].into_iter(), 1);
    let text_of = |profile| text(Format::Svg, profile);
    let text = text_of(profile);
    assert!(text.contains("<title>pid 71 python3 app.py</title>"), "{text}");
    assert!(text.contains("Python 3.13.0, every 1000 us: 214 samples in 214 ms</text>"), "{text}");
    assert!(text.contains("\"boxes\":[6,1,214,9,10,1,1],\"samples\":215,\"period\":1000000}"), "{text}");
    assert!(text.contains("\"narrow\\u0026\\\"\\u003c\\u003e\""), "{text}");
    assert_eq!(text.matches("<path").count(), 4, "all, <module>, parse, narrow");
    let place = "<svg x=\"10\" y=\"76\" width=\"1174.5\" height=\"15\"><text x=\"3\" y=\"11\">";
    assert!(text.contains(&[place, "&lt;module&gt;</text></svg>"].concat()), "{text}");
    assert!(text.contains("d=\"M1184.5 76h5.4v15H1184.5z\""), "{text}");
    let text = text_of(thousands);
    assert!(text.contains("\"samples\":100215,") && text.matches("<path").count() == 3, "{text}");
}

#[test]
fn pprof_is_what_its_comment_says() {
    let mut profile = empty();
    (profile.counts.samples, profile.counts.rounds) = (214, 214);
    let stack = stack(&mut profile, false);
    profile.count([stack[1]].into_iter(), 2);
    let file = written(Format::Pprof, profile);
    // The blocks are stored, and this fits into one.
    let message = &file[15..file.len() - 13];
    let holds = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
    assert!(holds(b"\x12\x08\x08\x04\x10\x02\x10\x80\x89\x7a"), "a sample at location 4");
    assert!(holds(b"\x22\x08\x08\x04\x22\x04\x08\x08\x10\x58"), "location 4 is line 88 of function 8");
    assert!(holds(b"\x32\x05parse") && holds(b"\x32\x00\x32\x07samples"), "strings, the first empty");
}

#[test]
fn samples_without_a_stack_are_in_every_format() {
    for format in [Format::Svg, Format::Speedscope, Format::Cpuprofile, Format::Folded] {
        let mut profile = sampled(format.by_thread());
        profile.counts.samples += 10;
        (profile.counts.idle, profile.counts.failed, profile.counts.truncated) = (5, 3, 2);
        let text = text(format, profile);
        for name in OWN {
            let name = String::from_utf8(name.to_vec()).unwrap();
            assert!(text.contains(&name), "{format:?} {name}: {text}");
        }
    }
}

#[test]
fn where_the_tree_is_full_there_is_room_for_what_was_counted_beside_it() {
    let mut profile = Profile::new(profile_storage(64, 8, 16));
    reserve(&mut profile);
    let frames = stack(&mut profile, false);
    for line in 0..100 {
        profile.count([frames[0], Frame { line, ..frames[1] }].into_iter(), 1);
    }
    profile.counts.idle = 7;
    assert!(profile.counts.truncated > 90);
    let text = text(Format::Svg, profile);
    assert!(text.contains("\"samples\":107,"), "{text}");
}

/// What is written of samples 1 ms apart, each of these stacks of one thread.
fn over_time(format: Format, stacks: &[Option<&[Frame]>], profile: &mut Profile) -> String {
    let mut timeline = Timeline::new(
        format,
        true,
        Storage { lanes: zeroed(16), path: zeroed(16) },
        5_000_000_000,
        FACTS.started,
    );
    let process = profile.titled(b"pid 71 python3 app.py", PROCESS);
    let mut bytes = Vec::new();
    for (i, stack) in stacks.iter().enumerate() {
        let node = stack.map(|stack| profile.count(stack.iter().copied(), 1).unwrap());
        profile.counts.idle += u64::from(node.is_none());
        let nodes: Vec<u32> = node.into_iter().collect();
        timeline.note(profile, process, &nodes, 5_000_000_000 + i as u64 * 1_000_000, &mut bytes);
    }
    timeline.finish(profile, 5_000_000_000 + stacks.len() as u64 * 1_000_000, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn calls_begin_and_end_when_they_are_seen() {
    let mut profile = empty();
    let mut frames = stack(&mut profile, true);
    let whole = frames.clone();
    frames[2].line = 31; // another line is no other call
    let moved = frames.clone();
    frames.pop();
    let text = over_time(
        Format::Chrome,
        &[Some(&whole), Some(&moved), Some(&frames), None, Some(&frames)],
        &mut profile,
    );
    let mut lines = text.lines().map(|line| line.trim_end_matches(','));
    assert_eq!(lines.next(), Some("{\"traceEvents\":["));
    let module = "\"name\":\"\\u003cmodule\\u003e (app.py)\"}";
    let expected = [
        ("B", 0, module),
        ("B", 0, "\"name\":\"parse (app.py)\"}"),
        ("E", 2000, "\"name\":\"parse (app.py)\"}"),
        ("E", 3000, module),
        ("B", 4000, module),
        ("E", 5000, module),
    ];
    for (phase, time, name) in expected {
        let line = std::format!("{{\"ph\":\"{phase}\",\"pid\":71,\"tid\":72,\"ts\":{time},{name}");
        assert_eq!(lines.next(), Some(line.as_str()));
    }
    for name in [
        "{\"ph\":\"M\",\"pid\":71,\"name\":\"process_name\",\"args\":{\"name\":\"python3 app.py\"}}",
        "{\"ph\":\"M\",\"pid\":71,\"tid\":72,\"name\":\"thread_name\",\"args\":{\"name\":\"worker\"}}",
        "]}",
    ] {
        assert_eq!(lines.next(), Some(name));
    }
    assert_eq!(over_time(Format::Chrome, &[], &mut empty()), "{\"traceEvents\":[]}\n");
}

#[test]
fn a_flame_chart_has_two_lines_for_each_sample() {
    let mut profile = empty();
    let frames = stack(&mut profile, false);
    let text = over_time(Format::Flamechart, &[Some(&frames), None], &mut profile);
    let expected = "1764036000123456\napp.py:<module>:30;app.py:parse:88;\n1764036000124456\n(idle)\n";
    assert_eq!(text, expected);
}

#[test]
fn formats_are_chosen_by_name_or_ending() {
    for (format, name, ending, viewers) in FORMATS {
        assert_eq!(format.viewers(), viewers);
        assert_eq!(Format::named(name), Some(format));
        assert_eq!(Format::of_file(&[b"dir/out", ending].concat()), format);
    }
    assert_eq!((Format::named(b"SVG"), Format::named(b"")), (None, None));
    assert_eq!(Format::of_file(b"out.txt"), Format::Folded);
}
