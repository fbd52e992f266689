//! The home on typed objects does what every home does, on every engine and through the server.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use durum_dictionaries::conformance::Site;
use durum_dictionaries::{Class, Dictionaries, IndexType, Merger, Query, Value};
use durum_objects::Database;
use durum_server::{Server, Settings, Stopper};
use tempfile::TempDir;

/// How many write at once, and how often each.
const WRITERS: i64 = 4;
const WRITES: i64 = 60;

struct Store {
    database: Database,
    _directory: TempDir,
}

impl Store {
    fn on(engine: &str) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let url = format!("{engine}:{}?durability=process", path.display());
        Store {
            database: Database::create(&url).unwrap(),
            _directory: directory,
        }
    }
}

impl Site for Store {
    fn writer(&self, merger: Merger) -> Dictionaries {
        Dictionaries::embedded(&self.database, merger).unwrap()
    }
}

/// A store behind a server in this process; each writer is a client of its own.
struct Served {
    url: String,
    stop: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start() -> Served {
        let registry = durum_backends::registry();
        let settings = registry.parse_store("memory:").unwrap();
        let store = Arc::new(registry.create(&settings).unwrap());
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..Settings::default()
        };
        let server = Server::bind(store, settings).unwrap();
        let address = server.addresses().first().unwrap().to_string();
        Served {
            url: format!("durus+tcp://{address}"),
            stop: server.stopper(),
            thread: Some(std::thread::spawn(move || server.run().unwrap())),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Site for Served {
    fn writer(&self, merger: Merger) -> Dictionaries {
        Dictionaries::open_with(&self.url, merger).unwrap()
    }
}

macro_rules! homes {
    ($($name:ident: $site:expr;)+) => {
        $(mod $name {
            use super::*;
            durum_dictionaries::conformance!(|| $site);

            #[test]
            fn writers_at_once_lose_nothing() {
                super::writers_at_once_lose_nothing(&$site);
            }
        })+
    };
}

homes! {
    memory: Store::on("memory");
    lmdb: Store::on("lmdb");
    sqlite: Store::on("sqlite");
    redb: Store::on("redb");
    fjall: Store::on("fjall");
    sled: Store::on("sled");
    file: Store::on("file");
    served: Served::start();
}

/// Each writer changes fields of its own in dictionaries that all write: every revision is there, in one line of descent or merged.
fn writers_at_once_lose_nothing(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("last", IndexType::Int))
        .unwrap();
    let write = |writer: i64, home: &Dictionaries| {
        for number in 0..WRITES {
            let change = |fields: &mut durum_dictionaries::Fields| {
                fields.insert(format!("by{writer}"), Value::Int(number));
                fields.insert("last".into(), Value::Int(number));
            };
            home.update("c", &(number % 3).to_string(), change).unwrap();
        }
    };
    let homes: Vec<_> = (0..WRITERS).map(|writer| (writer, site.open())).collect();
    std::thread::scope(|scope| {
        for (writer, home) in &homes {
            scope.spawn(move || write(*writer, home));
        }
    });
    home.heal(None).unwrap();
    let mut revisions = BTreeMap::new();
    for change in home.changes("c", None).unwrap() {
        let change = change.unwrap();
        revisions.insert(change.revision.id, change.key);
    }
    assert!(revisions.len() >= (WRITERS * WRITES) as usize);
    for key in 0..3 {
        let found = home.get("c", &key.to_string()).unwrap().unwrap();
        assert_eq!(found.concurrent, []);
        for writer in 0..WRITERS {
            let last = Value::Int(WRITES - 3 + key);
            assert_eq!(found.fields().get(&format!("by{writer}")), Some(&last));
        }
    }
    let found = home.select("c", "last", &Query::Any).unwrap();
    assert_eq!(found.map(Result::unwrap).count(), 3);
}
