//! Codecs side by side.

use super::Fixture;
use crate::id::Oid;
use crate::record::Codec;
use crate::store::{Batch, StoreOptions};

fn text(number: u64) -> Vec<u8> {
    format!("Package: sample-{number}\nMaintainer: Somebody <{number}@example.org>\nDepends: libc6, base\n")
        .into_bytes()
}

/// Records of every codec stay readable, whatever the store is set to later.
pub fn records_of_all_codecs_lie_side_by_side(fixture: &Fixture) {
    let mut subject = fixture.create();
    subject.put(&[(Oid(0), b"root", &[])]);
    for (_, codec) in Codec::NAMES {
        subject.reopen_with(StoreOptions {
            codec,
            ..fixture.options()
        });
        let oids = subject.oids(30);
        let texts: Vec<Vec<u8>> = oids.iter().map(|oid| text(oid.0).repeat(3)).collect();
        let objects: Vec<(Oid, &[u8], &[Oid])> = oids
            .iter()
            .zip(&texts)
            .map(|(oid, text)| (*oid, text.as_slice(), &[][..]))
            .collect();
        subject.put(&objects);
        // A batch can choose for itself.
        let mut batch = Batch::new();
        batch.update(oids[0], text(1), []).compress(Codec::Zlib);
        subject.commit(batch).unwrap();
        subject.model.insert(oids[0], (vec![], text(1)));
        subject.compare();
    }
    subject.finish();
}

/// A store set to `zstd-dict` learns from its objects, and needs no setting to read them later.
pub fn a_dictionary_is_trained_and_stays(fixture: &Fixture) {
    let options = StoreOptions {
        codec: Codec::ZstdDict,
        ..fixture.options()
    };
    let mut subject = fixture.create_with(options);
    let mut stored = Vec::new();
    for _ in 0..3 {
        let oids = subject.oids(2500);
        let texts: Vec<Vec<u8>> = oids.iter().map(|oid| text(oid.0)).collect();
        let objects: Vec<(Oid, &[u8], &[Oid])> = oids
            .iter()
            .zip(&texts)
            .map(|(oid, text)| (*oid, text.as_slice(), &[][..]))
            .collect();
        let before = subject.store().stats().unwrap().live_bytes;
        subject.put(&objects);
        stored.push(subject.store().stats().unwrap().live_bytes - before);
    }
    assert!(stored[1] < stored[0] * 2 / 3, "{stored:?}");
    subject.reopen_with(StoreOptions {
        codec: Codec::None,
        ..fixture.options()
    });
    subject.finish();
}
