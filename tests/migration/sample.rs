//! Small stores to migrate, and how they are looked at.

use durum_core::config::Location;
use durum_core::digest::Digest;
use durum_core::engine::{Durability, Registry};
use durum_core::record::{Codecs, Object, Payload};
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _};
use durum_core::{Oid, Result, SessionId, Tid};
use durum_migrate::{MigrateOptions, Outcome, Verify, migrate};
use fastrand::Rng;

/// Objects of a commit.
const PER_COMMIT: u32 = 40;
/// Commits of a sample.
const COMMITS: usize = 10;

/// Data of `length` bytes that a codec can make smaller.
pub(crate) fn text(draw: &mut Rng, length: usize) -> Vec<u8> {
    let words = [
        "durum ",
        "wheat ",
        "semolina ",
        "object ",
        "persistent ",
        "7 ",
        "42 ",
    ];
    let mut out = Vec::new();
    while out.len() < length {
        out.extend_from_slice(draw.choice(words).unwrap().as_bytes());
        out.push(draw.alphanumeric() as u8);
    }
    out.truncate(length);
    out
}

/// Fills a store by commits: objects of all sizes from 0 bytes on, some of them changed since, with
/// cycles. The object with the largest OID is collected again; it is returned.
pub(crate) fn fill(store: &LocalStore, draw: &mut Rng) -> Oid {
    let level = *store.engine().durability.last().unwrap();
    let mut all: Vec<Oid> = Vec::new();
    for _ in 0..COMMITS {
        let mut batch = Batch::new();
        let new = store.new_oids(SessionId::EMBEDDED, PER_COMMIT).unwrap();
        let known = all.len();
        all.extend(&new);
        for oid in &new {
            let refs: Vec<Oid> = (0..draw.usize(0..4))
                .map(|_| all[draw.usize(0..all.len())])
                .collect();
            let length = [0, 3, 100, 1000, 5000][draw.usize(0..5)];
            if *oid == Oid::ROOT {
                continue;
            }
            batch.create(*oid, text(draw, length), refs);
        }
        if known == 0 {
            batch.create(Oid::ROOT, *b"root", all.iter().copied());
        } else {
            batch.update(Oid::ROOT, text(draw, 50), all.iter().copied());
            let old = all[draw.usize(1..known)];
            batch.update(old, text(draw, 200), [all[draw.usize(0..all.len())]]);
        }
        store.commit(batch, level).unwrap();
    }
    let last = all.pop().unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, *b"without the last", all.iter().copied());
    for oid in all.iter().skip(1) {
        let object = snapshot.load(*oid).unwrap().unwrap();
        if object.refs.contains(&last) {
            batch.update(
                *oid,
                object.data,
                object.refs.into_iter().filter(|to| *to != last),
            );
        }
    }
    drop(snapshot);
    store.commit(batch, level).unwrap();
    store.collect().unwrap();
    assert_eq!(store.snapshot().unwrap().load(last).unwrap(), None);
    last
}

/// Makes a store of these objects as they are, references to missing ones included.
pub(crate) fn import(registry: &Registry, url: &str, objects: &[Object]) {
    let staged = registry
        .stage(&registry.parse_store(url).unwrap().without_collection())
        .unwrap();
    let mut importer = staged.importer().unwrap();
    let codecs = Codecs::default();
    for object in objects {
        let payload = Payload::plain(&object.data);
        importer
            .push(object.oid, object.tid, &object.refs, payload, &codecs)
            .unwrap();
    }
    importer.finish(Tid(1), Oid::ROOT).unwrap();
    drop(staged.publish().unwrap());
}

pub(crate) fn object(oid: u64, refs: &[u64], data: &[u8]) -> Object {
    let refs = refs.iter().copied().map(Oid).collect();
    Object {
        oid: Oid(oid),
        tid: Tid(1),
        refs,
        data: data.to_vec(),
    }
}

pub(crate) fn open(registry: &Registry, url: &str) -> LocalStore {
    let settings = registry.parse_store(url).unwrap();
    registry.open(&settings.without_collection()).unwrap()
}

/// Everything in a store, in the order of the OIDs.
pub(crate) fn contents(store: &LocalStore) -> Vec<Object> {
    let snapshot = store.snapshot().unwrap();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    let mut all = Vec::new();
    while let Some(record) = scan.next().unwrap() {
        all.push(record.to_object(snapshot.codecs()).unwrap());
    }
    all
}

pub(crate) fn digest(store: &LocalStore) -> Digest {
    Digest::of(&*store.snapshot().unwrap()).unwrap()
}

/// Migrates from URL to URL.
pub(crate) fn run(registry: &Registry, from: &str, to: &str, verify: Verify) -> Result<Outcome> {
    let parse = |url| -> Location { registry.parse(url).unwrap() };
    let options = MigrateOptions {
        verify,
        ..MigrateOptions::default()
    };
    migrate(registry, &parse(from), &parse(to), &options, &())
}

/// The engines that keep their data in directories: those that keep none cannot be a source.
pub(crate) fn persistent(registry: &Registry) -> Vec<&'static str> {
    let registry = registry.in_directories();
    let all = registry.iter().map(|backend| backend.capabilities());
    all.filter(|it| it.persistent).map(|it| it.name).collect()
}

/// The best level of a store's engine.
pub(crate) fn best(store: &LocalStore) -> Durability {
    *store.engine().durability.last().unwrap()
}
