//! TLS, and who may do what.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::certificates::{STRICT, encrypted, refused, serve, tls};
use crate::client::{Client, Loaded, object, socket};
use crate::kit::{LONG, Server, durum, wait_until};

/// Certificates for the server only: whoever connects is let in.
const OPEN: &str = "
    [server]
    tls_cert = 'certs/server.pem'
    tls_key = 'certs/server.key'
";

#[test]
fn plain_and_encrypted_clients_share_a_port() {
    let (server, certificates) = serve(OPEN, &[]);
    let mut secret = encrypted(&server, &certificates.config(None));
    let mut plain = server.client();
    secret.new_oids(3);
    assert!(secret.commit(&[(0, b"root", &[1]), (1, b"", &[])]));
    plain.sync();
    assert_eq!(plain.load(0), object(b"root", &[1]));
    // More than a record of TLS holds, and than is sent or read at once, both ways.
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    let data: Vec<u8> = (0..3_000_000).map(|_| random.u8(..)).collect();
    assert!(secret.commit(&[(1, &data, &[]), (0, b"root", &[1])]));
    for mut client in [
        server.client(),
        encrypted(&server, &certificates.config(None)),
    ] {
        let all = client.load_many(&[1, 0, 7, 1]);
        let root = object(b"root", &[1]);
        let large = object(&data, &[]);
        assert_eq!(all, [large.clone(), root, Loaded::Missing, large]);
    }
    assert_eq!(plain.sync(), [0, 1]);
    let checked = server.stop_and_check();
    assert_eq!(checked["objects"], 2);
}

/// Requests that arrive in one record, and one that arrives in many.
#[test]
fn records_of_tls_are_not_requests() {
    let (server, certificates) = serve(OPEN, &[]);
    let mut stream = tls(&server.address, &certificates.config(None));
    stream.write_all(b"V\0\0\0\x01NL\0\0\0\0\0\0\0\0S").unwrap();
    let mut answers = [0xFF; 4 + 8 + 1 + 4];
    stream.read_exact(&mut answers).unwrap();
    assert_eq!(&answers[..], b"\0\0\0\x01\0\0\0\0\0\0\0\0K\0\0\0\0");
    for byte in b"L\0\0\0\0\0\0\0\0" {
        stream.write_all(&[*byte]).unwrap();
        stream.flush().unwrap();
    }
    stream.read_exact(&mut answers[..1]).unwrap();
    assert_eq!(answers[0], b'K');
    // The server takes leave: who hears nothing more knows that nothing was cut off.
    stream.write_all(b".").unwrap();
    assert_eq!(stream.read(&mut answers).unwrap(), 0);
}

#[test]
fn plain_text_is_refused_where_tls_is_demanded_and_not_on_unix_sockets() {
    let config = format!("{OPEN} require_tls = true");
    let (server, certificates) = serve(&config, &["--listen", "unix:socket"]);
    let mut plain = server.client();
    plain.send(b"N");
    assert!(plain.is_closed());
    server.wait_for_log("it does not speak TLS, which this server demands");
    encrypted(&server, &certificates.config(None)).new_oid();
    let socket = UnixStream::connect(server.home.path().join("socket")).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    Client::over(socket).new_oid();
}

#[test]
fn a_client_that_trusts_another_authority_does_not_connect() {
    let (server, certificates) = serve(OPEN, &[]);
    let other = crate::certificates::Certificates::make(server.home.path(), "other");
    let seen = refused(&server, &other.config(None));
    assert!(seen.contains("UnknownIssuer"), "{seen}");
    server.wait_for_log("its TLS handshake failed: received fatal alert");
    encrypted(&server, &certificates.config(None)).new_oid();
}

