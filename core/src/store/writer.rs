//! Writing commits: validation one by one, one engine batch for the group.

use std::sync::{MutexGuard, PoisonError};

use super::batch::{Batch, Receipt, Write};
use super::changes;
use super::local::Shared;
use super::meta::State;
use super::write_set::WriteSet;
use crate::collect::{Collected, OidSet};
use crate::engine::{Durability, Key, Op, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};
use crate::record::{self, Record};

/// A commit that waits to be written: its data is compressed already, outside of any lock.
#[derive(Debug)]
pub(super) struct Request {
    batch: Batch,
    /// The stored forms, with tid 0 in the place of that which is known only when they are written.
    records: Vec<Vec<u8>>,
    durability: Durability,
}

/// The writing side of a store, one thread at a time.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) state: State,
    /// Objects that an unfinished collection is deleting: for commits they are gone.
    pub(super) condemned: OidSet,
    /// Why writing is refused, after a failure that leaves the disk uncertain.
    pub(super) poisoned: Option<String>,
}

/// What a valid commit replaces.
struct Replaced {
    /// Stored bytes by object, for snapshots.
    records: Vec<(Oid, Vec<u8>)>,
    bytes: u64,
}

impl Writer {
    pub(super) fn check(&self) -> Result<()> {
        let Some(reason) = &self.poisoned else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Poisoned, "write to the store")
            .because(format!("an earlier write failed: {reason}"))
            .hint("Close the store and open it again: what was acknowledged is there."))
    }
}

impl Shared {
    /// Does all of a commit's work that needs neither its tid nor the current state.
    pub(super) fn prepare(&self, mut batch: Batch, durability: Durability) -> Result<Request> {
        let durability = self.offered_durability(durability)?;
        batch.normalize()?;
        let codec = batch.codec.unwrap_or(self.codec);
        let mut buffer = Vec::new();
        let mut records = Vec::with_capacity(batch.writes.len());
        for Write {
            oid, data, refs, ..
        } in &batch.writes
        {
            let payload = self.codecs.compress(codec, data, &mut buffer)?;
            let mut encoded = Vec::with_capacity(data.len() + refs.len() + 32);
            record::encode(*oid, Tid::ZERO, None, refs, payload, &mut encoded);
            // The tid that replaces the 0 takes up to nine bytes more.
            if encoded.len() as u64 + 9 > self.capabilities.value_bytes_max {
                let limit = self.capabilities.value_bytes_max;
                return Err(Error::new(ErrorKind::TooLarge, "commit")
                    .with_engine(self.capabilities.name)
                    .because(format!(
                        "the object takes {} bytes, the engine {limit}",
                        data.len()
                    ))
                    .with_oid(*oid));
            }
            records.push(encoded);
        }
        Ok(Request {
            batch,
            records,
            durability,
        })
    }

    /// The weakest level that the engine offers and that is at least `durability`.
    pub(super) fn offered_durability(&self, durability: Durability) -> Result<Durability> {
        let offered = &self.capabilities.durability;
        if let Some(level) = offered.iter().filter(|level| **level >= durability).min() {
            return Ok(*level);
        }
        let names: Vec<&str> = offered.iter().map(|level| level.name()).collect();
        Err(Error::new(ErrorKind::Unsupported, "commit")
            .with_engine(self.capabilities.name)
            .because(format!(
                "the engine does not offer the durability {}",
                durability.name()
            ))
            .hint(format!("It offers {}.", names.join(", "))))
    }

