//! Clients that do what no real one does: only they are cut off, with a line in the log.

use std::time::Duration;

use crate::client::{Loaded, object, transaction};
use crate::kit::Server;

/// Everything that follows is refused, and another client goes on.
#[test]
fn what_is_malformed_ends_the_connection_that_sends_it() {
    let server = Server::new(&[]);
    let mut good = server.client();
    good.new_oids(2);
    assert!(good.commit(&[(0, b"root", &[])]));
    let record = |oid: u64, again: u64, data: u32, rest: &[u8]| {
        let oids = [oid.to_be_bytes(), again.to_be_bytes()].concat();
        let record = [&oids[..], &data.to_be_bytes(), rest].concat();
        let object = [&(record.len() as u32).to_be_bytes()[..], &record].concat();
        [&(object.len() as u32).to_be_bytes()[..], &object].concat()
    };
    let valid = transaction(&[(0, b"x", &[])]);
    for (transaction, reason) in [
        (
            u32::MAX.to_be_bytes().to_vec(),
            "a transaction of 4294967295 bytes",
        ),
        (record(0, 1, 0, b""), "different OIDs"),
        (record(0, 0, 9, b"12345678"), "do not fill it"),
        (record(0, 0, 1, b"12345678"), "do not fill it"),
        (record(1 << 63, 1 << 63, 0, b""), "not below 2^63"),
        (record(0, 0, 0, &[0xFF; 8]), "not below 2^63"),
        (
            b"\0\0\0\x08\0\0\0\xFF\0\0\0\0".to_vec(),
            "longer or shorter",
        ),
        (
            b"\0\0\0\x08\0\0\0\x04\0\0\0\0".to_vec(),
            "longer or shorter",
        ),
        (
            b"\0\0\0\x0C\0\0\0\x08\0\0\0\0\0\0\0\0".to_vec(),
            "shorter than its head",
        ),
        (b"\0\0\0\x02\0\0\0\x08".to_vec(), "longer or shorter"),
        (transaction_twice(&valid), "twice"),
    ] {
        let mut bad = server.client();
        bad.begin();
        bad.send(&transaction);
        assert!(bad.is_closed(), "{reason}");
        server.wait_for_log(reason);
    }
    let mut bad = server.client();
    bad.send(b"B\xFF\xFF\xFF\xFF");
    assert!(bad.is_closed());
    server.wait_for_log("4294967295 objects");
    assert_eq!(good.load(0), object(b"root", &[]));
    assert_eq!(server.stop_and_check()["objects"], 1);
}

fn transaction_twice(one: &[u8]) -> Vec<u8> {
    let body = &one[4..];
    let length = (body.len() * 2) as u32;
    [&length.to_be_bytes()[..], body, body].concat()
}

/// Random bytes, after commands that take something and without.
#[test]
fn garbage_does_no_harm() {
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    let server = Server::new(&[]);
    let mut good = server.client();
    good.new_oids(1);
    assert!(good.commit(&[(0, b"root", &[])]));
    for round in 0..300 {
        let mut bad = server.client();
        let length = random.usize(0..200);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        if let Some(first) = bytes.first_mut() {
            *first = *random.choice(b"NMLBSCPV.Q").unwrap();
        }
        bad.send(&bytes);
        // Some stay, some go.
        if round % 2 == 0 {
            drop(bad);
        }
        assert_eq!(good.load(0), object(b"root", &[]), "after {bytes:?}");
    }
    server.stop_and_check();
}

/// One that promises a transaction and does not send it holds nobody up, nor the end of the server.
#[test]
fn who_stops_in_the_middle_of_a_request_delays_nobody() {
    let server = Server::new(&[]);
    let (mut stalled, mut good) = (server.client(), server.client());
    good.new_oids(1);
    stalled.begin();
    stalled.send(b"\0\0\xFF");
    let mut half_a_load = server.client();
    half_a_load.send(b"L\0\0\0");
    assert!(good.commit(&[(0, b"root", &[])]));
    assert_eq!(good.load(0), object(b"root", &[]));
    assert_eq!(good.load(7), Loaded::Missing);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.stop_and_check()["objects"], 1);
}
