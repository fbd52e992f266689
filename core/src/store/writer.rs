//! Writing commits: validation one by one, one engine batch for the group.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::batch::Receipt;
use super::changes;
use super::condemned::Condemned;
use super::graph::RowGraph;
use super::identities::Identities;
use super::local::Shared;
use super::meta::State;
use super::request::Request;
use super::session::SessionKind;
use super::write_set::WriteSet;
use crate::collect::graph::Graph as _;
use crate::collect::rows::JobState;
use crate::collect::{self, Collected, Collector};
use crate::engine::{Durability, Key, Op, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};

/// The writing side of a store, one thread at a time.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) state: State,
    /// The collector's state as it was written last; `collector` may be ahead of it.
    pub(super) job: JobState,
    pub(super) collector: Collector,
    /// Why nothing is collected any more, after damage was found; or, after another failure, until the
    /// next slice, which tries again. Commits go on.
    pub(super) collection_failed: Option<Error>,
    /// Why no space could be given back the last time.
    pub(super) reclaim_failed: Option<Error>,
    pub(super) identities: Identities,
    /// Why writing is refused, after a failure that leaves the disk uncertain.
    pub(super) poisoned: Option<String>,
    /// Whether another process is the writer.
    pub(super) follows: bool,
}

/// A record that a valid commit replaces.
struct Replaced {
    anchor: Option<Oid>,
    refs: Vec<Oid>,
    bytes: Vec<u8>,
}

/// Rows of the log of changes to be removed, and the commit after which it begins then.
type ForgottenRows = (Vec<(Table, Key)>, Tid);

impl Writer {
    /// Notes that collection has failed. Where it has met damage it cannot be trusted any more until that
    /// is mended; anything else, such as a full disk below a temporary file, may pass.
    pub(super) fn stop_collecting(&mut self, error: Error) {
        if error.kind() == ErrorKind::Damaged {
            tracing::error!(%error, "collection stops until the store is repaired");
        } else {
            tracing::warn!(%error, "collection failed, and will be tried again");
        }
        self.collector.reset(self.job);
        self.collection_failed = Some(error);
    }

    /// The damage for which nothing is collected any more.
    pub(super) fn damage(&self) -> Option<&Error> {
        let failed = self.collection_failed.as_ref();
        failed.filter(|error| error.kind() == ErrorKind::Damaged)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.follows {
            return Err(Error::new(ErrorKind::ReadOnly, "write to the store")
                .because("it was opened only to be read, while another process may write it"));
        }
        let Some(reason) = &self.poisoned else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Poisoned, "write to the store")
            .because(format!("an earlier write failed: {reason}"))
            .hint("Close the store and open it again: what was acknowledged is there."))
    }
}

