//! Limits that the configuration sets.

use std::fs;

use tempfile::TempDir;

use crate::client::transaction;
use crate::kit::Server;

fn serve(limits: &str) -> Server {
    let home = TempDir::new().unwrap();
    let path = home.path().join("durum.toml");
    fs::write(path, format!("[server]\n{limits}")).unwrap();
    Server::start_in(home, "file", &[])
}

#[test]
fn more_connections_than_allowed_are_closed() {
    let server = serve("connections_max = 2");
    let (mut one, mut two) = (server.client(), server.client());
    one.new_oid();
    two.new_oid();
    assert!(server.client().is_closed());
    server.wait_for_log("as many connections as there may be");
    // Who goes makes room.
    one.send(b".");
    assert!(one.is_closed());
    crate::kit::wait_until("a place", || {
        let mut client = server.client();
        client.send(b"V\0\0\0\x01");
        !client.is_closed()
    });
    two.new_oid();
}

#[test]
fn large_requests_are_refused() {
    let server = serve("request_objects_max = 2\nrequest_bytes_max = '1KiB'");
    let mut good = server.client();
    good.new_oids(3);
    assert!(good.commit(&[(0, &[1; 900], &[])]));
    let mut bad = server.client();
    bad.send(b"B\0\0\0\x03");
    assert!(bad.is_closed());
    server.wait_for_log("it sends 3 objects, and 2 are allowed");
    let mut bad = server.client();
    bad.begin();
    bad.send(&transaction(&[(0, &[1; 1024], &[])]));
    assert!(bad.is_closed());
    server.wait_for_log("bytes, and 1024 are allowed");
    let mut bad = server.client();
    bad.begin();
    bad.send(&transaction(&[(0, b"", &[]), (1, b"", &[]), (2, b"", &[])]));
    assert!(bad.is_closed());
    good.sync();
    server.stop_and_check();
}

#[test]
fn half_a_request_is_given_up() {
    let server = serve("request_time_max = '200ms'");
    let (mut idle, mut half) = (server.client(), server.client());
    half.send(b"L\0\0");
    assert!(half.is_closed());
    server.wait_for_log("a request took too long");
    idle.new_oid();
}
