//! Authorities, and what they sign.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::files::Files;
use super::{DOING, How, Validity, impossible};

/// Clocks of other machines may be so late.
const BACKDATED: Duration = Duration::from_secs(3600);
/// No certificate is valid for longer: the years of its dates have four digits.
const VALID_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// An authority that signs.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
    /// Until when it is valid, in seconds since 1970.
    until: i64,
}

impl Authority {
    /// That of a directory.
    ///
    /// # Errors
    /// `Usage` for files that are absent or not what they should be; it says which, and what to do.
    pub fn read(dir: &Path) -> Result<Authority> {
        let Files { certificate, key } = Files::of(dir, "ca");
        let text = |path: &Path| {
            fs::read_to_string(path)
                .during(DOING, path)
                .map_err(|error| {
                    match error.kind() {
                        ErrorKind::NotFound => {
                            error.hint("Make an authority with `durum cert ca` first.")
                        }
                        _ => error,
                    }
                    .with_kind(ErrorKind::Usage)
                })
        };
        let (certificate_text, key_text) = (text(&certificate)?, text(&key)?);
        let wrong = |path: &Path, why: &str| {
            Error::new(ErrorKind::Usage, DOING)
                .with_path(path)
                .because(why)
        };
        let pair = KeyPair::from_pem(&key_text)
            .map_err(|error| wrong(&key, "this is no key in PEM").caused_by(error))?;
        let der = CertificateDer::from_pem_slice(certificate_text.as_bytes()).map_err(|error| {
            wrong(&certificate, "this is no certificate in PEM").caused_by(error)
        })?;
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
            return Err(wrong(&certificate, "this is no certificate"));
        };
        if parsed.public_key().raw != pair.subject_public_key_info() {
            let why = format!("it does not belong to the key {}", key.display());
            return Err(wrong(&certificate, &why));
        }
        if !parsed.is_ca() {
            return Err(wrong(
                &certificate,
                "it is not the certificate of an authority",
            ));
        }
        let until = parsed.validity().not_after.timestamp();
        let issuer = Issuer::from_ca_cert_der(&der, pair)
            .map_err(|error| wrong(&certificate, "it cannot be used").caused_by(error))?;
        Ok(Authority {
            issuer,
            path: certificate,
            until,
        })
    }

    /// Its certificate.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From when to when a certificate is valid: not for longer than the authority is.
    pub(super) fn validity(&self, valid: Duration) -> Result<Validity> {
        let (from, until) = validity(valid)?;
        let own = u64::try_from(self.until).unwrap_or_default();
        let own = SystemTime::UNIX_EPOCH + Duration::from_secs(own);
        match own > SystemTime::now() {
            true => Ok((from, until.min(own))),
            false => Err(Error::new(ErrorKind::Usage, DOING)
                .with_path(&self.path)
                .because("the authority has expired")
                .hint("Make another one in another directory, and certificates with it.")),
        }
    }

    /// Makes a key and the certificate for it; when that expires.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        files: &Files,
        how: How,
    ) -> Result<String> {
        if !how.replace {
            files.must_be_absent("With --replace it is made anew.")?;
        }
        let key = KeyPair::generate().map_err(impossible)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(impossible)?;
        files.write(&certificate.pem(), &key)?;
        Ok(date(params))
    }
}

/// From when to when what is made now is valid.
pub(super) fn validity(valid: Duration) -> Result<Validity> {
    if valid.is_zero() || valid > VALID_MAX {
        return Err(Error::new(ErrorKind::Usage, DOING)
            .because("nothing can be valid for such a time")
            .hint("Write a time of up to a hundred years, such as 90d."));
    }
    let now = SystemTime::now();
    Ok((now - BACKDATED, now + valid))
}

pub(super) fn params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    dress(&mut params, name, validity);
    params
}

pub(super) fn dress(params: &mut CertificateParams, name: &str, validity: Validity) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (validity.0.into(), validity.1.into());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
}

/// The day until which it is valid.
pub(super) fn date(params: &CertificateParams) -> String {
    let until = params.not_after;
    format!(
        "{:04}-{:02}-{:02}",
        until.year(),
        u8::from(until.month()),
        until.day()
    )
}
