//! Rows in bulk, and walks over rows of all sizes.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;

use durum_core::engine::{Backend as _, Durability, Engine, Key, Op, Options, Table};
use durum_core::place::{RemotePlaces, RemoteStagedPlace};
use durum_core::{Error, ErrorKind};
use durum_database::Server;
use durum_postgres::PostgresBackend;
use durum_testkit::{seed, wait_until};

type Rows = BTreeMap<Key, Vec<u8>>;

fn staged(server: &Server, schema: &str) -> Box<dyn RemoteStagedPlace> {
    let options = Options::check("postgres", PostgresBackend.options(), [("schema", schema)]);
    let address = server.address("test");
    PostgresBackend
        .create(Path::new(&address), &options.unwrap())
        .unwrap()
}

fn apply<'a>(engine: &dyn Engine, table: Table, rows: &'a Rows) -> durum_core::Result<Durability> {
    let put = |row: (&Key, &'a Vec<u8>)| Op::Put {
        table,
        key: *row.0,
        value: row.1,
    };
    let ops: Vec<Op<'_>> = rows.iter().map(put).collect();
    engine.apply(&ops, Durability::Power)
}

/// All rows, read with a new cursor after each `chunk`.
fn walk(engine: &dyn Engine, table: Table, chunk: usize) -> Rows {
    let snapshot = engine.snapshot().unwrap();
    let (mut found, mut from) = (Rows::new(), Some(Key::MIN));
    while let Some(start) = from.take() {
        let mut left = chunk;
        let ended = snapshot.walk(table, start, &mut |key, value| {
            assert!(found.insert(key, value.to_vec()).is_none(), "{key:?} twice");
            left -= 1;
            left > 0
        });
        if !ended.unwrap() {
            from = found.keys().next_back().unwrap().successor(table);
        }
    }
    found
}

/// Rows of about 100 bytes each.
fn rows(numbers: impl Iterator<Item = u64>, mark: &str) -> Rows {
    let row = |number| (Key::from(number), format!("{mark}{number:0100}").into());
    numbers.map(row).collect()
}

/// Statements that the server has been given so far.
fn copies(server: &Server) -> usize {
    server.log().matches("COPY \"").count()
}

#[test]
fn large_batches_are_copied_where_they_come_behind_all_others() {
    let Some(server) = Server::start() else {
        return;
    };
    server.sql("test", "ALTER SYSTEM SET log_statement = 'all'");
    server.sql("test", "SELECT pg_reload_conf()");
    let staged = staged(&server, "copied");
    let engine = staged.open_engine().unwrap();
    let mut model = Rows::new();
    let mut write = |numbers: std::ops::Range<u64>, mark: &str, copied: bool| {
        let batch = rows(numbers.clone(), mark);
        let before = copies(&server);
        apply(&*engine, Table::Objects, &batch).unwrap();
        assert_eq!(copies(&server) > before, copied, "{numbers:?}");
        model.extend(batch);
    };
    write(0..10, "first", false);
    write(10..20_000, "new", true);
    // Half of these are there already, which `COPY` would refuse.
    write(10_000..30_000, "newer", false);
    write(30_000..50_000, "behind", true);
    write(49_999..50_001, "small", false);
    write(50_001..70_000, "again", true);
    assert_eq!(walk(&*engine, Table::Objects, usize::MAX), model);
    drop(engine);
    // Whoever comes next asks where the table ends.
    let place = staged.publish().unwrap();
    let engine = place.open_engine().unwrap();
    let batch = rows(60_000..80_000, "next");
    apply(&*engine, Table::Objects, &batch).unwrap();
    model.extend(batch);
    let (pairs, before) = (pairs(), copies(&server));
    apply(&*engine, Table::Changes, &pairs).unwrap();
    assert_eq!(copies(&server), before + 1);
    assert_eq!(walk(&*engine, Table::Changes, 1000), pairs);
    assert_eq!(walk(&*engine, Table::Objects, 1000), model);
}