/// Everybody but the one with the right certificate; each with a line in the log, and told so.
#[test]
fn who_is_not_known_is_refused() {
    let config =
        format!("{STRICT} [server.clients]\nalice = 'read-write'\n'expired' = 'read-write'");
    let (server, certificates) = serve(&config, &[]);
    let other = crate::certificates::Certificates::make(server.home.path(), "other");
    let ours = |identity| certificates.config(Some(&identity));
    let foreign = other.client("alice");
    let cases: [(Arc<ClientConfig>, &str, &str); 5] = [
        (
            certificates.config(None),
            "it has no certificate",
            "CertificateRequired",
        ),
        (
            ours(foreign),
            "not signed by an authority of `client_ca`",
            "UnknownCA",
        ),
        (
            ours(certificates.expired("expired")),
            "expired",
            "CertificateExpired",
        ),
        (
            ours(certificates.client("mallory")),
            r#"is among the allowed clients: [\"mallory\"]"#,
            "CertificateUnknown",
        ),
        // That of the server proves nothing about a client.
        (
            ours(certificates.identity("server")),
            "its certificate is not valid",
            "",
        ),
    ];
    for (config, logged, seen) in cases {
        let error = refused(&server, &config);
        assert!(
            error.contains("fatal alert") && error.contains(seen),
            "{error}"
        );
        server.wait_for_log(logged);
    }
    // Without a word about it there is no other way in.
    let mut plain = server.client();
    plain.send(b"N");
    assert!(plain.is_closed());
    let mut alice = encrypted(&server, &ours(certificates.client("alice")));
    server.wait_for_log("known by its certificate client=127.0.0.1:");
    server.wait_for_log(r#"name="alice" rights="read-write""#);
    alice.new_oid();
    assert!(alice.commit(&[(0, b"root", &[])]));
    server.stop_and_check();
}

#[test]
fn without_a_list_all_are_known_whom_the_authority_has_signed() {
    let (server, certificates) = serve(STRICT, &[]);
    let config = certificates.config(Some(&certificates.client("anyone")));
    encrypted(&server, &config).new_oid();
    server.wait_for_log(r#"name="anyone""#);
    let error = refused(&server, &certificates.config(None));
    assert!(error.contains("CertificateRequired"), "{error}");
    // An empty list is one with nobody.
    let (server, certificates) = serve(&format!("{STRICT} clients = {{}}"), &[]);
    let config = certificates.config(Some(&certificates.client("anyone")));
    assert!(refused(&server, &config).contains("fatal alert"));
}

#[test]
fn a_reader_reads_and_does_nothing_else() {
    let config = format!("{STRICT} [server.clients]\nwriter = 'read-write'\nreader = 'read-only'");
    let (server, certificates) = serve(&config, &["--allow-quit"]);
    let writer = certificates.config(Some(&certificates.client("writer")));
    let reader = certificates.config(Some(&certificates.client("reader")));
    let mut writer = encrypted(&server, &writer);
    writer.new_oids(2);
    assert!(writer.commit(&[(0, b"root", &[])]));
    let connect = || encrypted(&server, &reader);
    let mut reading = connect();
    assert_eq!(reading.load(0), object(b"root", &[]));
    assert_eq!(
        reading.load_many(&[0, 1]),
        [object(b"root", &[]), Loaded::Missing]
    );
    // It may ask by `C` and give up, and holds nobody up meanwhile.
    assert!(reading.begin().is_empty());
    assert!(writer.commit(&[(0, b"changed", &[])]));
    reading.send(&[0; 4]);
    assert_eq!(reading.sync(), [0]);
    reading.pack();
    for (request, logged) in [
        (&b"N"[..], "asks for OIDs, and may only read"),
        (b"M\x01", "asks for OIDs, and may only read"),
        (b"C", "commits, and may only read"),
        (b"Q", "may not shut the server down"),
    ] {
        let mut client = connect();
        client.send(request);
        if request == b"C" {
            assert_eq!(client.u32(), 0);
            client.send(&crate::client::transaction(&[(0, b"x", &[])]));
        }
        assert!(client.is_closed(), "{logged}");
        server.wait_for_log(logged);
    }
    assert_eq!(reading.load(0), object(b"changed", &[]));
    server.stop_and_check();
}

/// A ClientHello of TLS 1.2, with the ciphers of its time.
fn hello_1_2() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session; three ciphers; no compression.
    body.extend(b"\0\0\x06\xC0\x2B\xC0\x2F\x00\x2F\x01\0");
    // The groups, the formats of points and the signatures.
    let extensions =
        b"\0\x0A\0\x04\0\x02\0\x17\0\x0B\0\x02\x01\0\0\x0D\0\x06\0\x04\x04\x03\x08\x04";
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let length = (handshake.len() as u16).to_be_bytes();
    [&[0x16, 3, 1][..], &length, &handshake].concat()
}

#[test]
fn older_versions_of_tls_and_garbage_are_refused() {
    let (server, certificates) = serve(OPEN, &[]);
    let mut good = encrypted(&server, &certificates.config(None));
    let mut old = socket(&server.address);
    old.write_all(&hello_1_2()).unwrap();
    let mut alert = Vec::new();
    old.read_to_end(&mut alert).unwrap();
    // A fatal alert: the version of the protocol.
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 70]);
    server.wait_for_log("its TLS handshake failed: it does not speak TLS 1.3");
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    for round in 0..100 {
        let mut bytes = hello_1_2();
        match round % 3 {
            // Nonsense after the first byte,
            0 => bytes
                .iter_mut()
                .skip(1)
                .for_each(|byte| *byte = random.u8(..)),
            // a record of nonsense,
            1 => bytes
                .iter_mut()
                .skip(5)
                .for_each(|byte| *byte = random.u8(..)),
            // a hello with a flaw.
            _ => {
                let place = random.usize(1..bytes.len());
                bytes[place] ^= 1 << random.u8(0..8);
            }
        }
        let mut bad = server.client();
        bad.send(&bytes);
        drop(bad);
        assert_eq!(good.load(0), Loaded::Missing, "after {bytes:?}");
    }
    server.stop_and_check();
}

