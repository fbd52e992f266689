//! PostgreSQL alone does what a map does, in schemas of which nothing is left.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use durum_core::ErrorKind;
use durum_database::Server;
use durum_raw::Rows;
use durum_raw::postgres::{Connection, Table};

const KEYS: u64 = 300;

fn rows(table: &Table) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut take = |key, value: &[u8]| assert_eq!(found.insert(key, value.to_vec()), None);
    table.scan(&mut take).unwrap();
    let keys: Vec<u64> = (0..KEYS).collect();
    let mut many = BTreeMap::new();
    let mut take = |key, value: &[u8]| assert_eq!(many.insert(key, value.to_vec()), None);
    table.get_many(&keys, &mut take).unwrap();
    assert_eq!(many, found);
    for key in keys {
        let mut value = None;
        let present = table.get(key, &mut |bytes| value = Some(bytes.to_vec()));
        assert_eq!(present.unwrap(), found.contains_key(&key));
        assert_eq!(value.as_ref(), found.get(&key));
    }
    found
}

#[test]
fn a_table_does_what_a_map_does() {
    let Some(server) = Server::shared() else {
        return;
    };
    let address = server.address("test");
    let open = || Connection::open(&address).unwrap();
    open().create("raw one").unwrap();
    let error = open().create("raw one").unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");

    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    let mut expected = BTreeMap::new();
    let mut batch = Rows::default();
    for key in 0..KEYS / 2 {
        let value = vec![random.u8(..); random.usize(..200)];
        batch.push(key, |out| out.extend_from_slice(&value));
        expected.insert(key, value);
    }
    let mut load = open().load("raw one").unwrap();
    load.write(&batch).unwrap();
    load.finish().unwrap();
    let table = open().table("raw one").unwrap();
    assert_eq!(rows(&table), expected);
    for _ in 0..20 {
        let (mut inserts, mut updates, mut deletes) = (Rows::default(), Rows::default(), vec![]);
        for key in 0..KEYS {
            if random.u8(..8) > 0 {
                continue;
            }
            let value = vec![random.u8(..); random.usize(..5000)];
            match expected.contains_key(&key) {
                true if random.bool() => {
                    deletes.push(key);
                    expected.remove(&key);
                    continue;
                }
                true => updates.push(key, |out| out.extend_from_slice(&value)),
                false => inserts.push(key, |out| out.extend_from_slice(&value)),
            }
            expected.insert(key, value);
        }
        table.write(&inserts, &updates, &deletes).unwrap();
        assert_eq!(rows(&table), expected);
    }
    assert!(table.connection().schema_bytes("raw one").unwrap() > 10_000);
    table.connection().round_trip().unwrap();
    table.connection().drop_schemas("raw").unwrap();
    let left = server.sql(
        "test",
        "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'raw%'",
    );
    assert_eq!(left, "0");
}

#[test]
fn a_load_that_is_not_finished_leaves_no_row() {
    let Some(server) = Server::shared() else {
        return;
    };
    let address = server.address("test");
    let open = || Connection::open(&address).unwrap();
    open().create("half").unwrap();
    let mut batch = Rows::default();
    batch.push(1, |out| out.extend_from_slice(&[7; 10_000]));
    let mut load = open().load("half").unwrap();
    load.write(&batch).unwrap();
    drop(load);
    let table = open().table("half").unwrap();
    assert!(rows(&table).is_empty());
}

#[test]
fn what_is_no_server_is_told() {
    let error = Connection::open("//me@127.0.0.1:1/test").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let error = Connection::open("//me@127.0.0.1:port/test").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}
