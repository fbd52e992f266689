//! What the program says to mistakes, and the codes it exits with.

use std::path::Path;
use std::process::Command;

use crate::kit::{durum, good};

/// Runs it: the code, and what it says.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

fn node(what: &str, dir: &Path) -> Command {
    let mut command = durum();
    command.args(["node", what]).arg(dir);
    command
}

fn init(dir: &Path) -> Command {
    let mut command = node("init", dir);
    command.args(["--host", "localhost", "--listen", "127.0.0.1"]);
    command
}

#[track_caller]
fn fails(command: &mut Command, code: i32, part: &str) {
    let (found, said) = run(command);
    assert!(found == code && said.contains(part), "{found}: {said}");
}

#[test]
fn mistakes_are_explained() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fails(&mut node("run", &path("none")), 3, "durum node init");
    fails(&mut node("list", &path("none")), 3, "There is no node here");
    fails(&mut node("init", &path("a")), 2, "--host");
    for (option, value, part) in [
        ("--host", "a b", "`host` is empty or has spaces"),
        (
            "--host",
            "0.0.0.0",
            "cannot be the number for all addresses",
        ),
        ("--host", "a_b/c", "neither the name of a host"),
        ("--copies", "3,3", "lists a number twice"),
        ("--copies", "0", "numbers from 1 to 7"),
        ("--port", "65535", "no port 65535 + 3"),
        ("--capacity", "many", "many"),
    ] {
        let mut command = node("init", &path(value));
        if option != "--host" {
            command.args(["--host", "localhost"]);
        }
        fails(command.args([option, value]), 2, part);
    }
    let deep = path(&"d".repeat(100));
    fails(&mut init(&deep), 2, "shorter path");
    assert!(!deep.exists(), "nothing is left of what cannot be");

    good(&init(&path("a")).output().unwrap());
    fails(
        &mut init(&path("a")),
        4,
        "there is something in this directory",
    );
    // It does not run.
    for what in ["list", "status"] {
        fails(&mut node(what, &path("a")), 3, "durum node run");
    }
    fails(node("remove", &path("a")).arg("x"), 3, "durum node run");
    fails(
        node("invite", &path("a")).args(["--client", "x"]),
        2,
        "--output",
    );
    let client = path("client");
    let mut invite = node("invite", &path("a"));
    invite.args(["--client", "a/b", "--output"]).arg(&client);
    fails(&mut invite, 2, "is not a name for a client");
    let mut invite = node("invite", &path("a"));
    invite.args(["--client", "x", "--output"]).arg(&client);
    good(&invite.output().unwrap());
    fails(&mut invite, 4, "there is something");
}

#[test]
fn invitations_are_checked() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    good(&init(&path("a")).output().unwrap());
    let output = node("invite", &path("a")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let join = |text: &str, dir: &str| {
        std::fs::write(path("invitation"), text).unwrap();
        let mut command = node("join", &path(dir));
        command
            .arg(path("invitation"))
            .args(["--host", "localhost"]);
        command
    };
    fails(&mut join("hello", "b"), 2, "this is no invitation");
    fails(&mut join(&text[..text.len() / 2], "b"), 2, "cut off");
    let damaged = text.replacen("ey", "EY", 1);
    fails(&mut join(&damaged, "b"), 2, "damaged");
    let newer = text.replace("invitation 1", "invitation 9");
    fails(&mut join(&newer, "b"), 2, "another version");
    assert!(!path("b").exists());
    good(&join(&text, "b").output().unwrap());
    let mut absent = node("join", &path("c"));
    fails(
        absent.arg(path("none")).args(["--host", "localhost"]),
        3,
        "none",
    );
    // Secrets are nobody else's business.
    use std::os::unix::fs::PermissionsExt as _;
    for name in [
        "secrets.toml",
        "server.key",
        "ca/ca.key",
        "key/node_key",
        "node.toml",
    ] {
        for node in ["a", "b"] {
            let mode = path(node)
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{node}/{name}: {mode:o}");
        }
    }
}

#[test]
fn garage_is_looked_for() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a");
    good(&init(&dir).output().unwrap());
    let mut command = node("run", &dir);
    command.env("PATH", home.path());
    fails(
        &mut command,
        2,
        "cargo install garage --version 2.5.0 --locked",
    );
    // One of another version.
    let other = home.path().join("garage");
    std::fs::write(&other, "#!/bin/sh\necho garage v1.9.0 [features: k2v]\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    fails(&mut command, 2, "it has version 1.9.0, and 2.5.0 is needed");
}
