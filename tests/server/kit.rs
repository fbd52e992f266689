//! Starting servers, and looking at what they leave.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use durum_testkit::{LONG, wait_until};

use crate::client::Client;

/// A directory with a store, and the server that has it open.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) home: TempDir,
    child: Option<Child>,
    pub(crate) url: String,
    pub(crate) address: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    /// What it has said when it was ready.
    pub(crate) said: Value,
}

/// The engines whose stores outlive a process, in directories.
pub(crate) fn engines() -> Vec<String> {
    let registry = durum::registry().in_directories();
    let backends = registry.iter().map(|backend| backend.capabilities());
    let persistent = backends.filter(|it| it.persistent);
    persistent.map(|it| it.name.to_owned()).collect()
}

/// The program, away from the user's configuration.
pub(crate) fn durum(home: &Path, arguments: &[&str]) -> Command {
    durum_testkit::durum(env!("CARGO_BIN_EXE_durum"), home, arguments)
}

impl Server {
    /// A server on a new store of the engine, on a port that the system chooses.
    pub(crate) fn start(engine: &str, arguments: &[&str]) -> Server {
        Server::start_in(tempfile::tempdir().unwrap(), engine, arguments)
    }

    /// The same in a directory that has a configuration already.
    pub(crate) fn start_in(home: TempDir, engine: &str, arguments: &[&str]) -> Server {
        Server::start_with(home, engine, arguments, |_| Vec::new())
    }

    /// The same, with environment variables that may depend on its directory.
    pub(crate) fn start_with(
        home: TempDir,
        engine: &str,
        arguments: &[&str],
        environment: impl FnOnce(&Path) -> Vec<(&'static str, OsString)>,
    ) -> Server {
        let mut server = Server {
            url: format!("{engine}:data"),
            address: "127.0.0.1:0".to_owned(),
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            environment: environment(home.path()),
            said: Value::Null,
            home,
            child: None,
        };
        server.restart();
        server
    }

    /// A server on the fastest engine that keeps data.
    pub(crate) fn new(arguments: &[&str]) -> Server {
        Server::start("file", arguments)
    }

    /// Starts it anew, at the same address.
    pub(crate) fn restart(&mut self) {
        let mut arguments = vec!["serve", &self.url, "--json", "--listen", &self.address];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = durum(self.home.path(), &arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stderr(log).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let Ok(started) = serde_json::from_str::<Value>(&line) else {
            panic!("the server does not start: {line} {}", self.log());
        };
        assert!(started["url"].is_string(), "{started}");
        self.address = started["listen"][0].as_str().unwrap().to_owned();
        self.said = started;
        self.child = Some(child);
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until the log says something.
    pub(crate) fn wait_for_log(&self, part: &str) {
        wait_until(&format!("`{part}` in the log"), || {
            self.log().contains(part)
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
    }

    /// Bytes of memory that the server has.
    pub(crate) fn memory(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The exit code, once it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if begin.elapsed() > LONG {
                child.kill().unwrap();
                panic!("the server does not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), Some(0), "{}", self.log());
    }

    /// Stops the server and has the store checked; what `durum check` says.
    pub(crate) fn stop_and_check(mut self) -> Value {
        self.stop();
        self.check()
    }

    /// Has the store checked, which no server has open.
    pub(crate) fn check(&self) -> Value {
        let checked = self.run(&["check", &self.url]);
        assert_eq!(checked["errors"], serde_json::json!([]), "{checked}");
        checked
    }

    /// Runs a command that fails; its code, and what it says.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = durum(self.home.path(), arguments);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        (output.status.code().unwrap_or(-1), stderr)
    }

    /// Has it serve a new store.
    pub(crate) fn empty(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.home.path().join("data")).unwrap();
        self.restart();
    }

    /// Runs a command that succeeds, with `--json`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let mut command = durum(self.home.path(), &[arguments, &["--json"]].concat());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{arguments:?}: {stderr}{stdout:.2000}"
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let mut rest = String::new();
                let stdout = child
                    .stdout
                    .as_mut()
                    .map(|out| out.read_to_string(&mut rest));
                println!("the server's log: {}{rest}{stdout:?}", self.log());
            }
        }
    }
}

/// The library that stands between a program and its disk.
pub(crate) fn shim() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_durum")).parent().unwrap();
    let shim = beside.join("deps/libdurum_crash_shim.so");
    assert!(shim.exists(), "cargo has not built {}", shim.display());
    shim
}
