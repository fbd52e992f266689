//! `durum.toml`.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::server::{self, ServerSettings};
use super::store::StoreSettings;
use super::suggest;
use crate::error::{Error, ErrorKind, IoResultExt as _, Result, ResultExt as _};

/// The name under which the configuration is looked for in the working directory.
pub const FILE_NAME: &str = "durum.toml";
/// The environment variable that names another file.
pub const VARIABLE: &str = "DURUM_CONFIG";

pub(super) const DOING: &str = "read the configuration";
/// The keys of the file, for messages and for the test that they are all documented.
const TOP_KEYS: &[&str] = &["store", "server"];
const STORE_KEYS: &[&str] = &["backend", "path", "durability", "compression", "options"];

/// The contents of `durum.toml`; every key is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[store]`.
    pub store: StoreSettings,
    /// `[server]`.
    pub server: ServerSettings,
}

impl Config {
    /// All keys of the file in dotted form.
    pub fn keys() -> impl Iterator<Item = String> {
        let of = |table: &'static str, keys: &'static [&'static str]| {
            keys.iter().map(move |key| format!("{table}.{key}"))
        };
        of("store", STORE_KEYS).chain(of("server", server::KEYS))
    }

    /// Reads the file that `named` gives, else the one that the environment variable names, else
    /// `durum.toml` in the working directory if there is one, else the defaults.
    ///
    /// # Errors
    /// `Usage` for a file that was named and is not there, and as [`Config::parse`].
    pub fn find(named: Option<&Path>) -> Result<Config> {
        let from_variable = std::env::var_os(VARIABLE).map(PathBuf::from);
        match named.map(Path::to_path_buf).or(from_variable) {
            Some(path) => Config::read(&path),
            None if Path::new(FILE_NAME).exists() => Config::read(Path::new(FILE_NAME)),
            None => Ok(Config::default()),
        }
    }

    /// Reads a file. Relative paths are relative to the file.
    ///
    /// # Errors
    /// As [`Config::parse`]; `Usage` also where the file cannot be read.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path)
            .during(DOING, path)
            .map_err(|error| error.with_kind(ErrorKind::Usage))?;
        let mut config = Config::parse(&text).at_path(path)?;
        if let Some(home) = path.parent() {
            config.store.path = home.join(&config.store.path);
            config.server.move_to(home);
        }
        Ok(config)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// `Usage`: not TOML, an unknown key (with a suggestion), a value of a wrong type, a bad value.
    pub fn parse(text: &str) -> Result<Config> {
        let table: Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                1 + text
                    .get(..span.start)
                    .unwrap_or_default()
                    .matches('\n')
                    .count()
            });
            let place = line
                .map(|line| format!("line {line}: "))
                .unwrap_or_default();
            Error::new(ErrorKind::Usage, DOING).because(format!("{place}{}", error.message()))
        })?;
        check_keys("", &table, TOP_KEYS)?;
        let mut config = Config::default();
        if let Some(value) = table.get("store") {
            read_store(&mut config.store, as_table("store", value)?)?;
        }
        if let Some(value) = table.get("server") {
            config.server.read(as_table("server", value)?)?;
        }
        Ok(config)
    }
}

fn read_store(store: &mut StoreSettings, table: &Table) -> Result<()> {
    check_keys("store.", table, STORE_KEYS)?;
    for (key, value) in table {
        match key.as_str() {
            "backend" => store.backend = as_string("store.backend", value)?.to_owned(),
            "path" => store.path = as_string("store.path", value)?.into(),
            "options" => {
                for (name, value) in as_table("store.options", value)? {
                    store.options.insert(name.clone(), as_scalar(name, value)?);
                }
            }
            _ => {
                store.set(key, as_string(&format!("store.{key}"), value)?)?;
            }
        }
    }
    Ok(())
}

pub(super) fn check_keys(prefix: &str, table: &Table, valid: &[&str]) -> Result<()> {
    match table.keys().find(|key| !valid.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::new(ErrorKind::Usage, DOING)
            .because(format!("there is no key `{prefix}{key}`"))
            .hint(suggest(key, valid, "keys here"))),
    }
}

pub(super) fn as_table<'a>(key: &str, value: &'a Value) -> Result<&'a Table> {
    value
        .as_table()
        .ok_or_else(|| wrong_type(key, value, "a table"))
}

pub(super) fn as_string<'a>(key: &str, value: &'a Value) -> Result<&'a str> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(key, value, "a string"))
}

pub(super) fn as_bool(key: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(key, value, "true or false"))
}

fn as_scalar(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err(wrong_type(
            &format!("store.options.{name}"),
            value,
            "a string, a number or true or false",
        )),
    }
}

pub(super) fn wrong_type(key: &str, value: &Value, wanted: &str) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .because(format!("`{key}` is of the type {}", value.type_str()))
        .hint(format!("It takes {wanted}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Durability;
    use crate::record::Codec;

    #[test]
    fn the_documented_example_and_the_empty_file() {
        let config = Config::parse(
            r#"
            [store]
            backend = "sqlite"
            path = "elsewhere"
            durability = "process"
            compression = "zstd-dict"
            [store.options]
            cache_size = "64MiB"
            readers = 8
            [server]
            listen = ["127.0.0.1:1", "@durum"]
            allow_quit = true
            metrics = "127.0.0.1:9273"
            "#,
        )
        .unwrap();
        assert_eq!(config.store.backend, "sqlite");
        assert_eq!(config.store.durability, Some(Durability::Process));
        assert_eq!(config.store.compression, Codec::ZstdDict);
        assert_eq!(config.store.options["readers"], "8");
        assert_eq!(config.server.listen, ["127.0.0.1:1", "@durum"]);
        assert_eq!(config.server.metrics.as_deref(), Some("127.0.0.1:9273"));
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::default().store.backend, "lmdb");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("[store]\nbackand = \"lmdb\"", "Did you mean `backend`?"),
            ("[stores]", "Did you mean `store`?"),
            ("store = 1", "a table"),
            ("[store]\npath = 7", "`store.path` is of the type integer"),
            ("[store]\ndurability = \"powr\"", "Did you mean `power`?"),
            ("[store.options]\nx = [1]", "store.options.x"),
            ("[server]\nlisten = 2972", "server.listen"),
            ("[server]\nallow_quit = \"yes\"", "true or false"),
            ("[server]\nmetrics = 9273", "server.metrics"),
            ("[store]\npath = ", "line 2"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_relative_path_is_relative_to_the_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("durum.toml");
        std::fs::write(&path, "[store]\npath = \"objects\"").unwrap();
        assert_eq!(
            Config::read(&path).unwrap().store.path,
            home.path().join("objects")
        );
        let missing = Config::read(&home.path().join("no.toml")).unwrap_err();
        assert_eq!((missing.kind(), missing.exit_code()), (ErrorKind::Usage, 2));
    }
}
