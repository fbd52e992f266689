//! SIGHUP: certificates and the list of clients are read anew.

use std::fs;

use rustix::process::Signal;

use crate::certificates::{Certificates, STRICT, encrypted, refused, serve};
use crate::client::object;
use crate::kit::{Server, wait_until};

const READ: &str = "certificates and clients were read anew";
const KEPT: &str = "certificates and clients stay as they were";

/// Sends SIGHUP and waits until the log says once more what became of it.
fn reload(server: &Server, outcome: &str) {
    let count = || server.log().matches(outcome).count();
    let before = count();
    server.signal(Signal::HUP);
    wait_until(outcome, || count() > before);
}

fn configure(server: &Server, text: &str) {
    fs::write(server.home.path().join("durum.toml"), text).unwrap();
}

#[test]
fn a_new_list_counts_for_new_connections() {
    let clients = |list: &str| format!("{STRICT} clients = {{ {list} }}");
    let (server, certificates) = serve(&clients("alice = 'read-write'"), &[]);
    let alice = certificates.config(Some(&certificates.client("alice")));
    let bob = certificates.config(Some(&certificates.client("bob")));
    let mut first = encrypted(&server, &alice);
    first.new_oid();
    refused(&server, &bob);
    configure(&server, &clients("bob = 'read-write', alice = 'read-only'"));
    reload(&server, READ);
    assert!(first.commit(&[(0, b"root", &[])]));
    let mut second = encrypted(&server, &alice);
    assert_eq!(second.load(0), object(b"root", &[]));
    second.send(b"N");
    assert!(second.is_closed());
    encrypted(&server, &bob).new_oid();
    configure(&server, &clients("bob = 'read-write'"));
    reload(&server, READ);
    refused(&server, &alice);
    first.new_oid();
    server.stop_and_check();
}

#[test]
fn new_certificates_and_authorities_take_the_place_of_old_ones() {
    let (server, certificates) = serve(STRICT, &[]);
    let alice = certificates.client("alice");
    let mut before = encrypted(&server, &certificates.config(Some(&alice)));
    // A renewed certificate of the same authority; then all from another one.
    let text = || fs::read(certificates.dir.join("server.pem")).unwrap();
    let old = text();
    certificates.cert(&["server"], &["--name", "localhost", "--replace"]);
    assert_ne!(text(), old);
    reload(&server, READ);
    encrypted(&server, &certificates.config(Some(&alice))).new_oid();
    let other = Certificates::make(server.home.path(), "other");
    configure(&server, &STRICT.replace("certs/", "other/"));
    reload(&server, READ);
    let seen = refused(&server, &certificates.config(Some(&alice)));
    assert!(seen.contains("UnknownIssuer"), "{seen}");
    let bob = other.config(Some(&other.client("bob")));
    encrypted(&server, &bob).new_oid();
    // It trusts the new server, and has a certificate of the old authority.
    let seen = refused(&server, &other.config(Some(&alice)));
    assert!(seen.contains("UnknownCA"), "{seen}");
    before.new_oid();
    server.stop_and_check();
}

#[test]
fn what_is_wrong_leaves_everything_as_it_was() {
    let (server, certificates) = serve(STRICT, &[]);
    let alice = certificates.config(Some(&certificates.client("alice")));
    let file = |name| certificates.dir.join(name);
    let key = fs::read(file("server.key")).unwrap();
    let break_and_mend: [(&dyn Fn(), &str); 5] = [
        (
            &|| fs::write(file("server.key"), "nothing").unwrap(),
            "there is no key",
        ),
        (
            &|| fs::remove_file(file("server.key")).unwrap(),
            "There is no such key",
        ),
        (
            &|| configure(&server, "[server]\ntls_cart = 'x'"),
            "Did you mean `tls_cert`?",
        ),
        (&|| configure(&server, ""), "has to be started anew"),
        (
            &|| configure(&server, &STRICT.replace("ca.pem", "server.key")),
            "no certificate",
        ),
    ];
    for (break_it, why) in break_and_mend {
        break_it();
        reload(&server, KEPT);
        server.wait_for_log(why);
        encrypted(&server, &alice).new_oid();
        refused(&server, &certificates.config(None));
        fs::write(file("server.key"), &key).unwrap();
        configure(&server, STRICT);
    }
    reload(&server, READ);
    server.stop_and_check();
}

/// A server that spoke plain text demands certificates from then on.
#[test]
fn tls_can_be_demanded_of_a_server_that_runs() {
    let home = tempfile::TempDir::new().unwrap();
    let certificates = Certificates::make(home.path(), "certs");
    let server = Server::start_in(home, "file", &[]);
    let mut before = server.client();
    before.new_oid();
    configure(&server, STRICT);
    reload(&server, READ);
    let mut plain = server.client();
    plain.send(b"N");
    assert!(plain.is_closed());
    let alice = certificates.config(Some(&certificates.client("alice")));
    encrypted(&server, &alice).new_oid();
    before.new_oid();
    configure(&server, &format!("{STRICT} require_tls = false"));
    reload(&server, READ);
    server.wait_for_log("clients that do not speak TLS need no certificate");
    server.client().new_oid();
}

#[test]
fn a_server_without_tls_survives_the_signal() {
    let server = Server::new(&[]);
    let mut client = server.client();
    reload(&server, KEPT);
    client.new_oid();
    server.stop_and_check();
}
