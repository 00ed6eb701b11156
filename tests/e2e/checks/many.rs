//! Many functions, many stacks and deep ones: totals add up, nothing is invented, memory has its bounds.

use super::{Sampling, Setting};
use crate::stacks::{Folded, Frame, parse_dump};
use crate::verdict::{Checked, Score, Trouble, ensure};

/// Resident memory, in KiB: for 50 stacks, and for 5,000 functions in 20,000 stacks.
const FEW_STACKS: u64 = 1024;
const MANY_STACKS: u64 = 8 * 1024;

pub fn run(setting: &Setting, score: &mut Score) -> Checked {
    score.enter("many: 50 stacks", stacks(setting, 20, 50, FEW_STACKS));
    score.enter("many: 20,000 stacks", stacks(setting, 5000, 20_000, MANY_STACKS));
    if setting.full {
        score.enter("many: 200,000 stacks", stacks(setting, 5000, 200_000, u64::MAX));
    }
    score.enter("many: 5,000 frames deep", deep(setting));
    score.enter("many: deeper than there is room", too_deep(setting));
    Ok(())
}

/// So many functions and stacks, in so much memory.
fn stacks(setting: &Setting, functions: u32, count: u32, memory: u64) -> Checked {
    let target = setting.start_busy("many.py", &[&functions.to_string(), &count.to_string()])?;
    let shape = Shape::parse(&target.told()?)?;
    let sampling = Sampling {
        count: if setting.full { u64::from(count) * 2 } else { 20_000 },
        period: 0.00005,
        threads: 1,
    };
    let run = setting.profiler.run(&format!("{} {}", sampling.options(), target.pid()))?;
    ensure(run.status.success(), || run.describe())?;
    let folded = Folded::parse(&run.stdout)?;
    let wrong = folded.stacks.iter().find(|(stack, _)| !shape.allows(stack));
    ensure(wrong.is_none(), || format!("impossible: {wrong:?}"))?;
    let (total, distinct) = (folded.total(), folded.stacks.len());
    ensure(total <= sampling.count + 2, || format!("{total} samples of {}", sampling.count))?;
    ensure(total >= 20, || format!("only {total} samples of {}", sampling.count))?;
    super::hardly_failed(&folded)?;
    ensure(memory == u64::MAX || folded.cut == 0, || format!("{} cut", folded.cut))?;
    ensure(run.peak <= memory, || format!("{} KiB for {distinct} stacks", run.peak))
}

/// Which function of the target calls which.
struct Shape {
    half: u32,
    rounds: u32,
    stride: u32,
}

impl Shape {
    fn parse(text: &str) -> Result<Shape, Trouble> {
        let numbers: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [half, rounds, stride] = numbers[..] else {
            return Err(format!("the target says {text:?}").into());
        };
        Ok(Shape { half, rounds, stride })
    }

    /// Whether each frame stands at the line that its function has, and calls one that it does call.
    fn allows(&self, stack: &[Frame]) -> bool {
        let generated: Vec<&Frame> = stack.iter().filter(|frame| frame.base() == "generated.py").collect();
        let number = |frame: &Frame, kind| frame.name().strip_prefix(kind)?.parse::<u32>().ok();
        let outer = generated.first().and_then(|frame| number(frame, "outer"));
        let inner = generated.get(1).and_then(|frame| number(frame, "inner"));
        let placed = |frame: Option<&&Frame>, n: Option<u32>, first| {
            frame.is_none_or(|frame| {
                n.is_some_and(|n| (1..=2).contains(&(frame.line.wrapping_sub(4 * n + first))))
            })
        };
        let called =
            |outer: u32, inner| (0..self.rounds).any(|k| (outer + k * self.stride) % self.half == inner);
        generated.len() <= 2
            && placed(generated.first(), outer, 0)
            && placed(generated.get(1), inner, 2)
            && outer.zip(inner).is_none_or(|(outer, inner)| called(outer, inner))
    }
}

/// A stack of 5,000 calls is whole.
fn deep(setting: &Setting) -> Checked {
    let target = setting.start_busy("deep.py", &["5000"])?;
    let folded = setting.profile(&target, "-s 0.3")?;
    ensure((1..=302).contains(&folded.total()), || format!("{} samples of 300", folded.total()))?;
    let depth = |stack: &[Frame]| stack.iter().filter(|frame| frame.name() == "down").count();
    let shallow = folded.stacks.iter().find(|(stack, _)| depth(stack) != 5000);
    ensure(shallow.is_none(), || format!("{:?} calls instead of 5,000", shallow.map(|(s, _)| depth(s))))?;
    ensure(folded.failed == 0, || format!("{} of {} failed", folded.failed, folded.total()))
}

/// Of a stack that is too deep there is the inner part, and it is said that the rest is missing: in a profile, in a dump
/// and in one for programs.
fn too_deep(setting: &Setting) -> Checked {
    let target = setting.start_busy("deep.py", &["17000"])?;
    let is_cut = |stack: &[Frame]| {
        let outermost = stack.first().is_some_and(|frame| frame.name() == "(truncated)" && frame.line == 0);
        outermost && stack.len() == 1 + 16_384 && stack[1..stack.len() - 1].iter().all(|f| f.name() == "down")
    };
    let folded = setting.profile(&target, "-s 0.3")?;
    let whole = folded.stacks.iter().find(|(stack, _)| !is_cut(stack));
    ensure(whole.is_none(), || format!("{:?} frames", whole.map(|(stack, _)| stack.len())))?;
    ensure(!folded.stacks.is_empty(), || format!("{} of {} failed", folded.failed, folded.total()))?;
    let dumped = |options: &str| setting.profiler.succeed(&format!("{options} -d {}", target.pid()));
    let threads = parse_dump(&dumped("")?.stdout)?;
    let cut = threads.iter().filter(|thread| {
        let stack: Vec<Frame> = thread.frames.iter().rev().cloned().collect();
        is_cut(&stack)
    });
    ensure(cut.count() == 1, || "a dump does not say that its stack is cut".into())?;
    let marks =
        dumped("--json")?.output().matches(r#"{"file":"","function":"(truncated)","line":0}]"#).count();
    ensure(marks == 1, || format!("{marks} stacks of the JSON are said to be cut"))
}
