//! Where a server listens and clients connect.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use durum_core::{Error, ErrorKind, Result};

/// An address: `HOST:PORT`, `unix:PATH` or, on Linux, an abstract socket `@NAME`.
///
/// ```
/// use durum_server::Address;
/// let address: Address = "[::1]:2972".parse()?;
/// assert_eq!(address, Address::Tcp { host: "::1".to_owned(), port: 2972 });
/// assert!("localhost".parse::<Address>().is_err());
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host, by name or number, and a port; 0 lets the system choose one.
    Tcp {
        /// The host, an IPv6 number without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix-domain socket at a path.
    Unix(PathBuf),
    /// A Unix-domain socket with a name that no directory holds.
    Abstract(String),
}

const UNIX: &str = "unix:";

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        if let Some(name) = text.strip_prefix('@') {
            return match name.is_empty() {
                true => Err(malformed(text, "the name is missing")),
                false => Ok(Address::Abstract(name.to_owned())),
            };
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            return match path.is_empty() {
                true => Err(malformed(text, "the path is missing")),
                false => Ok(Address::Unix(path.into())),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(malformed(text, "the port is missing"));
        };
        let port = port
            .parse()
            .map_err(|_| malformed(text, "the port is not a number up to 65535"))?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match bracketed {
            None if host.contains(':') => Err(malformed(text, "an IPv6 number needs brackets")),
            _ if host.is_empty() => Err(malformed(text, "the host is missing")),
            _ => Ok(Address::Tcp {
                host: bracketed.unwrap_or(host).to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(out, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(out, "{host}:{port}"),
            Address::Unix(path) => write!(out, "{UNIX}{}", path.display()),
            Address::Abstract(name) => write!(out, "@{name}"),
        }
    }
}

fn malformed(text: &str, why: &str) -> Error {
    Error::new(ErrorKind::Usage, "read the address")
        .because(format!("`{text}` is not an address: {why}"))
        .hint("Write HOST:PORT, [IPV6]:PORT, unix:PATH or @NAME.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "127.0.0.1:2972",
            "host:0",
            "[::]:80",
            "unix:/run/durum",
            "@durum",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "port is missing"),
            ("host", "port is missing"),
            ("host:", "not a number"),
            ("host:65536", "not a number"),
            (":80", "host is missing"),
            ("::1:80", "needs brackets"),
            ("unix:", "path is missing"),
            ("@", "name is missing"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
