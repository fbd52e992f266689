//! Authorities and certificates, for an installation that has none.
//!
//! An [`Authority`] is a pair of files in a directory, `ca.pem` and `ca.key`, and what it signs is written beside
//! them, or elsewhere: [`Files`].

mod authority;
mod files;

use std::path::Path;
use std::time::{Duration, SystemTime};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

pub use authority::Authority;
use authority::{date, dress, params, validity};
pub use files::Files;

const DOING: &str = "make a certificate";
/// X.509 has no room for more.
const NAME_MAX: usize = 64;

/// How a certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// How long it is valid, at most as long as the authority.
    pub valid: Duration,
    /// Whether it takes the place of one that is there.
    pub replace: bool,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its files.
    pub files: Files,
    /// The name in it.
    pub name: String,
    /// The day until which it is valid.
    pub expires: String,
}

/// Makes an authority in a directory, `Durum CA` and a random number where it has no name.
///
/// # Errors
/// `Exists` where there is one, `Usage` for a name or a time that cannot be, and those of the file system.
pub fn make_authority(dir: &Path, name: Option<&str>, valid: Duration) -> Result<Made> {
    let key = KeyPair::generate().map_err(impossible)?;
    let name = match name {
        Some(name) => name.to_owned(),
        // Part of a random key is random.
        None => {
            let random = key.public_key_raw().last_chunk::<4>().unwrap_or(&[0; 4]);
            format!("Durum CA {:08x}", u32::from_be_bytes(*random))
        }
    };
    check_length("the authority", &name)?;
    let mut params = params(&name, validity(valid)?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    std::fs::create_dir_all(dir).during(DOING, dir)?;
    let files = Files::of(dir, "ca");
    let hint = "An authority is not replaced, for every certificate would have to be: make another one in \
                another directory, or certificates with this one.";
    files.must_be_absent(hint)?;
    let certificate = params.self_signed(&key).map_err(impossible)?;
    files.write(&certificate.pem(), &key)?;
    Ok(Made {
        files,
        name,
        expires: date(&params),
    })
}

impl Authority {
    /// Makes the certificate of a server that clients connect to by these names and IP numbers.
    ///
    /// # Errors
    /// `Usage` for names that are none, `Exists` where there is a file that is not to be replaced, and those of
    /// the file system.
    pub fn make_server(&self, files: Files, hosts: &[String], how: How) -> Result<Made> {
        let first = hosts.first().map_or("", String::as_str);
        let mut params = CertificateParams::new(hosts.to_vec()).map_err(|error| {
            Error::new(ErrorKind::Usage, DOING).because(format!(
                "the names {hosts:?} are not all names of hosts or IP numbers: {error}"
            ))
        })?;
        if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
            return Err(Error::new(ErrorKind::Usage, DOING)
                .because(format!(
                    "`{bad}` is neither the name of a host nor an IP number"
                ))
                .hint("Write it as clients do to connect, without a port."));
        }
        // What counts are the alternative names; a long one does not fit here.
        let shown = if first.len() <= NAME_MAX {
            first
        } else {
            "durum"
        };
        dress(&mut params, shown, self.validity(how.valid)?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let expires = self.sign(&params, &files, how)?;
        let name = shown.to_owned();
        Ok(Made {
            files,
            name,
            expires,
        })
    }

    /// Makes the certificate of a client of this name.
    ///
    /// # Errors
    /// As [`Authority::make_server`].
    pub fn make_client(&self, files: Files, name: &str, how: How) -> Result<Made> {
        check_client(name)?;
        let mut params = params(name, self.validity(how.valid)?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let expires = self.sign(&params, &files, how)?;
        let name = name.to_owned();
        Ok(Made {
            files,
            name,
            expires,
        })
    }
}

/// Whether a client can be called so.
///
/// # Errors
/// `Usage` where it cannot.
pub fn check_client(name: &str) -> Result<()> {
    check_length("the client", name)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-_@".contains(letter);
    match name.chars().all(fits) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, DOING)
            .because(format!("`{name}` is not a name for a client"))
            .hint("Write letters, digits, and any of `.-_@`.")),
    }
}

/// Whether a client could connect to it.
fn is_host(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

fn check_length(what: &str, name: &str) -> Result<()> {
    match name.trim().is_empty() || name.chars().count() > NAME_MAX {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::Usage, DOING).because(format!(
            "the name of {what} has to have from 1 to {NAME_MAX} letters"
        ))),
    }
}

fn impossible(error: rcgen::Error) -> Error {
    Error::new(ErrorKind::Other, DOING)
        .because(error.to_string())
        .caused_by(error)
}

type Validity = (SystemTime, SystemTime);
