//! Bringing a store that was filled by an import up to date with what it was filled from, before it
//! appears.

use std::sync::PoisonError;

use super::graph::RowGraph;
use super::local::Shared;
use super::meta::import_row;
use super::oids::OidAllocator;
use super::open::StagedStore;
use super::row_batch::RowBatch;
use super::sealed::sealed;
use super::table_rows::TableWalk;
use super::writer::{Writer, note_missing};
use crate::collect::rows::Links;
use crate::collect::{self, Hold, remove};
use crate::engine::{Key, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};
use crate::record::{self, Codec, Codecs, Payload};

impl StagedStore {
    /// Begins to bring the store up to date, after an import that was
    /// [left open](super::Importer::leave_open).
    pub fn catch_up(&self) -> CatchUp<'_> {
        CatchUp {
            shared: &self.store().shared,
            puts: Vec::new(),
            deletes: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes [sealing](CatchUp::seal) back: the next [importer](StagedStore::resumable_importer) finds all
    /// objects there, and its end computes anew what is to be known of them. `note` is the one that
    /// [`StagedStore::resume`] gives back from now on.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn unseal(&self, note: &[u8]) -> Result<()> {
        let shared = &self.store().shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut graph = shared.graph(&writer)?;
        // As an import that was cut off leaves it.
        (
            graph.state.objects,
            graph.state.live_bytes,
            graph.state.orphans,
        ) = (0, 0, 0);
        let (table, key) = import_row();
        graph.rows.put(table, key, sealed(note));
        shared
            .write_graph(&mut writer, graph, shared.bulk_durability()?)
            .map(drop)
    }
}

/// Puts and deletes objects of a staged store as they were put and deleted elsewhere: with their OIDs
/// and tids, in any order. Between two writes objects may refer to others that are not there.
///
/// Nothing is logged, and nobody is shown an earlier state: the store is nobody's yet.
#[derive(Debug)]
pub struct CatchUp<'a> {
    shared: &'a Shared,
    puts: Vec<Put>,
    deletes: Vec<Oid>,
    bytes: usize,
}

#[derive(Debug)]
struct Put {
    oid: Oid,
    tid: Tid,
    refs: Vec<Oid>,
    /// The stored form, with neither tid nor anchor.
    prepared: Vec<u8>,
}

