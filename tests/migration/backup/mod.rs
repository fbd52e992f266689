//! Backups and what is restored from them.
//!
//! - `history`: random histories on every engine, restored at every point.
//! - `in_use`: a backup that is taken while others commit.
//! - `failures`: damaged and foreign backups, full disks, damaged sources.

mod failures;
mod history;
mod in_use;

use std::collections::BTreeSet;
use std::io::Cursor;

use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::Object;
use durum_core::store::{Batch, LocalStore, Store as _};
use durum_core::{Oid, Result, SessionId, Tid};
use durum_migrate::backup::{Backup, Input, Restored, Summary, restore};
use fastrand::Rng;

use crate::sample::{best, contents, text};

/// A backup in memory, and what the store was like then.
struct Taken {
    bytes: Vec<u8>,
    summary: Summary,
    digest: Digest,
    objects: Vec<Object>,
    high_water: Oid,
}

/// Takes a backup of a store that may be collecting meanwhile.
fn take(store: &LocalStore, since: Option<Tid>, verify: bool) -> Taken {
    loop {
        let snapshot = store.snapshot().unwrap();
        let high_water = store.stats().unwrap().high_water;
        let backup = Backup::begin(store, since).unwrap();
        // Collection commits, too: then these are two states.
        if backup.header().tid != snapshot.tid() {
            continue;
        }
        let mut bytes = Vec::new();
        let summary = backup.write(verify, &mut bytes, &()).unwrap();
        let mut objects = Vec::new();
        let mut scan = snapshot.scan(Oid::ROOT).unwrap();
        while let Some(record) = scan.next().unwrap() {
            objects.push(record.to_object(snapshot.codecs()).unwrap());
        }
        drop(scan);
        let digest = Digest::of(&*snapshot).unwrap();
        return Taken {
            bytes,
            summary,
            digest,
            objects,
            high_water,
        };
    }
}

fn inputs(backups: &[&[u8]]) -> Vec<Input> {
    let input = |bytes: &&[u8]| Input::stream("a backup", Cursor::new(bytes.to_vec()));
    backups.iter().map(input).collect()
}

fn restore_to(
    registry: &Registry,
    backups: &[&[u8]],
    at: Option<Tid>,
    url: &str,
) -> Result<Restored> {
    let settings = registry.parse_store(url).unwrap();
    restore(registry, inputs(backups), at, &settings, &())
}

/// Makes a few commits: new objects, changed ones, references that come and go, cycles that become
/// garbage.
fn evolve(store: &LocalStore, draw: &mut Rng, commits: usize) {
    for _ in 0..commits {
        let live = reachable(contents(store));
        let mut batch = Batch::new();
        if live.is_empty() {
            let oids = store.new_oids(SessionId::EMBEDDED, 1).unwrap();
            batch.create(oids[0], *b"root", []);
            store.commit(batch, best(store)).unwrap();
            continue;
        }
        let new = store
            .new_oids(SessionId::EMBEDDED, draw.u32(0..12))
            .unwrap();
        let known: Vec<Oid> = live.iter().map(|object| object.oid).collect();
        for (number, oid) in new.iter().enumerate() {
            let length = [0, 5, 60, 700, 4000][draw.usize(..5)];
            // To the one before, so that all are linked, and into cycles.
            let before = number.checked_sub(1).map(|before| new[before]);
            let refs = before.into_iter().chain(draw.choice(&known).copied());
            batch.create(*oid, text(draw, length), refs);
        }
        let changed: BTreeSet<usize> = (0..draw.usize(1..5))
            .map(|_| draw.usize(..live.len()))
            .collect();
        for (number, at) in changed.into_iter().enumerate() {
            let object = &live[at];
            let mut refs = object.refs.clone();
            if !refs.is_empty() && draw.u8(..3) > 0 {
                refs.swap_remove(draw.usize(..refs.len()));
            }
            refs.extend(draw.choice(&known));
            if number == 0 {
                refs.extend(new.last());
            }
            let length = draw.usize(..300);
            batch.update(object.oid, text(draw, length), refs);
        }
        store.commit(batch, best(store)).unwrap();
    }
}

fn reachable(objects: Vec<Object>) -> Vec<Object> {
    let mut found = BTreeSet::new();
    let mut open = vec![Oid::ROOT];
    while let Some(oid) = open.pop() {
        if let Ok(at) = objects.binary_search_by_key(&oid, |object| object.oid)
            && found.insert(oid)
        {
            open.extend(&objects[at].refs);
        }
    }
    let mut live = objects;
    live.retain(|object| found.contains(&object.oid));
    live
}