fn pairs() -> Rows {
    let key = |number: u64| Key::pair(number / 300, number % 300);
    let row = |number| (key(number), vec![7; 100]);
    (0..20_000).map(row).collect()
}

#[test]
fn a_copy_that_is_refused_leaves_nothing_behind() {
    let Some(server) = Server::start() else {
        return;
    };
    let staged = staged(&server, "refused");
    let engine = staged.open_engine().unwrap();
    apply(&*engine, Table::Objects, &rows(0..20_000, "kept")).unwrap();
    // Nobody but this process should do that.
    let schema = server.sql(
        "test",
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'refused.new-%'",
    );
    let insert = format!("INSERT INTO \"{schema}\".objects VALUES (30000, 'other')");
    server.sql("test", &insert);
    let batch = rows(20_000..40_000, "lost");
    let error = apply(&*engine, Table::Objects, &batch).unwrap_err();
    assert!(error.to_string().contains("duplicate key"), "{error}");
    assert_eq!(walk(&*engine, Table::Objects, usize::MAX).len(), 20_001);
    // The session is not in the transaction that has failed any more.
    apply(&*engine, Table::Objects, &rows(5..6, "after")).unwrap();
    assert_eq!(walk(&*engine, Table::Objects, usize::MAX).len(), 20_001);

    let claim = format!("UPDATE \"{schema}\".writer SET fence = fence + 1, claimed = fence + 1");
    server.sql("test", &claim);
    let fenced = apply(&*engine, Table::Objects, &rows(50_000..70_000, "fenced"));
    assert_eq!(fenced.unwrap_err().kind(), ErrorKind::InUse);
    let count = format!("SELECT count(*) FROM \"{schema}\".objects");
    assert_eq!(server.sql("test", &count), "20001");
}

#[test]
fn walks_show_rows_of_all_sizes() {
    let Some(server) = Server::start() else {
        return;
    };
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let staged = staged(&server, "sizes");
    let engine = staged.open_engine().unwrap();
    let mut model = Rows::new();
    let mut number = 0;
    // Runs of small rows, in which there is a large one now and then, or many of them.
    for run in 0..12 {
        let large = [0, 1, 20][run % 3];
        for _ in 0..random.u64(1..3000) {
            number += random.u64(1..4);
            let value = vec![run as u8; random.usize(..300)];
            model.insert(Key::from(number), value);
        }
        for _ in 0..large {
            number += random.u64(1..4);
            let value = vec![run as u8; random.usize(10_000..700_000)];
            model.insert(Key::from(number), value);
        }
    }
    model.insert(Key::from(number + 1), vec![99; 40 << 20]);
    model.insert(Key::from(number + 2), Vec::new());
    apply(&*engine, Table::Objects, &model).unwrap();
    for chunk in [usize::MAX, 4096, random.usize(1..5000)] {
        let found = walk(&*engine, Table::Objects, chunk);
        assert!(found == model, "seed {seed}, chunks of {chunk}");
    }
    let snapshot = engine.snapshot().unwrap();
    for _ in 0..200 {
        let from = Key::from(random.u64(..number + 4));
        let mut cursor = snapshot.cursor(Table::Objects, from).unwrap();
        let length_max = random.usize(..100);
        for (key, value) in model.range(from..).take(length_max) {
            let found = cursor.next().unwrap();
            assert!(
                found == Some((*key, &value[..])),
                "seed {seed}, from {from:?}"
            );
        }
    }
    let last = *model.keys().next_back().unwrap();
    let mut cursor = snapshot.cursor(Table::Objects, last).unwrap();
    assert_eq!(cursor.next().unwrap(), Some((last, &[][..])));
    assert_eq!(cursor.next().unwrap(), None);
}

