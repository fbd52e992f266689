//! The server's side.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durum_core::config::Rights;
use durum_core::{Error, ErrorKind, Result};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible,
    ServerConfig, ServerConnection, SignatureScheme,
};
use tracing::warn;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::files::{DOING, Identity, authorities, unusable};
use super::names::{Allowed, Known, NotAllowed, names};
use super::{VERSIONS, provider};

/// The log warns of a certificate that expires sooner.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
/// The bit of a file's mode that lets everybody read it.
const READ_BY_OTHERS: u32 = 0o004;

/// The files of a server that speaks TLS, and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate and key.
    pub identity: Identity,
    /// The authorities that sign clients' certificates; where there are none clients need none.
    pub client_ca: Option<PathBuf>,
    /// What clients may do, by a name of their certificate: its common name, or one of its alternative names
    /// that is a host name, an e-mail address or a URI. Others are refused. Without a list everybody is
    /// allowed everything whose certificate the authorities have signed.
    pub clients: Option<BTreeMap<String, Rights>>,
    /// Whether clients on TCP that do not speak TLS are refused.
    pub required: bool,
}

/// What the files say.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(crate) required: bool,
    config: Arc<ServerConfig>,
    allowed: Option<Arc<Allowed>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Usage` for a file that is absent or not what it should be, and for a list of clients without the
    /// authorities that make it mean something.
    pub(crate) fn load(settings: &TlsSettings) -> Result<ServerTls> {
        let (certificates, key) = settings.identity.read()?;
        warn_of_readers(&settings.identity.key);
        if let Some(certificate) = certificates.first() {
            warn_of_expiry(&settings.identity.certificate, certificate);
        }
        let allowed = settings.clients.clone().map(Allowed::new).map(Arc::new);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| Error::new(ErrorKind::Other, DOING).caused_by(error))?;
        let builder = match &settings.client_ca {
            Some(path) => builder.with_client_cert_verifier(verifier(path, allowed.clone())?),
            None if allowed.is_some() => {
                return Err(Error::new(ErrorKind::Usage, DOING)
                    .because("clients are listed by the names of their certificates, and no authority signs these")
                    .hint("Set `client_ca`, or remove `[server.clients]`."));
            }
            None => builder.with_no_client_auth(),
        };
        let built = builder.with_single_cert(certificates, key);
        let mut config = built.map_err(|error| {
            unusable(&settings.identity.certificate, format!("{error}"))
                .hint(format!(
                    "The certificate and the key {} have to belong together.",
                    settings.identity.key.display()
                ))
                .caused_by(error)
        })?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(ServerTls {
            required: settings.required,
            config: Arc::new(config),
            allowed,
        })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// The client of a connection whose handshake is done.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn client(&self, connection: &ServerConnection) -> Result<Known, String> {
        let certificate = connection
            .peer_certificates()
            .and_then(|certificates| certificates.first());
        let known = |name| Known {
            name,
            rights: Rights::ReadWrite,
        };
        match (&self.allowed, certificate) {
            (None, None) => Ok(known(None)),
            (None, Some(certificate)) => Ok(known(names(certificate).into_iter().next())),
            (Some(allowed), Some(certificate)) => allowed
                .find(certificate)
                .map_err(|refused| refused.to_string()),
            (Some(_), None) => Err("it has no certificate".into()),
        }
    }
}

fn verifier(ca: &Path, allowed: Option<Arc<Allowed>>) -> Result<Arc<dyn ClientCertVerifier>> {
    let roots = Arc::new(authorities(ca)?);
    let signed = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| unusable(ca, error.to_string()).caused_by(error))?;
    Ok(match allowed {
        Some(allowed) => Arc::new(Listed { signed, allowed }),
        None => signed,
    })
}

/// Certificates that an authority has signed, and that are in the list.
///
/// Whoever is not is refused within the handshake, so that the client gets to know of it.
#[derive(Debug)]
struct Listed {
    signed: Arc<dyn ClientCertVerifier>,
    allowed: Arc<Allowed>,
}

impl ClientCertVerifier for Listed {
    fn offer_client_auth(&self) -> bool {
        self.signed.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .signed
            .verify_client_cert(end_entity, intermediates, now)?;
        match self.allowed.find(end_entity) {
            Ok(_) => Ok(verified),
            Err(refused) => Err(CertificateError::Other(OtherError(Arc::new(refused))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.signed.requires_raw_public_keys()
    }
}

/// The TLS of a server that is not Durum's own: what the settings say, of which `required` does not count here.
///
/// # Errors
/// `Usage` for a file that is absent or not what it should be.
pub fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>> {
    ServerTls::load(settings).map(|tls| tls.config())
}

/// Why a handshake has failed, for the log.
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let why = match inner {
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        )) => "it does not speak TLS 1.3".to_owned(),
        Some(rustls::Error::NoCertificatesPresented) => "it has no certificate".to_owned(),
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer => {
                "its certificate is not signed by an authority of `client_ca`".to_owned()
            }
            CertificateError::Other(OtherError(error)) => {
                match error.downcast_ref::<NotAllowed>() {
                    Some(refused) => refused.to_string(),
                    None => format!("its certificate is not valid: {error}"),
                }
            }
            error => format!("its certificate is not valid: {error}"),
        },
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    format!("its TLS handshake failed: {why}")
}

/// Warns of a key that everybody on this machine can read.
fn warn_of_readers(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |found| found.permissions().mode());
    if mode & READ_BY_OTHERS != 0 {
        let key = key.display();
        warn!(%key, "everybody on this machine can read the server's key: take that right away by `chmod o-r`");
    }
}

/// Warns of a certificate of the server's own that clients do not accept, or soon will not.
fn warn_of_expiry(path: &Path, certificate: &CertificateDer<'_>) {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return;
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs() as i64;
    let validity = parsed.validity();
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let certificate = path.display();
    if now < from {
        warn!(%certificate, "the server's certificate is not valid yet: clients refuse it");
    } else if now > until {
        warn!(%certificate, "the server's certificate has expired: clients refuse it; renew it and send SIGHUP");
    } else if until - now < EXPIRES_SOON.as_secs() as i64 {
        let days = (until - now) / 86_400;
        warn!(%certificate, "the server's certificate expires in {days} days: renew it and send SIGHUP");
    }
}