/// Half a handshake, and half a record of TLS after it, end by the limit of time; others go on.
#[test]
fn who_stops_in_the_middle_of_tls_is_dropped() {
    // Long enough for those who do not stop, on a machine that has more to do.
    let config = format!("{OPEN} request_time_max = '3s'");
    let (server, certificates) = serve(&config, &[]);
    let config = certificates.config(None);
    let (mut idle, mut good) = (server.client(), encrypted(&server, &config));
    // A record that is no part of a request: new keys.
    let mut renewing = tls(&server.address, &config);
    renewing.conn.complete_io(&mut renewing.sock).unwrap();
    renewing.conn.refresh_traffic_keys().unwrap();
    renewing.flush().unwrap();
    let mut half = server.client();
    half.send(&hello_1_2()[..20]);
    let mut first = server.client();
    first.send(&[0x16]);
    // The server may read the half record together with the end of the handshake, or after it.
    let begun = |pause: Duration| {
        let mut stream = tls(&server.address, &config);
        stream.conn.complete_io(&mut stream.sock).unwrap();
        std::thread::sleep(pause);
        stream
            .sock
            .write_all(&[0x17, 3, 3, 0, 100, 1, 2, 3])
            .unwrap();
        stream
    };
    let mut streams = [begun(Duration::ZERO), begun(Duration::from_millis(200))];
    assert!(half.is_closed() && first.is_closed());
    for stream in &mut streams {
        // Nothing more comes, not even a farewell.
        assert!(stream.read(&mut [0]).is_err());
    }
    let count = |what| server.log().matches(what).count();
    wait_until("all in the log", || {
        count("its TLS handshake took too long") == 2 && count("a request took too long") == 2
    });
    // Who has sent nothing, or nothing since, may take as long as it likes.
    good.new_oid();
    idle.new_oid();
    Client::over(renewing).new_oid();
    server.stop_and_check();
}

#[test]
fn a_hello_to_a_server_without_a_certificate_says_so() {
    let server = Server::new(&[]);
    let mut client = server.client();
    client.send(&hello_1_2());
    assert!(client.is_closed());
    server.wait_for_log("it speaks TLS, and this server has no certificate");
}

