//! Filling an engine with the objects, in a process of its own: through Durum, or the engine alone.

use std::path::Path;

use durum_core::config::StoreSettings;
use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::Payload;
use durum_core::store::Importer;
use durum_core::{Oid, Result};
use durum_raw::{Load, Rows};
use serde::Serialize;

use super::objects::{Objects, Records, TID};
use crate::clock::{Took, Whose};

/// Objects are made in memory by this many bytes; then the clock starts, and they are loaded.
const BLOCK_BYTES: usize = 8 << 20;

/// What is loaded, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// The engine's name.
    pub engine: String,
    /// Whether it is loaded without Durum.
    pub raw: bool,
    /// Objects.
    pub objects: u64,
    /// Bytes of their data, on average.
    pub size: u32,
    /// From it the objects are drawn.
    pub seed: u64,
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Loaded {
    /// Bytes of the records, as they are stored.
    pub stored_bytes: u64,
    /// Seconds that were spent loading, until all was durable and closed; not those in which the
    /// objects were made.
    pub seconds: f64,
    /// Seconds of processor time in these.
    pub cpu_seconds: f64,
    /// The digest of the objects; `None` for a raw load.
    pub digest: Option<String>,
}

/// Loads objects into a new database at `path`. The clock stands while objects are made, so that the
/// time is that of the engine and of what is above it.
///
/// # Errors
/// `Usage` for an unknown engine; those of the engine and of the disk.
pub fn load(registry: &Registry, path: &Path, settings: &LoadSettings) -> Result<Loaded> {
    let objects = Objects {
        count: settings.objects,
        size: settings.size as usize,
        seed: settings.seed,
    };
    match settings.raw {
        true => load_raw(&settings.engine, path, objects),
        false => load_store(registry, &settings.engine, path, objects),
    }
}

fn load_raw(engine: &str, path: &Path, objects: Objects) -> Result<Loaded> {
    load_rows(objects, || durum_raw::create(engine, path))
}

/// Loads the records into what `begin` makes.
pub(crate) fn load_rows(
    objects: Objects,
    begin: impl FnOnce() -> Result<Box<dyn Load>>,
) -> Result<Loaded> {
    let (mut took, mut stored_bytes) = (Took::default(), 0);
    let (mut records, mut rows) = (Records::new(objects), Rows::default());
    let mut load = took.add(Whose::Process, begin)?;
    while records.fill(&mut rows, BLOCK_BYTES)? {
        took.add(Whose::Process, || load.write(&rows))?;
        stored_bytes += rows.bytes() as u64;
    }
    took.add(Whose::Process, || load.finish())?;
    Ok(Loaded {
        stored_bytes,
        seconds: took.time.as_secs_f64(),
        cpu_seconds: took.processor.as_secs_f64(),
        digest: None,
    })
}

fn load_store(registry: &Registry, engine: &str, path: &Path, objects: Objects) -> Result<Loaded> {
    let (mut took, mut digest) = (Took::default(), Digest::default());
    let settings = StoreSettings::new(engine, path).without_collection();
    let staged = took.add(Whose::Process, || registry.stage(&settings))?;
    let mut importer = took.add(Whose::Process, || staged.importer())?;
    let mut next = 0;
    while next < objects.count {
        let (mut block, mut bytes) = (Vec::new(), 0);
        while next < objects.count && bytes < BLOCK_BYTES {
            let (mut refs, mut data) = (Vec::new(), Vec::new());
            objects.make(next, &mut refs, &mut data);
            digest.add(Oid(next), refs.iter().copied(), &data);
            bytes += data.len() + size_of_val(refs.as_slice());
            block.push((Oid(next), refs, data));
            next += 1;
        }
        took.add(Whose::Process, || push(&mut importer, &block))?;
    }
    let imported = took.add(Whose::Process, || importer.finish(TID, Oid::ROOT))?;
    let store = took.add(Whose::Process, || staged.publish())?;
    took.add(Whose::Process, || drop(store));
    Ok(Loaded {
        stored_bytes: imported.bytes,
        seconds: took.time.as_secs_f64(),
        cpu_seconds: took.processor.as_secs_f64(),
        digest: Some(digest.to_string()),
    })
}

fn push(importer: &mut Importer<'_>, block: &[(Oid, Vec<Oid>, Vec<u8>)]) -> Result<()> {
    block
        .iter()
        .try_for_each(|(oid, refs, data)| importer.push_own(*oid, TID, refs, Payload::plain(data)))
}
