//! Which bytes of which pages the next call fetches, and where each of them will be in the buffer.
//!
//! Pages are kept in the order of the call: roots, then the threads, then code objects; within a thread its deep
//! frames, the ones that must hold still, and its anchors. A run of neighbouring pages is one range of the call. Runs
//! of frames are ordered by depth, so that the innermost frame lies next to the moment in every copy.

use super::PAGE;
use crate::memory::Span;

/// The group of the roots: before all threads.
pub const ROOTS: u64 = 0;
/// The group of what is read once more behind all threads.
pub const LAST: u64 = u64::MAX - 1;
/// The group of the proofs: behind everything.
pub const PROOFS: u64 = u64::MAX;
/// A copy that is not made.
pub const NO_COPY: u32 = u32::MAX;

/// Samples after which a page that nobody asked for is no longer fetched; and one that only proves something, which is asked
/// for with every sample, or with every 16th.
pub(super) const KEEP: u32 = 64;
const KEEP_PROOF: u32 = 20;
/// Runs of pages of one thread's frames that are put in order; more than the frames that must hold still. Of a program
/// whose frames lie scattered and change, there can be more: those are copied as if they were deeper.
const MAX_RUNS: usize = 48;
/// Pages that are looked for one by one.
const FEW: usize = 64;

/// What a page is fetched for, in the order of the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Part {
    /// Interpreters and GILs.
    Root,
    /// Old frames.
    Deep,
    /// Frames that are read before and after each moment.
    Still,
    /// What is read at the moments.
    Once,
    /// What is fetched in one sample only: before what proves that it belongs to something known.
    Aside,
    /// What proves that something known is still so.
    Proof,
}

/// A page of the plan.
#[derive(Clone, Copy)]
pub struct Page {
    group: u64,
    number: u64,
    /// What it is fetched for.
    pub part: Part,
    /// The fewest frames above one on this page when it was last used.
    depth: u8,
    /// Bytes to fetch, and bytes that are in the buffer: from, to.
    wanted: (u16, u16),
    have: (u16, u16),
    /// Where byte 0 of each copy of the page is in the buffer, or would be. Wraps below 0.
    pub copies: [u32; 3],
    used: u32,
}

impl Page {
    /// A page that nobody asked for.
    pub const UNUSED: Page = Page {
        group: 0,
        number: 0,
        part: Part::Root,
        depth: 0,
        wanted: (0, 0),
        have: (0, 0),
        copies: [0; 3],
        used: 0,
    };

    /// Bytes that are in the buffer and will be in the next one: from, to.
    pub(super) fn settled(&self) -> (u16, u16) {
        (self.have.0.max(self.wanted.0), self.have.1.min(self.wanted.1))
    }

    /// Where what is wanted of the first copy begins in the buffer.
    pub(super) fn start(&self) -> usize {
        self.copies[0].wrapping_add(self.have.0.into()) as usize
    }

    /// Whether it was read on its own, behind a call of so many bytes.
    pub(super) fn is_late(&self, total: usize) -> bool {
        self.have.1 > 0 && self.start() >= total
    }

    /// All of it.
    pub(super) fn whole(&self) -> Span {
        Span { base: self.number * PAGE, len: PAGE }
    }

    /// It is in the buffer at `at`, read on its own.
    pub(super) fn set_late(&mut self, at: u32) {
        (self.have, self.copies) = ((0, PAGE as u16), [at; 3]);
    }

    fn key(&self) -> (u64, Part, u64) {
        (self.group, self.part, self.number)
    }

    #[inline(always)] // for every load
    fn is(&self, (group, part, number): (u64, Part, u64)) -> bool {
        self.number == number && self.group == group && self.part == part
    }
}

/// Neighbouring pages that are one range.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    end: usize,
    depth: u8,
}

/// The plan. What is asked for during a sample is appended and put in order before the next call.
pub struct Plan {
    pages: &'static mut [Page],
    len: usize,
    /// Pages before this one are in order.
    sorted: usize,
    spans: &'static mut [Span],
    span_count: usize,
    /// Bytes of the call so far, while it is prepared.
    total: u32,
    /// The ranges and the bytes before the proofs.
    before_proofs: (usize, u32),
    limit: u32,
    /// Whether the last call's ranges no longer fit the plan.
    stale: bool,
    only: Option<u64>,
    /// There was no room for a page.
    crowded: bool,
    /// There are pages that the next sample does without.
    aside: bool,
    sample: u32,
    room: u16,
    /// There is a second moment, so frames are read a third time.
    second: bool,
}