impl CatchUp<'_> {
    /// Creates an object, or replaces the one with this OID. `refs` are ascending, each once, without
    /// `oid`; the data may be compressed with a dictionary that `source` knows. To be called once for an
    /// object between two writes.
    ///
    /// # Errors
    /// `TooLarge`; `Damaged` for a payload that does not decompress.
    pub fn put(
        &mut self,
        oid: Oid,
        tid: Tid,
        refs: &[Oid],
        payload: Payload<'_>,
        source: &Codecs,
    ) -> Result<()> {
        let own = self.shared.codec;
        let mut prepared = Vec::with_capacity(payload.stored_length() + refs.len() * 2 + 32);
        if payload.codec() == own && own != Codec::ZstdDict {
            record::encode(oid, Tid::ZERO, None, refs, payload, &mut prepared);
        } else {
            let (mut data, mut buffer) = (Vec::new(), Vec::new());
            source
                .decompress(payload, &mut data)
                .map_err(|error| error.with_oid(oid))?;
            let payload = self.shared.codecs.compress(own, &data, &mut buffer)?;
            record::encode(oid, Tid::ZERO, None, refs, payload, &mut prepared);
        }
        // The tid and the anchor that are to come take up to nine bytes more each.
        self.shared.check_length(DOING, oid, prepared.len() + 18)?;
        self.bytes += prepared.len() + refs.len() * 8 + ENTRY_BYTES;
        self.puts.push(Put {
            oid,
            tid,
            refs: refs.to_vec(),
            prepared,
        });
        Ok(())
    }

    /// Deletes an object, where it is there.
    pub fn delete(&mut self, oid: Oid) {
        self.bytes += ENTRY_BYTES;
        self.deletes.push(oid);
    }

    /// Bytes of memory, about, that what is to be written takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }

    /// Writes what was put and deleted since the last time, all or nothing, with the `note` that
    /// [`StagedStore::resume`] gives back. The last commit of the store is `tid` then, if it was not later,
    /// and no OID below `oids_from` will be handed out.
    ///
    /// # Errors
    /// `Full` and others of the engine; what was to be written is lost.
    pub fn write(&mut self, tid: Tid, oids_from: Oid, note: &[u8]) -> Result<()> {
        let mut puts = std::mem::take(&mut self.puts);
        let deletes = std::mem::take(&mut self.deletes);
        self.bytes = 0;
        puts.sort_unstable_by_key(|put| put.oid);
        let twice = puts.windows(2).find_map(|pair| match pair {
            [one, two] if one.oid == two.oid => Some(one.oid),
            _ => None,
        });
        if let Some(oid) = twice {
            return Err(Error::new(ErrorKind::Usage, DOING)
                .because("an object was put twice")
                .with_oid(oid));
        }
        let shared = self.shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let written = self.write_all(&mut writer, (tid, oids_from), (&puts, &deletes), note);
        // It remembers what was so before something was deleted behind its back.
        let job = writer.job;
        writer.collector.reset(job);
        written
    }

    fn write_all(
        &self,
        writer: &mut Writer,
        (tid, oids_from): (Tid, Oid),
        (puts, deletes): (&[Put], &[Oid]),
        note: &[u8],
    ) -> Result<()> {
        let shared = self.shared;
        let mut graph = shared.graph(writer)?;
        let state = &mut graph.state;
        state.tid = state.tid.max(tid);
        state.high_water = state.high_water.max(oids_from.min(Oid::MAX).0);
        // The log of changes knows nothing of what came before the store appears.
        state.changes_from = state.tid;
        let old = put_all(&mut graph, puts)?;
        let changes: Vec<_> = puts
            .iter()
            .zip(&old)
            .map(|(put, old)| collect::Change {
                oid: put.oid,
                create: old.is_none(),
                old_refs: old.as_deref().unwrap_or_default(),
                refs: &put.refs,
            })
            .collect();
        note_missing(&mut graph, &changes)?;
        let committer = collect::Committer {
            session: PINNING,
            hold: Hold::No,
            import: true,
            sessions: &[PINNING],
        };
        writer.collector.link(&mut graph, committer, &changes)?;
        for oid in deletes {
            if remove(&mut graph, PINNING, *oid)? {
                graph.expect(*oid);
            }
        }
        let (table, key) = import_row();
        graph.rows.put(table, key, sealed(note));
        shared
            .write_graph(writer, graph, shared.bulk_durability()?)
            .map(drop)
    }

    /// Ends it: what is referred to and not there is not expected any more. Returns the number of
    /// references to such objects. Where there are any, `note` replaces the one that
    /// [`StagedStore::resume`] gives back: the store can only be [published](StagedStore::publish) then, or
    /// be [unsealed](StagedStore::unseal).
    ///
    /// # Errors
    /// Those of the engine.
    pub fn seal(self, note: &[u8]) -> Result<u64> {
        let shared = self.shared;
        let dangling = self.forget_missing(note)?;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let graph = shared.graph(&writer)?;
        let root = graph.rows.get(Table::Objects, Key::MIN, &mut |_| {})?;
        let high_water = graph.state.high_water;
        *shared.oids.lock().unwrap_or_else(PoisonError::into_inner) =
            OidAllocator::new(high_water, root);
        shared.write_graph(&mut writer, graph, shared.bulk_durability()?)?;
        if !writer.collector.ended.contains(&PINNING) {
            writer.collector.ended.push(PINNING);
        }
        Ok(dangling)
    }

    /// Deletes the referrers of what is not there, after `note` says so.
    fn forget_missing(&self, note: &[u8]) -> Result<u64> {
        let shared = self.shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = RowBatch::new(shared, &mut writer, shared.bulk_durability()?);
        let (mut dangling, mut noted) = (0, false);
        let mut missing = TableWalk::new(Table::Missing);
        while let Some((key, _)) = missing.next(shared)? {
            let (there, links) = self.look_for(key)?;
            dangling += links.map_or(0, |links| links.inline.len() as u64 + links.more);
            if !there {
                if !noted {
                    let (table, note_key) = import_row();
                    batch.push(table, note_key, Some(&sealed(note)))?;
                    batch.flush()?;
                    noted = true;
                }
                let mut more = TableWalk::starting(Table::ReferrersMore, Key::pair(key.first, 0));
                while let Some((referrer, _)) = more.next(shared)?
                    && referrer.first == key.first
                {
                    batch.push(Table::ReferrersMore, referrer, None)?;
                }
                batch.push(Table::Referrers, key, None)?;
            }
            batch.push(Table::Missing, key, None)?;
        }
        batch.flush()?;
        Ok(dangling)
    }

    /// Whether the object is there, and what is known of its referrers where it is not.
    fn look_for(&self, key: Key) -> Result<(bool, Option<Links>)> {
        let view = self.shared.view()?;
        let view = view.engine()?;
        if view.get(Table::Objects, key, &mut |_| {})? {
            return Ok((true, None));
        }
        let mut links = None;
        view.get(Table::Referrers, key, &mut |bytes| {
            links = Some(Links::decode(Oid(key.first), bytes));
        })?;
        Ok((false, links.transpose()?))
    }
}

/// Puts objects into the graph; the references of those that are replaced.
fn put_all<'a>(graph: &mut RowGraph<'a>, puts: &'a [Put]) -> Result<Vec<Option<Vec<Oid>>>> {
    let mut old_refs = Vec::with_capacity(puts.len());
    for put in puts {
        let mut old = None;
        graph.record(put.oid, &mut |record, bytes| {
            let refs: Vec<Oid> = record.refs().collect();
            old = Some((refs, (record.anchor, bytes.to_vec())));
            Ok(())
        })?;
        let (refs, old) = old.unzip();
        graph.write(put.oid, put.tid, &put.prepared, &put.refs, old);
        old_refs.push(refs);
    }
    Ok(old_refs)
}

/// What is not linked yet is pinned under this number, which no live session uses: the same each time the
/// store is taken up again. In the end these pins are those of a session that has ended.
const PINNING: SessionId = SessionId::EMBEDDED;

const DOING: &str = "bring a store up to date";

/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 256;
