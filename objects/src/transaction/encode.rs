//! What a transaction writes.

use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::commit::Rebased;
use super::read::lent;
use super::{Copy, Transaction};
use crate::format;
use crate::kind::{Kind, Value};
use crate::reference;

/// What is allocated for a state before its length is known.
const STATE_BYTES: usize = 128;

/// An object as it is to be written.
pub(super) struct Encoded {
    pub(super) oid: Oid,
    pub(super) kind: &'static Kind,
    pub(super) value: Value,
    /// The commit that wrote what it was made from; none for a new object.
    pub(super) base: Option<Tid>,
    pub(super) state: Vec<u8>,
    /// The state's length in bytes.
    pub(super) length: usize,
    /// What it refers to; some perhaps twice.
    pub(super) refs: Vec<Oid>,
}

impl Transaction {
    /// The objects that were changed, and the new ones that these lead to, as they are to be stored.
    ///
    /// `rebased` are those that were merged with what others have made of them.
    pub(super) fn encode(&self, rebased: &FxHashMap<Oid, Rebased>) -> Result<Vec<Encoded>> {
        self.state.borrow().check_lent()?;
        let mut encoded = Vec::new();
        let mut met = FxHashSet::default();
        let mut waiting = Vec::new();
        for (oid, copy) in &self.state.borrow().copies {
            if copy.changed && copy.base.is_some() {
                waiting.push(*oid);
            }
        }
        // So that the same transaction always makes the same batch.
        waiting.sort_unstable();
        while let Some(oid) = waiting.pop() {
            let copy = self.state.borrow().copies.get(&oid).cloned();
            let Some(mut copy) = copy else {
                continue;
            };
            if let Some(rebased) = rebased.get(&oid) {
                copy.base = Some(rebased.tid);
                copy.value = rebased.merged.clone().or(copy.value);
            }
            let object = self.encode_one(oid, &copy)?;
            let state = self.state.borrow();
            for target in &object.refs {
                let new = state
                    .copies
                    .get(target)
                    .is_some_and(|copy| copy.base.is_none());
                if new && met.insert(*target) {
                    waiting.push(*target);
                }
            }
            encoded.push(object);
        }
        Ok(encoded)
    }

    /// The new objects, whether something refers to them or not.
    pub(super) fn encode_new(&self) -> Result<Vec<Encoded>> {
        let state = self.state.borrow();
        let new = state.copies.iter().filter(|(_, copy)| copy.base.is_none());
        let mut new: Vec<_> = new.map(|(oid, copy)| (*oid, copy.clone())).collect();
        drop(state);
        new.sort_unstable_by_key(|(oid, _)| *oid);
        let encoded = new.iter().map(|(oid, copy)| self.encode_one(*oid, copy));
        encoded.collect()
    }

    fn encode_one(&self, oid: Oid, copy: &Copy) -> Result<Encoded> {
        let kind = copy.kind;
        let Some(value) = &copy.value else {
            return Err(lent(oid));
        };
        let (state, refs) = self.state_of(oid, kind, value)?;
        // What cannot be read again must not be stored; and what is in the cache must be what is stored.
        let (_, stored) = format::take_header(oid, &state)?;
        let value = reference::within(self.mark(), || (kind.take)(oid, kind.version, stored));
        let value = value.map_err(|error| {
            Error::new(ErrorKind::Usage, "store an object")
                .because(format!("it could not be read again: {}", error.reason()))
                .with_oid(oid)
        })?;
        Ok(Encoded {
            oid,
            kind,
            value,
            base: copy.base,
            length: state.len(),
            state,
            refs,
        })
    }

    /// The state in which a value is stored, and what it refers to.
    pub(crate) fn state_of(
        &self,
        oid: Oid,
        kind: &'static Kind,
        value: &Value,
    ) -> Result<(Vec<u8>, Vec<Oid>)> {
        let (store, mark) = (&*self.db.store, self.mark());
        let number = self
            .db
            .types
            .number(kind, store, mark, || self.db.session_id())?;
        // Small objects are most of all; growing to their length byte by byte shows in profiles.
        let (mut state, mut refs) = (Vec::with_capacity(STATE_BYTES), Vec::new());
        format::put_header(&mut state, number);
        let written = reference::collecting(mark, &mut refs, || (kind.put)(&mut state, value));
        written.map_err(|error| {
            Error::new(ErrorKind::Usage, "store an object")
                .because(format!("{}: {error}", kind.name))
                .with_oid(oid)
        })?;
        Ok((state, refs))
    }
}
