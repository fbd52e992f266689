//! Every raw database does what a map does: what is compared with Durum does the work.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use durum_raw::{Database, Rows};

const KEYS: u64 = 500;

/// All rows, checked against point reads of both kinds.
fn rows(database: &dyn Database) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut reader = database.reader().unwrap();
    reader
        .scan(&mut |key, value| assert_eq!(found.insert(key, value.to_vec()), None))
        .unwrap();
    for key in 0..KEYS {
        let mut value = None;
        let present = reader.get(key, &mut |bytes| value = Some(bytes.to_vec()));
        assert_eq!(present.unwrap(), found.contains_key(&key));
        assert_eq!(value.as_ref(), found.get(&key));
        let mut alone = None;
        let present = database.get(key, &mut |bytes| alone = Some(bytes.to_vec()));
        assert_eq!((present.unwrap(), alone), (value.is_some(), value));
    }
    for keys in [0..KEYS, 0..0, KEYS / 3..KEYS / 2, KEYS - 1..KEYS + 9] {
        let mut ranged = Vec::new();
        reader
            .range(keys.clone(), &mut |key, value| {
                ranged.push((key, value.to_vec()))
            })
            .unwrap();
        let expected = found.range(keys).map(|(key, value)| (*key, value.clone()));
        assert_eq!(ranged, expected.collect::<Vec<_>>());
    }
    found
}

#[test]
fn databases_do_what_maps_do() {
    let seed = durum_testkit::seed();
    for engine in durum_raw::engines() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(engine);
        let mut draw = fastrand::Rng::with_seed(seed);
        let mut expected = BTreeMap::new();
        let mut load = durum_raw::create(engine, &dir).unwrap();
        for start in (0..KEYS / 2).step_by(50) {
            let mut batch = Rows::default();
            for key in start..start + 50 {
                let value = vec![draw.u8(..); draw.usize(..200)];
                batch.push(key, |out| out.extend_from_slice(&value));
                expected.insert(key, value);
            }
            load.write(&batch).unwrap();
        }
        load.finish().unwrap();
        let mut database = durum_raw::open(engine, &dir).unwrap();
        assert!(rows(&*database) == expected, "{engine} after a load");
        for step in 0..60 {
            let durable = draw.bool();
            let (mut batch, mut deletes) = (Rows::default(), Vec::new());
            for key in 0..KEYS {
                if draw.u8(..) >= 8 {
                    continue;
                }
                if draw.u8(..3) == 0 {
                    deletes.push(key);
                    expected.remove(&key);
                } else {
                    let value = vec![draw.u8(..); draw.usize(..5000)];
                    batch.push(key, |out| out.extend_from_slice(&value));
                    expected.insert(key, value);
                }
            }
            database.write(&batch, &deletes, durable).unwrap();
            if step % 20 == 19 {
                assert!(rows(&*database) == expected, "{engine} after step {step}");
                drop(database);
                database = durum_raw::open(engine, &dir).unwrap();
            }
        }
        assert!(rows(&*database) == expected, "{engine} opened again");
    }
}

#[test]
fn an_unknown_engine_is_refused() {
    let home = tempfile::tempdir().unwrap();
    assert!(durum_raw::create("none", &home.path().join("none")).is_err());
    assert!(durum_raw::open("none", home.path()).is_err());
}
