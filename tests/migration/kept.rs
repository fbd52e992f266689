//! The memory engine with stores that stay while the process lives, and with flaws on request.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use durum_backends::registry;
use durum_core::engine::{
    Backend, Capabilities, Durability, Engine, EngineSnapshot, EngineStats, Op, OptionSpec,
    Options, Reclaimed, Registry, Table,
};
use durum_core::record::{Codecs, Payload, Record, encode};
use durum_core::{Oid, Result};

/// The name of the engine.
pub(crate) const NAME: &str = "kept";

/// What goes wrong when objects are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// The object is not stored, and success is reported.
    Lose(Oid),
    /// The object is stored with one byte of its data changed, and a good checksum.
    Alter(Oid),
    /// The object is stored without its first reference, and with a good checksum.
    Unlink(Oid),
    /// One stored byte is changed.
    Flip(Oid),
    /// Values larger than this are not taken.
    Small(u64),
}

/// Makes the engine available. Its stores are found again by a number in a file of their directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) flaw: Flaw,
    engines: Arc<Mutex<BTreeMap<String, Arc<dyn Engine>>>>,
}

/// All engines of this build, and this one.
pub(crate) fn registry_with(flaw: Flaw) -> Registry {
    registry().with(Kept {
        flaw,
        engines: Arc::default(),
    })
}

impl Backend for Kept {
    fn capabilities(&self) -> Capabilities {
        let memory = registry().get("memory").unwrap().capabilities();
        let limit = match self.flaw {
            Flaw::Small(limit) => limit,
            _ => memory.value_bytes_max,
        };
        Capabilities {
            name: NAME,
            persistent: true,
            durability: Durability::ALL.to_vec(),
            value_bytes_max: limit,
            ..memory
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let file = dir.join("number");
        let number = fs::read_to_string(&file).unwrap_or_else(|_| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
            fs::write(&file, &number).unwrap();
            number
        });
        let mut engines = self.engines.lock().unwrap();
        if !engines.contains_key(&number) {
            let engine = registry().get("memory")?.open(dir, options)?;
            engines.insert(number.clone(), Arc::from(engine));
        }
        Ok(Box::new(Open {
            flaw: self.flaw,
            engine: engines[&number].clone(),
        }))
    }
}

#[derive(Debug)]
struct Open {
    flaw: Flaw,
    engine: Arc<dyn Engine>,
}

impl Open {
    /// The value that is really stored; `None` for none.
    fn bend(&self, oid: Oid, value: &[u8]) -> Option<Vec<u8>> {
        let mut stored = value.to_vec();
        match self.flaw {
            Flaw::Lose(at) if at == oid => return None,
            Flaw::Alter(at) if at == oid => stored = rewrite(oid, value, |_, data| data[0] ^= 1),
            Flaw::Unlink(at) if at == oid => {
                stored = rewrite(oid, value, |refs, _| {
                    refs.remove(0);
                });
            }
            Flaw::Flip(at) if at == oid => stored[value.len() / 2] ^= 1,
            _ => {}
        }
        Some(stored)
    }
}

/// A record with other contents and a checksum that fits them.
fn rewrite(oid: Oid, stored: &[u8], change: impl FnOnce(&mut Vec<Oid>, &mut Vec<u8>)) -> Vec<u8> {
    let record = Record::parse(oid, stored).unwrap();
    let mut object = record.to_object(&Codecs::default()).unwrap();
    change(&mut object.refs, &mut object.data);
    let mut out = Vec::new();
    encode(
        oid,
        object.tid,
        record.anchor,
        &object.refs,
        Payload::plain(&object.data),
        &mut out,
    );
    out
}

impl Engine for Open {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        self.engine.snapshot()
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        let bent: Vec<_> = ops
            .iter()
            .map(|op| match op {
                Op::Put {
                    table: Table::Objects,
                    key,
                    value,
                } => self.bend(Oid(key.first), value),
                Op::Put { value, .. } => Some(value.to_vec()),
                Op::Delete { .. } => None,
            })
            .collect();
        let real = ops
            .iter()
            .zip(&bent)
            .filter_map(|(op, value)| match (op, value) {
                (Op::Delete { .. }, _) => Some(*op),
                (Op::Put { table, key, .. }, Some(value)) => Some(Op::Put {
                    table: *table,
                    key: *key,
                    value,
                }),
                (Op::Put { .. }, None) => None,
            });
        self.engine
            .apply(&real.collect::<Vec<_>>(), Durability::Relaxed)?;
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.engine.sync().map(|_| Durability::Power)
    }

    fn make_room(&self, bytes: u64) -> Result<()> {
        self.engine.make_room(bytes)
    }

    fn stats(&self) -> Result<EngineStats> {
        self.engine.stats()
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.engine.reclaim(bytes_max)
    }
}
