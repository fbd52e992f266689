//! Directories that cannot be written to. The superuser can write anywhere: for him the program runs
//! as a user who owns nothing.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::kit::{Home, Run, engines, run, store, try_spawn};

/// Who owns nothing.
const NOBODY: u32 = 65534;

fn is_superuser() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Takes the right to write away from everything below `path`, or gives it back to its owner.
fn set_writable(path: &Path, writable: bool) {
    let directory = path.is_dir();
    let mode = if directory { 0o555 } else { 0o444 } | if writable { 0o200 } else { 0 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if directory {
        for entry in fs::read_dir(path).unwrap() {
            set_writable(&entry.unwrap().path(), writable);
        }
    }
}

/// Runs the program without the right to write, or not at all where that cannot be arranged.
fn run_without_rights(home: &Home, arguments: &[&str]) -> Option<Run> {
    let mut command = home.command(arguments);
    if is_superuser() {
        command.uid(NOBODY).gid(NOBODY);
        let mut trial = home.command(&["--version"]);
        match try_spawn(trial.uid(NOBODY).gid(NOBODY)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            started => drop(started.unwrap().wait_with_output()),
        }
    }
    Some(run(&mut command))
}

#[test]
fn without_the_right_to_write() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let new = format!("{}:new", engine.name);
        let before = home.json(&["digest", &url]);
        set_writable(&home.path("."), false);
        for (arguments, code) in [
            (&["init", &new][..], 4),
            (&["migrate", "durus:nothing", &new], 3),
            (&["stat", &url], 3),
            (&["get", &url, "0"], 3),
            (&["digest", &url], 3),
            (&["check", &url], 3),
            (&["migrate", &url, "lmdb:elsewhere"], 3),
            (&["gc", &url], 4),
            (&["tour"], 4),
        ] {
            let Some(run) = run_without_rights(&home, arguments) else {
                set_writable(&home.path("."), true);
                let reason = "the program lies where only the superuser can reach it";
                return durum_testkit::left_out("a user without rights", reason);
            };
            assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
            assert!(
                run.stderr.starts_with("durum: "),
                "{arguments:?}: {}",
                run.stderr
            );
        }
        set_writable(&home.path("."), true);
        assert_eq!(
            fs::read_dir(home.path(".")).unwrap().count(),
            1,
            "nothing was created"
        );
        assert_eq!(home.json(&["digest", &url]), before);
    }
}
