//! The Garage program: where it is, which version it has, and how it is started so that it does not outlive us.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::Command;

use durum_core::{Error, ErrorKind, Result};
use durum_garage::GARAGE_VERSION;
use rustix::process::{Signal, set_parent_process_death_signal};

const DOING: &str = "start Garage";

/// How Garage is installed.
pub fn install_command() -> String {
    format!(
        "cargo install garage --version {GARAGE_VERSION} --locked --no-default-features \
         --features bundled-libs,lmdb,k2v"
    )
}

/// The program that is configured, or else the one on the path.
///
/// # Errors
/// `Usage` where there is none, or none of the right version; it says how to install it.
pub fn find(configured: Option<&Path>) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = match configured {
        Some(path) => Some(path.to_path_buf()),
        None => std::env::split_paths(&path)
            .map(|dir| dir.join("garage"))
            .find(|path| path.is_file()),
    };
    let install = format!("Install it with `{}`.", install_command());
    let Some(found) = found else {
        return Err(Error::new(ErrorKind::Usage, DOING)
            .because("it is not on the path")
            .hint(install)
            .hint_also("If it is elsewhere, name it as `garage` in node.toml."));
    };
    let wrong = |why: String| {
        let error = Error::new(ErrorKind::Usage, DOING).with_path(&found);
        error.because(why).hint(&install)
    };
    let output = Command::new(&found).arg("--version").output();
    let output = output.map_err(|error| wrong(error.to_string()).caused_by(error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = version(&said).unwrap_or_default();
    if version != GARAGE_VERSION {
        return Err(wrong(match version.is_empty() {
            true => "it does not say its version as Garage does".to_owned(),
            false => format!("it has version {version}, and {GARAGE_VERSION} is needed"),
        }));
    }
    match said.contains("k2v") {
        true => Ok(found),
        false => Err(wrong("it was built without K2V".to_owned())),
    }
}

/// The number in what `garage --version` says, such as `garage v2.5.0 [features: k2v, lmdb, bundled-libs]`.
fn version(said: &str) -> Option<&str> {
    let word = said.split_whitespace().nth(1)?;
    let word = word.strip_prefix('v').unwrap_or(word);
    let from_cargo = word.strip_prefix("cargo:").unwrap_or(word);
    Some(from_cargo)
}

/// How a process is started that ends when the one that has started it does, even by SIGKILL.
///
/// Linux sends a process a signal when its parent ends, if it has asked for it itself, and it keeps that through
/// `exec`. A program that nobody can change needs somebody who asks and then becomes it: this program, by a
/// command of its own. (The other way is code between `fork` and `exec`, which is unsafe.)
#[derive(Clone, Debug)]
pub struct Launcher {
    /// A program, and arguments with which it calls [`become_program`] with those that follow.
    pub command: Vec<OsString>,
}

impl Launcher {
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or("false".as_ref(), OsString::as_os_str));
        command.args(words);
        command.arg(std::process::id().to_string());
        command.arg(program);
        command
    }
}

/// Becomes a program that is killed when its parent, the process with this number, ends. It does not return but
/// for a failure.
pub fn become_program(parent: u32, program: &Path, arguments: &[OsString]) -> Error {
    let failed = |error: std::io::Error| Error::io(error, DOING).with_path(program);
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return failed(error.into());
    }
    if parent_id() != parent {
        // It has ended before we could ask to be told.
        return Error::new(ErrorKind::Interrupted, DOING).because("who has started it is gone");
    }
    failed(Command::new(program).args(arguments).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let said = "garage v2.5.0 [features: k2v, lmdb, bundled-libs]";
        assert_eq!(version(said), Some("2.5.0"));
        assert_eq!(version("garage cargo:2.5.0 [features: k2v]"), Some("2.5.0"));
        assert_eq!(version("garage"), None);
    }

    #[test]
    fn a_program_that_is_not_garage_is_refused() {
        let error = find(Some(Path::new("/bin/true"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains("cargo install garage"),
            "{error}"
        );
        assert!(find(Some(Path::new("/nowhere/garage"))).is_err());
    }
}