    /// Writes a group of commits in one engine batch; a result for each.
    pub(super) fn write_group(&self, requests: &[Request]) -> Vec<Result<Receipt>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match self.try_write_group(&mut writer, requests) {
            Ok(results) => results,
            // Perhaps only one of them is too large for the space that is left.
            Err(error) if error.kind() == ErrorKind::Full && requests.len() > 1 => requests
                .chunks(1)
                .flat_map(|request| {
                    self.try_write_group(&mut writer, request)
                        .unwrap_or_else(|error| vec![Err(error)])
                })
                .collect(),
            Err(error) => requests.iter().map(|_| Err(error.duplicate())).collect(),
        }
    }

    fn try_write_group(
        &self,
        writer: &mut Writer,
        requests: &[Request],
    ) -> Result<Vec<Result<Receipt>>> {
        writer.check()?;
        let mut rows = WriteSet::new(self.engine.snapshot()?);
        let mut state = writer.state;
        let mut superseded = Vec::new();
        let mut created = Vec::new();
        let mut durability = Durability::Relaxed;
        let mut results = Vec::with_capacity(requests.len());
        for request in requests {
            match self.validate(&rows, &mut writer.condemned, request) {
                Ok(replaced) => {
                    state.tid = state.tid.next();
                    durability = durability.max(request.durability);
                    let tid = state.tid;
                    results.push(Ok(tid));
                    state.live_bytes = state.live_bytes.saturating_sub(replaced.bytes);
                    superseded.extend(
                        replaced
                            .records
                            .into_iter()
                            .map(|(oid, bytes)| (oid, tid, bytes)),
                    );
                    stage(&mut rows, &mut state, &mut created, request);
                }
                Err(error) => results.push(Err(error)),
            }
        }
        if results.iter().all(Result::is_err) {
            return Ok(results
                .into_iter()
                .map(|result| result.and(Err(unreached())))
                .collect());
        }
        let achieved = self.write(writer, rows, state, superseded, durability)?;
        let mut oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
        created
            .iter()
            .for_each(|(session, oid)| oids.created(*session, *oid));
        let receipt = |tid| Receipt {
            tid,
            durability: achieved,
            collected: Collected::default(),
        };
        Ok(results
            .into_iter()
            .map(|result| result.map(receipt))
            .collect())
    }

    /// Writes prepared rows with the new state as one engine batch. On success snapshots show it.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        mut rows: WriteSet,
        mut state: State,
        superseded: Vec<(Oid, Tid, Vec<u8>)>,
        durability: Durability,
    ) -> Result<Durability> {
        if let (Some(from), Some(view)) = (
            changes::shortened(state.tid, state.changes_from),
            rows.view(),
        ) {
            let forgotten = changes::rows_until(view, from)?;
            forgotten
                .into_iter()
                .for_each(|(table, key)| rows.delete(table, key));
            state.changes_from = from;
            // Before the rows vanish, so that nobody takes a log that lacks them for complete.
            self.published().changes_from = from;
        }
        let limit = {
            let oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
            oids.limit_for_commit()
        };
        state.high_water = state.high_water.max(limit.unwrap_or(0));
        let (table, key) = State::key();
        rows.put(table, key, state.encode());
        rows.close_view();
        self.superseded.publish(state.tid, superseded);
        let achieved = self.apply_ops(writer, &rows.ops(), rows.value_bytes(), durability)?;
        writer.state = state;
        *self.published() = state;
        self.superseded.make_visible(state.tid);
        let mut oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
        oids.set_limit(state.high_water);
        drop(oids);
        self.views.sweep();
        Ok(achieved)
    }

    /// Applies operations to the engine, again after making room for `bytes` where it asks for that.
    pub(super) fn apply_ops(
        &self,
        writer: &mut Writer,
        ops: &[Op<'_>],
        bytes: u64,
        durability: Durability,
    ) -> Result<Durability> {
        /// Each attempt at least doubles the room, so that this many are never needed.
        const ATTEMPTS_MAX: usize = 40;
        // For the case that the engine panics; taken back when it returns.
        writer.poisoned = Some("the engine failed while it was writing".to_owned());
        let mut result = self.engine.apply(ops, durability);
        for _ in 0..ATTEMPTS_MAX {
            match &result {
                Err(error) if error.kind() == ErrorKind::NeedsRoom => {
                    result = self
                        .views
                        .without_views(|| self.engine.make_room(bytes))
                        .and_then(|()| self.engine.apply(ops, durability));
                }
                _ => break,
            }
        }
        writer.poisoned = None;
        result.map_err(|error| self.poison_by(writer, error))
    }

    /// The state as of the newest visible commit, which can be read while a commit is being written.
    pub(super) fn published(&self) -> MutexGuard<'_, State> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the disk is uncertain after `error`, unless that kind leaves everything as it was.
    pub(super) fn poison_by(&self, writer: &mut Writer, error: Error) -> Error {
        use ErrorKind::{Full, InUse, NeedsRoom, TooLarge, Unsupported};
        if !matches!(
            error.kind(),
            Full | InUse | NeedsRoom | TooLarge | Unsupported
        ) {
            tracing::error!(%error, "a write failed; the store refuses writes until reopened");
            writer.poisoned = Some(error.to_string());
        }
        error.with_engine(self.capabilities.name)
    }

    /// Decides whether a commit is valid on top of `rows`, and finds what it replaces.
    fn validate(
        &self,
        rows: &WriteSet,
        condemned: &mut OidSet,
        request: &Request,
    ) -> Result<Replaced> {
        let batch = &request.batch;
        let mut conflicts = Vec::new();
        for (oid, expected) in &batch.expects {
            let mut found = Tid::ZERO;
            read_record(rows, *oid, &mut |record| found = record.tid)?;
            if found != *expected {
                conflicts.push(*oid);
            }
        }
        let mut replaced = Replaced {
            records: Vec::new(),
            bytes: 0,
        };
        let (mut gone, mut added) = (Vec::new(), Vec::new());
        for write in &batch.writes {
            if condemned.contains(write.oid)? {
                gone.push(write.oid);
                continue;
            }
            let mut old_bytes = None;
            let mut old_refs = Vec::new();
            let key = Key::from(write.oid.0);
            rows.get(Table::Objects, key, &mut |bytes| {
                old_bytes = Some(bytes.to_vec())
            })?;
            match (old_bytes, write.create) {
                (Some(_), true) => conflicts.push(write.oid),
                (None, false) => gone.push(write.oid),
                (None, true) => {
                    let allowed = {
                        let oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
                        oids.may_create(batch.session, write.oid)
                    };
                    if !allowed {
                        gone.push(write.oid);
                    }
                }
                (Some(bytes), false) => {
                    old_refs.extend(Record::parse(write.oid, &bytes)?.refs());
                    replaced.bytes += bytes.len() as u64;
                    replaced.records.push((write.oid, bytes));
                }
            }
            let is_new = |target: &&Oid| old_refs.binary_search(target).is_err();
            added.extend(write.refs.iter().filter(is_new).copied());
        }
        added.sort_unstable();
        added.dedup();
        for target in added {
            let in_batch = batch
                .writes
                .binary_search_by_key(&target, |write| write.oid)
                .is_ok();
            let exists = in_batch || rows.get(Table::Objects, Key::from(target.0), &mut |_| {})?;
            if !exists || condemned.contains(target)? {
                gone.push(target);
            }
        }
        refuse(conflicts, gone)?;
        Ok(replaced)
    }

    /// Moves the OID mark, so that at least `count` more can be handed out.
    pub(super) fn extend_oids(&self, count: u32) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let limit = {
            let oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
            if !oids.has_left(count) {
                return Err(Error::new(ErrorKind::TooLarge, "hand out OIDs")
                    .because("nearly all OIDs below 2^63 have been handed out"));
            }
            oids.next_limit(count)
        };
        let rows = WriteSet::new(self.engine.snapshot()?);
        let state = State {
            high_water: limit.max(writer.state.high_water),
            ..writer.state
        };
        let durability = self.offered_durability(self.durability)?;
        self.write(&mut writer, rows, state, Vec::new(), durability)
            .map(drop)
    }
}

