//! The database that is measured, and the schemas that are made in it.

use durum_core::config::StoreSettings;
use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use durum_raw::postgres::Connection;

use super::DOING;
use super::relay::Relay;

const PORT_DEFAULT: &str = "5432";
/// What can be said of connections that the raw client makes as well.
const OPTIONS: [&str; 3] = ["connections", "reconnect", "sslmode"];

/// A database. All schemas whose names begin with its prefix, which nobody else has, are dropped with this.
#[derive(Debug)]
pub(super) struct Target {
    settings: StoreSettings,
    /// The user with an `@`, where one is named.
    user: String,
    /// `HOST:PORT`.
    server: String,
    /// The database, with a slash before it.
    database: String,
    prefix: String,
}

impl Target {
    /// Looks for the server, and whether stores can be made there.
    pub(super) fn find(registry: &Registry, url: &str) -> Result<Target> {
        let settings = registry.parse_store(url)?;
        let refused = |why: String| Error::new(ErrorKind::Usage, DOING).because(why);
        if registry.get(&settings.backend)?.remote().is_none() {
            let why = format!("{} lies in a directory", settings.url());
            return Err(
                refused(why).hint("Use `durum bench`, or name postgres://USER@HOST:PORT/DATABASE.")
            );
        }
        for (name, value) in &settings.options {
            if !OPTIONS.contains(&name.as_str()) || name == "sslmode" && value != "disable" {
                return Err(refused(format!("`{name}={value}` cannot be measured"))
                    .hint("Schemas are made for it; connections are plain; the password is in PGPASSWORD."));
            }
        }
        let path = settings.path.to_string_lossy().into_owned();
        let rest = path.strip_prefix("//").unwrap_or_default();
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        if hosts.is_empty() {
            return Err(refused(format!("{} names no host", settings.url()))
                .hint("Write postgres://USER@HOST:PORT/DATABASE."));
        }
        let mut target = Target {
            prefix: format!("durum_bench_{:016x}_", fastrand::u64(..)),
            user,
            server: String::new(),
            database: format!("/{name}"),
            settings,
        };
        // It knows best what is wrong, and says so.
        registry.probe(&target.of_schema(&target.schema("probe")))?;
        target.server = target.first_that_answers(hosts)?;
        Ok(target)
    }

    /// Of several servers, the first that can be written to.
    fn first_that_answers(&self, hosts: &str) -> Result<String> {
        let mut failed = None;
        for host in hosts.split(',') {
            let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
            let server = match behind.contains(':') {
                true => host.to_owned(),
                false => format!("{host}:{PORT_DEFAULT}"),
            };
            match Connection::open(&self.address_of(&server)) {
                Ok(_) => return Ok(server),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| Error::new(ErrorKind::Unreachable, DOING)))
    }

    fn address_of(&self, server: &str) -> String {
        format!("//{}{server}{}", self.user, self.database)
    }

    /// `HOST:PORT`.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The name of a schema.
    pub(super) fn schema(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The address for the raw client, through a relay where there is one.
    pub(super) fn address(&self, relay: Option<&Relay>) -> String {
        match relay {
            Some(relay) => self.address_of(&relay.address().to_string()),
            None => self.address_of(&self.server),
        }
    }

    /// A connection of the raw client.
    pub(super) fn connect(&self, relay: Option<&Relay>) -> Result<Connection> {
        Connection::open(&self.address(relay))
    }

    /// A store in a schema.
    pub(super) fn store(&self, schema: &str, relay: Option<&Relay>) -> StoreSettings {
        let mut settings = self.of_schema(schema);
        settings.path = self.address(relay).into();
        settings
    }

    /// The same as a URL.
    pub(super) fn url(&self, schema: &str) -> String {
        let mut url = self
            .store(schema, None)
            .url()
            .replace('%', "%25")
            .replace('?', "%3F");
        url.push_str(&format!("?schema={schema}"));
        for (name, value) in &self.settings.options {
            url.push_str(&format!("&{name}={value}"));
        }
        url
    }

    fn of_schema(&self, schema: &str) -> StoreSettings {
        let mut settings = self.settings.clone();
        settings
            .options
            .insert("schema".to_owned(), schema.to_owned());
        settings
    }

    /// Drops a schema, and what was begun for it.
    pub(super) fn remove(&self, schema: &str) -> Result<()> {
        self.connect(None)?.drop_schemas(schema)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.server.is_empty() {
            return;
        }
        // After a failure, of which more is said than of this one.
        let _ = self.remove(&self.prefix);
    }
}
