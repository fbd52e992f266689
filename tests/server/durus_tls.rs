//! Durus 4.3 from PyPI, unchanged, through the TLS of Python and OpenSSL.

use std::process::{Command, Stdio};

use durum_server::tls::Identity;
use durum_testkit::{durus_python, python_script};

use crate::certificates::{Certificates, STRICT, serve};
use crate::kit::Server;

#[test]
fn a_client_of_durus_with_a_certificate_does_what_it_may() {
    let Some(python) = durus_python() else { return };
    let config = format!("{STRICT} clients = {{ writer = 'read-write', reader = 'read-only' }}");
    let (server, certificates) = serve(&config, &[]);
    let run = |identity: &Identity, what| {
        let output = client(&python, &server, &certificates, identity, what);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            stderr,
        )
    };
    let writer = certificates.client("writer");
    for _ in 0..2 {
        let (done, _, stderr) = run(&writer, "write");
        assert!(done, "{stderr}");
    }
    let (done, stdout, stderr) = run(&certificates.client("reader"), "read");
    assert!(done, "{stderr}");
    assert_eq!(stdout, "2 1000000\ncut off\n", "{stderr}");
    let (done, _, stderr) = run(&certificates.client("mallory"), "write");
    assert!(
        !done && stderr.contains("alert certificate unknown"),
        "{stderr}"
    );
    server.wait_for_log("it commits, and may only read");
    server.wait_for_log(r#"allowed clients: [\"mallory\"]"#);
    server.stop_and_check();
}

fn client(
    python: &std::path::Path,
    server: &Server,
    certificates: &Certificates,
    identity: &Identity,
    what: &str,
) -> std::process::Output {
    Command::new(python)
        .arg(python_script("durus_tls.py"))
        .arg(server.address.rsplit(':').next().unwrap())
        .arg(certificates.dir.join("ca.pem"))
        .args([&identity.certificate, &identity.key])
        .arg(what)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
