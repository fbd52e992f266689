//! Certificates that `durum cert` makes, some that it does not make, and clients that have them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use durum_server::tls::{Identity, client_config, server_name};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tempfile::TempDir;

use crate::client::{Client, socket};
use crate::kit::{Server, durum};

/// A configuration that demands certificates, to which more can be added.
pub(crate) const STRICT: &str = "
    [server]
    tls_cert = 'certs/server.pem'
    tls_key = 'certs/server.key'
    client_ca = 'certs/ca.pem'
";

/// A directory with an authority and the certificate of a server.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) dir: PathBuf,
}

impl Certificates {
    /// Makes them in a directory of that name.
    pub(crate) fn make(home: &Path, name: &str) -> Certificates {
        let made = Certificates {
            dir: home.join(name),
        };
        made.cert(&["ca"], &[]);
        made.cert(&["server"], &["--name", "localhost", "127.0.0.1"]);
        made
    }

    /// Runs `durum cert`.
    pub(crate) fn cert(&self, what: &[&str], rest: &[&str]) {
        let arguments = [&["cert"], what, &[self.dir.to_str().unwrap()], rest].concat();
        let status = durum(Path::new("/"), &arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    /// Makes the certificate of a client.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.cert(&["client"], &[name]);
        self.identity(&format!("client-{name}"))
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let file = |end| self.dir.join(format!("{name}.{end}"));
        Identity::new(file("pem"), file("key"))
    }

    /// A certificate that has expired.
    pub(crate) fn expired(&self, name: &str) -> Identity {
        let read = |name| fs::read_to_string(self.dir.join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let before = |days: u64| SystemTime::now() - Duration::from_secs(days * 86_400);
        (params.not_before, params.not_after) = (before(2).into(), before(1).into());
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let identity = self.identity(&format!("expired-{name}"));
        fs::write(&identity.certificate, certificate.pem()).unwrap();
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    pub(crate) fn config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        client_config(&self.dir.join("ca.pem"), identity).unwrap()
    }
}

/// A server with certificates and a configuration that names them.
pub(crate) fn serve(config: &str, arguments: &[&str]) -> (Server, Certificates) {
    let home = TempDir::new().unwrap();
    let certificates = Certificates::make(home.path(), "certs");
    fs::write(home.path().join("durum.toml"), config).unwrap();
    let server = Server::start_in(home, "file", arguments);
    (server, certificates)
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection that has its handshake still before it.
pub(crate) fn tls(address: &str, config: &Arc<ClientConfig>) -> Tls {
    let name = server_name("localhost").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    StreamOwned::new(connection, socket(address))
}

/// A client that has been let in.
pub(crate) fn encrypted(server: &Server, config: &Arc<ClientConfig>) -> Client {
    let mut stream = tls(&server.address, config);
    stream.write_all(b"V\0\0\0\x01").unwrap();
    let mut version = [0; 4];
    stream.read_exact(&mut version).unwrap();
    assert_eq!(version, [0, 0, 0, 1]);
    Client::over(stream)
}

/// Why a client is not let in, as it sees it itself.
pub(crate) fn refused(server: &Server, config: &Arc<ClientConfig>) -> String {
    let mut stream = tls(&server.address, config);
    // In TLS 1.3 the handshake is done for a client before the server has looked at its certificate. It
    // sends nothing after that, so that nothing unread has the connection reset.
    let error = stream
        .conn
        .complete_io(&mut stream.sock)
        .and_then(|_| stream.read(&mut [0]));
    error.unwrap_err().to_string()
}
