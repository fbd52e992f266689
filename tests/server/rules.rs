//! The rules of Durus's protocol, one by one.

use crate::client::{Loaded, object, transaction};
use crate::kit::{Server, engines, wait_until};

const NOTHING: [u64; 0] = [];

/// Two clients that see each other's commits only when they ask for what is invalid.
#[test]
fn what_others_commit_is_invalid_until_one_asks() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let (mut one, mut two) = (server.client(), server.client());
        assert_eq!(one.load(0), Loaded::Missing);
        assert_eq!(one.new_oids(3), [0, 1, 2]);
        assert!(one.commit(&[(0, b"root", &[1]), (1, b"leaf", &[])]));
        assert_eq!(one.load(0), object(b"root", &[1]), "its own");
        assert_eq!(one.sync(), NOTHING);
        assert_eq!(
            two.load_many(&[0, 1, 2]),
            [Loaded::Invalid, Loaded::Invalid, Loaded::Missing]
        );
        assert_eq!(two.sync(), [0, 1]);
        assert_eq!(two.sync(), NOTHING);
        assert_eq!(
            two.load_many(&[1, 0]),
            [object(b"leaf", &[]), object(b"root", &[1])]
        );
        assert!(two.commit(&[(1, b"changed", &[0])]));
        assert_eq!(one.load(1), Loaded::Invalid);
        assert_eq!(one.load(0), object(b"root", &[1]));
        assert_eq!(one.begin(), [1]);
        one.send(&0u32.to_be_bytes());
        assert_eq!(one.load(1), object(b"changed", &[0]));
        server.stop_and_check();
    }
}

#[test]
fn garbage_goes_and_is_invalid_for_everyone() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let (mut one, mut two) = (server.client(), server.client());
        one.new_oids(4);
        // 2 and 3 are a cycle.
        assert!(one.commit(&[
            (0, b"", &[1, 2]),
            (1, b"", &[]),
            (2, b"", &[3]),
            (3, b"", &[2])
        ]));
        two.sync();
        assert_eq!(two.load(3), object(b"", &[2]));
        assert!(one.commit(&[(0, b"", &[1])]));
        // What a session unlinks it may link again in its next commit.
        assert_eq!(one.load(2), object(b"", &[3]));
        assert!(one.commit(&[(1, b"", &[])]));
        wait_until("the deletion", || {
            let mut late = server.client();
            late.load(2) == Loaded::Missing && late.load(3) == Loaded::Missing
        });
        assert_eq!(two.load(3), Loaded::Invalid, "deleted since it asked");
        assert_eq!(two.sync(), [0, 1, 2, 3]);
        assert_eq!(two.load(3), Loaded::Missing);
        assert_eq!(one.sync(), [2, 3], "deleted by its own commit");
        // Nobody may bring it back, nor refer to it.
        assert!(!two.commit(&[(3, b"again", &[])]));
        assert!(!two.commit(&[(0, b"", &[1, 3])]));
        let checked = server.stop_and_check();
        assert_eq!(
            (&checked["objects"], &checked["unreachable"]),
            (&2.into(), &0.into())
        );
    }
}

/// What is committed and not linked lives until it is linked, the client packs, or goes.
#[test]
fn what_is_not_linked_yet_lives_as_long_as_the_session() {
    let server = Server::new(&[]);
    let (mut one, mut two) = (server.client(), server.client());
    let oids = one.new_oids(5);
    assert!(one.commit(&[(0, b"root", &[])]));
    assert!(one.commit(&[(oids[1], b"packed", &[]), (oids[2], b"linked", &[])]));
    assert!(one.commit(&[(0, b"root", &[oids[2]])]));
    assert_eq!(one.load(oids[1]), object(b"packed", &[]));
    one.pack();
    let gone = |oid| {
        wait_until("the deletion", || {
            server.client().load(oid) == Loaded::Missing
        })
    };
    gone(oids[1]);
    assert_eq!(one.load(oids[2]), object(b"linked", &[]));
    assert!(one.commit(&[(oids[3], b"of a session", &[])]));
    two.sync();
    assert_eq!(two.load(oids[3]), object(b"of a session", &[]));
    drop(one);
    gone(oids[3]);
    assert_eq!(two.load(oids[3]), Loaded::Invalid);
    assert_eq!(server.stop_and_check()["objects"], 2);
}