#[test]
fn single_reads_show_what_is_there_in_whatever_order() {
    let Some(server) = Server::start() else {
        return;
    };
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for (table, schema) in [(Table::Objects, "single"), (Table::Pins, "single_pairs")] {
        let staged = staged(&server, schema);
        let engine = staged.open_engine().unwrap();
        let key = |number: u64| match table.is_pair() {
            true => Key::pair(number / 100, number % 100),
            false => Key::from(number),
        };
        let mut model = Rows::new();
        for number in 0..3000 {
            let bytes = match random.u8(..) {
                0..100 => continue,
                100 => random.usize(10_000..100_000),
                _ => random.usize(..200),
            };
            model.insert(key(number), vec![number as u8; bytes]);
        }
        apply(&*engine, table, &model).unwrap();
        let snapshot = engine.snapshot().unwrap();
        snapshot.keep_rows();
        let check = |number: u64| {
            let mut found = None;
            let there = snapshot.get(table, key(number), &mut |value| {
                found = Some(value.to_vec())
            });
            assert_eq!(there.unwrap(), found.is_some());
            let expected = model.get(&key(number));
            assert!(
                found.as_ref() == expected,
                "seed {seed}, {table:?} {number}"
            );
        };
        // Run after run, some of which go over the end, with leaps back and repetitions.
        for _ in 0..60 {
            let mut number = random.u64(..3100);
            for _ in 0..random.u64(..200) {
                check(number);
                let step_max = [2, 60, 120][random.usize(..3)];
                number += random.u64(..step_max);
            }
        }
    }
}

/// The tables of a schema that have no primary key.
fn keyless(server: &Server, schema: &str) -> String {
    let sql = format!(
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' \
         AND relnamespace = to_regnamespace('\"{schema}\"') \
         AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"
    );
    server.sql("test", &sql)
}

fn unfinished(server: &Server, schema: &str) -> String {
    let sql = format!("SELECT nspname FROM pg_namespace WHERE nspname LIKE '{schema}.new-%'");
    server.sql("test", &sql)
}

#[test]
fn tables_that_are_filled_get_their_keys_when_all_rows_are_there() {
    const TABLES: [Table; 2] = [Table::Objects, Table::ReferrersMore];
    let Some(server) = Server::start() else {
        return;
    };
    let staged = staged(&server, "filled");
    let engine = staged.open_engine().unwrap();
    let schema = unfinished(&server, "filled");
    let (batch, pairs) = (rows(100..110, "small"), pairs());
    apply(&*engine, Table::Referrers, &rows(0..3, "kept")).unwrap();
    engine.begin_bulk(&TABLES).unwrap();
    engine.begin_bulk(&[Table::Referrers]).unwrap();
    assert_eq!(
        keyless(&server, &schema),
        "identity objects referrers_more staged writer"
    );

    // However few, and in whatever order they come.
    let mut model = batch.clone();
    apply(&*engine, Table::Objects, &batch).unwrap();
    for numbers in [200..20_000, 0..100] {
        let batch = rows(numbers, "more");
        apply(&*engine, Table::Objects, &batch).unwrap();
        model.extend(batch);
    }
    engine.end_bulk(&[Table::Objects], &|| Ok(())).unwrap();
    assert_eq!(walk(&*engine, Table::Objects, usize::MAX), model);
    let batch = rows(50..150, "again");
    apply(&*engine, Table::Objects, &batch).unwrap();
    model.extend(batch);
    apply(&*engine, Table::ReferrersMore, &pairs).unwrap();

    // What is begun once more is not empty.
    engine.begin_bulk(&TABLES).unwrap();
    assert_eq!(keyless(&server, &schema), "identity staged writer");
    assert_eq!(walk(&*engine, Table::ReferrersMore, 1000), pairs);
    assert_eq!(walk(&*engine, Table::Objects, 1000), model);
    engine.end_bulk(&TABLES, &|| Ok(())).unwrap();
    drop(engine);
    drop(staged.publish().unwrap());
    assert_eq!(keyless(&server, "filled"), "identity writer");
}

