//! Training the compression dictionary of a store that is set to `zstd-dict`.
//!
//! It happens once, when there are objects enough to learn from. The dictionary lies in a table of its
//! own and is never removed, since records name it by its number.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::local::Shared;
use super::sealed::{sealed, unsealed};
use super::write_set::WriteSet;
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{Error, Result};
use crate::id::Oid;
use crate::record::{Codec, Codecs, Record};

/// The number of the dictionary that a store trains.
pub(super) const NUMBER: u64 = 1;
/// A store learns from this many objects, once it has as many.
const SAMPLES: usize = 2000;
/// No more than this many bytes are looked at.
const SAMPLE_BYTES_MAX: usize = 8 << 20;
/// Larger objects compress well alone, and would only crowd out small ones.
const SAMPLE_LENGTH_MAX: usize = 16 << 10;

/// Gathers typical data and makes a dictionary of it.
#[derive(Debug, Default)]
pub(super) struct Samples {
    data: Vec<Vec<u8>>,
    bytes: usize,
}

impl Samples {
    /// Takes `data` as a sample, if it can serve as one; false when enough was seen.
    pub(super) fn add(&mut self, data: Vec<u8>) -> bool {
        // What cannot serve counts too, so that a store of large objects is not read to its end.
        self.bytes += data.len();
        if data.len() <= SAMPLE_LENGTH_MAX {
            self.data.push(data);
        }
        self.data.len() < SAMPLES && self.bytes < SAMPLE_BYTES_MAX
    }

    pub(super) fn train(&self) -> Option<Vec<u8>> {
        Codecs::train(&self.data)
    }
}

/// Makes the dictionaries of a store known.
pub(super) fn load(view: &dyn EngineSnapshot, codecs: &Codecs) -> Result<()> {
    let mut cursor = view.cursor(Table::Dictionaries, Key::MIN)?;
    while let Some((key, value)) = cursor.next()? {
        add(codecs, key.first, value)?;
    }
    Ok(())
}

/// Makes the dictionary known that another process may have trained.
pub(super) fn load_first(view: &dyn EngineSnapshot, codecs: &Codecs) -> Result<()> {
    let (table, key) = first();
    let mut added = Ok(());
    view.get(table, key, &mut |value| added = add(codecs, NUMBER, value))?;
    added
}

fn add(codecs: &Codecs, number: u64, value: &[u8]) -> Result<()> {
    let Some(body) = unsealed(value) else {
        let which = format!("compression dictionary {number} is damaged");
        return Err(Error::damaged("open the store", which)
            .hint("Objects that need it cannot be read; restore the store from a backup."));
    };
    codecs.add_dictionary(number, body);
    Ok(())
}

/// The row of the dictionary that a store trains.
pub(super) fn first() -> (Table, Key) {
    (Table::Dictionaries, Key::from(NUMBER))
}

/// The row of dictionary `number`: its bytes, sealed.
pub(super) fn row(number: u64, dictionary: &[u8]) -> (Key, Vec<u8>) {
    (Key::from(number), sealed(dictionary))
}

impl Shared {
    /// Trains the dictionary if the store wants one, has none, and has objects enough.
    pub(super) fn train_when_due(&self) {
        if self.codec != Codec::ZstdDict
            || self.training.load(Ordering::Relaxed)
            || self.codecs.newest_dictionary().is_some()
        {
            return;
        }
        let objects = {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.state.objects
        };
        if objects < SAMPLES as u64 || self.training.swap(true, Ordering::AcqRel) {
            return;
        }
        // Only space is lost where it fails: records are then compressed without a dictionary.
        match self.train() {
            Ok(true) => tracing::info!("trained a compression dictionary"),
            Ok(false) => tracing::info!("the objects are too different for a dictionary"),
            Err(error) => tracing::warn!(%error, "could not train a compression dictionary"),
        }
    }

    fn train(&self) -> Result<bool> {
        let mut samples = Samples::default();
        {
            let view = self.view()?;
            let mut cursor = view.engine()?.cursor(Table::Objects, Key::MIN)?;
            while let Some((key, value)) = cursor.next()? {
                let object = Record::parse(Oid(key.first), value)?.to_object(&self.codecs)?;
                if !samples.add(object.data) {
                    break;
                }
            }
        }
        let Some(dictionary) = samples.train() else {
            return Ok(false);
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut rows = WriteSet::new(self.engine.snapshot()?);
        let (key, value) = row(NUMBER, &dictionary);
        rows.put(Table::Dictionaries, key, value);
        let state = writer.state;
        let durability = self.offered_durability(self.durability)?;
        self.write(
            &mut writer,
            rows,
            state,
            Vec::new(),
            self.condemned(),
            durability,
        )?;
        self.codecs.add_dictionary(NUMBER, &dictionary);
        Ok(true)
    }
}