impl Shared {
    /// Writes a group of commits in one engine batch; a result for each.
    pub(super) fn write_group(&self, requests: &[Request]) -> Vec<Result<Receipt>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_or_split(&mut writer, requests)
    }

    fn write_or_split(&self, writer: &mut Writer, requests: &[Request]) -> Vec<Result<Receipt>> {
        let collecting = writer.collection_failed.is_none();
        let result = self.try_write_group(writer, requests);
        let error = match result {
            Ok(results) => return results,
            Err(error) => error,
        };
        // Nothing was written, and what was found in preparing it does not hold.
        writer.collector.reset(writer.job);
        if collecting && writer.collection_failed.is_some() {
            // The commits can do without it.
            return self.write_or_split(writer, requests);
        }
        if requests.len() > 1 && writer.poisoned.is_none() {
            // Perhaps only one of them is too large for the space that is left, or meets damage.
            return requests
                .chunks(1)
                .flat_map(|request| self.write_or_split(writer, request))
                .collect();
        }
        requests.iter().map(|_| Err(error.duplicate())).collect()
    }

    fn try_write_group(
        &self,
        writer: &mut Writer,
        requests: &[Request],
    ) -> Result<Vec<Result<Receipt>>> {
        writer.check()?;
        let sessions = self.sessions().owners();
        let mut graph = self.graph(writer)?;
        graph.read_ahead(requests)?;
        let mut created = Vec::new();
        let mut durability = Durability::Relaxed;
        let mut results = Vec::with_capacity(requests.len());
        for request in requests {
            if let Some(known) = writer.identities.known(&graph, request)? {
                // What is written below makes one that was written before as durable as is asked now.
                durability = durability.max(request.durability);
                results.push(known.map(|tid| (tid, Collected::default())));
                continue;
            }
            let result = self.stage(&mut graph, writer, &sessions, request)?;
            if result.is_ok() {
                durability = durability.max(request.durability);
                let new = request.batch.writes.iter().filter(|write| write.create);
                created.extend(new.map(|write| (request.batch.session, write.oid)));
            }
            results.push(result);
        }
        if results.iter().all(Result::is_err) {
            let unreached = || Error::new(ErrorKind::Other, "commit").because("no result");
            return Ok(results
                .into_iter()
                .map(|result| result.and(Err(unreached())))
                .collect());
        }
        let expected_end = graph.expected_end;
        let achieved = self.write_graph(writer, graph, durability)?;
        let mut oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
        created
            .iter()
            .for_each(|(session, oid)| oids.created(*session, *oid));
        oids.skip_to(expected_end);
        drop(oids);
        self.wake_collector(writer);
        let receipt = |(tid, collected)| Receipt {
            tid,
            durability: achieved,
            collected,
        };
        Ok(results
            .into_iter()
            .map(|result| result.map(receipt))
            .collect())
    }

    /// The tables, to be changed by a group of commits or by a slice of collection.
    pub(super) fn graph<'a>(&self, writer: &Writer) -> Result<RowGraph<'a>> {
        let view = self.engine.snapshot()?;
        let condemned = self.condemned();
        let shown = |tid| self.superseded.is_shown_before(tid);
        let forgotten = condemned.as_ref().is_some_and(|now| !shown(now.tid));
        let mut graph = RowGraph::new(view, writer.state, condemned);
        if forgotten {
            graph.forget_condemned();
        }
        Ok(graph)
    }

    /// Validates a commit and adds what it does, collection included, to the group.
    ///
    /// # Errors
    /// Where it is refused, the inner one: then the group is as it was. Else the group is of no use.
    fn stage<'a>(
        &self,
        graph: &mut RowGraph<'a>,
        writer: &mut Writer,
        sessions: &[SessionId],
        request: &'a Request,
    ) -> Result<Result<(Tid, Collected)>> {
        let batch = &request.batch;
        let live = self.sessions().get(batch.session);
        let kind = live.map(|live| live.kind);
        let import = kind == Some(SessionKind::Import);
        let replaced = match self.validate(graph, request, import) {
            Ok(replaced) => replaced,
            Err(error) => return Ok(Err(error)),
        };
        graph.state.tid = graph.state.tid.next();
        let tid = graph.state.tid;
        let mut changes = Vec::with_capacity(batch.writes.len());
        let mut old_refs = Vec::with_capacity(batch.writes.len());
        for ((write, prepared), old) in batch.writes.iter().zip(&request.records).zip(replaced) {
            let (old, refs) = match old {
                Some(old) => (Some((old.anchor, old.bytes)), old.refs),
                None => (None, Vec::new()),
            };
            graph.write(write.oid, tid, prepared, &write.refs, old);
            old_refs.push(refs);
        }
        for (write, old_refs) in batch.writes.iter().zip(&old_refs) {
            changes.push(collect::Change {
                oid: write.oid,
                create: write.create,
                old_refs,
                refs: &write.refs,
            });
        }
        let committer = collect::Committer {
            // A session that has ended creates nothing, and has no pins.
            session: live.map_or(batch.session, |live| live.owner),
            hold: kind.map_or(collect::Hold::No, SessionKind::hold),
            // Of any session: what is missing may be an OID that was handed out before.
            import: self.sessions().has(SessionKind::Import),
            sessions,
        };
        if committer.import {
            note_missing(graph, &changes)?;
        }
        let collector = &mut writer.collector;
        let removed = collector.link(graph, committer, &changes)?;
        let mut collected = Collected::default();
        let budget = self.collection.commit;
        if writer.collection_failed.is_none() && (graph.state.orphans > 0 || collector.is_busy()) {
            match collector.after_commit(graph, budget, removed) {
                Ok(result) => collected = result,
                Err(error) => {
                    writer.stop_collecting(error.duplicate());
                    return Err(error);
                }
            }
        }
        let written: Vec<Oid> = batch.writes.iter().map(|write| write.oid).collect();
        graph.log_changes(&written);
        if let Some(identity) = batch.identity {
            let (key, value) = changes::recent_row(identity, tid);
            graph.rows.put(Table::Recent, key, value);
        }
        Ok(Ok((tid, collected)))
    }

    /// Writes what a graph has gathered. On failure the collector's memory is that of the tables again.
    pub(super) fn write_graph(
        &self,
        writer: &mut Writer,
        graph: RowGraph<'_>,
        durability: Durability,
    ) -> Result<Durability> {
        let result = self.write_rows(writer, graph, durability);
        if result.is_err() {
            writer.collector.reset(writer.job);
        } else {
            writer.collector.written();
            writer.job = writer.collector.job;
            self.note_health(writer);
            let left = writer.job.left;
            let before = self.condemned_left.swap(left, Ordering::Relaxed);
            if left == 0 && before > 0 {
                self.signal.wake_for_space();
            }
        }
        result
    }

    fn write_rows(
        &self,
        writer: &mut Writer,
        graph: RowGraph<'_>,
        durability: Durability,
    ) -> Result<Durability> {
        let condemned = graph.condemned.clone();
        // `write` still needs the view, for the log of changes.
        let forgotten = self.shorten_log(&graph.rows, graph.state)?;
        let (mut rows, mut state, superseded) = graph.finish();
        if let Some((keys, from)) = forgotten {
            keys.into_iter()
                .for_each(|(table, key)| rows.delete(table, key));
            state.changes_from = from;
        }
        self.write(writer, rows, state, superseded, condemned, durability)
    }

    /// The rows of the log of changes that have become too old, and where it begins then.
    fn shorten_log(&self, rows: &WriteSet, state: State) -> Result<Option<ForgottenRows>> {
        let (Some(from), Some(view)) = (
            changes::shortened(state.tid, state.changes_from),
            rows.view(),
        ) else {
            return Ok(None);
        };
        let forgotten = changes::rows_until(view, from)?;
        // Before the rows vanish, so that nobody takes a log that lacks them for complete.
        self.published().changes_from = from;
        Ok(Some((forgotten, from)))
    }

    /// Writes prepared rows with the new state as one engine batch. On success snapshots show it.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        mut rows: WriteSet,
        mut state: State,
        superseded: Vec<(Oid, Tid, Vec<u8>)>,
        condemned: Option<Arc<Condemned>>,
        durability: Durability,
    ) -> Result<Durability> {
        let limit = {
            let oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
            oids.limit_for_commit()
        };
        state.high_water = state.high_water.max(limit.unwrap_or(0));
        let (table, key) = State::key();
        rows.put(table, key, state.encode());
        rows.close_view();
        self.superseded.publish(state.tid, superseded);
        let written = rows.value_bytes();
        let achieved = self.apply_ops(writer, &rows.ops(), written, durability)?;
        let dead = (written + writer.state.live_bytes).saturating_sub(state.live_bytes);
        if self.dead.add(dead, state.live_bytes) {
            self.signal.wake_for_space();
        }
        writer.state = state;
        *self.published() = state;
        // Snapshots look here after they have got their tid.
        self.set_condemned(condemned);
        self.superseded.make_visible(state.tid);
        self.tell(state.tid);
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
        self.writes.fetch_add(1, Ordering::AcqRel);
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

    /// Decides whether a commit is valid on top of `graph`, and finds what each of its writes replaces.
    fn validate(
        &self,
        graph: &mut RowGraph<'_>,
        request: &Request,
        import: bool,
    ) -> Result<Vec<Option<Replaced>>> {
        let batch = &request.batch;
        let mut conflicts = Vec::new();
        for (oid, expected) in &batch.expects {
            let mut found = Tid::ZERO;
            if !graph.is_condemned(*oid)? {
                graph.record(*oid, &mut |record, _| {
                    found = record.tid;
                    Ok(())
                })?;
            }
            if found != *expected {
                conflicts.push(*oid);
            }
        }
        let mut replaced = Vec::with_capacity(batch.writes.len());
        let (mut gone, mut added) = (Vec::new(), Vec::new());
        for write in &batch.writes {
            let mut old = None;
            if graph.is_condemned(write.oid)? {
                gone.push(write.oid);
            } else {
                graph.record(write.oid, &mut |record, bytes| {
                    old = Some(Replaced {
                        anchor: record.anchor,
                        refs: record.refs().collect(),
                        bytes: bytes.to_vec(),
                    });
                    Ok(())
                })?;
                match (&old, write.create) {
                    (Some(_), true) => conflicts.push(write.oid),
                    (None, false) => gone.push(write.oid),
                    (None, true) if !import && !self.may_create(batch.session, write.oid) => {
                        gone.push(write.oid);
                    }
                    _ => {}
                }
            }
            let old_refs = old.as_ref().map_or(&[][..], |old| &old.refs);
            let is_new = |target: &&Oid| old_refs.binary_search(target).is_err();
            added.extend(write.refs.iter().filter(is_new).copied());
            replaced.push(old);
        }
        added.sort_unstable();
        added.dedup();
        for target in added {
            let in_batch = batch
                .writes
                .binary_search_by_key(&target, |write| write.oid)
                .is_ok();
            if !in_batch && !graph.exists(target)? && (!import || graph.is_condemned(target)?) {
                gone.push(target);
            }
        }
        refuse(conflicts, gone)?;
        Ok(replaced)
    }

    fn may_create(&self, session: SessionId, oid: Oid) -> bool {
        let oids = self.oids.lock().unwrap_or_else(PoisonError::into_inner);
        oids.may_create(session, oid)
    }

    /// Notes that session numbers up to `last` are used.
    pub(super) fn persist_sessions(&self, last: u64) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut graph = self.graph(&writer)?;
        writer.collector.job.last_session = last;
        graph.put_job(&writer.collector.job)?;
        let durability = self.offered_durability(self.durability)?;
        self.write_graph(&mut writer, graph, durability)?;
        self.sessions().persisted(last);
        Ok(())
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
        let mut graph = self.graph(&writer)?;
        graph.state.high_water = limit.max(graph.state.high_water);
        let durability = self.offered_durability(self.durability)?;
        self.write_graph(&mut writer, graph, durability).map(drop)
    }
}

/// In an import an object may be referred to before it is there.
pub(super) fn note_missing(
    graph: &mut RowGraph<'_>,
    changes: &[collect::Change<'_>],
) -> Result<()> {
    for change in changes {
        if change.create {
            graph.rows.delete(Table::Missing, Key::from(change.oid.0));
        }
    }
    for target in changes.iter().flat_map(|change| change.refs) {
        if !graph.exists(*target)? {
            graph.expect(*target);
        }
    }
    Ok(())
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
