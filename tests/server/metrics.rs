//! Metrics and health over HTTP.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use durum::core::engine::Durability;
use durum::core::store::{Batch, SessionKind, Store as _};
use durum::{ErrorKind, Oid, Tid};
use durum_core::config::ServerLocation;
use durum_core::record::Payload;
use durum_server::client::RemoteImport;
use rustix::process::Signal;

use crate::client::object;
use crate::kit::{LONG, Server, shim, wait_until};

const WITH_METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];

fn connect(server: &Server) -> TcpStream {
    let address = server.said["metrics"][0].as_str().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// The answer to some bytes: its status, its head and its body.
fn ask(server: &Server, request: &str) -> (u16, String, String) {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: durum\r\n\r\n");
    let (status, _, body) = ask(server, &request);
    (status, body)
}

/// All samples, by name and labels.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let (status, text) = get(server, "/metrics");
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

#[test]
fn what_clients_do_is_counted() {
    let server = Server::start("file", &WITH_METRICS);
    let before = metrics(&server);
    assert_eq!(before["durum_connections"], 0.0);
    assert_eq!(before["durum_objects"], 0.0);
    let (mut one, mut other) = (server.client(), server.client());
    one.new_oids(3);
    let data = [7; 1000];
    assert!(one.commit(&[(0, b"root", &[1, 2]), (1, &data, &[]), (2, b"b", &[])]));
    other.sync();
    for oid in [0, 1, 2, 1, 2] {
        one.load(oid);
    }
    one.load_many(&[0, 1, 2, 9]);
    // One that changes an object that another has changed meanwhile, and one that gives up.
    other.begin();
    other.send(&0u32.to_be_bytes());
    one.sync();
    assert!(!one.commit(&[(2, b"b", &[1000])]));
    // Garbage.
    assert!(one.commit(&[(0, b"root", &[1])]));
    assert_eq!(one.load(1), object(&data, &[]));
    drop(one);
    wait_until("the collector", || {
        metrics(&server)["durum_collected_objects_total"] == 1.0
    });
    wait_until("the end of a connection", || {
        metrics(&server)["durum_connections"] == 1.0
    });
    let after = metrics(&server);
    for (name, value) in [
        ("durum_request_seconds_count{kind=\"load\"}", 6.0),
        ("durum_request_seconds_count{kind=\"load_many\"}", 1.0),
        ("durum_request_seconds_count{kind=\"commit\"}", 4.0),
        ("durum_request_seconds_count{kind=\"invalid\"}", 2.0),
        ("durum_request_seconds_count{kind=\"new_oids\"}", 1.0),
        (
            "durum_request_seconds_bucket{le=\"+Inf\",kind=\"load\"}",
            6.0,
        ),
        ("durum_loaded_objects_total", 10.0),
        ("durum_commits_total{result=\"committed\"}", 2.0),
        ("durum_commits_total{result=\"conflict\"}", 1.0),
        ("durum_commits_total{result=\"given_up\"}", 1.0),
        ("durum_write_seconds_count", 3.0),
        ("durum_connections_accepted_total", 2.0),
        ("durum_connections_refused_total", 0.0),
        ("durum_connections_cut_off_total", 0.0),
        ("durum_objects", 2.0),
        ("durum_garbage_pending", 0.0),
        ("durum_store_poisoned", 0.0),
        ("durum_collection_failed", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name} in {after:#?}");
    }
    // A thousand bytes of data came once, and went four times.
    assert!(after["durum_received_bytes_total"] > 1200.0, "{after:#?}");
    assert!(after["durum_sent_bytes_total"] > 4000.0, "{after:#?}");
    assert!(after["durum_live_bytes"] > before["durum_live_bytes"]);
    assert!(after["durum_tid"] > before["durum_tid"]);
    assert_eq!(
        after["process_start_time_seconds"],
        before["process_start_time_seconds"]
    );
    assert!(
        after["durum_request_seconds_sum{kind=\"commit\"}"] >= after["durum_write_seconds_sum"]
    );
    let mut bad = server.client();
    bad.send(b"?");
    assert!(bad.is_closed());
    wait_until("a connection that was cut off", || {
        metrics(&server)["durum_connections_cut_off_total"] == 1.0
    });
}

/// The same of the server's own protocol.
#[test]
fn what_the_rust_client_does_is_counted() {
    let server = Server::start("file", &WITH_METRICS);
    let store = durum::connect(&format!("durus+tcp://{}", server.address)).unwrap();
    let session = store.session(SessionKind::Client).unwrap();
    let oids = store.new_oids(session, 2).unwrap();
    let mut batch = Batch::of(session);
    batch.create(oids[0], b"root".to_vec(), vec![oids[1]]);
    batch.create(oids[1], b"other".to_vec(), vec![]);
    let tid = store.commit(batch, Durability::Power).unwrap().tid;
    let mut batch = Batch::of(session);
    batch.update(oids[1], b"again".to_vec(), vec![]);
    batch.expect(oids[0], Tid(tid.0 + 1));
    let conflict = store.commit(batch, Durability::Power).unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    let snapshot = store.snapshot().unwrap();
    for oid in &oids {
        assert!(snapshot.load_with(*oid, &mut |_| Ok(())).unwrap());
    }
    let after = metrics(&server);
    for (name, value) in [
        ("durum_request_seconds_count{kind=\"new_oids\"}", 1.0),
        ("durum_request_seconds_count{kind=\"session\"}", 1.0),
        ("durum_request_seconds_count{kind=\"commit\"}", 2.0),
        ("durum_commits_total{result=\"committed\"}", 1.0),
        ("durum_commits_total{result=\"conflict\"}", 1.0),
        ("durum_write_seconds_count", 2.0),
        ("durum_loaded_objects_total", 2.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name} in {after:#?}");
    }
    assert!(after["durum_request_seconds_count{kind=\"load\"}"] >= 1.0);
    assert!(after["durum_connections"] >= 1.0);
}

#[test]
fn what_is_no_request_for_metrics_is_refused() {
    let server = Server::start("memory", &WITH_METRICS);
    let (status, body) = get(&server, "/health");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert_eq!(get(&server, "/").0, 404);
    let (status, head, body) = ask(&server, "HEAD /metrics HTTP/1.1\r\nHost: durum\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("openmetrics-text"), "{head}");
    let posted = "POST /metrics HTTP/1.1\r\nHost: durum\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(&server, posted).0, 405);
    assert_eq!(ask(&server, "nonsense\r\n\r\n").0, 400);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let mut stream = connect(&server);
    // The server may close before it has read all of it.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    // Who says nothing takes a place for some seconds, and holds up no client of the store.
    let idle: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    let mut client = server.client();
    client.new_oid();
    assert!(client.commit(&[(0, b"root", &[])]));
    drop(idle);
    assert_eq!(get(&server, "/health").0, 200);
}

#[test]
fn there_is_no_endpoint_where_none_is_asked_for() {
    let server = Server::new(&[]);
    assert_eq!(server.said["metrics"], serde_json::json!([]));
    let mut with_config = Server::new(&[]);
    with_config.stop();
    let config = with_config.home.path().join("durum.toml");
    std::fs::write(config, "[server]\nmetrics = \"127.0.0.1:0\"").unwrap();
    with_config.restart();
    assert_eq!(get(&with_config, "/health").0, 200);
}

#[test]
fn a_server_that_ends_says_so() {
    let mut server = Server::start("file", &WITH_METRICS);
    let mut slow = server.client();
    slow.new_oid();
    slow.begin();
    slow.send(b"\0\0");
    server.signal(Signal::TERM);
    wait_until("the end in /health", || {
        let (status, why) = get(&server, "/health");
        status == 503 && why == "the server ends\n"
    });
    drop(slow);
    assert_eq!(server.wait(), Some(0));
}

/// A disk that fails: the store refuses writes, can be read, and says why it is not well.
#[test]
fn a_store_that_refuses_writes_is_not_healthy() {
    let server = Server::start_with(
        tempfile::tempdir().unwrap(),
        "file",
        &WITH_METRICS,
        |home| {
            vec![
                ("LD_PRELOAD", shim().into()),
                ("DURUM_FAULT_ROOT", home.into()),
                ("DURUM_FAULT", "fail:200+:EIO".into()),
            ]
        },
    );
    let mut client = server.client();
    client.new_oid();
    assert!(client.commit(&[(0, b"root", &[])]));
    assert_eq!(get(&server, "/health").0, 200);
    for _ in 0..1000 {
        if !client.try_commit(&[(0, b"changed", &[])]) {
            break;
        }
    }
    let (status, why) = get(&server, "/health");
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("refuses writes"), "{why}");
    assert_eq!(metrics(&server)["durum_store_poisoned"], 1.0);
    assert_eq!(server.client().load(0), object(b"changed", &[]));
}

#[test]
fn a_store_that_is_filled_is_told_of() {
    let server = Server::start("file", &WITH_METRICS);
    assert_eq!(metrics(&server)["durum_filling"], 0.0);
    let address = server.address.clone();
    let location = ServerLocation { address, tls: None };
    let mut import = RemoteImport::begin(&location, false).unwrap();
    import.fill(b"begun", 1 << 20).unwrap();
    for oid in 0..3 {
        let refs: Vec<Oid> = (1..3).filter(|_| oid == 0).map(Oid).collect();
        import.push(Oid(oid), Tid(1), &refs, Payload::plain(&[7; 100]));
    }
    import.checkpoint(b"three").unwrap();
    import.settle().unwrap();
    let meanwhile = metrics(&server);
    assert_eq!(meanwhile["durum_filling"], 1.0);
    assert_eq!(meanwhile["durum_filled_objects_total"], 3.0);
    assert!(meanwhile["durum_filled_bytes_total"] >= 300.0);
    let notes: (&[u8], &[u8]) = (b"dangling ", b".");
    import.finish(Tid(1), Oid(3), notes).unwrap();
    import.publish().unwrap();
    let after = metrics(&server);
    assert_eq!(after["durum_filling"], 0.0);
    assert_eq!(after["durum_objects"], 3.0);
}
