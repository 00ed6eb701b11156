//! Which bytes of which pages the next call fetches: what was asked for lately.
//!
//! Pages are kept in the order of the call: roots, then the threads, then code objects; within a thread its deep
//! frames, the ones that must hold still, and its anchors.

use super::PAGE;
use super::page::{Page, Part};
use crate::memory::Span;

/// The group of the roots: before all threads.
pub const ROOTS: u64 = 0;
/// The group of what is read once more behind all threads.
pub const LAST: u64 = u64::MAX - 1;
/// The group of the proofs: behind everything.
pub const PROOFS: u64 = u64::MAX;

/// Samples after which a page that nobody asked for is no longer fetched; and one that only proves something, which is asked
/// for with every sample, or with every 16th.
pub(super) const KEEP: u32 = 64;
const KEEP_PROOF: u32 = 20;
/// Pages that are looked for one by one.
const FEW: usize = 64;

/// The plan. What is asked for during a sample is appended and put in order before the next call.
pub struct Plan {
    pub(super) pages: &'static mut [Page],
    pub(super) len: usize,
    /// Pages before this one are in order.
    pub(super) sorted: usize,
    pub(super) spans: &'static mut [Span],
    pub(super) span_count: usize,
    /// Bytes of the call so far, while it is prepared.
    pub(super) total: u32,
    /// The ranges and the bytes before the proofs.
    pub(super) before_proofs: (usize, u32),
    pub(super) limit: u32,
    /// Whether the last call's ranges no longer fit the plan.
    pub(super) stale: bool,
    pub(super) only: Option<u64>,
    /// There was no room for a page.
    pub(super) crowded: bool,
    /// There are pages that the next sample does without.
    pub(super) aside: bool,
    pub(super) sample: u32,
    pub(super) room: u16,
    /// Only the innermost frames are fetched.
    pub(super) shallow: bool,
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
            shallow: false,
        }
    }

    pub(super) fn set_shallow(&mut self, shallow: bool) {
        self.stale |= shallow != self.shallow;
        self.shallow = shallow;
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

    pub(super) fn each(&mut self, start: usize, end: usize, change: impl FnMut(&mut Page)) {
        self.pages.get_mut(start..end).unwrap_or_default().iter_mut().for_each(change);
    }

    pub(super) fn count(&self, start: usize, same: impl Fn(&Page) -> bool) -> usize {
        let rest = self.pages.get(start..self.len).unwrap_or_default();
        rest.iter().position(|page| !same(page)).unwrap_or(rest.len())
    }

    /// Where not all threads fit, each can still be fetched alone.
    pub(super) fn make_room(&mut self, only: u64) {
        let (len, old) = (self.len, self.sample.wrapping_sub(KEEP));
        self.each(0, len, |page| {
            if ![only, ROOTS, LAST, PROOFS].contains(&page.group) {
                page.used = old;
            }
        });
        self.crowded = false;
    }

    pub(super) fn expire(&mut self) {
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
    pub(super) fn sort(&mut self) {
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
