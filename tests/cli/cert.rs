//! `durum cert`: what it makes, and what it does not touch.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::kit::Home;

const DAY: i64 = 86_400;

/// What a certificate says: its name and its issuer's, its alternative names, whether it is an authority,
/// and for how long it is valid.
fn read(home: &Home, path: &str) -> (String, String, Vec<String>, bool, i64) {
    let text = fs::read(home.path(path)).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
    let (rest, found) = X509Certificate::from_der(&pem.contents).unwrap();
    assert!(rest.is_empty() && found.validity().is_valid());
    let alternatives = found.subject_alternative_name().unwrap();
    let names = alternatives.map_or(Vec::new(), |names| {
        let names = names.value.general_names.iter();
        names.map(ToString::to_string).collect()
    });
    let valid = found.validity().not_after.timestamp() - found.validity().not_before.timestamp();
    (
        found.subject().to_string(),
        found.issuer().to_string(),
        names,
        found.is_ca(),
        valid,
    )
}

fn mode(home: &Home, path: &str) -> u32 {
    fs::metadata(home.path(path)).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_signs_servers_and_clients() {
    let home = Home::new();
    let made = home.json(&["cert", "ca", "new/certs", "--name", "Our CA"]);
    assert_eq!(made["certificate"], json!("new/certs/ca.pem"));
    assert_eq!(made["key"], json!("new/certs/ca.key"));
    assert_eq!(made["name"], json!("Our CA"));
    let expires = made["expires"].as_str().unwrap();
    assert!(
        expires.len() == 10 && expires.starts_with("20"),
        "{expires}"
    );
    let names = ["db.example", "*.db.example", "127.0.0.1", "::1"];
    let made = home.json(&[&["cert", "server", "new/certs", "--name"], &names[..]].concat());
    assert_eq!(made["certificate"], json!("new/certs/server.pem"));
    assert_eq!(made["key"], json!("new/certs/server.key"));
    assert_eq!(made["ca"], json!("new/certs/ca.pem"));
    assert_eq!(made["names"], json!(names));
    let made = home.json(&[
        "cert",
        "client",
        "new/certs",
        "alice@example",
        "--valid",
        "30d",
    ]);
    assert_eq!(
        made["certificate"],
        json!("new/certs/client-alice@example.pem")
    );
    assert_eq!(made["key"], json!("new/certs/client-alice@example.key"));
    assert_eq!(made["name"], json!("alice@example"));
    let hour = 3600;
    let (own, issuer) = ("CN=Our CA".to_owned(), "CN=Our CA".to_owned());
    assert_eq!(
        read(&home, "new/certs/ca.pem"),
        (own, issuer.clone(), Vec::new(), true, 3650 * DAY + hour)
    );
    let (name, by, names, is_ca, valid) = read(&home, "new/certs/server.pem");
    assert_eq!(
        (name.as_str(), by, is_ca),
        ("CN=db.example", issuer.clone(), false)
    );
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(valid, 365 * DAY + hour);
    let (name, by, _, is_ca, valid) = read(&home, "new/certs/client-alice@example.pem");
    assert_eq!(
        (name.as_str(), by, is_ca),
        ("CN=alice@example", issuer, false)
    );
    assert_eq!(valid, 30 * DAY + hour);
    for key in ["ca", "server", "client-alice@example"] {
        assert_eq!(mode(&home, &format!("new/certs/{key}.key")), 0o600);
    }
    let files = fs::read_dir(home.path("new/certs")).unwrap().count();
    assert_eq!(files, 6, "nothing else is left");
}

#[test]
fn nothing_is_valid_for_longer_than_its_authority() {
    let home = Home::new();
    home.json(&["cert", "ca", "certs", "--valid", "10d"]);
    home.json(&["cert", "server", "certs", "--name", "host"]);
    let valid = |path| read(&home, path).4;
    // The server's was made a moment later.
    let (ca, server) = (valid("certs/ca.pem"), valid("certs/server.pem"));
    assert!((ca - server).abs() < DAY, "{ca} {server}");
}

#[test]
fn what_exists_stays_unless_it_is_to_be_replaced() {
    let home = Home::new();
    home.json(&["cert", "ca", "certs"]);
    home.refused(
        &["cert", "ca", "certs"],
        4,
        &["ca.pem", "exists already", "is not replaced"],
    );
    let server = ["cert", "server", "certs", "--name", "host"];
    home.json(&server);
    home.refused(&server, 4, &["server.pem", "--replace"]);
    let text = |name: &str| fs::read(home.path(&format!("certs/{name}"))).unwrap();
    let before = (text("server.pem"), text("server.key"));
    home.json(&[&server[..], &["--replace"]].concat());
    let after = (text("server.pem"), text("server.key"));
    assert!(before.0 != after.0 && before.1 != after.1);
    assert_eq!(mode(&home, "certs/server.key"), 0o600);
    // A key alone is reason enough.
    fs::write(home.path("certs/client-bob.key"), "precious").unwrap();
    home.refused(&["cert", "client", "certs", "bob"], 4, &["client-bob.key"]);
    // Two authorities that nobody has named are told apart.
    home.json(&["cert", "ca", "others"]);
    assert_ne!(
        read(&home, "certs/ca.pem").0,
        read(&home, "others/ca.pem").0
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let home = Home::new();
    home.refused(
        &["cert", "client", "absent", "alice"],
        2,
        &["absent/ca.pem", "durum cert ca"],
    );
    home.refused(
        &["cert", "ca", "certs", "--valid", "0"],
        2,
        &["up to a hundred years"],
    );
    home.refused(
        &["cert", "ca", "certs", "--valid", "200000d"],
        2,
        &["up to a hundred years"],
    );
    home.refused(
        &["cert", "ca", "certs", "--name", ""],
        2,
        &["from 1 to 64 letters"],
    );
    home.json(&["cert", "ca", "certs"]);
    home.refused(&["cert", "server", "certs"], 2, &["--name <HOST>"]);
    for name in ["a b", "host:2972", "", "ä", "[::1]"] {
        home.refused(
            &["cert", "server", "certs", "--name", "ok", name],
            2,
            &["name"],
        );
    }
    for name in ["", "a/b", "../x", "a b", "ä", &"x".repeat(65)] {
        home.refused(&["cert", "client", "certs", name], 2, &["name"]);
    }
    // An authority that is none.
    home.json(&["cert", "server", "certs", "--name", "host"]);
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(home.path("bad")).unwrap();
        fs::copy(
            home.path(&format!("certs/{from}")),
            home.path(&format!("bad/{to}")),
        )
        .unwrap();
    };
    let client = ["cert", "client", "bad", "alice"];
    copy("server.pem", "ca.pem");
    copy("server.key", "ca.key");
    home.refused(
        &client,
        2,
        &["bad/ca.pem", "not the certificate of an authority"],
    );
    copy("ca.pem", "ca.pem");
    home.refused(&client, 2, &["bad/ca.pem", "does not belong to the key"]);
    copy("ca.pem", "ca.key");
    home.refused(&client, 2, &["bad/ca.key", "no key"]);
}