impl Plan {
    pub(super) fn new(pages: &'static mut [Page], spans: &'static mut [Span], room: u16) -> Plan {
        Plan {
            pages,
            len: 0,
            sorted: 0,
            spans,
            span_count: 0,
            total: 0,
            before_proofs: (0, 0),
            limit: 0,
            stale: true,
            only: None,
            crowded: false,
            aside: false,
            sample: 1,
            room,
            second: true,
        }
    }

    pub(super) fn set_second(&mut self, second: bool) {
        self.stale |= second != self.second;
        self.second = second;
    }

    pub(super) fn has_second(&self) -> bool {
        self.second
    }

    pub(super) fn next_sample(&mut self) {
        self.sample = self.sample.wrapping_add(1);
        self.stale |= core::mem::take(&mut self.aside) || self.sample.is_multiple_of(KEEP_PROOF);
    }

    /// The next call's ranges are put in order anew.
    pub(super) fn reorder(&mut self) {
        self.stale = true;
    }

    pub(super) fn forget(&mut self) {
        self.len = 0;
        self.sorted = 0;
        self.stale = true;
    }

    pub(super) fn reset(&mut self, room: u16) {
        self.forget();
        self.room = room;
    }

    /// The ranges of the call and how many bytes they bring, with proofs or without.
    pub(super) fn call(&self, proofs: bool) -> (&[Span], usize) {
        let (count, total) = if proofs { (self.span_count, self.total) } else { self.before_proofs };
        (self.spans.get(..count).unwrap_or_default(), total as usize)
    }

    pub(super) fn page(&self, index: usize) -> Option<&Page> {
        self.pages.get(index)
    }

    /// Where page `number` of `group` is, if it is in the plan.
    pub(super) fn find(&self, group: u64, part: Part, number: u64, hint: usize) -> Option<usize> {
        let key = (group, part, number);
        let pages = self.pages.get(..self.len)?;
        if pages.get(hint).is_some_and(|page| page.is(key)) {
            return Some(hint);
        }
        let (sorted, new) = pages.split_at_checked(self.sorted)?;
        let found = sorted.binary_search_by(|page| page.key().cmp(&key)).ok();
        found.or_else(|| Some(self.sorted + new.iter().position(|page| page.is(key))?))
    }

    /// A new page; nothing when the plan is full.
    pub(super) fn add(&mut self, group: u64, part: Part, number: u64) -> Option<usize> {
        if self.len - self.sorted > FEW + self.sorted / 4 {
            self.sort(); // or it would take long to find the new ones
        }
        let index = self.len;
        self.stale = true;
        let Some(page) = self.pages.get_mut(index) else {
            self.crowded = true;
            return None;
        };
        *page = Page { group, part, number, wanted: (u16::MAX, 0), ..Page::UNUSED };
        self.len += 1;
        Some(index)
    }

    /// Notes that these bytes of a page are used; whether they are in the buffer.
    #[inline]
    pub(super) fn touch(&mut self, index: usize, bytes: (usize, usize), depth: u8) -> bool {
        let Some(page) = self.pages.get_mut(index) else { return false };
        let (from, to) = (bytes.0 as u16, bytes.1 as u16);
        page.depth = if page.used == self.sample { page.depth.min(depth) } else { depth };
        page.used = self.sample;
        self.aside |= page.part == Part::Aside;
        if from < page.wanted.0 || to > page.wanted.1 {
            let room = if page.part == Part::Still { self.room } else { 0 };
            page.wanted =
                (page.wanted.0.min(from), page.wanted.1.max(to.saturating_add(room).min(PAGE as u16)));
            self.stale = true;
        }
        page.have.0 <= from && to <= page.have.1
    }

    /// The whole page is in the buffer at `at`, read on its own.
    pub(super) fn set_late(&mut self, index: usize, at: u32) {
        if let Some(page) = self.pages.get_mut(index) {
            page.set_late(at);
            self.stale = true;
        }
    }

    /// What is wanted of names and proofs and not there.
    pub(super) fn missing(&mut self) -> impl Iterator<Item = &mut Page> {
        let pages = self.pages.get_mut(..self.len).unwrap_or_default();
        pages.iter_mut().filter(|page| page.group == PROOFS && page.have.1 == 0)
    }

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

    fn each(&mut self, start: usize, end: usize, change: impl FnMut(&mut Page)) {
        self.pages.get_mut(start..end).unwrap_or_default().iter_mut().for_each(change);
    }

    fn count(&self, start: usize, same: impl Fn(&Page) -> bool) -> usize {
        let rest = self.pages.get(start..self.len).unwrap_or_default();
        rest.iter().position(|page| !same(page)).unwrap_or(rest.len())
    }

