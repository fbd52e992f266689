//! Looking at objects without their types: whatever the bytes are.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use durum_core::store::{Batch, Store};
use durum_objects::inspect::{Bounds, Inspector, Printer, TreeOptions, Value};
use durum_objects::{Database, Oid, Persistent, Ref, WeakRef};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Part")]
struct Part {
    name: String,
    weight: f32,
    tags: Vec<(u8, Option<String>)>,
    state: State,
    parts: Vec<Ref<Part>>,
    whole: Option<WeakRef<Part>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    New,
    Used(u64),
    Sold { to: String, for_: i64 },
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Event")]
enum Event {
    Made,
    Moved { from: u8, to: u8 },
}

fn part(number: u64) -> Part {
    Part {
        name: format!("part {number}"),
        weight: 0.5,
        tags: vec![(1, None), (2, Some("two".to_owned()))],
        state: match number % 3 {
            0 => State::New,
            1 => State::Used(number),
            _ => State::Sold {
                to: "Eve".to_owned(),
                for_: -1,
            },
        },
        parts: Vec::new(),
        whole: None,
    }
}

/// A whole with parts, each of which knows it; and two events.
fn database() -> (Database, Oid) {
    let db = Database::create("memory:").unwrap();
    let whole = db.transact(|tx| {
        let whole = tx.new(part(0))?;
        for number in 1..5 {
            let mut part = part(number);
            part.whole = Some(whole.downgrade());
            let part = tx.new(part)?;
            tx.get_mut(whole)?.parts.push(part);
        }
        tx.set_root("whole", whole)?;
        let made = tx.new(Event::Made)?;
        tx.set_root("made", made)?;
        let moved = tx.new(Event::Moved { from: 1, to: 2 })?;
        tx.set_root("moved", moved)?;
        Ok(whole.oid())
    });
    (db, whole.unwrap())
}

#[test]
fn values_have_the_names_of_their_fields() {
    let (db, whole) = database();
    let snapshot = db.store().snapshot().unwrap();
    let inspector = Inspector::new(&*snapshot).unwrap();
    let object = inspector.object(whole).unwrap().unwrap();
    let typed = object.typed.unwrap();
    assert_eq!(typed.kind.unwrap().to_string(), "test.Part v1");
    let parts = object.refs.iter().map(|oid| format!("@{oid}"));
    let parts = parts.collect::<Vec<_>>().join(", ");
    let expected = format!(
        r#"{{name: "part 0", weight: 0.5, tags: [[1, nil], [2, "two"]], state: "New", parts: [{parts}], whole: nil}}"#
    );
    let value = typed.value.unwrap();
    assert_eq!(value.line(), expected);
    let lines = value.lines("    ");
    assert!(
        lines.starts_with("{\n      name: \"part 0\",\n      weight: 0.5,\n"),
        "{lines}"
    );
    assert!(lines.ends_with("\n    }"), "{lines}");
    assert_eq!(value.refs(), object.refs);
    let sold = inspector.object(object.refs[1]).unwrap().unwrap();
    let sold = sold.typed.unwrap().value.unwrap();
    assert!(
        sold.line().contains(r#"state: {"Sold": ["Eve", -1]}"#),
        "{}",
        sold.line()
    );
    assert_eq!(sold.weak_refs(), [whole]);
    let tx = db.view().unwrap();
    let events = ["made", "moved"].map(|name| {
        let oid = tx.root::<Event>(name).unwrap().unwrap().oid();
        let object = inspector.object(oid).unwrap().unwrap();
        object.typed.unwrap().value.unwrap().line()
    });
    assert_eq!(events, ["Made", "Moved {from: 1, to: 2}"]);
}

#[test]
fn a_tree_is_bounded_by_depth_and_number() {
    let (db, whole) = database();
    let snapshot = db.store().snapshot().unwrap();
    let inspector = Inspector::new(&*snapshot).unwrap();
    let tree = |depth, objects| {
        let options = TreeOptions {
            depth,
            objects,
            ..TreeOptions::default()
        };
        let tree = inspector.tree(whole, options).unwrap();
        (tree.nodes.len(), tree.left_out)
    };
    assert_eq!(tree(3, 100), (5, 0));
    assert_eq!(tree(0, 100), (1, 4));
    assert_eq!(tree(3, 2), (2, 3));
    assert_eq!(tree(3, 1), (1, 4));
}

#[test]
fn a_chain_of_thousands_does_not_overflow_the_stack() {
    let db = Database::create("memory:").unwrap();
    let first = db.transact(|tx| {
        let mut next = tx.new(part(0))?;
        for number in 1..5000 {
            let mut part = part(number);
            part.parts = vec![next];
            next = tx.new(part)?;
        }
        tx.set_root("first", next)?;
        Ok(next)
    });
    let mut out = Vec::new();
    let printer = Printer::new(&db).with::<Part>().limit(10_000);
    printer
        .tree(first.unwrap().oid(), usize::MAX, &mut out)
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 5000);
}

#[test]
fn a_printer_shows_what_it_knows_by_debug() {
    let (db, _) = database();
    let mut out = Vec::new();
    let printer = Printer::new(&db).with::<Part>();
    printer.tree(Oid::ROOT, 2, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains(r#"Part { name: "part 2", weight: 0.5, "#),
        "{out}"
    );
    assert!(
        out.contains("state: Sold { to: \"Eve\", for_: -1 }"),
        "{out}"
    );
    assert!(
        out.contains("test.Event v1  Moved {from: 1, to: 2}"),
        "{out}"
    );
}

#[test]
fn large_values_are_cut_and_say_so() {
    let list = (0..1000).map(Value::Integer).collect();
    let mut value = Value::Struct(vec![
        ("text".to_owned(), Value::Text("ä".repeat(100))),
        ("list".to_owned(), Value::List(list)),
        ("last".to_owned(), Value::Nil),
    ]);
    assert!(value.cut(Bounds { parts: 4, text: 3 }));
    assert_eq!(
        value.line(),
        r#"{text: "äää... and 97 more", list: [0, 1, 2, ... and 997 more], ... and 1 more}"#
    );
    let mut small = Value::List(vec![Value::Nil; 4]);
    assert!(!small.cut(Bounds { parts: 4, text: 3 }));
}

#[test]
fn nesting_is_bounded() {
    let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
    assert!(Value::decode(&deep).unwrap_err().contains("deeper"));
    let fair = [vec![0x91; 100], vec![0xc0]].concat();
    let value = Value::decode(&fair).unwrap();
    assert_eq!(value.lines("").matches('[').count(), 100);
}

/// States that begin as they should, and go on as chance has it.
#[test]
fn hostile_states_are_shown_and_do_no_harm() {
    let seed = durum_testkit::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let (db, _) = database();
    let store = Arc::clone(db.store());
    drop(db);
    let good: Vec<(Oid, Vec<u8>, Vec<Oid>)> = {
        let snapshot = store.snapshot().unwrap();
        let mut scan = snapshot.scan(Oid::ROOT).unwrap();
        let mut good = Vec::new();
        while let Some(record) = scan.next().unwrap() {
            let object = record.to_object(snapshot.codecs()).unwrap();
            good.push((object.oid, object.data, object.refs));
        }
        good
    };
    for round in 0..1500 {
        let mut batch = Batch::new();
        let change_root = random.u8(..4) == 0;
        for (oid, state, refs) in &good {
            // The root and the table are mostly well, or nothing else would be reached.
            let keep = oid.0 < 2 && !change_root;
            let state = match keep {
                true => state.clone(),
                false => damaged(&mut random, state),
            };
            batch.update(*oid, state, refs.iter().copied());
        }
        store.commit(batch, store.durability()).unwrap();
        look(&*store, &good);
        if round % 100 == 0 {
            // A database does not open, or does; it does not panic.
            let _ = Database::new(Arc::clone(&store));
        }
    }
}

fn damaged(random: &mut fastrand::Rng, state: &[u8]) -> Vec<u8> {
    let mut state = state.to_vec();
    match random.u8(..4) {
        0 => state.truncate(random.usize(..=state.len())),
        1 => {
            for byte in state.iter_mut().skip(2) {
                *byte = random.u8(..);
            }
        }
        2 => {
            let length = random.usize(..64);
            state.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
        }
        _ => {}
    }
    for _ in 0..random.usize(..4) {
        if let Some(byte) = random
            .choice(0..state.len())
            .and_then(|place| state.get_mut(place))
        {
            *byte = random.u8(..);
        }
    }
    state
}

fn look(store: &dyn Store, objects: &[(Oid, Vec<u8>, Vec<Oid>)]) {
    let snapshot = store.snapshot().unwrap();
    let inspector = Inspector::new(&*snapshot).unwrap();
    let census = inspector.census(&mut |_, _| {}).unwrap();
    assert_eq!(census.total().objects, objects.len() as u64);
    let tree = inspector.tree(Oid::ROOT, TreeOptions::default()).unwrap();
    tree.write(&mut Vec::new()).unwrap();
    for (oid, ..) in objects {
        let object = inspector.object(*oid).unwrap().unwrap();
        if let Some(Ok(value)) = object.typed.map(|typed| typed.value) {
            let lines = value.lines("  ");
            assert!(
                !lines
                    .chars()
                    .any(|letter| letter.is_control() && letter != '\n'),
                "{lines:?}"
            );
            let mut cut = value.clone();
            cut.cut(Bounds { parts: 3, text: 2 });
            cut.line();
        }
    }
}
