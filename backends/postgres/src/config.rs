//! Which server, database and schema: what a URL and its options say.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::engine::Options;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::NAME;
use crate::error::with_causes;
use crate::hosts;
use crate::tls::TlsFiles;

const DOING: &str = "read the address of the database";

const SCHEMA_DEFAULT: &str = "durum";
const CONNECTIONS_DEFAULT: u64 = 8;
const RECONNECT_DEFAULT: u64 = 60;
const PORT_DEFAULT: u16 = 5432;

/// Where PostgreSQL's own programs look for a server of this machine.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// How long it may take to connect.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what was sent may stay unconfirmed by the other machine, and how that is found out when nothing is
/// being sent.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TRIES: u32 = 3;

/// Which server, database and schema, and how they are spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// How each of the servers is connected to.
    pub(crate) servers: Vec<Config>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) schema: String,
    pub(crate) connections: usize,
    pub(crate) reconnect: Duration,
}

impl Address {
    /// Reads `//USER@HOST:PORT,HOST:PORT/DATABASE`, or `/DATABASE` for a server of this machine.
    ///
    /// # Errors
    /// `Usage`; `Unreadable` for a file with passwords that is named and cannot be read.
    pub(crate) fn new(address: &Path, options: &Options) -> Result<Address> {
        let mut config = parse(address)?;
        if config.get_password().is_some() {
            return Err(usage("a password in it could be seen by others").hint(
                "Leave it out, and set PGPASSWORD, or put it into ~/.pgpass or a file for ?passfile=FILE.",
            ));
        }
        if config.get_hosts().is_empty() {
            config.host_path(SOCKET_DIRECTORY);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(usage("it names no database")
                .hint("Write postgres://USER@HOST:PORT/DATABASE, or postgres:/DATABASE."));
        }
        let tls = TlsFiles::new(options)?;
        let encrypted = match options.choice("sslmode") {
            Some("disable") => false,
            Some(_) => true,
            None => tls.is_some(),
        };
        match (encrypted, &tls) {
            (true, None) => {
                return Err(usage("it does not say who vouches for the servers")
                    .hint("Name the authority's certificate: ?sslrootcert=FILE."));
            }
            (false, _) if options.choice("sslmode").is_none() && !is_here(&config) => {
                return Err(usage("the connection to another machine would not be encrypted")
                    .hint("Name the authority's certificate, ?sslrootcert=FILE, or say ?sslmode=disable."));
            }
            _ => {}
        }
        let number = |name, default| options.integer(name).unwrap_or(default);
        let ssl_mode = match encrypted {
            true => SslMode::Require,
            false => SslMode::Disable,
        };
        if let Some(password) = password(&config, options.text("passfile"))? {
            config.password(password);
        }
        let mut servers = hosts::each(&config);
        for server in &mut servers {
            server
                .ssl_mode(ssl_mode)
                .target_session_attrs(TargetSessionAttrs::ReadWrite)
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_user_timeout(UNANSWERED_MAX)
                .keepalives_idle(KEEPALIVE_IDLE)
                .keepalives_interval(KEEPALIVE_INTERVAL)
                .keepalives_retries(KEEPALIVE_TRIES)
                .application_name("durum");
        }
        Ok(Address {
            servers,
            tls: tls.filter(|_| encrypted),
            schema: options.text("schema").unwrap_or(SCHEMA_DEFAULT).to_owned(),
            connections: number("connections", CONNECTIONS_DEFAULT) as usize,
            reconnect: Duration::from_secs(number("reconnect", RECONNECT_DEFAULT)),
        })
    }
}

fn usage(why: &str) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .with_engine(NAME)
        .because(why)
}

fn parse(address: &Path) -> Result<Config> {
    let text = address
        .to_str()
        .ok_or_else(|| usage("it is not valid text"))?;
    let url = match text.strip_prefix("//") {
        Some(rest) => format!("postgresql://{rest}"),
        None if text.starts_with('/') => format!("postgresql://{text}"),
        None => {
            return Err(usage("it does not begin with a slash")
                .hint("Write postgres://USER@HOST:PORT/DATABASE, or postgres:/DATABASE."));
        }
    };
    url.parse()
        .map_err(|error: tokio_postgres::Error| usage(&with_causes(&error)).caused_by(error))
}

/// Whether all servers are on this machine.
fn is_here(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    })
}