    /// Where not all threads fit, each can still be fetched alone.
    fn make_room(&mut self, only: u64) {
        let (len, old) = (self.len, self.sample.wrapping_sub(KEEP));
        self.each(0, len, |page| {
            if ![only, ROOTS, LAST, PROOFS].contains(&page.group) {
                page.used = old;
            }
        });
        self.crowded = false;
    }

    fn expire(&mut self) {
        let (mut kept, mut sorted, now) = (0, 0, self.sample);
        for index in 0..self.len {
            if index == self.sorted {
                sorted = kept;
            }
            let Some(&page) = self.pages.get(index) else { break };
            let keep = match page.part {
                Part::Aside => 1,
                Part::Proof => KEEP_PROOF,
                _ => KEEP,
            };
            if now.wrapping_sub(page.used) < keep
                && let Some(to) = self.pages.get_mut(kept)
            {
                *to = page;
                kept += 1;
            }
        }
        self.sorted = if self.sorted < self.len { sorted } else { kept };
        self.len = kept;
    }

    /// Insertion sort, since nearly everything is in order already; where much is new, over long distances first.
    fn sort(&mut self) {
        let Some(pages) = self.pages.get_mut(..self.len) else { return };
        let mut gap = if self.len - self.sorted > FEW { self.len / 2 } else { 1 };
        while gap > 0 {
            for end in gap..pages.len() {
                let mut at = end;
                while let Some([before, .., here]) =
                    at.checked_sub(gap).and_then(|low| pages.get_mut(low..=at))
                {
                    if before.key() <= here.key() {
                        break;
                    }
                    core::mem::swap(before, here);
                    at -= gap;
                }
            }
            gap /= 2;
        }
        self.sorted = self.len;
    }

    /// The ranges of one group, whose parts are in order.
    fn emit_group(&mut self, start: usize, end: usize) {
        let still = start + self.count(start, |page| page.part < Part::Still).min(end - start);
        let once = still + self.count(still, |page| page.part == Part::Still).min(end - still);
        let mut runs = [Run { first: 0, end: 0, depth: 0 }; MAX_RUNS];
        let (count, rest) = self.order_runs(still, once, &mut runs);
        let runs = runs.get(..count).unwrap_or_default();
        if self.second {
            self.emit_all(start, still, 0);
            self.emit_all(rest, once, 0);
            runs.iter().for_each(|run| self.emit(*run, 0));
        } else {
            runs.iter().rev().for_each(|run| self.emit(*run, 0));
            self.emit_all(rest, once, 0);
            self.emit_all(start, still, 0);
        }
        self.emit_all(once, end, 0);
        runs.iter().rev().for_each(|run| self.emit(*run, 1));
        if runs.is_empty() || !self.second {
            self.each(once, end, |page| page.copies[1] = page.copies[0]);
        } else {
            self.emit_all(once, end, 1);
            runs.iter().rev().for_each(|run| self.emit(*run, 2));
        }
        self.emit_all(rest, once, 1);
    }

    /// The runs of the pages from `start` to `end`, the deepest first: how many, and the first page that is in none.
    fn order_runs(&self, start: usize, end: usize, runs: &mut [Run; MAX_RUNS]) -> (usize, usize) {
        let (mut count, mut first) = (0, start);
        while first < end && count < MAX_RUNS {
            let run = self.run(first, end);
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
        let fits = u64::from(self.total) + len <= u64::from(self.limit) && self.span_count < self.spans.len();
        let count = pages.len();
        for (i, page) in pages.iter_mut().enumerate() {
            let low = if i == 0 { page.wanted.0 } else { 0 };
            let high = if i + 1 == count { page.wanted.1 } else { PAGE as u16 };
            page.have = if fits { (low, high) } else { (0, 0) };
            let at = self.total.wrapping_sub(from).wrapping_add((i as u64 * PAGE) as u32);
            if copy == 0 {
                page.copies = [at, at, NO_COPY];
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

    /// The call ended `done` bytes in: the page there can no longer be read.
    pub(super) fn drop_unreadable(&mut self, done: usize) {
        let mut end = 0;
        for span in self.spans.iter().take(self.span_count) {
            end += span.len as usize;
            if end > done {
                let (low, high) = (span.base / PAGE, (span.base + (span.len - 1)) / PAGE);
                let old = self.sample.wrapping_sub(KEEP);
                self.stale = true;
                let pages = self.pages.get_mut(..self.len).unwrap_or_default();
                return pages
                    .iter_mut()
                    .filter(|p| (low..=high).contains(&p.number))
                    .for_each(|p| p.used = old);
            }
        }
        self.forget();
    }
}
