//! The engines that a program was built with.

use std::sync::Arc;

use super::Backend;
use crate::config::{Location, StoreSettings, suggest};
use crate::error::{Error, ErrorKind, Result};
use crate::place::StagedPlace;
use crate::store::{Collection, LocalStore, StagedStore, StoreOptions};

/// The engines that a program was built with, by name. They are registered explicitly:
///
/// ```ignore
/// let registry = Registry::new().with(durum_lmdb::LmdbBackend).with(my_engine::MyBackend);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    backends: Vec<Arc<dyn Backend>>,
    /// Engines that this build lacks: their names, and how to get them.
    absent: Vec<(&'static str, &'static str)>,
}

impl Registry {
    /// A registry without engines.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds an engine, in place of one with the same name.
    #[must_use]
    pub fn with(mut self, backend: impl Backend + 'static) -> Registry {
        let name = backend.capabilities().name;
        self.backends
            .retain(|other| other.capabilities().name != name);
        self.absent.retain(|(other, _)| *other != name);
        self.backends.push(Arc::new(backend));
        self
    }

    /// Names an engine that was left out of this build, and says in a sentence how to get it.
    #[must_use]
    pub fn without(mut self, name: &'static str, how: &'static str) -> Registry {
        self.absent.push((name, how));
        self
    }

    /// The names of the engines that are known to be left out.
    pub fn absent(&self) -> impl Iterator<Item = &'static str> {
        self.absent.iter().map(|(name, _)| *name)
    }

    /// The engines, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        self.backends.iter()
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.iter()
            .map(|backend| backend.capabilities().name)
            .collect()
    }

    /// The same without engines that are servers of their own, for what makes stores in directories of its own.
    #[must_use]
    pub fn in_directories(&self) -> Registry {
        let is_server = |backend: &Arc<dyn Backend>| backend.remote().is_some();
        let (servers, backends): (Vec<_>, Vec<_>) =
            self.backends.iter().cloned().partition(is_server);
        let mut absent = self.absent.clone();
        let named = servers.iter().map(|backend| backend.capabilities().name);
        absent.extend(named.map(|name| (name, SERVER)));
        Registry { backends, absent }
    }

    /// The engine `name`.
    ///
    /// # Errors
    /// `Usage` for one that is left out, saying how to get it, and for an unknown one, with a suggestion.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Backend>> {
        self.refuse_absent(name)?;
        let found = self
            .iter()
            .find(|backend| backend.capabilities().name == name);
        found.cloned().ok_or_else(|| {
            Error::new(ErrorKind::Usage, "choose an engine")
                .because(format!("there is no engine `{name}`"))
                .hint(suggest(name, &self.names(), "engines"))
        })
    }

    /// Reads a URL with these engines' names as schemes.
    ///
    /// # Errors
    /// As [`Location::parse`]; `Usage` for the scheme of an engine that is left out.
    pub fn parse(&self, url: &str) -> Result<Location> {
        if let Some((scheme, _)) = url.split_once(':') {
            self.refuse_absent(scheme)?;
        }
        Location::parse(url, &self.names())
    }

    /// Reads a URL that has to name a store.
    ///
    /// # Errors
    /// As [`Location::parse`]; `Usage` where the URL names something else.
    pub fn parse_store(&self, url: &str) -> Result<StoreSettings> {
        match self.parse(url)? {
            Location::Store(settings) => Ok(settings),
            other => Err(Error::new(ErrorKind::Usage, "read the URL")
                .because(format!("{other} is not a store on one of our engines"))
                .hint(format!(
                    "Migrate it first: `durum migrate {other} lmdb:PATH`."
                ))),
        }
    }

    /// Opens the store that the settings name.
    ///
    /// # Errors
    /// `Usage` for an unknown engine or option, and as [`LocalStore::open`].
    pub fn open(&self, settings: &StoreSettings) -> Result<LocalStore> {
        let (backend, options) = self.resolve(settings)?;
        LocalStore::open(backend, &settings.path, &options)
    }

    /// Opens the store that the settings name only to be read, while another process may write it.
    ///
    /// # Errors
    /// `Usage` for an unknown engine or option, and as [`LocalStore::follow`].
    pub fn follow(&self, settings: &StoreSettings) -> Result<LocalStore> {
        let (backend, options) = self.resolve(settings)?;
        LocalStore::follow(backend, &settings.path, &options)
    }

    /// As [`Registry::open`], but a damaged state row is rebuilt from the objects.
    ///
    /// # Errors
    /// As [`Registry::open`], for what cannot be rebuilt.
    pub fn open_rebuilding(&self, settings: &StoreSettings) -> Result<LocalStore> {
        let (backend, options) = self.resolve(settings)?;
        let options = StoreOptions {
            rebuild_state: true,
            collection: Collection::OFF,
            ..options
        };
        LocalStore::open(backend, &settings.path, &options)
    }

    /// The settings for a store that one caller reads or fills in the order of its keys, as migrations do: nothing
    /// is collected meanwhile, and caches are small where the settings do not say otherwise.
    pub fn sequential(&self, settings: &StoreSettings) -> StoreSettings {
        let mut settings = settings.clone().without_collection();
        // An engine that is not known is told of when the store is opened.
        let backend = self.get(&settings.backend);
        for (name, value) in backend
            .iter()
            .flat_map(|backend| backend.sequential_options())
        {
            let option = settings.options.entry((*name).to_owned());
            option.or_insert_with(|| (*value).to_owned());
        }
        settings
    }

    /// Creates the store that the settings name.
    ///
    /// # Errors
    /// `Usage` for an unknown engine or option, and as [`LocalStore::create`].
    pub fn create(&self, settings: &StoreSettings) -> Result<LocalStore> {
        self.stage(settings)?.publish()
    }

    /// Begins the store that the settings name, to be filled before it appears.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub fn stage(&self, settings: &StoreSettings) -> Result<StagedStore> {
        let (backend, options) = self.resolve(settings)?;
        StagedStore::create(backend, &settings.path, &options)
    }

    /// Whether [`Registry::stage`] could begin the store, without beginning it.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub fn probe(&self, settings: &StoreSettings) -> Result<()> {
        let (backend, options) = self.resolve(settings)?;
        match backend.capabilities().persistent {
            true => StagedPlace::probe(&*backend, &settings.path, &options.engine),
            false => Ok(()),
        }
    }

    /// Takes up the unfinished store that was begun for where the settings name, with the note that its
    /// import left, if there is one.
    ///
    /// # Errors
    /// As [`StagedStore::resume`].
    pub fn resume(&self, settings: &StoreSettings) -> Result<Option<(StagedStore, Vec<u8>)>> {
        let (backend, options) = self.resolve(settings)?;
        StagedStore::resume(backend, &settings.path, &options)
    }

    fn refuse_absent(&self, name: &str) -> Result<()> {
        match self.absent.iter().find(|(absent, _)| *absent == name) {
            None => Ok(()),
            Some((_, how)) => Err(Error::new(ErrorKind::Usage, "choose an engine")
                .because(format!("the engine `{name}` is left out here"))
                .hint(*how)),
        }
    }

    fn resolve(&self, settings: &StoreSettings) -> Result<(Arc<dyn Backend>, StoreOptions)> {
        let backend = self.get(&settings.backend)?;
        let options = settings.store_options(backend.capabilities().name, backend.options())?;
        Ok((backend, options))
    }
}

