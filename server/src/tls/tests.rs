//! Both sides, without a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use durum_core::ErrorKind;
use durum_core::config::Rights;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::{ClientConnection, ProtocolVersion, ServerConnection};

use super::server::ServerTls;
use super::{Identity, TlsSettings, client_config, server_name};

/// A directory with an authority, `server` and `alice`.
pub(crate) fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, certificate: String, key: &KeyPair| {
        fs::write(dir.path().join(format!("{name}.pem")), certificate).unwrap();
        fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    write("ca", params.self_signed(&key).unwrap().pem(), &key);
    let issuer = Issuer::new(params, key);
    for (name, usage) in [
        ("server", ExtendedKeyUsagePurpose::ServerAuth),
        ("alice", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        write(name, params.signed_by(&key, &issuer).unwrap().pem(), &key);
    }
    dir
}

pub(crate) fn identity(dir: &Path, name: &str) -> Identity {
    let file = |end| dir.join(format!("{name}.{end}"));
    Identity::new(file("pem"), file("key"))
}

fn settings(dir: &Path, clients: &[(&str, Rights)]) -> TlsSettings {
    let clients = clients
        .iter()
        .map(|(name, rights)| ((*name).to_owned(), *rights));
    TlsSettings {
        identity: identity(dir, "server"),
        client_ca: Some(dir.join("ca.pem")),
        clients: Some(clients.collect::<BTreeMap<_, _>>()),
        required: true,
    }
}

/// Carries bytes between both until neither has any; what the two sides say.
fn shake_hands(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        client.write_tls(&mut there).unwrap();
        server.read_tls(&mut there.as_slice()).unwrap();
        server.process_new_packets()?;
        server.write_tls(&mut back).unwrap();
        client.read_tls(&mut back.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn both_sides_come_together_in_tls_1_3_and_the_client_is_known() {
    let dir = directory();
    let tls = ServerTls::load(&settings(dir.path(), &[("alice", Rights::ReadOnly)])).unwrap();
    let alice = identity(dir.path(), "alice");
    let config = client_config(&dir.path().join("ca.pem"), Some(&alice)).unwrap();
    for _ in 0..2 {
        let name = server_name("localhost").unwrap();
        let mut client = ClientConnection::new(config.clone(), name).unwrap();
        let mut server = ServerConnection::new(tls.config()).unwrap();
        shake_hands(&mut client, &mut server).unwrap();
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        // The second does not build on the first.
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let known = tls.client(&server).unwrap();
        assert_eq!(known.name.as_deref(), Some("alice"));
        assert_eq!(known.rights, Rights::ReadOnly);
    }
}

#[test]
fn a_server_of_another_name_is_not_trusted() {
    let dir = directory();
    let settings = TlsSettings {
        client_ca: None,
        clients: None,
        ..settings(dir.path(), &[])
    };
    let tls = ServerTls::load(&settings).unwrap();
    let config = client_config(&dir.path().join("ca.pem"), None).unwrap();
    let connect = |host: &str| {
        let name = server_name(host).unwrap();
        let mut client = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut server = ServerConnection::new(tls.config()).unwrap();
        shake_hands(&mut client, &mut server).map(|()| tls.client(&server).unwrap())
    };
    let known = connect("localhost").unwrap();
    assert_eq!((known.name, known.rights), (None, Rights::ReadWrite));
    for other in ["example.org", "127.0.0.1", "::1"] {
        let error = connect(other).unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
    for nonsense in ["", "a b", "[::1]", "host:1"] {
        assert_eq!(server_name(nonsense).unwrap_err().kind(), ErrorKind::Usage);
    }
}

#[test]
fn files_that_do_not_do_are_named_with_what_to_do() {
    let dir = directory();
    let path = |name: &str| dir.path().join(name);
    let ca = path("ca.pem");
    fs::write(path("text"), "nothing").unwrap();
    fs::write(path("cut"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let mixed = Identity::new(path("alice.pem"), path("server.key"));
    let absent = Identity::new(path("alice.pem"), path("absent"));
    for (ca, identity, parts) in [
        (path("absent"), None, ["absent", "durum cert"]),
        (path("text"), None, ["text", "BEGIN CERTIFICATE"]),
        (path("cut"), None, ["cut", "BEGIN CERTIFICATE"]),
        (path("ca.key"), None, ["ca.key", "BEGIN CERTIFICATE"]),
        (ca.clone(), Some(mixed), ["server.key", "belong together"]),
        (ca.clone(), Some(absent), ["absent", "There is no such key"]),
    ] {
        let error = client_config(&ca, identity.as_ref()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let unsigned = TlsSettings {
        client_ca: None,
        ..settings(dir.path(), &[])
    };
    let error = ServerTls::load(&unsigned).unwrap_err().to_string();
    assert!(error.contains("Set `client_ca`"), "{error}");
}
