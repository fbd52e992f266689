//! Encrypted connections: who vouches for the servers, and how the client proves who it is.

use std::path::PathBuf;

use durum_core::engine::Options;
use durum_core::{Error, ErrorKind, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::NAME;

const DOING: &str = "prepare encrypted connections";

/// Files, in PEM, that an encrypted connection needs.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    root: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Those that the options name, if any.
    ///
    /// # Errors
    /// `Usage` where one is named without another that it needs.
    pub(crate) fn new(options: &Options) -> Result<Option<TlsFiles>> {
        let file = |name| options.text(name).map(PathBuf::from);
        let missing = |why: &str, hint: &str| {
            Err(Error::new(ErrorKind::Usage, DOING)
                .with_engine(NAME)
                .because(why)
                .hint(hint))
        };
        let identity = match (file("sslcert"), file("sslkey")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return missing(
                    "a certificate without its key, or the other way round",
                    "Name both: ?sslcert=FILE&sslkey=FILE.",
                );
            }
        };
        match file("sslrootcert") {
            Some(root) => Ok(Some(TlsFiles { root, identity })),
            None if identity.is_some() => missing(
                "the client has a certificate, but nothing says who vouches for the servers",
                "Name the authority's certificate: ?sslrootcert=FILE.",
            ),
            None => Ok(None),
        }
    }

    /// What rustls needs.
    ///
    /// # Errors
    /// `Unreadable` for a file that cannot be read, or that is not what it should be.
    pub(crate) fn load(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.root)? {
            roots
                .add(certificate)
                .map_err(|error| unreadable(&self.root, error))?;
        }
        let builder =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| unreadable(&self.root, error))?
                .with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
        builder
            .with_client_auth_cert(certificates(certificate)?, private)
            .map_err(|error| unreadable(certificate, error))
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unreadable(path, error))?
        .collect();
    let found = found.map_err(|error| unreadable(path, error))?;
    match found.is_empty() {
        true => Err(unreadable(path, "it has no certificate")),
        false => Ok(found),
    }
}

fn unreadable(path: &PathBuf, why: impl ToString) -> Error {
    Error::new(ErrorKind::Unreadable, DOING)
        .with_engine(NAME)
        .with_path(path)
        .because(why.to_string())
}
