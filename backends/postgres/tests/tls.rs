//! Encrypted connections to a server that asks for a certificate.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durum_core::engine::{Backend as _, Options};
use durum_core::place::RemotePlaces;
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _, StoreOptions};
use durum_core::{Error, ErrorKind, Oid};
use durum_database::Server;
use durum_postgres::PostgresBackend;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority, and the files in which it puts what it signs.
struct Authority<'a> {
    issuer: Issuer<'static, KeyPair>,
    directory: &'a Path,
}

impl Authority<'_> {
    fn new<'a>(directory: &'a Path, name: &str) -> Authority<'a> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str, common_name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = self.directory.join(name);
        std::fs::write(path.with_extension("pem"), certificate.pem()).unwrap();
        std::fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
    }
}

/// Has the server write a file into its directory, which only it may read.
fn give(server: &Server, name: &str, text: &str) {
    let directory = server.sql("postgres", "SHOW data_directory");
    let sql = format!(
        "COPY (SELECT regexp_split_to_table($text${}$text$, '\\n')) \
         TO PROGRAM 'umask 077; cat > \"{directory}/{name}\"'",
        text.trim()
    );
    server.sql("postgres", &sql);
}

/// A server whose database `test` takes encrypted connections with a certificate only.
fn server(authorities: &Path) -> Option<Server> {
    let server = Server::start()?;
    let read = |name: &str| std::fs::read_to_string(authorities.join(name)).unwrap();
    give(&server, "server.crt", &read("server.pem"));
    give(&server, "server.key", &read("server.key"));
    give(&server, "root.crt", &read("good.pem"));
    let rules = "host postgres all 127.0.0.1/32 trust\nhostssl test all 127.0.0.1/32 cert";
    give(&server, "pg_hba.conf", rules);
    server.sql("postgres", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    server.sql("postgres", "SELECT pg_reload_conf()");
    // The server reads it in its own time.
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    while server.sql("postgres", sql) != "t" {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(server)
}

fn options(directory: &Path, given: &[(&str, &str)]) -> Options {
    let path = |name: &str| directory.join(name).display().to_string();
    let given: Vec<(&str, String)> = given
        .iter()
        .map(
            |(option, value)| match option.starts_with("ssl") && *option != "sslmode" {
                true => (*option, path(value)),
                false => (*option, (*value).to_owned()),
            },
        )
        .collect();
    let given = given
        .iter()
        .map(|(option, value)| (*option, value.as_str()));
    Options::check("postgres", PostgresBackend.options(), given).unwrap()
}

#[test]
fn a_client_with_a_certificate_is_let_in_and_nobody_else() {
    let directory = TempDir::new().unwrap();
    let directory = directory.path();
    let good = Authority::new(directory, "good");
    good.sign("server", "database", &["127.0.0.1"]);
    good.sign("elsewhere", "database", &["db.example"]);
    good.sign("durum", "durum", &[]);
    good.sign("someone", "someone", &[]);
    Authority::new(directory, "other").sign("forged", "durum", &[]);
    let Some(server) = server(directory) else {
        return;
    };
    let address = server.address("test");
    let refused = |given: &[(&str, &str)]| -> Error {
        let probed = PostgresBackend.probe(Path::new(&address), &options(directory, given));
        probed.unwrap_err()
    };
    let own = [("sslcert", "durum.pem"), ("sslkey", "durum.key")];
    let trusted = [("sslrootcert", "good.pem"), own[0], own[1]];

    let store_options = StoreOptions {
        engine: options(directory, &trusted),
        ..StoreOptions::default()
    };
    let backend = Arc::new(PostgresBackend);
    let store = LocalStore::create(backend, Path::new(&address), &store_options).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, "secret", []);
    store.commit(batch, store.durability()).unwrap();
    let root = store.snapshot().unwrap().load(Oid::ROOT).unwrap();
    assert_eq!(root.unwrap().data, b"secret");
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'durum'";
    assert_eq!(server.sql("postgres", encrypted), "t");
    drop(store);

    // Certificates that are none, somebody else's, or an impostor's.
    let error = refused(&[trusted[0]]);
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let error = refused(&[("sslmode", "disable")]);
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    for name in ["someone", "forged"] {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let error = refused(&[trusted[0], ("sslcert", &certificate), ("sslkey", &key)]);
        assert_eq!(error.kind(), ErrorKind::Refused, "{name}: {error}");
        let told = error.to_string();
        assert_eq!(told.contains("sslcert"), name == "forged", "{told}");
    }

    // A server that is not the one that was asked for.
    let error = refused(&[("sslrootcert", "other.pem"), own[0], own[1]]);
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("sslrootcert"), "{error}");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    give(&server, "server.crt", &read("elsewhere.pem"));
    give(&server, "server.key", &read("elsewhere.key"));
    server.sql("postgres", "SELECT pg_reload_conf()");
    while PostgresBackend
        .probe(
            Path::new(&address),
            &options(directory, &[trusted[0], own[0], own[1]]),
        )
        .is_ok()
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    let error = refused(&trusted);
    assert!(error.to_string().contains("not valid for name"), "{error}");
}
