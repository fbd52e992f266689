//! Starts the child processes, with the shim preloaded and told what to do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::workload::{Job, SOURCE};

/// The programs that a suite starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The `crash_workload` binary.
    pub workload: PathBuf,
    shim: PathBuf,
    /// Where migrations have their source; the same for all runs of a suite.
    source: Arc<TempDir>,
}

/// How a child process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By SIGKILL.
    Killed,
    /// By another signal, or not at all in due time.
    Bad(String),
    /// It was killed because it did not end in time.
    Hung,
}

/// A child process that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to standard error.
    pub said: String,
}

/// What the shim is to do, and where it keeps its journal.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// The value of `DURUM_FAULT`; nothing for no fault.
    pub fault: Option<String>,
    /// The journal, if one is to be kept.
    pub record: Option<PathBuf>,
}

/// After this time a child is taken to hang.
const CHILD_TIME_MAX: Duration = Duration::from_secs(30);

impl Programs {
    /// The programs, given the path of the workload binary, which cargo tells tests.
    ///
    /// # Panics
    /// When the shim is not there: cargo builds it with this package, whose dependency it is.
    pub fn find(workload: &str) -> Programs {
        let workload = PathBuf::from(workload);
        let beside = workload.parent().expect("the binary is in a directory");
        let shim = beside.join("deps/libdurum_crash_shim.so");
        assert!(shim.exists(), "cargo has not built {}", shim.display());
        let source = TempDir::new().expect("a temporary directory");
        Programs {
            workload,
            shim,
            source: Arc::new(source),
        }
    }

    /// Runs the job's commits. Acknowledgements go to the file `acks`.
    pub fn run(&self, job: &Job, acks: &Path, orders: &Orders) -> Outcome {
        let mut command = self.command("run", job, orders);
        command.arg(job.commits.to_string()).arg(acks);
        command.env("DURUM_FAULT_ACK", acks);
        finish(command)
    }

    /// Checks what a run left behind.
    pub fn check(&self, job: &Job, (low, high): (u64, u64), more: u64, orders: &Orders) -> Outcome {
        let mut command = self.command("check", job, orders);
        command.args([low, high, more].map(|number| number.to_string()));
        finish(command)
    }

    /// Runs the program with these arguments, with the changes below `root` watched.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A], root: &Path, orders: &Orders) -> Outcome {
        let mut command = self.watched(root, orders);
        command.args(arguments);
        finish(command)
    }

    fn command(&self, what: &str, job: &Job, orders: &Orders) -> Command {
        let mut command = self.watched(&job.root, orders);
        command
            .arg(what)
            .arg(&job.root)
            .arg(&job.subject)
            .arg(job.seed.to_string());
        command
    }

    fn watched(&self, root: &Path, orders: &Orders) -> Command {
        let mut command = Command::new(&self.workload);
        command
            .env("LD_PRELOAD", &self.shim)
            .env(SOURCE, self.source.path())
            .env("DURUM_FAULT_ROOT", root);
        for (name, value) in [
            ("DURUM_FAULT", orders.fault.as_ref().map(Into::into)),
            (
                "DURUM_FAULT_RECORD",
                orders.record.clone().map(PathBuf::into_os_string),
            ),
        ] {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

/// Runs a command to its end.
fn finish(mut command: Command) -> Outcome {
    let mut said = tempfile::tempfile().expect("a temporary file");
    let errors: File = said.try_clone().expect("a descriptor");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    let mut child = command.spawn().expect("the workload starts");
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break Some(status),
            None if begin.elapsed() > CHILD_TIME_MAX => {
                child.kill().expect("a child can be killed");
                child.wait().expect("a child can be waited for");
                break None;
            }
            None => std::thread::sleep(Duration::from_micros(500)),
        }
    };
    use std::io::Seek;
    said.rewind().expect("a file can be read from its start");
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes).expect("a file can be read");
    let end = match status {
        None => End::Hung,
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Exit(code),
            (None, Some(9)) => End::Killed,
            (None, signal) => End::Bad(format!("it died of signal {signal:?}")),
        },
    };
    Outcome {
        end,
        said: String::from_utf8_lossy(&bytes).into_owned(),
    }
}
