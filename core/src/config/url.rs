//! URLs: a store, a foreign file or a storage server in one word.

use std::fmt;
use std::path::PathBuf;

use super::store::StoreSettings;
use super::suggest;
use crate::error::{Error, ErrorKind, Result};
use crate::place::Identity;

/// A format of Durus's own files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurusFormat {
    /// `SHELF-1`, standard since Durus 3.8.
    #[default]
    Shelf,
    /// `DFS20`, standard up to Durus 3.7.
    Dfs20,
    /// A database of SQLite, which came with Durus 4.
    Sqlite,
}

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A store on one of our engines: `lmdb:PATH`.
    Store(StoreSettings),
    /// A Durus file, `durus:PATH`; the format counts when it is written.
    DurusFile {
        /// The file.
        path: PathBuf,
        /// The format to write.
        format: DurusFormat,
    },
    /// A FileStorage file of ZODB, `zodb:PATH`, to read from.
    ZodbFile {
        /// The file.
        path: PathBuf,
    },
    /// A running storage server: `durus+tcp://HOST:PORT`, `durus+unix:PATH`, `durus+tls://HOST:PORT`.
    Server(ServerLocation),
}

/// Where a storage server is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLocation {
    /// `HOST:PORT`, `unix:PATH` or `@NAME`.
    pub address: String,
    /// For an encrypted connection.
    pub tls: Option<TlsFiles>,
}

/// Files, in PEM, that an encrypted connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the authority that vouches for the server.
    pub ca: PathBuf,
    /// The certificate and the key by which the client identifies itself.
    pub identity: Option<(PathBuf, PathBuf)>,
}

const DURUS: &str = "durus";
const ZODB: &str = "zodb";
const TCP: &str = "durus+tcp";
const UNIX: &str = "durus+unix";
const TLS: &str = "durus+tls";
const DOING: &str = "read the URL";

impl Location {
    /// Reads a URL, where `engines` are the names of those that are compiled in.
    ///
    /// In paths and values `%3F` stands for `?`, and so on for every byte, as in all URLs.
    ///
    /// # Errors
    /// `Usage`: no scheme, an unknown one, a missing path, a bad option.
    pub fn parse(url: &str, engines: &[&str]) -> Result<Location> {
        let Some((scheme, rest)) = split_scheme(url) else {
            return Err(without_scheme(url, engines));
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').ok_or_else(|| {
                    Error::new(ErrorKind::Usage, DOING)
                        .because(format!("the option `{pair}` of {url} has no value"))
                        .hint("Write options as `?name=value&name=value`.")
                })?;
                Ok((decode(key)?, decode(value)?))
            });
        let pairs: Vec<(String, String)> = pairs.collect::<Result<_>>()?;
        match scheme {
            DURUS => durus_file(url, path, &pairs),
            ZODB => zodb_file(url, path, &pairs),
            TCP => Ok(Location::Server(ServerLocation {
                address: host_and_port(url, scheme, path)?,
                tls: no_options(&pairs).map(|()| None)?,
            })),
            UNIX => unix_server(url, path, &pairs),
            TLS => tls_server(url, path, pairs),
            engine if engines.contains(&engine) => store(url, engine, path, pairs),
            _ => Err(Error::new(ErrorKind::Usage, DOING)
                .because(format!(
                    "`{scheme}` in {url} is neither an engine nor another scheme"
                ))
                .hint(suggest(scheme, &schemes(engines), "schemes"))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Store(settings) => out.write_str(&settings.url()),
            Location::DurusFile { path, .. } => write!(out, "{DURUS}:{}", path.display()),
            Location::ZodbFile { path } => write!(out, "{ZODB}:{}", path.display()),
            Location::Server(server) => server.fmt(out),
        }
    }
}

impl fmt::Display for ServerLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match (&self.tls, address.strip_prefix("unix:")) {
            (Some(_), _) => write!(out, "{TLS}://{address}"),
            (None, Some(path)) => write!(out, "{UNIX}:{path}"),
            (None, None) if address.starts_with('@') => write!(out, "{UNIX}:{address}"),
            (None, None) => write!(out, "{TCP}://{address}"),
        }
    }
}

fn schemes<'a>(engines: &[&'a str]) -> Vec<&'a str> {
    let others = [DURUS, ZODB, TCP, UNIX, TLS];
    engines.iter().copied().chain(others).collect()
}

fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_');
    (!scheme.is_empty() && scheme.chars().all(good)).then_some((scheme, rest))
}

