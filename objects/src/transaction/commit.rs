//! Commits, and conflicts that can be resolved.

use std::mem::take;
use std::sync::Arc;

use durum_core::engine::Durability;
use durum_core::store::{Batch, CommitId, Receipt, Snapshot};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use rustc_hash::FxHashMap;

use super::Transaction;
use super::encode::Encoded;
use crate::cache::Version;
use crate::kind::{Kind, Value};
use crate::persistent::Resolution;

/// How often a commit is merged with what others have committed just before. Each time another one has
/// succeeded: where that goes on for so long, it is better to wait a while.
const MERGES: usize = 64;

/// An object that others have changed meanwhile, where that does no harm.
pub(super) struct Rebased {
    /// The commit that wrote what they have made of it, and that.
    pub(super) tid: Tid,
    theirs: Value,
    /// What both come to; absent where this transaction has only read the object.
    pub(super) merged: Option<Value>,
}

/// Kept apart from the transaction's own state, which must stay as it is if the commit fails after all.
type AllRebased = FxHashMap<Oid, Rebased>;

impl Transaction {
    /// Stores what was changed, durably, and goes on with the newest state; returns the commit's number, or
    /// `None` where nothing was changed.
    ///
    /// Where another transaction has changed what this one has read or changed, since it began, and the changes
    /// cannot be merged, nothing is stored. The transaction stays as it is then: [`Transaction::abort`] undoes
    /// what it did, and [`Database::transact`](crate::Database::transact) does that and repeats it.
    ///
    /// # Errors
    /// `Conflict`, naming the objects; `Gone` where an object refers to one that was deleted meanwhile; `Full`
    /// and others of the store's commits; `Usage` for a value that refers to an object of another database.
    pub fn commit(&mut self) -> Result<Option<Tid>> {
        let result = self.try_commit();
        if result.is_ok() {
            self.forget();
        }
        self.watched(result)
    }

