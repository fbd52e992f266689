//! The store's own state: one row that every commit rewrites, and a row with its identity.

use super::sealed::{sealed, unsealed};
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{Error, Result};
use crate::id::{Oid, StoreId, Tid};
use crate::record::{Record, varint};

/// Keys of the `meta` table.
const STATE: u64 = 0;
const STORE_ID: u64 = 1;
/// Row 2 is the collector's; see [`crate::collect::rows::JobState`].
const REBUILDING: u64 = 3;
const IMPORT: u64 = 4;
/// How far a rebuilt OID mark lies above the largest OID in use.
const HIGH_WATER_MARGIN: u64 = 2 << 20;
/// The version of the state row's layout, its first byte.
const LAYOUT: u8 = 2;

/// The state of a store that changes with every commit.
///
/// Stored as the layout's number (one byte), the fields in their order here as LEB128 varints, and
/// the CRC-32 of all that as four little-endian bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The last commit.
    pub(super) tid: Tid,
    /// All OIDs from here on have never been handed out.
    pub(super) high_water: u64,
    /// Objects in the store.
    pub(super) objects: u64,
    /// Bytes of their records.
    pub(super) live_bytes: u64,
    /// The log of changes is complete for commits after this one.
    pub(super) changes_from: Tid,
    /// Rows in the table of orphans.
    pub(super) orphans: u64,
}

impl State {
    pub(super) fn key() -> (Table, Key) {
        (Table::Meta, Key::from(STATE))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![LAYOUT];
        for field in [
            self.tid.0,
            self.high_water,
            self.objects,
            self.live_bytes,
            self.changes_from.0,
            self.orphans,
        ] {
            varint::put(&mut out, field);
        }
        sealed(&out)
    }

    fn decode(bytes: &[u8]) -> Option<State> {
        let (&layout, mut rest) = unsealed(bytes)?.split_first()?;
        let mut field = || varint::take(&mut rest);
        let state = State {
            tid: Tid(field()?),
            high_water: field()?,
            objects: field()?,
            live_bytes: field()?,
            changes_from: Tid(field()?),
            orphans: field()?,
        };
        (layout == LAYOUT && rest.is_empty()).then_some(state)
    }

    /// Reads the state, which every store has.
    pub(super) fn require(view: &dyn EngineSnapshot) -> Result<State> {
        let (table, key) = State::key();
        let mut state = None;
        view.get(table, key, &mut |bytes| state = State::decode(bytes))?;
        state.ok_or_else(|| {
            Error::damaged("open the store", "its state row is damaged or missing")
                .hint("`durum check --repair` can rebuild it from the objects.")
        })
    }

    /// What the state has to be at least for the objects and the log of changes that are there.
    pub(super) fn rebuild(view: &dyn EngineSnapshot) -> Result<State> {
        let mut state = State::default();
        let mut cursor = view.cursor(Table::Objects, Key::MIN)?;
        while let Some((key, value)) = cursor.next()? {
            state.objects += 1;
            state.live_bytes += value.len() as u64;
            state.high_water = state.high_water.max(key.first.saturating_add(1));
            // A damaged record is a finding of the check that follows.
            if let Ok(record) = Record::parse(Oid(key.first), value) {
                state.tid = state.tid.max(record.tid);
                let reserved = record.refs().map(Oid::reserves).max();
                state.high_water = state.high_water.max(reserved.unwrap_or(0));
            }
        }
        drop(cursor);
        let mut cursor = view.cursor(Table::Orphans, Key::MIN)?;
        while cursor.next()?.is_some() {
            state.orphans += 1;
        }
        drop(cursor);
        let mut cursor = view.cursor(Table::Changes, Key::MIN)?;
        while let Some((key, mut value)) = cursor.next()? {
            state.tid = state.tid.max(Tid(key.first));
            // Written, then deleted: what was collected must not be handed out again either.
            while let Some(oids) = crate::collect::rows::take_oids(&mut value) {
                let largest = oids.last().map_or(0, |oid| oid.0.saturating_add(1));
                state.high_water = state.high_water.max(largest);
            }
        }
        // OIDs that were handed out and are not stored cannot be known. Two of the largest blocks
        // cover those of an application that does not hoard them.
        state.high_water = state
            .high_water
            .saturating_add(HIGH_WATER_MARGIN)
            .min(Oid::MAX.0);
        state.changes_from = state.tid;
        Ok(state)
    }
}

/// The key of the row with the store's identity, which shows engine files under a foreign identity.
pub(super) fn store_id_key() -> (Table, Key) {
    (Table::Meta, Key::from(STORE_ID))
}

/// The row that is there while the collector's tables are being rebuilt, and are not complete.
pub(super) fn rebuilding_row() -> (Table, Key) {
    (Table::Meta, Key::from(REBUILDING))
}

/// The row in which a resumable import says how far it is, written with each of its batches. It stays, and
/// says where the objects came from.
pub(super) fn import_row() -> (Table, Key) {
    (Table::Meta, Key::from(IMPORT))
}

/// Checks that the engine's files belong to the store `expected`.
pub(super) fn check_store_id(view: &dyn EngineSnapshot, expected: StoreId) -> Result<()> {
    let (table, key) = store_id_key();
    let mut matches = false;
    let found = view.get(table, key, &mut |bytes| matches = bytes == expected.0)?;
    let problem = match (found, matches) {
        (true, true) => return Ok(()),
        (false, _) => "the engine's files hold no store",
        (true, false) => "the engine's files belong to another store",
    };
    Err(Error::damaged("open the store", problem)
        .hint("Restore the whole directory from a backup, not files from several stores."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_row_returns_and_damage_is_found() {
        let state = State {
            tid: Tid(7),
            high_water: 1 << 40,
            objects: 300,
            live_bytes: 12345,
            changes_from: Tid(3),
            orphans: 2,
        };
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Some(state));
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] ^= 0x10;
            assert_eq!(State::decode(&bad), None);
            assert_eq!(State::decode(&bytes[..position]), None);
        }
    }
}
