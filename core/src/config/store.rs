//! The settings of a store, wherever they were written down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::suggest;
use crate::engine::{Durability, OptionSpec, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Codec;
use crate::store::{Collection, StoreOptions};

/// The engine of a store that names none.
const BACKEND_DEFAULT: &str = "lmdb";
/// The path of a store that names none.
const PATH_DEFAULT: &str = "data";

/// Which engine a store lies on, where, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The engine's name; whether it exists is for the registry to say.
    pub backend: String,
    /// The store's directory.
    pub path: PathBuf,
    /// What callers get who ask for no durability in particular; `None` for the engine's best.
    pub durability: Option<Durability>,
    /// How new records are compressed.
    pub compression: Codec,
    /// The engine's own options, as they were written.
    pub options: BTreeMap<String, String>,
    /// How much garbage is collected, and when; not a matter of configurations and URLs.
    pub collection: Collection,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            backend: BACKEND_DEFAULT.to_owned(),
            path: PathBuf::from(PATH_DEFAULT),
            durability: None,
            compression: Codec::None,
            options: BTreeMap::new(),
            collection: Collection::default(),
        }
    }
}

impl StoreSettings {
    /// Settings for the engine `backend` at `path`.
    pub fn new(backend: impl Into<String>, path: impl Into<PathBuf>) -> StoreSettings {
        StoreSettings {
            backend: backend.into(),
            path: path.into(),
            ..StoreSettings::default()
        }
    }

    /// Takes a setting that every engine has; false where `key` is not one of these.
    ///
    /// # Errors
    /// `Usage` for a bad value.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "durability" => self.durability = Some(parse_durability(value)?),
            "compression" => self.compression = parse_codec(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The settings as a store takes them, the engine's options checked against its `specs`.
    ///
    /// # Errors
    /// `Usage` for an option that the engine does not have or a value that it does not take.
    pub fn store_options(
        &self,
        engine: &'static str,
        specs: &'static [OptionSpec],
    ) -> Result<StoreOptions> {
        let given = self
            .options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let defaults = StoreOptions::default();
        Ok(StoreOptions {
            engine: Options::check(engine, specs, given)?,
            codec: self.compression,
            durability: self.durability.unwrap_or(defaults.durability),
            collection: self.collection,
            ..defaults
        })
    }

    /// The same settings for a store that is only looked at: nothing is collected.
    #[must_use]
    pub fn without_collection(self) -> StoreSettings {
        StoreSettings {
            collection: Collection::OFF,
            ..self
        }
    }

    /// The settings as a URL without options, for messages.
    pub fn url(&self) -> String {
        format!("{}:{}", self.backend, self.path.display())
    }
}

fn parse_durability(value: &str) -> Result<Durability> {
    let names = Durability::ALL.map(Durability::name);
    let found = Durability::ALL
        .into_iter()
        .find(|level| level.name() == value);
    found.ok_or_else(|| bad_value("durability", value, &names))
}

fn parse_codec(value: &str) -> Result<Codec> {
    let names = Codec::NAMES.map(|(name, _)| name);
    Codec::from_name(value).ok_or_else(|| bad_value("compression", value, &names))
}

fn bad_value(key: &str, value: &str, valid: &[&str]) -> Error {
    Error::new(ErrorKind::Usage, "read the configuration")
        .because(format!("`{value}` is not a value for `{key}`"))
        .hint(suggest(value, valid, "values"))
}