/// What is said of an engine that [`Registry::in_directories`] leaves out.
const SERVER: &str = "It is a server of its own: this makes stores in directories.";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::{Capabilities, Durability, Engine, OptionKind, OptionSpec, Options};
    use crate::place::{RemotePlace, RemotePlaces, RemoteStagedPlace};
    use crate::store::Collection;

    /// Takes the place of PostgreSQL.
    #[derive(Debug)]
    struct Elsewhere;

    impl Backend for Elsewhere {
        fn capabilities(&self) -> Capabilities {
            Capabilities {
                name: "elsewhere",
                version: "1".to_owned(),
                snapshots: false,
                durability: vec![Durability::Power],
                compaction: false,
                reclaim: false,
                persistent: true,
                value_bytes_max: 1 << 30,
            }
        }

        fn options(&self) -> &'static [OptionSpec] {
            const CACHE: OptionSpec = OptionSpec {
                name: "cache",
                kind: OptionKind::Size,
                default: "64MiB",
                help: "",
            };
            &[CACHE]
        }

        fn sequential_options(&self) -> &'static [(&'static str, &'static str)] {
            &[("cache", "1MiB")]
        }

        fn open(&self, _: &Path, _: &Options) -> Result<Box<dyn Engine>> {
            Err(Error::new(ErrorKind::Unsupported, "open"))
        }

        fn remote(&self) -> Option<&dyn RemotePlaces> {
            Some(self)
        }
    }

    impl RemotePlaces for Elsewhere {
        fn open(&self, _: &Path, _: &Options) -> Result<Box<dyn RemotePlace>> {
            Err(Error::new(ErrorKind::NotFound, "open"))
        }

        fn create(&self, _: &Path, _: &Options) -> Result<Box<dyn RemoteStagedPlace>> {
            Err(Error::new(ErrorKind::ReadOnly, "create"))
        }

        fn probe(&self, _: &Path, _: &Options) -> Result<()> {
            Ok(())
        }

        fn find(&self, _: &Path, _: &Options) -> Result<Option<Box<dyn RemoteStagedPlace>>> {
            Ok(None)
        }
    }

    #[test]
    fn engines_on_servers_are_opened_there_and_left_out_where_directories_are_wanted() {
        let registry = Registry::new().with(Elsewhere);
        let settings = registry.parse_store("elsewhere://host/name").unwrap();
        assert_eq!(
            registry.open(&settings).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            registry.create(&settings).unwrap_err().kind(),
            ErrorKind::ReadOnly
        );
        assert!(registry.resume(&settings).unwrap().is_none());
        registry.probe(&settings).unwrap();
        let local = registry.in_directories();
        assert_eq!(local.names(), [""; 0]);
        let error = local.parse("elsewhere://host/name").unwrap_err();
        assert!(error.to_string().contains("server of its own"), "{error}");
    }

    #[test]
    fn caches_are_small_for_a_walk_where_none_was_given() {
        let registry = Registry::new().with(Elsewhere);
        for (url, cache) in [("elsewhere:a", "1MiB"), ("elsewhere:a?cache=9MiB", "9MiB")] {
            let settings = registry.parse_store(url).unwrap();
            assert_ne!(settings.collection, Collection::OFF);
            let sequential = registry.sequential(&settings);
            assert_eq!(sequential.collection, Collection::OFF);
            assert_eq!(sequential.options.get("cache").unwrap(), cache);
        }
        let unknown = StoreSettings::new("another", "path");
        assert!(registry.sequential(&unknown).options.is_empty());
    }

    #[test]
    fn an_engine_that_is_left_out_is_said_to_be() {
        let registry = Registry::new().without("other", "Build it in.");
        assert_eq!(registry.absent().collect::<Vec<_>>(), ["other"]);
        let by_url = registry.parse("other:path").unwrap_err();
        for error in [by_url, registry.get("other").unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().ends_with("Build it in."), "{error}");
        }
        let unknown = registry.get("another").unwrap_err().to_string();
        assert!(!unknown.contains("Build"), "{unknown}");
    }
}
