//! `[server]`: how the storage server runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::file::{DOING, as_bool, as_string, as_table, check_keys, wrong_type};
use super::suggest;
use crate::error::{Error, ErrorKind, Result};
use crate::units::{parse_duration, parse_size};

/// The keys of the table, for messages and for the test that they are all documented.
pub(super) const KEYS: &[&str] = &[
    "listen",
    "read_listen",
    "allow_quit",
    "metrics",
    "read_metrics",
    "tls_cert",
    "tls_key",
    "client_ca",
    "require_tls",
    "clients",
    "connections_max",
    "request_bytes_max",
    "request_objects_max",
    "request_time_max",
    "commit_patience",
    "shutdown_time_max",
    "changes_max",
    "filling_silence_max",
];
/// No limit of time is longer: times that are added to the clock stay within it.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How the storage server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// `HOST:PORT`, `unix:PATH` or `@NAME`.
    pub listen: Vec<String>,
    /// Where reads are served, also while another process serves the store: as `listen`.
    pub read_listen: Vec<String>,
    /// Whether a client may shut the server down.
    pub allow_quit: bool,
    /// Where metrics and health are told by HTTP: as `listen`.
    pub metrics: Option<String>,
    /// Where those of the reads at `read_listen` are told.
    pub read_metrics: Option<String>,
    /// The server's certificate, with what it was signed by, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities whose certificates clients must have, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients on TCP that do not speak TLS are refused; where nothing is said, if clients must have
    /// certificates.
    pub require_tls: Option<bool>,
    /// The names that clients' certificates may have, and what these clients may do; where nothing is said
    /// all that the authorities have signed, and everything.
    pub clients: Option<BTreeMap<String, Rights>>,
    /// What the server bears of its clients.
    pub limits: ServerLimits,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            listen: vec!["127.0.0.1:2972".to_owned()],
            read_listen: Vec::new(),
            allow_quit: false,
            metrics: None,
            read_metrics: None,
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            require_tls: None,
            clients: None,
            limits: ServerLimits::default(),
        }
    }
}

/// What a client of the storage server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    /// Load objects.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

impl Rights {
    /// All of them, the least first.
    pub const ALL: [Rights; 2] = [Rights::ReadOnly, Rights::ReadWrite];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Rights::ReadOnly => "read-only",
            Rights::ReadWrite => "read-write",
        }
    }
}

/// What the storage server bears of its clients; for what is not said it has defaults of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections_max: Option<usize>,
    /// Bytes of one request.
    pub request_bytes_max: Option<u64>,
    /// Objects that one request loads or writes.
    pub request_objects_max: Option<u32>,
    /// From the first byte of a request to its last.
    pub request_time_max: Option<Duration>,
    /// How long others wait for the transaction of a client that has asked for conflicts.
    pub commit_patience: Option<Duration>,
    /// How long requests are waited for when the server ends.
    pub shutdown_time_max: Option<Duration>,
    /// Changes that are kept in memory.
    pub changes_max: Option<usize>,
    /// How long a client that fills the store may say nothing.
    pub filling_silence_max: Option<Duration>,
}

impl ServerSettings {
    /// Takes what the table says.
    pub(super) fn read(&mut self, table: &Table) -> Result<()> {
        check_keys("server.", table, KEYS)?;
        for (key, value) in table {
            let name = format!("server.{key}");
            match key.as_str() {
                "listen" => self.listen = strings(&name, value)?,
                "read_listen" => self.read_listen = strings(&name, value)?,
                "allow_quit" => self.allow_quit = as_bool(&name, value)?,
                "metrics" => self.metrics = Some(as_string(&name, value)?.to_owned()),
                "read_metrics" => self.read_metrics = Some(as_string(&name, value)?.to_owned()),
                "tls_cert" => self.tls_cert = Some(path(&name, value)?),
                "tls_key" => self.tls_key = Some(path(&name, value)?),
                "client_ca" => self.client_ca = Some(path(&name, value)?),
                "require_tls" => self.require_tls = Some(as_bool(&name, value)?),
                "clients" => self.clients = Some(clients(&name, value)?),
                _ => self.limits.read(key, &name, value)?,
            }
        }
        Ok(())
    }

    /// Makes relative paths relative to `home`.
    pub(super) fn move_to(&mut self, home: &Path) {
        let paths = [&mut self.tls_cert, &mut self.tls_key, &mut self.client_ca];
        for path in paths.into_iter().flatten() {
            *path = home.join(&*path);
        }
    }
}

impl ServerLimits {
    fn read(&mut self, key: &str, name: &str, value: &Value) -> Result<()> {
        let count = |most: u64| count(name, value, most);
        let most = usize::MAX as u64 >> 3;
        match key {
            "connections_max" => self.connections_max = Some(count(most)? as usize),
            "request_bytes_max" => self.request_bytes_max = Some(size(name, value)?),
            "request_objects_max" => {
                self.request_objects_max = Some(count(u64::from(u32::MAX))? as u32);
            }
            "request_time_max" => {
                let time = time(name, value)?;
                if time.is_zero() {
                    return Err(bad(name, "without any time nothing can be asked for"));
                }
                self.request_time_max = Some(time);
            }
            "commit_patience" => self.commit_patience = Some(time(name, value)?),
            "shutdown_time_max" => self.shutdown_time_max = Some(time(name, value)?),
            "filling_silence_max" => self.filling_silence_max = Some(time(name, value)?),
            _ => self.changes_max = Some(count(most)? as usize),
        }
        Ok(())
    }
}

