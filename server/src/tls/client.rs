//! The client's side.

use std::path::Path;
use std::sync::Arc;

use durum_core::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use super::files::{DOING, Identity, authorities, unusable};
use super::{VERSIONS, provider};

/// What a client needs to connect: `ca` has the authorities that it trusts, of which one must have signed
/// the server's certificate, and `identity` is its own certificate with the key, where the server asks for
/// one. The configuration can be used for any number of connections.
///
/// # Errors
/// `Usage` for a file that is absent or not what it should be; it says which, and what to do.
pub fn client_config(ca: &Path, identity: Option<&Identity>) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| Error::new(ErrorKind::Other, DOING).caused_by(error))?
        .with_root_certificates(authorities(ca)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certificates, key) = identity.read()?;
            let built = builder.with_client_auth_cert(certificates, key);
            built.map_err(|error| {
                let path = &identity.certificate;
                unusable(path, format!("{error}"))
                    .hint(format!(
                        "The certificate and the key {} have to belong together.",
                        identity.key.display()
                    ))
                    .caused_by(error)
            })?
        }
    };
    // The server has none to offer.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name that the server's certificate must have: a host name, or a number of IPv4 or IPv6 without
/// brackets.
///
/// # Errors
/// `Usage` for what can be neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        Error::new(ErrorKind::Usage, DOING)
            .because(format!("`{host}` is no name of a host"))
            .caused_by(error)
    })
}
