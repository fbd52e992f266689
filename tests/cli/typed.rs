//! Commands that show typed objects: `get`, `tree` and `census`.

use std::sync::Arc;

use durum_core::Oid;
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store};
use durum_objects::{Database, Persistent, Ref, WeakRef};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kit::{Home, engines, filled, store};

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "bank.Account", version = 2)]
struct Account {
    owner: String,
    balance: i64,
    kind: Kind,
    heir: Option<Ref<Account>>,
    bank: Option<WeakRef<Account>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Simple,
    Savings { percent: f64 },
}

/// The OIDs of two accounts that refer to each other.
struct Made {
    ada: u64,
    eve: u64,
    store: Arc<LocalStore>,
}

/// The root, the table of types, and two accounts.
fn bank(store: LocalStore) -> Made {
    let store = Arc::new(store);
    let db = Database::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let made = db.transact(|tx| {
        let account = |owner: &str, kind| Account {
            owner: owner.to_owned(),
            balance: 15,
            kind,
            heir: None,
            bank: None,
        };
        let ada = tx.new(account("Ada \u{1b}[31m", Kind::Savings { percent: 1.5 }))?;
        let eve = tx.new(account(&"Eve".repeat(50), Kind::Simple))?;
        tx.get_mut(ada)?.heir = Some(eve);
        tx.get_mut(eve)?.heir = Some(ada);
        tx.get_mut(eve)?.bank = Some(ada.downgrade());
        tx.set_root("ada", ada)?;
        Ok((ada.oid().0, eve.oid().0))
    });
    let (ada, eve) = made.unwrap();
    Made { ada, eve, store }
}

fn typed_store(home: &Home, engine: &str) -> (String, u64, u64) {
    let mut oids = (0, 0);
    let url = filled(home, engine, |store| {
        let made = bank(store);
        oids = (made.ada, made.eve);
    });
    (url, oids.0, oids.1)
}

#[test]
fn get_shows_type_and_value() {
    for engine in engines() {
        let home = Home::new();
        let (url, ada, eve) = typed_store(&home, engine.name);
        let object = home.json(&["get", &url, &ada.to_string()]);
        assert_eq!(object["type"], json!("bank.Account"), "{object}");
        assert_eq!(object["type_version"], json!(2));
        assert_eq!(object["refs"], json!([eve]));
        let expected = json!({
            "owner": "Ada \u{1b}[31m",
            "balance": 15,
            "kind": { "Savings": [1.5] },
            "heir": { "ref": eve },
            "bank": null,
        });
        assert_eq!(object["value"], expected);
        let text = home.run(&["get", &url, &ada.to_string()]).text();
        for part in [
            "type   bank.Account v2\n",
            "owner: \"Ada \\u{1b}[31m\"",
            &format!("heir: @{eve}"),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let eve = home.json(&["get", &url, &eve.to_string()]);
        assert_eq!(eve["value"]["bank"], json!({ "weak_ref": ada }));
    }
}

#[test]
fn tree_shows_each_object_once() {
    for engine in engines() {
        let home = Home::new();
        let (url, ada, eve) = typed_store(&home, engine.name);
        let text = home.run(&["tree", &url]).text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("@0  durum.Root v1  {types: @"),
            "{text}"
        );
        assert!(lines[1].contains("  durum.TypeTable v1  {"), "{text}");
        assert!(
            lines[2].starts_with(&format!("  @{ada}  bank.Account v2  {{owner: ")),
            "{text}"
        );
        assert!(
            lines[3].starts_with(&format!("    @{eve}  bank.Account v2  ")),
            "{text}"
        );
        assert!(lines[3].contains("EveEve... and 90 more\""), "{text}");
        assert!(lines[3].contains(&format!("bank: weak @{ada}")), "{text}");
        assert_eq!(lines[4], format!("      @{ada}  shown above"), "{text}");
        assert_eq!(lines.len(), 5, "{text}");

        let tree = home.json(&["tree", &url, &ada.to_string(), "--depth", "0"]);
        assert_eq!(tree["left_out"], json!(1));
        let objects = tree["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(
            (&objects[0]["oid"], &objects[0]["depth"]),
            (&json!(ada), &json!(0))
        );
        assert_eq!(
            (&objects[0]["type"], &objects[0]["parent"]),
            (&json!("bank.Account"), &Value::Null)
        );

        let limited = home.run(&["tree", &url, "--limit", "3"]).text();
        assert!(
            limited.contains("    ... 1 not shown\n1 more object"),
            "{limited}"
        );
        assert_eq!(home.run(&["tree", &url, "4000"]).code, 1);
        home.refused(&["tree", &url, "--limit", "0"], 2, &["--limit"]);
    }
}

