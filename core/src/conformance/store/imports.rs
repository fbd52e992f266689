//! Filling a new store in bulk.

use super::{Fixture, assert_snapshot};
use crate::check::check_within;
use crate::engine::{Key, Op, Table};
use crate::error::ErrorKind;
use crate::id::{Oid, Tid};
use crate::record::{Codecs, Payload};
use crate::store::{SnapshotExt as _, Store as _};

/// What is imported is there under its OIDs and tids when the store is published, and not before.
pub fn an_import_keeps_oids_and_tids(fixture: &Fixture) {
    let staged = fixture.stage();
    let mut importer = staged.importer().unwrap();
    let mut model = super::Model::new();
    let codecs = Codecs::default();
    // More than one of the importer's batches, with holes, up to the largest OID.
    let oids = (0..3000)
        .map(|number| Oid(number * 5))
        .chain([Oid(1 << 62), Oid(Oid::MAX.0 - 1)]);
    for oid in oids {
        let (refs, data) = (vec![Oid(oid.0 + 1)], vec![oid.0 as u8; 2000]);
        let tid = Tid(1 + oid.0 % 50);
        importer
            .push(oid, tid, &refs, Payload::plain(&data), &codecs)
            .unwrap();
        model.insert(oid, (refs, data));
    }
    let summary = importer.finish(Tid(80), Oid(7)).unwrap();
    assert_eq!(summary.objects, model.len() as u64);
    assert!(!fixture.exists());
    let store = staged.publish().unwrap();
    assert_eq!(fixture.exists(), fixture.capabilities().persistent);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.tid(), Tid(80));
    assert_eq!(snapshot.load(Oid(45)).unwrap().unwrap().tid, Tid(46));
    assert_snapshot(&*snapshot, &model);
    assert_eq!(store.stats().unwrap().high_water, Oid::MAX);
    let changes = store.changes_since(Tid(79)).unwrap_err();
    assert_eq!(changes.kind(), ErrorKind::TooOld);
}

/// A store that is given up on leaves no trace, and its place can be used.
pub fn an_unpublished_store_leaves_nothing(fixture: &Fixture) {
    let staged = fixture.stage();
    let mut importer = staged.importer().unwrap();
    let data = [3; 100];
    importer
        .push(
            Oid(0),
            Tid(1),
            &[],
            Payload::plain(&data),
            &Codecs::default(),
        )
        .unwrap();
    drop(importer);
    drop(staged);
    assert_eq!(fixture.stores(), 0);
    fixture.create().finish();
}

/// OIDs come in order, into a store without objects.
pub fn an_import_must_ascend_and_begin_empty(fixture: &Fixture) {
    let staged = fixture.stage();
    let codecs = Codecs::default();
    let mut importer = staged.importer().unwrap();
    let payload = Payload::plain(b"x");
    importer
        .push(Oid(5), Tid(1), &[], payload, &codecs)
        .unwrap();
    for oid in [5, 4, 1 << 63] {
        let error = importer
            .push(Oid(oid), Tid(1), &[], payload, &codecs)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    importer.finish(Tid(1), Oid(0)).unwrap();
    assert_eq!(staged.importer().unwrap_err().kind(), ErrorKind::Exists);
    let store = staged.publish().unwrap();
    let next = store.new_oids(crate::SessionId::EMBEDDED, 2).unwrap();
    assert_eq!(next, [Oid(0), Oid(6)], "the root is free, and 5 is used");
}

/// The collector's tables are complete after an import, whatever its shape, and can be rebuilt.
pub fn an_import_leaves_nothing_for_the_collector_to_find(fixture: &Fixture) {
    const COUNT: u64 = 3000;
    let staged = fixture.stage();
    let codecs = Codecs::default();
    let mut importer = staged.importer().unwrap().with_memory(0).unwrap();
    for number in 0..=COUNT {
        // A list in reverse, of which every object refers to a hub; the last two are garbage.
        let mut refs = vec![number.saturating_sub(1), COUNT / 2];
        if number == 0 {
            refs.push(COUNT - 2);
        }
        refs.sort_unstable();
        let mut refs: Vec<Oid> = refs.into_iter().map(Oid).collect();
        refs.dedup();
        refs.retain(|target| *target != Oid(number));
        let data = Payload::plain(b"one of many");
        importer
            .push(Oid(number), Tid(1), &refs, data, &codecs)
            .unwrap();
    }
    assert_eq!(importer.finish(Tid(1), Oid(0)).unwrap().dangling, 0);
    let store = staged.publish().unwrap();
    let clean = |repair| {
        let report = check_within(&store, repair, 1 << 20).unwrap();
        assert_eq!((report.errors, report.unreachable), (vec![], 2));
        report.repaired
    };
    assert_eq!(clean(false), [""; 0]);
    let level = fixture.capabilities().durability.first().copied();
    let keys = [Key::from(COUNT), Key::pair(COUNT / 2, COUNT)];
    for (table, key) in [Table::Orphans, Table::ReferrersMore].into_iter().zip(keys) {
        let ops = [Op::Delete { table, key }];
        store
            .while_quiet(|engine| engine.apply(&ops, level.unwrap_or_default()))
            .unwrap();
    }
    assert!(!clean(true).is_empty());
    assert_eq!(clean(false), [""; 0]);
}

/// What is referred to is never handed out, though it does not exist; one reference does not use up all
/// OIDs.
pub fn an_oid_that_is_referred_to_is_not_handed_out(fixture: &Fixture) {
    let staged = fixture.stage();
    let mut importer = staged.importer().unwrap();
    let refs = [Oid(5), Oid(1 << 40), Oid(Oid::MAX.0 - 1)];
    let (data, codecs) = (Payload::plain(b"refers"), Codecs::default());
    importer.push(Oid(0), Tid(1), &refs, data, &codecs).unwrap();
    assert_eq!(importer.finish(Tid(1), Oid(0)).unwrap().dangling, 3);
    let store = staged.publish().unwrap();
    let new = store.new_oids(crate::SessionId::EMBEDDED, 2).unwrap();
    assert_eq!(new, [Oid((1 << 40) + 1), Oid((1 << 40) + 2)]);
}
