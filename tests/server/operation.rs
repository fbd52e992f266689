//! Starting, stopping, and what stands in the way.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Loaded, object, transaction};
use crate::kit::{Server, durum, shim, wait_until};

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

/// Commits that have begun when the signal comes are finished, on a disk that takes its time: one that is
/// being written, and one of which half has arrived. Nobody else gets in.
#[test]
fn commits_that_have_begun_are_finished() {
    let mut server =
        Server::start_with(tempfile::tempdir().unwrap(), "file", &["--verbose"], |_| {
            vec![
                ("LD_PRELOAD", shim().into()),
                ("DURUM_SYNC_DELAY_US", "100000".into()),
            ]
        });
    let mut root = server.client();
    root.new_oids(3);
    assert!(root.commit(&[(0, b"root", &[1, 2]), (1, b"", &[]), (2, b"", &[])]));
    let (mut whole, mut half) = (server.client(), server.client());
    whole.begin();
    whole.send(&transaction(&[(1, b"whole", &[])]));
    half.begin();
    let sent = transaction(&[(2, b"half", &[])]);
    half.send(&sent[..9]);
    server.signal(Signal::TERM);
    // Who does nothing is sent away.
    assert!(root.is_closed());
    half.send(&sent[9..]);
    assert_eq!(whole.receive(), *b"O");
    assert_eq!(half.receive(), *b"O");
    assert!(whole.is_closed() && half.is_closed());
    assert_eq!(server.wait(), Some(0));
    assert!(std::net::TcpStream::connect(&server.address).is_err());
    server.restart();
    let mut client = server.client();
    assert_eq!(client.load(1), object(b"whole", &[]));
    assert_eq!(client.load(2), object(b"half", &[]));
    server.stop_and_check();
}

/// Every line about a connection has its address, and reasons are fields.
#[test]
fn logs_have_the_address_of_the_client() {
    let server = Server::new(&["--verbose", "--log-format", "json"]);
    let mut bad = server.client();
    let address = bad.address();
    bad.send(b"?");
    assert!(bad.is_closed());
    server.wait_for_log("cut off");
    let log = server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (message, level) in [("connected", "DEBUG"), ("cut off", "INFO")] {
        let line = lines.iter().find(|line| line["message"] == message);
        let line = line.unwrap_or_else(|| panic!("{message} in {log}"));
        assert_eq!(line["client"], address, "{line}");
        assert_eq!(line["level"], level, "{line}");
    }
    let reason = |line: &Value| line["reason"] == "0x3f is no command";
    assert!(lines.iter().any(reason), "{log}");
    let server = Server::new(&["--listen", "unix:socket"]);
    let mut bad = UnixStream::connect(server.home.path().join("socket")).unwrap();
    bad.write_all(b"?").unwrap();
    server.wait_for_log(&format!("client=process:{}", std::process::id()));
    server.wait_for_log("reason=\"0x3f is no command\"");
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