fn strings(name: &str, value: &Value) -> Result<Vec<String>> {
    let values = match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    let strings = values.into_iter().map(|value| as_string(name, value));
    strings.map(|one| one.map(str::to_owned)).collect()
}

fn path(name: &str, value: &Value) -> Result<PathBuf> {
    match as_string(name, value)? {
        "" => Err(bad(name, "the path is empty")),
        path => Ok(path.into()),
    }
}

fn clients(name: &str, value: &Value) -> Result<BTreeMap<String, Rights>> {
    let table = as_table(name, value)?;
    let entries = table.iter().map(|(client, value)| {
        let given = as_string(&format!("{name}.{client}"), value)?;
        let found = Rights::ALL.into_iter().find(|one| one.name() == given);
        let rights = found.ok_or_else(|| {
            bad(
                &format!("{name}.{client}"),
                format!("`{given}` is no right"),
            )
            .hint(suggest(given, &Rights::ALL.map(Rights::name), "rights"))
        })?;
        Ok((client.clone(), rights))
    });
    entries.collect()
}

/// A number from 1 to `most`.
fn count(name: &str, value: &Value, most: u64) -> Result<u64> {
    let number = value
        .as_integer()
        .ok_or_else(|| wrong_type(name, value, "a number"))?;
    u64::try_from(number)
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| bad(name, format!("{number} is not from 1 to {most}")))
}

/// A size, of at least a byte.
fn size(name: &str, value: &Value) -> Result<u64> {
    let text = with_unit(name, value, "a size, such as \"256MiB\"")?;
    match parse_size(&text).map_err(|error| bad(name, error.to_string()))? {
        0 => Err(bad(name, "it has to be at least a byte")),
        size => Ok(size),
    }
}

fn time(name: &str, value: &Value) -> Result<Duration> {
    let text = with_unit(name, value, "a time, such as \"60s\" or \"250ms\"")?;
    let time = parse_duration(&text).map_err(|error| bad(name, error.to_string()))?;
    match time <= TIME_MAX {
        true => Ok(time),
        false => Err(bad(name, "that is longer than a year")),
    }
}

/// A string, or a number without a unit.
fn with_unit(name: &str, value: &Value, wanted: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(wrong_type(name, value, wanted)),
    }
}

fn bad(name: &str, why: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Usage, DOING).because(format!("`{name}`: {}", why.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn server(text: &str) -> Result<ServerSettings> {
        Ok(Config::parse(&format!("[server]\n{text}"))?.server)
    }

    #[test]
    fn all_that_can_be_said() {
        let found = server(
            r#"
            listen = "@durum"
            tls_cert = "server.pem"
            tls_key = "server.key"
            client_ca = "/etc/ca.pem"
            require_tls = false
            read_listen = ["127.0.0.1:2973", "unix:reads"]
            read_metrics = "127.0.0.1:9274"
            connections_max = 10
            request_bytes_max = "1.5MiB"
            request_objects_max = 7
            request_time_max = 30
            commit_patience = "250ms"
            shutdown_time_max = "1m"
            changes_max = 100
            filling_silence_max = "10m"
            clients = { alice = "read-write", "batch jobs" = "read-only" }
            "#,
        );
        let limits = ServerLimits {
            connections_max: Some(10),
            request_bytes_max: Some(3 << 19),
            request_objects_max: Some(7),
            request_time_max: Some(Duration::from_secs(30)),
            commit_patience: Some(Duration::from_millis(250)),
            shutdown_time_max: Some(Duration::from_secs(60)),
            changes_max: Some(100),
            filling_silence_max: Some(Duration::from_secs(600)),
        };
        let clients = [
            ("alice".to_owned(), Rights::ReadWrite),
            ("batch jobs".to_owned(), Rights::ReadOnly),
        ];
        let mut found = found.unwrap();
        found.move_to(Path::new("/home"));
        assert_eq!(
            found,
            ServerSettings {
                listen: vec!["@durum".to_owned()],
                read_listen: vec!["127.0.0.1:2973".to_owned(), "unix:reads".to_owned()],
                allow_quit: false,
                metrics: None,
                read_metrics: Some("127.0.0.1:9274".to_owned()),
                tls_cert: Some("/home/server.pem".into()),
                tls_key: Some("/home/server.key".into()),
                client_ca: Some("/etc/ca.pem".into()),
                require_tls: Some(false),
                clients: Some(clients.into()),
                limits,
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("tls_cart = \"x\"", "Did you mean `tls_cert`?"),
            ("tls_key = \"\"", "`server.tls_key`: the path is empty"),
            ("clients = [\"alice\"]", "a table"),
            (
                "clients.alice = \"read-writ\"",
                "Did you mean `read-write`?",
            ),
            (
                "clients.alice = true",
                "`server.clients.alice` is of the type",
            ),
            ("require_tls = 1", "true or false"),
            ("connections_max = 0", "0 is not from 1"),
            ("connections_max = \"10\"", "a number"),
            ("request_objects_max = 4294967296", "4294967295"),
            ("request_bytes_max = \"1 gib\"", "not a size"),
            ("request_bytes_max = 0", "at least a byte"),
            ("request_time_max = \"1 week\"", "s, m, h, d"),
            ("request_time_max = 0", "without any time"),
            ("request_time_max = -1", "`-1` is not a time"),
            ("shutdown_time_max = \"400d\"", "longer than a year"),
            ("commit_patience = true", "a time"),
        ] {
            let error = server(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
