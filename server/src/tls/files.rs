//! Certificates and keys, as files have them.

use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, Result};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(super) const DOING: &str = "set TLS up";

/// Who somebody is: a certificate, and the key that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and after it those that it was signed with, but for the last.
    pub certificate: PathBuf,
    /// The key, PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

impl Identity {
    /// A certificate and its key, by their paths.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Identity {
        Identity {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    /// Reads both. Whether they belong together is for others to say.
    pub(super) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let text = read(&self.key, "key")?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let encrypted = text
                .windows(ENCRYPTED.len())
                .any(|window| window == ENCRYPTED);
            let hint = match encrypted {
                true => "The key is encrypted: store it without a password, readable to the server only.",
                false => "It has to be a PEM file with `-----BEGIN PRIVATE KEY-----`.",
            };
            unusable(&self.key, "there is no key that can be read")
                .hint(hint)
                .caused_by(error)
        })?;
        Ok((certificates(&self.certificate)?, key))
    }
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// All certificates of a file, of which there is one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(path, "certificate")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        found => {
            let wrong = unusable(path, "there is no certificate that can be read")
                .hint("It has to be a PEM file with `-----BEGIN CERTIFICATE-----`.");
            Err(match found {
                Ok(_) => wrong,
                Err(error) => wrong.caused_by(error),
            })
        }
    }
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            unusable(
                path,
                format!("a certificate cannot be an authority: {error}"),
            )
            .hint("Name the certificate of the CA, not one that it has signed.")
            .caused_by(error)
        })?;
    }
    Ok(roots)
}

/// An error about a file that is not as it should be.
pub(super) fn unusable(path: &Path, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .with_path(path)
        .because(why)
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(error, DOING)
            .with_kind(ErrorKind::Usage)
            .with_path(path);
        match absent {
            true => error.hint(format!(
                "There is no such {what}: correct the path, or make one with `durum cert`."
            )),
            false => error.hint(format!(
                "The {what} has to be readable to the user that this runs as."
            )),
        }
    })
}
