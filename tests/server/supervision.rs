//! Started by systemd: sockets that are passed, and what it is told.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Client, Loaded};
use crate::kit::{LONG, durum};

/// A server with descriptors 3 and 4, of which it is told that they are sockets for it; the process number
/// is its own where `pid` is `$$`.
fn start(home: &Path, sockets: [OwnedFd; 2], pid: &str, arguments: &str) -> Child {
    let [first, second] = sockets;
    let program = env!("CARGO_BIN_EXE_durum");
    // The shell becomes the server, so that it has the shell's number.
    let script = format!(
        "exec 3<&0 4<&2 0</dev/null 2>>log
         LISTEN_PID={pid} LISTEN_FDS=2 exec {program} serve file:data --json {arguments}"
    );
    Command::new("sh")
        .args(["-c", &script])
        .current_dir(home)
        .env_remove("DURUM_CONFIG")
        .env_remove("DURUM_LOG")
        .stdin(Stdio::from(first))
        .stderr(Stdio::from(second))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it says when it is ready.
fn said(child: &mut Child) -> Value {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_default()
}

fn end(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn passed_sockets_are_served_in_place_of_others() {
    let home = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let path = home.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let sockets = [tcp.into(), unix.into()];
    // Who connects before it has started is served when it has.
    let early = UnixStream::connect(&path).unwrap();
    let mut child = start(home.path(), sockets, "$$", "--listen 127.0.0.1:1");
    let said = said(&mut child);
    let named = format!("unix:{}", path.display());
    assert_eq!(said["listen"], json!([address, named]));
    let mut client = Client::connect(&address);
    assert_eq!(client.load(0), Loaded::Missing);
    std::io::Write::write_all(&mut &early, b"N").unwrap();
    let mut oid = [0xFF; 8];
    std::io::Read::read_exact(&mut &early, &mut oid).unwrap();
    assert_eq!(oid, [0; 8]);
    end(child);
    // It belongs to systemd, which goes on listening.
    assert!(path.exists());
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    let mut child = start(home.path(), [null(), null()], "1", "--listen 127.0.0.1:0");
    let said = said(&mut child);
    let address = said["listen"][0].as_str().unwrap();
    assert_eq!(Client::connect(address).load(0), Loaded::Missing);
    end(child);
}

#[test]
fn passed_sockets_that_are_none_to_listen_at_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let (connected, _other) = UnixStream::pair().unwrap();
    let datagrams = UnixDatagram::unbound().unwrap();
    let file = File::open("/dev/null").unwrap();
    for bad in [connected.into(), datagrams.into(), OwnedFd::from(file)] {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = start(home.path(), [good.into(), bad], "$$", "");
        assert_eq!(child.wait().unwrap().code(), Some(2));
        let log = std::fs::read_to_string(home.path().join("log")).unwrap();
        assert!(log.contains("number 2 of them"), "{log}");
        assert!(log.contains("Accept=no"), "{log}");
    }
}

/// By a path and by an abstract name.
#[test]
fn systemd_is_told_what_becomes_of_the_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let name = format!("durum-test-{}", std::process::id());
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    for (socket, told) in [
        (
            UnixDatagram::bind(&path).unwrap(),
            path.display().to_string(),
        ),
        (
            UnixDatagram::bind_addr(&by_name).unwrap(),
            format!("@{name}"),
        ),
    ] {
        socket.set_read_timeout(Some(LONG)).unwrap();
        let hear = || {
            let mut message = [0; 100];
            let length = socket.recv(&mut message).unwrap();
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        let arguments = ["serve", "file:data", "--json", "--listen", "127.0.0.1:0"];
        let mut child = durum(home.path(), &arguments)
            .env("NOTIFY_SOCKET", &told)
            .env("WATCHDOG_USEC", "20000")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        assert_eq!(hear(), "READY=1");
        let said = said(&mut child);
        assert!(said["listen"].is_array());
        for _ in 0..3 {
            assert_eq!(hear(), "WATCHDOG=1");
        }
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let last = std::iter::repeat_with(hear).find(|message| message != "WATCHDOG=1");
        assert_eq!(last.as_deref(), Some("STOPPING=1"));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// Nobody to tell, and a watchdog that waits for another process: the server works all the same.
#[test]
fn a_supervisor_that_is_gone_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["serve", "file:data", "--json", "--listen", "127.0.0.1:0"];
    let mut child = durum(home.path(), &arguments)
        .env("NOTIFY_SOCKET", home.path().join("nobody"))
        .env("WATCHDOG_USEC", "1")
        .env("WATCHDOG_PID", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = said(&mut child);
    let address = said["listen"][0].as_str().unwrap();
    assert_eq!(Client::connect(address).load(0), Loaded::Missing);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("cannot be told"), "{log}");
}