/// OIDs belong to whom they were handed out, and are never handed out again.
#[test]
fn an_oid_of_another_client_is_not_taken() {
    let mut server = Server::new(&[]);
    let (mut one, mut two) = (server.client(), server.client());
    let mine = one.new_oids(3);
    assert!(one.commit(&[(0, b"", &[])]));
    two.begin();
    two.send(&transaction(&[(mine[2], b"stolen", &[])]));
    assert!(two.is_closed());
    server.wait_for_log("which was handed out to another client");
    assert!(one.commit(&[(0, b"", &[mine[2]]), (mine[2], b"", &[])]));
    let last = one.new_oid();
    drop(one);
    server.stop();
    server.restart();
    let mut three = server.client();
    assert!(three.new_oid() > last);
    // Nobody has it any more, and it never existed.
    assert!(!three.commit(&[(last, b"", &[])]));
    server.stop_and_check();
}

/// While there is no root each client gets its OID, since the first may never create it; one of them wins.
#[test]
fn the_root_is_created_by_whoever_commits_it_first() {
    let server = Server::new(&[]);
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!((one.new_oid(), two.new_oid()), (0, 0));
    assert!(two.commit(&[(0, b"second", &[])]));
    assert_eq!(one.begin(), [0], "by which it knows that it must not");
    one.send(&0u32.to_be_bytes());
    assert_eq!(one.load(0), object(b"second", &[]));
    assert!(one.new_oid() > 0);
}

/// Between the answer to `C` and the transaction nobody else commits; for a limited time.
#[test]
fn who_is_slow_between_asking_and_committing_is_refused_if_others_have_committed() {
    let server = Server::new(&[]);
    let (mut slow, mut quick) = (server.client(), server.client());
    slow.new_oids(2);
    assert!(slow.commit(&[(0, b"", &[1]), (1, b"", &[])]));
    quick.sync();
    // Nobody has committed meanwhile.
    assert_eq!(slow.begin(), NOTHING);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(slow.end(&[(1, b"late, and alone", &[])]));
    assert_eq!(slow.begin(), NOTHING);
    assert!(
        quick.commit(&[(0, b"quick", &[1])]),
        "it does not wait for ever"
    );
    assert!(!slow.end(&[(0, b"slow", &[1])]));
    assert_eq!(slow.begin(), [0]);
    assert!(slow.end(&[(0, b"slow", &[1])]));
    server.stop_and_check();
}

#[test]
fn another_version_and_an_unknown_command_end_the_connection() {
    let server = Server::new(&[]);
    let mut client = server.client();
    client.send(b"V\0\0\0\x01");
    assert_eq!(client.u32(), 1);
    client.send(b"V\0\0\0\0");
    assert_eq!(client.u32(), 1);
    assert!(client.is_closed());
    // From a later version on Durum's own protocol is spoken, in frames.
    let mut client = server.client();
    client.send(b"V\0\0\0\x63");
    assert_eq!(client.u32(), 2);
    client.send(b"\0\0\0\x01N");
    assert!(client.is_closed());
    server.wait_for_log("it sends what is no request");
    for command in [b".", b"?", b"Q"] {
        let mut client = server.client();
        client.send(command);
        assert!(client.is_closed());
    }
    server.wait_for_log("0x3f is no command");
    server.wait_for_log("it may not shut the server down");
    assert_eq!(server.client().load(0), Loaded::Missing);
}

/// Requests that come before answers are read are answered in order.
#[test]
fn requests_may_come_at_once() {
    let server = Server::new(&[]);
    let mut client = server.client();
    client.send(b"NNL\0\0\0\0\0\0\0\x05S");
    assert_eq!(client.receive(), 0u64.to_be_bytes());
    assert_eq!(client.receive(), 1u64.to_be_bytes());
    assert_eq!(client.receive(), [b'K', 0, 0, 0, 0]);
}
