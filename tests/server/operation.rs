//! Starting, stopping, and what stands in the way.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::client::{Loaded, object};
use crate::kit::{Server, durum, wait_until};

#[test]
fn a_signal_ends_it_and_nothing_is_lost() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::new(&[]);
        let mut client = server.client();
        client.new_oid();
        assert!(client.commit(&[(0, b"root", &[])]));
        server.signal(signal);
        assert!(client.is_closed());
        assert_eq!(server.wait(), Some(0));
        server.restart();
        assert_eq!(server.client().load(0), object(b"root", &[]));
    }
}

#[test]
fn a_killed_server_has_kept_what_it_acknowledged() {
    let mut server = Server::new(&[]);
    let mut client = server.client();
    client.new_oid();
    for round in 0..20u8 {
        assert!(client.commit(&[(0, &[round], &[])]));
        if round % 5 == 4 {
            server.signal(Signal::KILL);
            assert_eq!(server.wait(), None);
            server.restart();
            client = server.client();
            assert_eq!(client.load(0), object(&[round], &[]));
        }
    }
    server.stop_and_check();
}

#[test]
fn a_client_may_quit_it_only_where_that_is_allowed() {
    let mut server = Server::new(&["--allow-quit"]);
    server.client().send(b"Q");
    assert_eq!(server.wait(), Some(0));
    // The address can be used again at once.
    server.restart();
    assert_eq!(server.client().load(0), Loaded::Missing);
}

#[test]
fn a_read_only_server_refuses_to_write() {
    let mut server = Server::new(&[]);
    let mut client = server.client();
    client.new_oid();
    assert!(client.commit(&[(0, b"root", &[])]));
    server.stop();
    let home = server.home.path();
    let output = durum(home, &["serve", "file:absent", "--read-only"])
        .stderr(Stdio::piped())
        .output();
    assert_eq!(output.unwrap().status.code(), Some(3));
    let url = server.url.clone();
    let mut arguments = vec!["serve", &url, "--json", "--read-only"];
    arguments.extend(["--listen", "unix:socket"]);
    let mut child = durum(home, &arguments)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the socket", || home.join("socket").exists());
    let mut stream = UnixStream::connect(home.join("socket")).unwrap();
    stream.write_all(b"N").unwrap();
    let closed = std::io::Read::read(&mut stream, &mut [0]).unwrap();
    assert_eq!(closed, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    // What a killed server leaves is no obstacle.
    server.address = "unix:socket".to_owned();
    server.restart();
    server.stop();
    assert!(!server.home.path().join("socket").exists());
}

#[test]
fn an_address_or_a_store_in_use_is_said_to_be() {
    let server = Server::new(&[]);
    for (arguments, part) in [
        (
            ["serve", "file:other", "--listen", &server.address],
            "listens there",
        ),
        (
            ["serve", &server.url, "--listen", "127.0.0.1:0"],
            "has it open",
        ),
    ] {
        let mut command = durum(server.home.path(), &arguments);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let mut command = durum(server.home.path(), &["serve", "--listen", "nowhere"]);
    assert_eq!(
        command
            .stderr(Stdio::null())
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}