fn password(config: &Config, file: Option<&str>) -> Result<Option<String>> {
    if let (None, Ok(password)) = (file, env::var("PGPASSWORD")) {
        return Ok(Some(password));
    }
    let (path, wanted) = match file {
        Some(file) => (PathBuf::from(file), true),
        None => match env::var_os("PGPASSFILE") {
            Some(file) => (PathBuf::from(file), true),
            None => match env::home_dir() {
                Some(home) => (home.join(".pgpass"), false),
                None => return Ok(None),
            },
        },
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(find_password(&text, config)),
        Err(error) if !wanted && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during("read the file with passwords", &path),
    }
}

/// The password of the first line that fits one of the hosts, as PostgreSQL's manual has it in "The Password
/// File": `host:port:database:user:password`, `*` for any, and `\` before a `:` or a `\` that is meant.
///
/// One password serves all hosts: they are one database, and its copies.
fn find_password(text: &str, config: &Config) -> Option<String> {
    let user = config
        .get_user()
        .map_or_else(|| env::var("USER").unwrap_or_default(), ToOwned::to_owned);
    let database = config.get_dbname().unwrap_or_default();
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let [host, port, name, who, password] = <[String; 5]>::try_from(fields).ok()?;
        let places = config.get_hosts().iter().enumerate();
        let here = places.into_iter().any(|(index, place)| {
            let ports = config.get_ports();
            let at = ports.get(index).or(ports.first()).unwrap_or(&PORT_DEFAULT);
            let place = match place {
                Host::Tcp(name) => name,
                Host::Unix(_) => "localhost",
            };
            fits(&host, place) && fits(&port, &at.to_string())
        });
        (here && fits(&name, database) && fits(&who, &user)).then_some(password)
    })
}

/// The fields of a line, of which the last takes the rest.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let count = fields.len();
        match (letter, fields.last_mut()) {
            ('\\', Some(field)) => field.extend(letters.next()),
            (':', _) if count < 5 => fields.push(String::new()),
            (letter, Some(field)) => field.push(letter),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use durum_core::engine::Backend as _;

    use super::*;
    use crate::PostgresBackend;

    fn read(address: &str, given: &[(&str, &str)]) -> Result<Address> {
        let specs = PostgresBackend.options();
        let options = Options::check(NAME, specs, given.iter().copied())?;
        Address::new(Path::new(address), &options)
    }

    #[test]
    fn an_address_is_read() {
        let here = read("//me@127.0.0.1:5433,localhost/db", &[("schema", "other")]).unwrap();
        assert_eq!(here.schema, "other");
        let ports: Vec<_> = here.servers.iter().map(Config::get_ports).collect();
        assert_eq!(ports, [[5433], [5432]]);
        for server in &here.servers {
            assert_eq!(server.get_dbname(), Some("db"));
            assert_eq!(server.get_ssl_mode(), SslMode::Disable);
        }
        let socket = read("/db", &[]).unwrap();
        assert_eq!(
            socket.servers[0].get_hosts(),
            [Host::Unix(SOCKET_DIRECTORY.into())]
        );
    }

    #[test]
    fn what_is_missing_or_unsafe_is_refused_with_advice() {
        for (address, options, advice) in [
            ("//me:secret@localhost/db", &[][..], "PGPASSWORD"),
            ("//me@localhost", &[], "/DATABASE"),
            ("db", &[], "/DATABASE"),
            ("//me@db.example/db", &[], "sslmode=disable"),
            (
                "//me@localhost/db",
                &[("sslmode", "verify-full")],
                "sslrootcert",
            ),
            ("//me@localhost:port/db", &[], "port"),
        ] {
            let error = read(address, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
            assert!(error.to_string().contains(advice), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let plain = read("//me@db.example/db", &[("sslmode", "disable")]).unwrap();
        assert!(plain.tls.is_none());
    }

    #[test]
    fn a_password_is_found_by_host_port_database_and_user() {
        let config = parse(Path::new("//me@one:1,two:2/db")).unwrap();
        for (text, found) in [
            ("one:1:db:me:secret", Some("secret")),
            ("two:2:*:*:a:b\\\\c\\:d", Some("a:b\\c:d")),
            ("two:1:db:me:secret", None),
            ("*:*:db:you:no\n*:*:*:*:yes", Some("yes")),
            ("#one:1:db:me:secret\nnonsense", None),
        ] {
            assert_eq!(find_password(text, &config).as_deref(), found, "{text}");
        }
    }
}