fn without_scheme(url: &str, engines: &[&str]) -> Error {
    let error = Error::new(ErrorKind::Usage, DOING).because(format!("`{url}` has no scheme"));
    match Identity::read(url.as_ref()) {
        Ok(identity) => error.hint(format!("Did you mean `{}:{url}`?", identity.engine)),
        Err(_) => error.hint(format!(
            "Write SCHEME:PATH. The valid schemes are {}.",
            schemes(engines).join(", ")
        )),
    }
}

fn store(url: &str, engine: &str, path: &str, pairs: Vec<(String, String)>) -> Result<Location> {
    // `lmdb:///var/data` is the same as `lmdb:/var/data`.
    let path = path
        .strip_prefix("//")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let mut settings = StoreSettings::new(engine, decode(path)?);
    // The memory engine has no path; every other says so itself when it is to be opened without one.
    if path.is_empty() && engine != "memory" {
        return Err(missing_path(url));
    }
    for (key, value) in pairs {
        if !settings.set(&key, &value)? {
            settings.options.insert(key, value);
        }
    }
    Ok(Location::Store(settings))
}

fn durus_file(url: &str, path: &str, pairs: &[(String, String)]) -> Result<Location> {
    if path.is_empty() {
        return Err(missing_path(url));
    }
    let mut format = DurusFormat::default();
    for (key, value) in pairs {
        format = match (key.as_str(), value.as_str()) {
            ("format", "shelf") => DurusFormat::Shelf,
            ("format", "dfs20") => DurusFormat::Dfs20,
            ("format", "sqlite") => DurusFormat::Sqlite,
            ("format", _) => {
                return Err(Error::new(ErrorKind::Usage, DOING)
                    .because(format!("`{value}` is not a format of Durus files"))
                    .hint(suggest(value, &["shelf", "dfs20", "sqlite"], "formats")));
            }
            _ => return Err(unknown_option(key, &["format"])),
        };
    }
    Ok(Location::DurusFile {
        path: decode(path)?.into(),
        format,
    })
}

fn zodb_file(url: &str, path: &str, pairs: &[(String, String)]) -> Result<Location> {
    if path.is_empty() {
        return Err(missing_path(url));
    }
    match pairs.first() {
        Some((key, _)) => Err(unknown_option(key, &[])),
        None => Ok(Location::ZodbFile {
            path: decode(path)?.into(),
        }),
    }
}

/// `HOST:PORT`, after the two slashes.
fn host_and_port(url: &str, scheme: &str, rest: &str) -> Result<String> {
    let address = rest.strip_prefix("//").filter(|address| {
        address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    });
    address.map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::Usage, DOING)
            .because(format!("{url} does not name a host and a port"))
            .hint(format!("Write {scheme}://HOST:PORT."))
    })
}

fn unix_server(url: &str, rest: &str, pairs: &[(String, String)]) -> Result<Location> {
    no_options(pairs)?;
    let path = rest
        .strip_prefix("//")
        .filter(|path| path.starts_with('/'))
        .unwrap_or(rest);
    let address = match path {
        "" => return Err(missing_path(url)),
        name if name.starts_with('@') => decode(name)?,
        path => format!("unix:{}", decode(path)?),
    };
    Ok(Location::Server(ServerLocation { address, tls: None }))
}

fn tls_server(url: &str, rest: &str, pairs: Vec<(String, String)>) -> Result<Location> {
    let address = host_and_port(url, TLS, rest)?;
    let (mut ca, mut cert, mut key) = (None, None, None);
    for (name, value) in pairs {
        let place = match name.as_str() {
            "ca" => &mut ca,
            "cert" => &mut cert,
            "key" => &mut key,
            _ => return Err(unknown_option(&name, &["ca", "cert", "key"])),
        };
        *place = Some(PathBuf::from(value));
    }
    let lacks = |what: &str| {
        Error::new(ErrorKind::Usage, DOING)
            .because(format!("{url} lacks {what}"))
            .hint("Write `?ca=FILE`, and `&cert=FILE&key=FILE` where the server asks who you are.")
    };
    let tls = TlsFiles {
        ca: ca
            .ok_or_else(|| lacks("the certificate of the authority that vouches for the server"))?,
        identity: match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            (Some(_), None) => return Err(lacks("the key of the certificate")),
            (None, Some(_)) => return Err(lacks("the certificate of the key")),
        },
    };
    Ok(Location::Server(ServerLocation {
        address,
        tls: Some(tls),
    }))
}