/// Adds the rows of a valid commit, numbered `state.tid`.
fn stage(
    rows: &mut WriteSet,
    state: &mut State,
    created: &mut Vec<(SessionId, Oid)>,
    request: &Request,
) {
    let tid = state.tid;
    let session = request.batch.session;
    let mut written = Vec::with_capacity(request.records.len());
    for (write, prepared) in request.batch.writes.iter().zip(&request.records) {
        let stored = record::with_tid(write.oid, prepared, tid);
        state.live_bytes += stored.len() as u64;
        state.objects += u64::from(write.create);
        state.high_water = state.high_water.max(write.oid.0.saturating_add(1));
        if write.create {
            created.push((session, write.oid));
        }
        written.push(write.oid);
        rows.put(Table::Objects, Key::from(write.oid.0), stored);
    }
    for (key, value) in changes::rows(tid, &written, &[]) {
        rows.put(Table::Changes, key, value);
    }
    if let Some(identity) = request.batch.identity {
        let (key, value) = changes::recent_row(identity, tid);
        rows.put(Table::Recent, key, value);
    }
}

fn read_record(rows: &WriteSet, oid: Oid, visit: &mut dyn FnMut(Record<'_>)) -> Result<bool> {
    let mut result = Ok(());
    let found = rows.get(Table::Objects, Key::from(oid.0), &mut |bytes| {
        result = Record::parse(oid, bytes).map(&mut *visit);
    })?;
    result.map(|()| found)
}

fn refuse(mut conflicts: Vec<Oid>, mut gone: Vec<Oid>) -> Result<()> {
    if !conflicts.is_empty() {
        conflicts.sort_unstable();
        conflicts.dedup();
        return Err(Error::new(ErrorKind::Conflict, "commit")
            .because("other commits have changed what this one depends on")
            .with_oids(conflicts)
            .hint("Read these objects again and retry."));
    }
    if gone.is_empty() {
        return Ok(());
    }
    gone.sort_unstable();
    gone.dedup();
    Err(Error::new(ErrorKind::Gone, "commit")
        .because("objects that it changes, creates or refers to do not exist, or no longer")
        .with_oids(gone)
        .hint("Read anew and retry; new objects need OIDs from `new_oids` of the same session."))
}

fn unreached() -> Error {
    Error::new(ErrorKind::Other, "commit").because("no result")
}
