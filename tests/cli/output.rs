//! Readers who stop reading, and disks that are full.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::process::Stdio;

use crate::kit::{Home, engines, run, spawn, store};

#[test]
fn nobody_reads_standard_output() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    for arguments in [
        &["completions", "bash"][..],
        &["engines"],
        &["stat", &url],
        &["stat", &url, "--json"],
        &["get", &url, "1", "--data"],
        &["stat", "lmdb:nowhere", "--json"],
        &["--help"],
        &["tour"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.command(arguments);
        let child = spawn(command.stdout(writer).stderr(Stdio::piped()));
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        let expected = if arguments.contains(&"lmdb:nowhere") {
            3
        } else {
            0
        };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn nobody_reads_standard_error() {
    let home = Home::new();
    for arguments in [
        &["stat", "lmdb:nowhere"][..],
        &["-vvv", "stat", "lmdb:nowhere"],
        &["nonsense"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.command(arguments);
        let status = spawn(command.stderr(writer)).wait().unwrap();
        let expected = if arguments.contains(&"nonsense") {
            2
        } else {
            3
        };
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_is_full() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = run(home.command(&["stat", &url]).stdout(full));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("standard output"), "{}", run.stderr);
}

#[test]
fn a_reader_who_stops_in_the_middle() {
    let home = Home::new();
    let mut command = home.command(&["completions", "bash"]);
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