    fn try_commit(&mut self) -> Result<Option<Tid>> {
        if self.broken.get() {
            return Err(Error::new(ErrorKind::Usage, "commit")
                .because("a part of the transaction failed and could not be undone: it had borrowed objects changed")
                .hint("Abort the transaction."));
        }
        if let Some(identity) = self.unsure
            && let Some(tid) = self.db.store.outcome(identity)?
        {
            return Ok(Some(tid));
        }
        self.unsure = None;
        let mut rebased = AllRebased::default();
        for _ in 0..MERGES {
            let mut encoded = self.encode(&rebased)?;
            if encoded.is_empty() {
                return Ok(None);
            }
            let mut batch = self.batch(&mut encoded, &rebased)?;
            let identity = self.db.store.is_remote().then(identity).transpose()?;
            if let Some(identity) = identity {
                batch.identify(identity);
            }
            let error = match self.db.store.commit(batch, self.db.durability) {
                Ok(receipt) => {
                    self.committed(&receipt, encoded);
                    return Ok(Some(receipt.tid));
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Conflict => self.merge(&error, &mut rebased)?,
                ErrorKind::Gone => return Err(self.gone(error)),
                ErrorKind::Unreachable => {
                    self.unsure = identity;
                    return Err(error.hint(
                        "Whether this was committed is not known: commit again once the server is there, which finds \
                         out and does it once.",
                    ));
                }
                _ => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "commit")
            .because("others have changed the same objects all the time"))
    }

    /// Something that this refers to is gone, or the OIDs of new objects are, with the server that handed them out.
    fn gone(&mut self, error: Error) -> Error {
        let state = self.state.get_mut();
        let is_new = |oid: &Oid| {
            state
                .copies
                .get(oid)
                .is_some_and(|copy| copy.base.is_none())
        };
        let new: Vec<Oid> = error.oids().iter().copied().filter(is_new).collect();
        if new.is_empty() && !error.oids().is_empty() {
            return error;
        }
        self.db.forget_oids();
        for oid in new {
            state.copies.remove(&oid);
        }
        error.hint("The server has forgotten the OIDs of new objects: abort, and make them anew.")
    }

    /// Stores the objects that were made, though nothing refers to them yet. They are kept until the database is
    /// closed. Nothing else must have been changed.
    pub(crate) fn store_new(&mut self) -> Result<()> {
        let mut encoded = self.encode_new()?;
        if !encoded.is_empty() {
            // The commit that links them is as durable as asked for, and those before it are then, too.
            let batch = self.batch(&mut encoded, &AllRebased::default())?;
            let receipt = self.db.store.commit(batch, Durability::Relaxed)?;
            self.committed(&receipt, encoded);
        }
        self.forget();
        Ok(())
    }

    /// The batch, which takes the states and references.
    fn batch(&self, encoded: &mut [Encoded], rebased: &AllRebased) -> Result<Batch> {
        let mut batch = Batch::of(self.db.session_id()?);
        batch.expect_incarnation(self.snapshot()?.incarnation());
        for object in encoded {
            let (state, refs) = (take(&mut object.state), take(&mut object.refs));
            match object.base {
                Some(_) => batch.update(object.oid, state, refs),
                None => batch.create(object.oid, state, refs),
            };
        }
        let state = self.state.borrow();
        let reads = state.reads.iter().map(|(oid, read)| (*oid, read.tid));
        let reads = reads.filter(|(oid, _)| !state.copies.contains_key(oid));
        let copies = state.copies.iter();
        let copies = copies.filter_map(|(oid, copy)| Some((*oid, copy.base?)));
        for (oid, tid) in reads.chain(copies) {
            batch.expect(oid, rebased.get(&oid).map_or(tid, |rebased| rebased.tid));
        }
        Ok(batch)
    }

    /// The cache takes what was stored.
    fn committed(&mut self, receipt: &Receipt, encoded: Vec<Encoded>) {
        let state = self.state.get_mut();
        for object in &encoded {
            state.copies.remove(&object.oid);
        }
        let tid = receipt.tid;
        let written = encoded.into_iter().map(|object| {
            let version = Version::new(tid, object.kind, object.value, object.length);
            (object.oid, object.base.is_some(), version)
        });
        let alone = receipt.collected.objects == 0;
        self.db.cache.committed(tid, alone, written);
    }

    /// Brings what `error` names up to what others have made of it, where that is possible.
    fn merge(&self, error: &Error, rebased: &mut AllRebased) -> Result<()> {
        let newest = self.db.cache.snapshot(&*self.db.store)?;
        let mut left = Vec::new();
        for oid in error.oids() {
            match self.merge_one(*oid, &*newest, rebased)? {
                Some(one) => drop(rebased.insert(*oid, one)),
                None => left.push(*oid),
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(self.conflict(left)),
        }
    }

    fn conflict(&self, oids: Vec<Oid>) -> Error {
        let state = self.state.borrow();
        let named = oids.iter().take(3).map(|oid| {
            let copy = state.copies.get(oid).map(|copy| copy.kind.name);
            let kind = copy.or_else(|| state.reads.get(oid).map(|read| read.kind.name));
            format!("{oid} ({})", kind.unwrap_or("unknown"))
        });
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match oids.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Error::new(ErrorKind::Conflict, "commit")
            .because(format!("another transaction has changed {named}{more}"))
            .hint("Repeat the transaction on the newest state, as Database::transact does.")
            .with_oids(oids)
    }

    /// What becomes of the conflict about `oid`; none where it stays one.
    fn merge_one(
        &self,
        oid: Oid,
        newest: &dyn Snapshot,
        rebased: &AllRebased,
    ) -> Result<Option<Rebased>> {
        let state = self.state.borrow();
        let read = state.reads.get(&oid);
        let (kind, mine, tid) = match (state.copies.get(&oid), read) {
            (Some(copy), _) => {
                let changed = copy.value.clone().filter(|_| copy.changed);
                (copy.kind, changed, copy.base)
            }
            (None, Some(read)) => (read.kind, None, Some(read.tid)),
            (None, None) => return Ok(None),
        };
        let before = rebased.get(&oid);
        let mine = before.and_then(|it| it.merged.clone()).or(mine);
        let base = match before {
            Some(before) => Some(Arc::clone(&before.theirs)),
            None => self.base(oid, kind, tid)?,
        };
        let theirs = self.read_at(newest, oid, kind)?;
        let (Some(base), Some((tid, theirs))) = (base, theirs) else {
            return Ok(None);
        };
        let observed = state.observed.get(&oid).map(|observed| &**observed);
        let merged = match kind.resolve(&base, mine.as_ref(), &theirs, observed) {
            Resolution::Merged(value) => Some(value),
            Resolution::Unaffected if mine.is_none() => None,
            Resolution::Unaffected | Resolution::Conflict => return Ok(None),
        };
        Ok(Some(Rebased {
            tid,
            theirs,
            merged,
        }))
    }

    /// The version of `oid` that the transaction has read; none where it cannot be had any more.
    fn base(&self, oid: Oid, kind: &'static Kind, tid: Option<Tid>) -> Result<Option<Value>> {
        match self.read_at(self.snapshot()?, oid, kind) {
            Ok(found) => Ok(found
                .filter(|(read, _)| Some(*read) == tid)
                .map(|(_, value)| value)),
            Err(error) if error.kind() == ErrorKind::TooOld => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An identity for a commit whose answer may get lost.
fn identity() -> Result<CommitId> {
    let mut identity = CommitId::default();
    getrandom::fill(&mut identity).map_err(|error| {
        Error::new(ErrorKind::Io, "commit")
            .because(format!("the system's random source failed: {error}"))
    })?;
    Ok(identity)
}