#[test]
fn what_cannot_work_is_refused_before_anything_listens() {
    let (server, certificates) = serve(OPEN, &[]);
    certificates.client("alice");
    let home = server.home.path();
    std::fs::write(home.join("text"), "nothing").unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    std::fs::write(home.join("encrypted"), encrypted).unwrap();
    let certificate = "tls_cert = 'certs/server.pem'\n";
    let both = format!("{certificate}tls_key = 'certs/server.key'\n");
    for (config, parts) in [
        (certificate.to_owned(), ["no key", "Set `tls_key`"]),
        (
            "tls_key = 'x'".to_owned(),
            ["no certificate", "Set `tls_cert`"],
        ),
        (
            "require_tls = true".to_owned(),
            ["TLS is required", "durum cert"],
        ),
        (
            "client_ca = 'certs/ca.pem'".to_owned(),
            ["no certificate for that", "Set `tls_cert`"],
        ),
        (
            format!("{both}clients = {{ a = 'read-only' }}"),
            ["[server.clients]", "Set `client_ca`"],
        ),
        (
            format!("{certificate}tls_key = 'absent'"),
            ["absent", "durum cert"],
        ),
        (
            format!("{certificate}tls_key = 'text'"),
            ["no key", "BEGIN PRIVATE KEY"],
        ),
        (
            format!("{certificate}tls_key = 'encrypted'"),
            ["is encrypted", "without a password"],
        ),
        (
            format!("{certificate}tls_key = 'certs/ca.key'"),
            ["certs/server.pem", "belong together"],
        ),
        (
            format!("{certificate}tls_key = 'certs'"),
            ["certs", "has to be readable"],
        ),
        (
            "tls_cert = 'text'\ntls_key = 'certs/ca.key'".to_owned(),
            ["no certificate", "BEGIN CERTIFICATE"],
        ),
        (
            format!("{both}client_ca = 'text'"),
            ["no certificate", "BEGIN CERTIFICATE"],
        ),
    ] {
        std::fs::write(home.join("durum.toml"), format!("[server]\n{config}")).unwrap();
        let mut command = durum(home, &["serve", "memory:", "--listen", "127.0.0.1:0"]);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{config}: {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{config}: {stderr}");
        }
    }
}

/// What works, but not for long or not for everybody's good, is in the log.
#[test]
fn the_log_warns_of_what_will_not_do() {
    let (mut server, certificates) = serve(OPEN, &[]);
    assert!(!server.log().contains("WARN"), "{}", server.log());
    server.stop();
    let key = certificates.dir.join("server.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    server.restart();
    server.wait_for_log("everybody on this machine can read the server's key");
    server.stop();
    let soon = ["--name", "localhost", "--replace", "--valid", "10.5d"];
    certificates.cert(&["server"], &soon);
    server.restart();
    server.wait_for_log("the server's certificate expires in 10 days");
    server.stop();
    let expired = certificates.expired("server");
    fs::copy(&expired.certificate, certificates.dir.join("server.pem")).unwrap();
    fs::copy(&expired.key, &key).unwrap();
    server.restart();
    server.wait_for_log("the server's certificate has expired");
    let seen = refused(&server, &certificates.config(None));
    assert!(seen.contains("expired"), "{seen}");
}

/// The command line says the same, and what it says counts.
#[test]
fn arguments_take_the_place_of_the_configuration() {
    let (mut server, certificates) = serve(
        "[server]\ntls_cert = 'no'\ntls_key = 'no'",
        &[
            "--tls-cert",
            "certs/server.pem",
            "--tls-key",
            "certs/server.key",
            "--client-ca",
            "certs/ca.pem",
        ],
    );
    let config = certificates.config(Some(&certificates.client("alice")));
    encrypted(&server, &config).new_oid();
    // With an authority TLS is demanded without a word.
    assert!(refused(&server, &certificates.config(None)).contains("CertificateRequired"));
    let mut plain = server.client();
    plain.send(b"N");
    assert!(plain.is_closed());
    server.stop();
}

#[test]
fn the_log_warns_of_who_can_come_in() {
    let strangers = "others than this machine can connect without TLS";
    let (server, _) = serve(OPEN, &["--listen", "0.0.0.0:0"]);
    server.wait_for_log(strangers);
    assert_eq!(server.log().matches(strangers).count(), 1);
    let (server, _) = serve(
        &format!("{OPEN} require_tls = true"),
        &["--listen", "0.0.0.0:0"],
    );
    assert!(!server.log().contains(strangers), "{}", server.log());
    let (server, _) = serve(&format!("{STRICT} require_tls = false"), &[]);
    server.wait_for_log("clients that do not speak TLS need no certificate");
    server.client().new_oid();
}
