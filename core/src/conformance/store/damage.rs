//! Damage below the store: found, named, and never handed out.

use super::{Fixture, Subject};
use crate::check::{FindingKind, check};
use crate::engine::{Durability, Key, Op, Table};
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::{LocalStore, SnapshotExt as _, StoreOptions};

fn stored(subject: &Subject<'_>, table: Table, key: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let view = subject.local().raw_engine().snapshot().unwrap();
    assert!(
        view.get(table, Key::from(key), &mut |value| bytes = value.to_vec())
            .unwrap()
    );
    bytes
}

fn overwrite(fixture: &Fixture, subject: &Subject<'_>, table: Table, key: u64, value: &[u8]) {
    let level = fixture.capabilities().durability.first().copied();
    let op = Op::Put {
        table,
        key: Key::from(key),
        value,
    };
    let level = level.unwrap_or(Durability::Relaxed);
    subject
        .local()
        .while_quiet(|engine| engine.apply(&[op], level))
        .unwrap();
}

/// A changed byte anywhere in a record makes it an error that names the object; others stay readable.
pub fn a_damaged_record_is_never_handed_out(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(3);
    subject.put(&[
        (oids[0], b"root", &oids[1..]),
        (oids[1], b"one", &[]),
        (oids[2], b"two", &[]),
    ]);
    let good = stored(&subject, Table::Objects, oids[1].0);
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 0x40;
        overwrite(fixture, &subject, Table::Objects, oids[1].0, &bad);
        let snapshot = subject.store().snapshot().unwrap();
        let error = snapshot.load(oids[1]).unwrap_err();
        assert_eq!(
            (error.kind(), error.oids()),
            (ErrorKind::Damaged, [oids[1]].as_slice())
        );
        assert_eq!(snapshot.load(oids[2]).unwrap().unwrap().data, b"two");
        let mut scan = snapshot.scan(Oid::ROOT).unwrap();
        assert!(scan.next().unwrap().is_some());
        assert_eq!(
            scan.next().map(drop).unwrap_err().kind(),
            ErrorKind::Damaged
        );
        let mut lent = 0;
        let error = snapshot.scan_with(Oid::ROOT, &mut |_| {
            lent += 1;
            Ok(true)
        });
        let error = error.unwrap_err();
        assert_eq!((lent, error.kind()), (1, ErrorKind::Damaged));
        assert_eq!(error.oids(), [oids[1]]);
    }
    let report = check(subject.local(), false).unwrap();
    let finding = &report.errors[0];
    assert_eq!(
        (finding.oid, finding.kind),
        (Some(oids[1].0), FindingKind::Damaged)
    );
    // It is in use: nothing is deleted on account of it.
    assert_eq!(subject.store().collect().unwrap().objects, 0);
    overwrite(fixture, &subject, Table::Objects, oids[1].0, &good);
    subject.finish();
}

/// A whole record in the place of another is damage.
pub fn a_record_under_a_wrong_key_is_damage(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(2);
    subject.put(&[(oids[0], b"same", &[]), (oids[1], b"same", &[])]);
    let other = stored(&subject, Table::Objects, oids[0].0);
    let good = stored(&subject, Table::Objects, oids[1].0);
    overwrite(fixture, &subject, Table::Objects, oids[1].0, &other);
    let error = subject
        .store()
        .snapshot()
        .unwrap()
        .load(oids[1])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    overwrite(fixture, &subject, Table::Objects, oids[1].0, &good);
    subject.finish();
}

/// Counters that do not fit the objects are found, and mended on request.
pub fn wrong_counters_are_found_and_mended(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(2);
    subject.put(&[(oids[0], b"root", &[])]);
    // The state after the first commit, put back after the second.
    let early = stored(&subject, Table::Meta, 0);
    subject.put(&[(oids[0], b"root", &[oids[1]]), (oids[1], b"leaf", &[])]);
    if fixture.capabilities().persistent {
        overwrite(fixture, &subject, Table::Meta, 0, &early);
        subject.reopen();
        let report = check(subject.local(), false).unwrap();
        let kinds: Vec<_> = report.errors.iter().map(|finding| finding.kind).collect();
        assert!(kinds.contains(&FindingKind::Counters), "{kinds:?}");
        assert!(kinds.contains(&FindingKind::Tid), "{kinds:?}");
        let repaired = check(subject.local(), true).unwrap();
        assert_eq!(repaired.errors, []);
        assert!(!repaired.repaired.is_empty());
        assert!(!subject.model.contains_key(&subject.oids(1)[0]));
    }
    subject.finish();
}

/// A damaged state row keeps a store from being opened, and is rebuilt on request.
pub fn a_damaged_state_row_is_rebuilt(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = subject.oids(2);
    subject.put(&[(oids[0], b"root", &[oids[1]]), (oids[1], b"leaf", &[])]);
    let tid = subject.put(&[(oids[1], b"changed", &[])]).tid;
    if fixture.capabilities().persistent {
        let mut bad = stored(&subject, Table::Meta, 0);
        bad[1] ^= 1;
        overwrite(fixture, &subject, Table::Meta, 0, &bad);
        subject.close();
        let open = |options| LocalStore::open(fixture.backend(), &fixture.path(), &options);
        let error = open(fixture.options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains("--repair"), "{error}");
        let rebuilt = StoreOptions {
            rebuild_state: true,
            ..fixture.options()
        };
        drop(open(rebuilt).unwrap());
        subject.reopen();
        assert_eq!(subject.store().stats().unwrap().tid, tid);
        assert!(subject.oids(1)[0] > oids[1]);
    }
    subject.finish();
}
