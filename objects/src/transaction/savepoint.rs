//! Savepoints: going back to a former state of a transaction.

use std::sync::atomic::{AtomicU64, Ordering};

use durum_core::{Error, ErrorKind, Oid, Result};
use rustc_hash::FxHashMap;

use super::read::lent;
use super::{Copy, Read, Saved, Transaction};
use crate::kind::Value;

/// The numbers of savepoints, of all transactions.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A state of a transaction, to which it can go back.
#[derive(Clone, Debug)]
pub struct Savepoint {
    number: u64,
}

impl Transaction {
    /// Remembers the present state. Savepoints nest: going back to one forgets those that were made after it,
    /// a commit or an abort all. One costs what is changed after it, not what was before.
    pub fn savepoint(&self) -> Savepoint {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        self.savepoint_now.set(number);
        let mut state = self.state.borrow_mut();
        let copies = FxHashMap::default();
        state.saved.push(Saved { number, copies });
        Savepoint { number }
    }

    /// Undoes what was changed after `point`, which can be gone back to again. Objects that were made after it
    /// are no longer there. What was read since counts as read.
    ///
    /// # Errors
    /// `Usage` where it is gone, or where an object that was changed since is still borrowed.
    pub fn roll_back(&self, point: &Savepoint) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let mut numbers = state.saved.iter().map(|saved| saved.number);
        let Some(position) = numbers.position(|number| number == point.number) else {
            return Err(Error::new(ErrorKind::Usage, "go back to a savepoint")
                .because("there was a commit, an abort or a return to an earlier one since"));
        };
        let undone = state.saved.get(position..).unwrap_or_default();
        let mut undone = undone.iter().flat_map(|saved| saved.copies.keys());
        let is_lent = |oid: &&Oid| {
            let copy = state.copies.get(*oid);
            copy.is_some_and(|copy| copy.value.is_none())
        };
        if let Some(oid) = undone.find(is_lent) {
            return Err(lent(*oid));
        }
        // The oldest of what was saved is what was there.
        for saved in state.saved.split_off(position).into_iter().rev() {
            for (oid, copy) in saved.copies {
                let undone = match copy {
                    Some(copy) => state.copies.insert(oid, copy),
                    None => state.copies.remove(&oid),
                };
                // To change an object is to have read it.
                if let Some(Copy {
                    kind,
                    base: Some(tid),
                    ..
                }) = undone
                {
                    state.reads.entry(oid).or_insert(Read { tid, kind });
                }
            }
        }
        let number = point.number;
        let copies = FxHashMap::default();
        state.saved.push(Saved { number, copies });
        Ok(())
    }

    /// Runs `work` and undoes what it has changed where it fails. If that is impossible, because something that it
    /// has changed is still borrowed, the transaction can only be aborted.
    ///
    /// # Errors
    /// That of `work`; as [`Transaction::roll_back`].
    pub fn nested<R>(&self, work: impl FnOnce(&Transaction) -> Result<R>) -> Result<R> {
        self.try_nested(work)
    }

    /// As [`Transaction::nested`], for work with errors of its own.
    ///
    /// # Errors
    /// As [`Transaction::nested`].
    pub fn try_nested<R, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        let point = self.savepoint();
        let result = work(self);
        if result.is_err() {
            let undone = self.roll_back(&point);
            // Half of what `work` did must not be committed.
            self.broken.set(self.broken.get() || undone.is_err());
            undone?;
        }
        self.release(&point);
        result
    }

    /// Forgets a savepoint and those after it, and keeps what was changed since.
    pub fn release(&self, point: &Savepoint) {
        let mut state = self.state.borrow_mut();
        let mut numbers = state.saved.iter().map(|saved| saved.number);
        let Some(position) = numbers.position(|number| number == point.number) else {
            return;
        };
        let released = state.saved.split_off(position);
        if let Some(last) = state.saved.last_mut() {
            for (oid, copy) in released.into_iter().flat_map(|saved| saved.copies) {
                last.copies.entry(oid).or_insert(copy);
            }
        }
    }

    /// Saves an object that was lent before the last savepoint and is now changed.
    pub(super) fn save_lent(&self, oid: Oid, value: Value, changed: bool) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(last) = state.saved.last_mut()
            && let Some(copy) = state.copies.get(&oid)
        {
            let mut copy = copy.clone();
            copy.value = Some(value);
            copy.changed |= changed;
            last.copies.entry(oid).or_insert(Some(copy));
        }
    }

    /// Saves what is there of an object before it is changed.
    pub(super) fn save(&self, oid: Oid) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(last) = state.saved.last_mut() {
            let copies = &state.copies;
            last.copies
                .entry(oid)
                .or_insert_with(|| copies.get(&oid).cloned());
        }
    }
}
