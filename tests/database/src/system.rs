//! What the servers need of the system: programs, directories, a user, ports.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;
use tempfile::TempDir;

/// The directory with PostgreSQL's programs.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let named = std::env::var_os("DURUM_POSTGRES").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    // The newest first.
    debian.sort_by_key(|path| {
        let version = path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|name| name.parse::<u32>().ok()))
    });
    let complete = |directory: &PathBuf| {
        let there = |name: &str| directory.join(name).is_file();
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| there(name))
    };
    let mut places = named
        .into_iter()
        .chain(debian)
        .chain(std::env::split_paths(&path));
    places.find(complete).ok_or_else(|| {
        "PostgreSQL is not there: install Debian's package `postgresql`, or set DURUM_POSTGRES"
            .to_owned()
    })
}

/// A new directory that belongs to the server's user. In memory, where that can be: servers sync all the time,
/// and no test cuts the power.
pub(crate) fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => TempDir::with_prefix_in("durum-postgres-", memory),
        false => TempDir::with_prefix("durum-postgres-"),
    };
    let path = made.expect("a temporary directory").keep();
    give_away(&path);
    path
}

/// Makes the server's user the owner.
pub(crate) fn give_away(path: &Path) {
    if let Some(user) = other_user() {
        let (user, group) = (user.uid.as_raw(), user.gid.as_raw());
        chown(path, Some(user), Some(group)).expect("it is given away");
    }
}

/// Who runs the server, if it cannot be this process's user.
fn other_user() -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let found = |name| User::from_name(name).ok().flatten();
    Some(
        found("postgres")
            .or_else(|| found("nobody"))
            .expect("a user who is not root"),
    )
}

pub(crate) fn as_another_user(mut command: Command) -> Command {
    command.current_dir("/");
    if let Some(user) = other_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

pub(crate) fn good(command: &mut Command) {
    let output = command.output().expect("the program is started");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A port of this machine that nobody has, below those that the system gives away.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
