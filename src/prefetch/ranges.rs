//! The ranges of the next call, made of the pages of the plan, and where each page will be in the buffer.
//!
//! A run of neighbouring pages is one range. Runs of frames are ordered by depth, so that the innermost frame lies next
//! to the moment in every copy.

use super::page::{Page, Part};
use super::plan::{LAST, PROOFS, Plan, ROOTS};
use super::{PAGE, SHALLOW};
use crate::memory::Span;

/// Runs of pages of one thread's frames that are put in order; more than the frames that must hold still. Of a program
/// whose frames lie scattered and change, there can be more: those are copied as if they were deeper.
const MAX_RUNS: usize = 48;

/// Neighbouring pages that are one range.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    end: usize,
    depth: u8,
}

/// Whether pages that hold frames from `depth` on are not of a shallow look.
fn is_below(depth: u8, part: Part) -> bool {
    part == Part::Deep || part == Part::Still && usize::from(depth) >= SHALLOW
}

impl Plan {
    /// Makes the ranges of the next call, of at most `limit` bytes. `only`: of this thread.
    pub(super) fn prepare(&mut self, only: Option<u64>, limit: usize) {
        if !self.stale && self.only == only {
            return;
        }
        self.only = only;
        self.limit = limit as u32;
        if let Some(only) = only.filter(|_| self.crowded) {
            self.make_room(only);
        }
        self.expire();
        self.sort();
        (self.total, self.span_count, self.stale) = (0, 0, false);
        self.before_proofs = (0, 0);
        let mut start = 0;
        while let Some(group) = self.pages.get(start..self.len).and_then(|rest| rest.first()).map(|p| p.group)
        {
            let end = start + self.count(start, |page| page.group == group);
            if only.is_none_or(|only| [only, ROOTS, LAST, PROOFS].contains(&group)) {
                self.emit_group(start, end);
            } else {
                self.each(start, end, |page| page.have = (0, 0));
            }
            if group != PROOFS {
                self.before_proofs = (self.span_count, self.total);
            }
            start = end;
        }
    }

    /// The ranges of one group, whose parts are in order.
    fn emit_group(&mut self, start: usize, end: usize) {
        let still = start + self.count(start, |page| page.part < Part::Still).min(end - start);
        let once = still + self.count(still, |page| page.part == Part::Still).min(end - still);
        let mut runs = [Run { first: 0, end: 0, depth: 0 }; MAX_RUNS];
        let (count, rest) = self.order_runs(still, once, &mut runs);
        let runs = runs.get(..count).unwrap_or_default();
        self.emit_all(start, still, 0);
        self.emit_all(rest, once, 0);
        runs.iter().for_each(|run| self.emit(*run, 0));
        self.emit_all(once, end, 0);
        runs.iter().rev().for_each(|run| self.emit(*run, 1));
        self.emit_all(rest, once, 1);
    }

    /// The runs of the pages from `start` to `end`, the deepest first: how many, and the first page that is in none. As
    /// deep as the last stack makes them: where a page beside one of its pages had the innermost frame once, says nothing.
    fn order_runs(&self, start: usize, end: usize, runs: &mut [Run; MAX_RUNS]) -> (usize, usize) {
        let pages = |first: usize, end: usize| self.pages.get(first..end).unwrap_or_default().iter();
        let age = |page: &Page| self.sample.wrapping_sub(page.used);
        let youngest = pages(start, end).map(age).min().unwrap_or(0);
        let (mut count, mut first) = (0, start);
        while first < end && count < MAX_RUNS {
            let mut run = self.run(first, end);
            let last = pages(run.first, run.end).filter(|page| age(page) == youngest);
            run.depth = last.map(|page| page.depth).min().unwrap_or(run.depth);
            first = run.end;
            let deeper = runs.iter().take(count).take_while(|other| other.depth >= run.depth).count();
            if let Some(rest) = runs.get_mut(deeper..=count) {
                rest.rotate_right(1);
                rest.iter_mut().take(1).for_each(|place| *place = run);
                count += 1;
            }
        }
        (count, first)
    }

    /// The longest run of neighbouring pages that begins with `first`. The edge of the frames that must hold still is a
    /// run of its own among the deep ones.
    fn run(&self, first: usize, end: usize) -> Run {
        let pages = self.pages.get(first..end).unwrap_or_default();
        let same_kind = |a: &Page, b: &Page| a.part != Part::Deep || (a.depth == 0) == (b.depth == 0);
        let joined = |two: &&[Page]| matches!(two, [a, b] if a.number + 1 == b.number && same_kind(a, b));
        let neighbours = pages.windows(2).take_while(joined).count();
        let depth = pages.iter().take(neighbours + 1).map(|page| page.depth).min().unwrap_or(0);
        Run { first, end: first + neighbours + 1, depth }
    }

    /// All runs of the pages from `start` to `end`, in their order, but the edge before what is deeper: as it stands
    /// among the frames that must hold still, too, they all held still meanwhile.
    fn emit_all(&mut self, start: usize, end: usize, copy: usize) {
        for deep in [false, true] {
            let mut first = start;
            while first < end {
                let run = self.run(first, end);
                if (run.depth == u8::MAX) == deep {
                    self.emit(run, copy);
                }
                first = run.end;
            }
        }
    }

    /// One range: the wanted bytes of a run, as copy number `copy`. What does not fit is left to late reads.
    fn emit(&mut self, run: Run, copy: usize) {
        let Some(pages) = self.pages.get_mut(run.first..run.end) else { return };
        let [Some(first), Some(last)] = [pages.first(), pages.last()] else { return };
        let from = u32::from(first.wanted.0);
        let base = first.number * PAGE + u64::from(from);
        // The last page ends where addresses do, so its end is none.
        let len = (last.number - first.number) * PAGE + u64::from(last.wanted.1) - u64::from(from);
        let fits = u64::from(self.total) + len <= u64::from(self.limit)
            && self.span_count < self.spans.len()
            && !(self.shallow && is_below(run.depth, first.part));
        let count = pages.len();
        for (i, page) in pages.iter_mut().enumerate() {
            let low = if i == 0 { page.wanted.0 } else { 0 };
            let high = if i + 1 == count { page.wanted.1 } else { PAGE as u16 };
            page.have = if fits { (low, high) } else { (0, 0) };
            let at = self.total.wrapping_sub(from).wrapping_add((i as u64 * PAGE) as u32);
            if copy == 0 {
                page.copies = [at; 2];
            } else if let Some(place) = page.copies.get_mut(copy) {
                *place = at;
            }
        }
        if let Some(span) = self.spans.get_mut(self.span_count).filter(|_| fits) {
            *span = Span { base, len };
            self.span_count += 1;
            self.total += len as u32;
        }
    }
}
