//! What all commands share: the engines, the configuration, the output.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use durum_core::config::{Config, Location, ServerSettings, StoreSettings};
use durum_core::engine::Registry;
use durum_core::{ErrorKind, Result};
use durum_objects::Database;
use durum_server::client::RemoteStore;
use serde_json::Value;

use super::args::{Cli, Command, ProgressArg};
use super::failure::{Failure, Reporting, of_source};
use super::opened::Opened;
use super::output;
use super::progress::Progress;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The engines compiled in.
    pub(crate) registry: Registry,
    config: Option<PathBuf>,
    json: bool,
    quiet: bool,
    progress: ProgressArg,
    /// Standard output is taken by a stream of data: the result goes to standard error.
    streams: bool,
}

impl Context {
    pub(crate) fn new(cli: &Cli) -> Context {
        Context {
            registry: match &cli.command {
                // They make stores of their own.
                Command::Bench(_) | Command::Tour(_) => durum_backends::registry().in_directories(),
                _ => durum_backends::registry(),
            },
            config: cli.config.clone(),
            json: cli.json,
            quiet: cli.quiet,
            progress: cli.progress,
            streams: match &cli.command {
                Command::Backup(args) => args.file.as_os_str() == "-",
                Command::Dict(args) => args.streams(),
                _ => false,
            },
        }
    }

    /// Whether the result is to be one JSON object.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether standard output is taken by a stream of data.
    pub(crate) fn streams(&self) -> bool {
        self.streams
    }

    /// How a failure is to be told.
    pub(crate) fn reporting(&self) -> Reporting {
        match (self.json, self.streams) {
            (false, _) => Reporting::Text,
            (true, false) => Reporting::Json,
            (true, true) => Reporting::JsonBesideData,
        }
    }

    /// The store that `url` names, or else the configuration. The configuration is read in any case,
    /// so that a mistake in it does not stay unnoticed. No command collects on the side.
    pub(crate) fn settings(&self, url: Option<&str>) -> Result<StoreSettings> {
        let config = Config::find(self.config.as_deref())?;
        let settings = match url {
            Some(url) => self.registry.parse_store(url)?,
            None => config.store,
        };
        Ok(settings.without_collection())
    }

    /// The store to be served, which `url` names or else the configuration, and how. It collects.
    pub(crate) fn served(&self, url: Option<&str>) -> Result<(StoreSettings, ServerSettings)> {
        let config = Config::find(self.config.as_deref())?;
        let store = match url {
            Some(url) => self.registry.parse_store(url)?,
            None => config.store,
        };
        Ok((store, config.server))
    }

    /// What reads the server's part of the configuration again, on another thread.
    pub(crate) fn server_reader(&self) -> impl Fn() -> Result<ServerSettings> + Send + 'static {
        let named = self.config.clone();
        move || Ok(Config::find(named.as_deref())?.server)
    }

    /// Reads the configuration for nothing but its mistakes.
    pub(crate) fn check_config(&self) -> Result<()> {
        Config::find(self.config.as_deref()).map(drop)
    }

    /// Opens the store that `url` names, or else the configuration.
    pub(crate) fn open(&self, url: Option<&str>) -> Result<Opened> {
        if let Some(url) = url
            && let Location::Server(server) = self.registry.parse(url)?
        {
            self.check_config()?;
            return RemoteStore::connect(&server).map(Opened::Remote);
        }
        let opened = self.registry.open(&self.settings(url)?);
        opened.map(Box::new).map(Opened::Local).map_err(|error| {
            if url.is_none() && error.kind() == ErrorKind::NotFound {
                error.hint(
                    "This is the store of the configuration: give a URL to name another one, or \
                     create it with `durum init`.",
                )
            } else {
                error
            }
        })
    }

    /// The database of typed objects in the store that `url` names, or else the configuration. It collects. Where `create` is set it is made
    /// if it is absent.
    pub(crate) fn database(&self, url: Option<&str>, create: bool) -> Result<Database, Failure> {
        if let Some(url) = url
            && let Location::Server(server) = self.registry.parse(url)?
        {
            self.check_config()?;
            return Ok(Database::new(Arc::new(RemoteStore::connect(&server)?))?);
        }
        let (settings, _) = self.served(url)?;
        let store = match self.registry.open(&settings) {
            Err(error) if create && error.kind() == ErrorKind::NotFound => {
                self.registry.create(&settings)
            }
            store => store,
        };
        Ok(Database::new(Arc::new(store?))?)
    }

    /// As [`Context::open`], for commands that only read.
    pub(crate) fn open_source(&self, url: Option<&str>) -> Result<Opened, Failure> {
        self.open(url).map_err(of_source)
    }

    /// Prints the result: the object with `--json`, else the text.
    pub(crate) fn print(
        &self,
        object: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = match self.json {
            true => format!("{object}\n"),
            false => text(),
        };
        if self.streams {
            // Nobody may be reading: the stream is complete all the same.
            let _ = std::io::stderr().write_all(text.as_bytes());
            return Ok(());
        }
        output::text(&text)
    }

    /// Begins to show progress on standard error.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.quiet, self.progress)
    }
}
