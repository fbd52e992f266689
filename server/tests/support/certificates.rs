//! Certificates for servers in this process.

use std::path::{Path, PathBuf};

use durum_core::config::{ServerLocation, TlsFiles};
use durum_server::Settings;
use durum_server::tls::{Identity, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority, and what it has signed for `localhost`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, certificate: String, key: &KeyPair| {
            let path = home.path().join(name);
            std::fs::write(path.with_extension("pem"), certificate).unwrap();
            std::fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        write("ca", params.self_signed(&key).unwrap().pem(), &key);
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        write(
            "server",
            params.signed_by(&key, &issuer).unwrap().pem(),
            &key,
        );
        Certificates(home)
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Settings for a server that demands TLS.
    pub(crate) fn settings(&self) -> Settings {
        let tls = TlsSettings {
            identity: Identity::new(self.file("server.pem"), self.file("server.key")),
            client_ca: None,
            clients: None,
            required: true,
        };
        Settings {
            tls: Some(tls),
            ..super::on_loopback()
        }
    }

    /// How such a server is reached.
    pub(crate) fn location(&self, address: &str) -> ServerLocation {
        let port = address.rsplit(':').next().unwrap();
        ServerLocation {
            address: format!("localhost:{port}"),
            tls: Some(TlsFiles {
                ca: self.file("ca.pem"),
                identity: None,
            }),
        }
    }
}