#[test]
fn no_store_appears_or_is_gone_on_with_without_its_keys() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = staged(&server, "left");
    let engine = place.open_engine().unwrap();
    engine.begin_bulk(&[Table::Objects]).unwrap();
    apply(&*engine, Table::Objects, &rows(0..10, "left")).unwrap();
    place.mark().unwrap();
    drop(engine);
    assert!(place.leave().is_some());
    let schema = unfinished(&server, "left");
    assert!(keyless(&server, &schema).contains("objects"));
    let options = Options::check("postgres", PostgresBackend.options(), [("schema", "left")]);
    let (address, options) = (server.address("test"), options.unwrap());
    let find = || PostgresBackend.find(Path::new(&address), &options);
    let place = find().unwrap().unwrap();
    assert_eq!(keyless(&server, &schema), "identity staged writer");

    let engine = place.open_engine().unwrap();
    engine.begin_bulk(&[Table::Referrers]).unwrap();
    apply(&*engine, Table::Referrers, &rows(0..10, "late")).unwrap();
    drop(engine);
    drop(place.publish().unwrap());
    assert_eq!(keyless(&server, "left"), "identity writer");
}

#[test]
fn nobody_waits_for_a_key_that_is_wanted_no_longer() {
    let Some(server) = Server::start() else {
        return;
    };
    let staged = staged(&server, "stopped");
    let engine = staged.open_engine().unwrap();
    engine.begin_bulk(&[Table::Objects]).unwrap();
    let model = rows(0..10, "stopped");
    apply(&*engine, Table::Objects, &model).unwrap();
    // The key cannot be added as long as this has the table.
    let schema = unfinished(&server, "stopped");
    let lock = format!(
        "BEGIN; LOCK TABLE \"{schema}\".objects IN ACCESS SHARE MODE; SELECT pg_sleep(600)"
    );
    let mut holding = server.begin_sql("test", &lock);
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until("the lock", || server.sql("test", sleeps) == "1");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%' AND wait_event_type = 'Lock'";
    let stop_when_it_waits = || match server.sql("test", waits) == "1" {
        true => Err(Error::new(ErrorKind::Interrupted, "test")),
        false => Ok(()),
    };
    let ended = engine.end_bulk(&[Table::Objects], &stop_when_it_waits);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(server.sql("test", waits), "0");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    assert_eq!(server.sql("test", end), "1");
    holding.wait().unwrap();

    engine.end_bulk(&[Table::Objects], &|| Ok(())).unwrap();
    assert_eq!(keyless(&server, &schema), "identity staged writer");
    assert_eq!(walk(&*engine, Table::Objects, 1000), model);
}

#[test]
fn a_row_that_is_put_twice_is_found_when_the_keys_are_added() {
    let Some(server) = Server::start() else {
        return;
    };
    let staged = staged(&server, "twice");
    let engine = staged.open_engine().unwrap();
    engine.begin_bulk(&[Table::Objects]).unwrap();
    for mark in ["once", "twice"] {
        apply(&*engine, Table::Objects, &rows(7..8, mark)).unwrap();
    }
    let error = engine.end_bulk(&[Table::Objects], &|| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(keyless(&server, &unfinished(&server, "twice")).contains("objects"));
    // The connection is not in the transaction that has failed.
    assert_eq!(
        engine
            .end_bulk(&[Table::Objects], &|| Ok(()))
            .unwrap_err()
            .kind(),
        ErrorKind::Damaged
    );
}

#[test]
fn who_is_not_the_writer_any_more_leaves_the_keys_alone() {
    let Some(server) = Server::start() else {
        return;
    };
    let staged = staged(&server, "replaced");
    let engine = staged.open_engine().unwrap();
    let schema = unfinished(&server, "replaced");
    let claim = format!("UPDATE \"{schema}\".writer SET fence = fence + 1, claimed = fence + 1");
    server.sql("test", &claim);
    let error = engine.begin_bulk(&[Table::Objects]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert_eq!(keyless(&server, &schema), "identity staged writer");
}