#[test]
fn census_counts_by_type() {
    for engine in engines() {
        let home = Home::new();
        let (url, ..) = typed_store(&home, engine.name);
        let census = home.json(&["census", &url]);
        let counts = |kind: &str| {
            let types = census["types"].as_array().unwrap();
            types.iter().find(|one| one["type"] == json!(kind)).unwrap()["objects"].clone()
        };
        assert_eq!(counts("bank.Account"), json!(2), "{census}");
        assert_eq!(counts("durum.Root"), json!(1));
        assert_eq!(counts("durum.TypeTable"), json!(1));
        assert_eq!(
            (&census["objects"], &census["untyped"]["objects"]),
            (&json!(4), &json!(0))
        );
        let stat = home.json(&["stat", &url]);
        assert_eq!(stat["objects"], census["objects"]);
        let text = home.run(&["census", &url]).text();
        assert!(text.contains("bank.Account v2           2"), "{text}");
        assert!(text.contains("in all"), "{text}");
    }
}

#[test]
fn other_objects_are_shown_as_such() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let census = home.json(&["census", &url]);
        assert_eq!(census["untyped"]["objects"], json!(4));
        assert_eq!(census["types"], json!([]));
        let tree = home.run(&["tree", &url]).text();
        let lines: Vec<&str> = tree.lines().collect();
        assert_eq!(lines.len(), 4, "{tree}");
        assert!(lines[2].starts_with("    @2  not typed, "), "{tree}");
        assert_eq!(lines[3], "      @1  shown above");
        assert!(home.json(&["get", &url, "1"]).get("type").is_none());
    }
}

/// Objects that are none: their table of types, their type, their value, or all of it.
#[test]
fn damaged_objects_are_shown_as_such() {
    for engine in engines() {
        let home = Home::new();
        let mut oids = (0, 0);
        let url = filled(&home, engine.name, |store| {
            let made = bank(store);
            let mut batch = Batch::new();
            // An array of four billion that ends at once; then a type that the table does not have.
            batch.update(
                Oid(made.ada),
                [0xd1, 2, 0xdd, 255, 255, 255, 255],
                [Oid(made.eve)],
            );
            batch.update(Oid(made.eve), [0xd1, 99, 0xc0], []);
            made.store.commit(batch, made.store.durability()).unwrap();
            oids = (made.ada, made.eve);
        });
        let (ada, eve) = oids;
        let object = home.json(&["get", &url, &ada.to_string()]);
        assert_eq!(object["type"], json!("bank.Account"), "{object}");
        assert!(object["value_error"].is_string(), "{object}");
        let tree = home.run(&["tree", &url]).text();
        assert!(tree.contains("bank.Account v2  not readable: "), "{tree}");
        assert!(
            tree.contains(&format!("@{eve}  type 99, which is not in the table")),
            "{tree}"
        );
        let census = home.json(&["census", &url]);
        assert_eq!(census["unknown"]["objects"], json!(1), "{census}");
        assert!(
            home.run(&["get", &url, &eve.to_string()])
                .text()
                .contains("number 99")
        );
    }
}

#[test]
fn a_damaged_table_of_types_keeps_nobody_from_looking() {
    for engine in engines() {
        let home = Home::new();
        let mut ada = 0;
        let url = filled(&home, engine.name, |store| {
            let made = bank(store);
            let root = made
                .store
                .snapshot()
                .unwrap()
                .load(Oid::ROOT)
                .unwrap()
                .unwrap();
            let table = *root.refs.iter().find(|oid| oid.0 != made.ada).unwrap();
            let mut batch = Batch::new();
            batch.update(table, [0xd1, 1, 0x91, 0xc0], []);
            made.store.commit(batch, made.store.durability()).unwrap();
            ada = made.ada;
        });
        let tree = home.run(&["tree", &url]).text();
        assert!(
            tree.starts_with("The table of types cannot be read: "),
            "{tree}"
        );
        assert!(tree.contains("15, "), "{tree}");
        let object = home.json(&["get", &url, &ada.to_string()]);
        assert_eq!(object["type"], Value::Null);
        assert_eq!(object["value"][1], json!(15));
        let census = home.json(&["census", &url]);
        assert_eq!(census["unknown"]["objects"], json!(4), "{census}");
        assert!(census["types_error"].is_string());
    }
}