fn no_options(pairs: &[(String, String)]) -> Result<()> {
    match pairs.first() {
        Some((key, _)) => Err(unknown_option(key, &[])),
        None => Ok(()),
    }
}

fn missing_path(url: &str) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .because(format!("{url} has no path"))
        .hint("Write SCHEME:PATH.")
}

fn unknown_option(key: &str, valid: &[&str]) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .because(format!("there is no option `{key}` here"))
        .hint(suggest(key, valid, "options"))
}

/// Resolves `%XX`. A `%` that is not followed by two hexadecimal digits stands for itself.
fn decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = hex
            .filter(|hex| byte == b'%' && hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8(out).map_err(|error| {
        Error::new(ErrorKind::Usage, DOING)
            .because(format!(
                "`{text}` is not UTF-8 once its escapes are resolved"
            ))
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Durability;
    use crate::record::Codec;

    const ENGINES: &[&str] = &["lmdb", "sqlite", "memory"];

    #[test]
    fn a_store_with_options() {
        let url = "lmdb:a%3Fb/c?compression=zstd&durability=process&map_size=1GiB";
        let Location::Store(settings) = Location::parse(url, ENGINES).unwrap() else {
            panic!()
        };
        assert_eq!(settings.path, PathBuf::from("a?b/c"));
        assert_eq!(settings.compression, Codec::Zstd);
        assert_eq!(settings.durability, Some(Durability::Process));
        assert_eq!(settings.options["map_size"], "1GiB");
        let Location::Store(settings) = Location::parse("sqlite:///x/100%", ENGINES).unwrap()
        else {
            panic!()
        };
        assert_eq!(settings.path, PathBuf::from("/x/100%"));
        assert!(Location::parse("memory:", ENGINES).is_ok());
    }

    #[test]
    fn foreign_files_and_servers() {
        let zodb = Location::parse("zodb:var/Data.fs", ENGINES).unwrap();
        let path = "var/Data.fs".into();
        assert_eq!(zodb, Location::ZodbFile { path });
        assert_eq!(zodb.to_string(), "zodb:var/Data.fs");
        assert_eq!(
            Location::parse("durus:old.durus?format=dfs20", ENGINES).unwrap(),
            Location::DurusFile {
                path: "old.durus".into(),
                format: DurusFormat::Dfs20
            }
        );
        for (url, address) in [
            ("durus+tcp://localhost:2972", "localhost:2972"),
            ("durus+unix:/run/durum", "unix:/run/durum"),
            ("durus+unix:@durum", "@durum"),
        ] {
            let location = Location::parse(url, ENGINES).unwrap();
            assert_eq!(location.to_string(), url);
            let address = address.to_owned();
            let server = ServerLocation { address, tls: None };
            assert_eq!(location, Location::Server(server));
        }
        let url = "durus+tls://[::1]:1?ca=ca.pem&cert=me.pem&key=me.key";
        let Location::Server(server) = Location::parse(url, ENGINES).unwrap() else {
            panic!()
        };
        assert_eq!(server.to_string(), "durus+tls://[::1]:1");
        let identity = Some(("me.pem".into(), "me.key".into()));
        let ca = "ca.pem".into();
        assert_eq!(server.tls, Some(TlsFiles { ca, identity }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, part) in [
            ("data", "no scheme"),
            ("/var/data", "no scheme"),
            ("lmbd:data", "Did you mean `lmdb`?"),
            ("lmdb:", "no path"),
            ("lmdb:data?fast", "no value"),
            ("lmdb:data?compression=zstandard", "Did you mean `zstd`?"),
            ("lmdb:data?durability=never", "relaxed, process, power"),
            ("durus:x?format=shel", "Did you mean `shelf`?"),
            ("durus:x?fromat=shelf", "Did you mean `format`?"),
            ("durus+tcp://localhost", "HOST:PORT"),
            ("durus+tcp://localhost:1?ca=x", "no option `ca`"),
            ("durus+unix:", "no path"),
            ("durus+tls://localhost:1", "?ca=FILE"),
            (
                "durus+tls://localhost:1?ca=a&key=k",
                "certificate of the key",
            ),
            (
                "durus+tls://localhost:1?ca=a&cert=c",
                "key of the certificate",
            ),
            ("durus+tls://localhost:1?cb=a", "no option `cb`"),
            ("zodb:", "no path"),
            ("zodb:Data.fs?format=fs30", "no option `format`"),
            ("zdob:Data.fs", "Did you mean `zodb`?"),
            ("lmdb:%ff", "UTF-8"),
        ] {
            let error = Location::parse(url, ENGINES).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }
}
