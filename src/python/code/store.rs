//! What is remembered of code objects, of lines, and of who calls whom.

use super::{Call, Codes, Found, Known, Located};
use crate::table::{Full, hash_words};

impl Codes {
    pub(super) fn keep(&mut self, old: Option<u32>, new: Known) -> u32 {
        if let Some((id, place)) = old.and_then(|id| Some((id, self.known.get_mut(id)?))) {
            *place = new;
            return id;
        }
        self.try_keep(new).unwrap_or_else(|Full| {
            self.lost |= !self.believed.is_empty();
            self.forget();
            self.try_keep(new).unwrap_or(u32::MAX)
        })
    }

    pub(super) fn try_keep(&mut self, new: Known) -> Result<u32, Full> {
        let id = self.known.push(new)?;
        let known = self.known.items();
        let hash_of = |id: u32| known.get(id as usize).map_or(0, |k| hash_words(&[k.address.0]));
        self.known_index.insert(hash_words(&[new.address.0]), id, &hash_of)?;
        Ok(id)
    }

    /// Forgets all; it can be read again.
    pub fn forget(&mut self) {
        self.believed.truncate(0);
        self.known.truncate(0);
        self.known_index.clear();
        self.forget_lines();
    }

    pub(super) fn forget_lines(&mut self) {
        self.located.truncate(0);
        self.located_index.clear();
    }

    pub(super) fn keep_line(&mut self, old: Option<u32>, new: Located) -> u32 {
        if let Some((id, place)) = old.and_then(|id| Some((id, self.located.get_mut(id)?))) {
            *place = new;
            return id;
        }
        self.try_keep_line(new).unwrap_or_else(|Full| {
            self.forget_lines();
            self.try_keep_line(new).unwrap_or(u32::MAX)
        })
    }

    pub(super) fn try_keep_line(&mut self, new: Located) -> Result<u32, Full> {
        let id = self.located.push(new)?;
        let located = self.located.items();
        let hash = |l: &Located| hash_words(&[l.address.0, l.position as u64]);
        self.located_index.insert(hash(&new), id, &|id| located.get(id as usize).map_or(0, hash))?;
        Ok(id)
    }

    /// Whether code object `callee` is known to be called from the position of `caller`, or without one by the
    /// interpreter itself: the root of a stack. A generator that is just being resumed has no caller either, for a moment.
    pub fn is_call(&mut self, caller: Option<&Found>, callee: u32) -> bool {
        // Lines may have been forgotten since, and another one be in its place.
        let same = |at: &Located, found: &Found| at.serial == found.serial && at.position == found.position;
        let at = caller.and_then(|found| self.located.get_mut(found.located).filter(|at| same(at, found)));
        if at.as_ref().is_some_and(|at| at.callee == callee) {
            return true;
        }
        let (call, calls) = (call_of(caller, callee), self.calls.items());
        let known = self.call_index.find(call, |id| calls.get(id as usize) == Some(&call)).is_some();
        if let Some(at) = at.filter(|_| known) {
            at.callee = callee;
        }
        known
    }

    /// Remembers that it is.
    pub fn learn_call(&mut self, caller: Option<&Found>, callee: u32) {
        if self.is_call(caller, callee) {
            return;
        }
        let call = call_of(caller, callee);
        if self.keep_call(call).is_err() {
            self.calls.truncate(0);
            self.call_index.clear();
            let _ = self.keep_call(call);
        }
    }

    fn keep_call(&mut self, call: Call) -> Result<(), Full> {
        let id = self.calls.push(call)?;
        let calls = self.calls.items();
        self.call_index.insert(call, id, &|id| calls.get(id as usize).copied().unwrap_or(0))
    }
}

/// A digest of 64 bits tells calls apart well enough: among a million of them two are alike with a probability of
/// 1 in 30 million.
fn call_of(caller: Option<&Found>, callee: u32) -> Call {
    let (serial, position) = caller.map_or((0, 0), |caller| (caller.serial, caller.position));
    hash_words(&[u64::from(serial) << 32 | u64::from(callee), position as u64])
}
