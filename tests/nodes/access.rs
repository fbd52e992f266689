//! Who is let in by a front, and what is reached through it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use durum_core::ErrorKind;
use durum_garage::{Cluster, Insert, Range};
use durum_server::tls::{Identity, client_config, server_name};
use rustls::{ClientConnection, StreamOwned};

use crate::kit::{Nodes, durum, good};

/// What a front answers to a request, of which headers are given, or how the connection fails.
fn ask(
    address: &str,
    ca: &Path,
    identity: Option<&Identity>,
    request: &str,
) -> Result<String, String> {
    let config = client_config(ca, identity).unwrap();
    let name = server_name("127.0.0.1").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let mut answer = Vec::new();
    let asked = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.flush());
    asked.map_err(|error| error.to_string())?;
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error.to_string()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

fn get(path: &str, route: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: garage\r\nx-durum-service: {route}\r\nconnection: close\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_clients_with_a_certificate_are_let_in() {
    let Some(nodes) = Nodes::start(3).await else {
        return;
    };
    values_go_through(&nodes).await;
    let home = nodes.invite_client("carol");
    strangers_are_refused(&nodes, &home);
    administration_is_not_reached(&nodes, &home);
    a_certificate_is_not_enough(&home).await;
}

/// A client that was told of one node learns of all, and reaches items and objects.
async fn values_go_through(nodes: &Nodes) {
    let client = nodes.client("alice").await;
    assert_eq!(
        client.nodes().len(),
        3,
        "it was told of one, and has learnt of all"
    );
    assert_eq!(client.copies(), [1, 3]);
    for copies in [1, 3] {
        client.create_bucket(copies, "books").await.unwrap();
        let books = client.k2v(copies, "books").unwrap();
        books
            .insert(&[Insert::new("p/ü", "a b", "value")])
            .await
            .unwrap();
        let found = books.read_item("p/ü", "a b").await.unwrap().unwrap();
        assert_eq!(found.value().unwrap(), "value");
        // Also where there is something before it.
        books
            .insert(&[Insert::new("p/ü", "b c", "value")])
            .await
            .unwrap();
        let range = Range::prefix("p/ü", "b");
        let polled = books.poll(&range, None, Duration::from_secs(1));
        let polled = polled.await.unwrap().unwrap().items;
        assert!(polled.len() == 1 && polled[0].sort == "b c", "{polled:?}");
        let large = vec![7; 5_000_000];
        let s3 = client.s3(copies, "books").unwrap();
        s3.put("large/ü", large.clone()).await.unwrap();
        let found = s3.get_whole("large/ü", 5_000_000).await.unwrap();
        assert!(found.unwrap() == large);
    }
    // Another client sees the same.
    let other = nodes.client("bob").await.k2v(3, "books").unwrap();
    assert!(other.read_item("p/ü", "a b").await.unwrap().is_some());
}

fn strangers_are_refused(nodes: &Nodes, home: &Path) {
    let identity = Identity::new(home.join("client.pem"), home.join("client.key"));
    let (address, ca) = (nodes.address(0), home.join("ca.pem"));
    let routes = get("/", "nodes");
    let listed = ask(&address, &ca, Some(&identity), &routes).unwrap();
    for index in 0..3 {
        assert!(listed.contains(&nodes.address(index)), "{listed}");
    }

    let refused = ask(&address, &ca, None, &routes).unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let strangers = home.join("strangers");
    for arguments in [vec!["ca"], vec!["client"]] {
        let mut command = durum();
        command.arg("cert").args(&arguments).arg(&strangers);
        if arguments == ["client"] {
            command.arg("carol");
        }
        good(&command.output().unwrap());
    }
    let stranger = Identity::new(
        strangers.join("client-carol.pem"),
        strangers.join("client-carol.key"),
    );
    let refused = ask(&address, &ca, Some(&stranger), &routes).unwrap_err();
    assert!(refused.contains("received fatal alert"), "{refused}");
    // The other way: a client does not speak with a front of another authority.
    let refused = ask(
        &address,
        &strangers.join("ca.pem"),
        Some(&identity),
        &routes,
    )
    .unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");

    // Without TLS there is nothing, and the one after it is served.
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(routes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _reset_or_closed = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let log = nodes.log(0);
    for part in [
        "it has no certificate",
        "not signed by an authority",
        "a client was refused",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

fn administration_is_not_reached(nodes: &Nodes, home: &Path) {
    let identity = Identity::new(home.join("client.pem"), home.join("client.key"));
    let (address, ca) = (nodes.address(0), home.join("ca.pem"));
    for route in ["admin/3", "admin", "", "k2v/2", "../admin"] {
        let answer = ask(
            &address,
            &ca,
            Some(&identity),
            &get("/v2/GetClusterStatus", route),
        );
        assert!(
            answer
                .as_ref()
                .is_ok_and(|it| it.starts_with("HTTP/1.1 501")),
            "{answer:?}"
        );
    }
    for route in ["k2v/3", "s3/3"] {
        let answer = ask(
            &address,
            &ca,
            Some(&identity),
            &get("/v2/GetClusterStatus", route),
        );
        assert!(
            answer.as_ref().is_ok_and(|it| it.starts_with("HTTP/1.1 4")),
            "{answer:?}"
        );
    }
}

/// The access key is needed as well.
async fn a_certificate_is_not_enough(home: &Path) {
    let file = home.join("cluster.toml");
    let text = fs::read_to_string(&file).unwrap();
    let secret = text
        .lines()
        .find(|line| line.starts_with("secret_key"))
        .unwrap();
    fs::write(
        &file,
        text.replace(secret, &format!("secret_key = \"{}\"", "0".repeat(64))),
    )
    .unwrap();
    let half = Cluster::open(home).unwrap();
    let copies = if text.find(secret) < text.find("copies = 1") {
        3
    } else {
        1
    };
    let error = half
        .k2v(copies, "books")
        .unwrap()
        .read_item("p", "s")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    println!("{error}");
}
