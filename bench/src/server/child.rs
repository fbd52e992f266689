//! Servers, each a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::DOING;
use super::client::failed;
use crate::migrate::child::processor_time;

/// By then a server listens.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Durum's on a new store of the engine, in `dir`.
    pub(crate) fn durum(program: &Path, engine: &str, dir: &Path) -> Result<Served> {
        let url = format!("{engine}:{engine}");
        let listen = ["--listen", "127.0.0.1:0"];
        let mut command = Command::new(program);
        command.args(["serve", &url]).args(listen);
        Served::saying_where(command, dir)
    }

    /// One that answers so many bytes to each nine that it receives.
    pub(super) fn echo(program: &Path, answer_bytes: usize, dir: &Path) -> Result<Served> {
        let mut command = Command::new(program);
        command.args(["bench", "echo", &answer_bytes.to_string()]);
        Served::saying_where(command, dir)
    }

    /// Durus's on a new file, in `dir`.
    pub(crate) fn durus(python: &Path, dir: &Path) -> Result<Served> {
        let free = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = free.local_addr().map_err(failed)?;
        drop(free);
        // It is started elsewhere; a mere name is looked for as a shell does.
        let python = match python.components().count() {
            1 => python.to_path_buf(),
            _ => std::path::absolute(python).map_err(failed)?,
        };
        let child = Command::new(&python)
            .args(["-m", "durus", "-s", "--file=durus", "--host=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error).with_path(&python))?;
        let mut served = Served { child, address };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = served.child.try_wait().map_err(failed)?;
            if ended.is_some() || begin.elapsed() > START_TIME_MAX {
                return Err(Error::new(ErrorKind::Other, DOING)
                    .because(format!("`{}` starts no Durus server", python.display()))
                    .hint("Name a Python in which `import durus` works."));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    /// One that prints a JSON object with its address when it listens.
    fn saying_where(mut command: Command, dir: &Path) -> Result<Served> {
        let mut child = command
            .args(["--json", "--quiet"])
            .current_dir(dir)
            .env_remove("DURUM_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(said) = &mut child.stdout {
            BufReader::new(said).read_line(&mut line).map_err(failed)?;
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said.pointer("/listen/0").and_then(Value::as_str);
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Served { child, address }),
            None => {
                let ended = child.wait().map_err(failed)?;
                Err(Error::new(ErrorKind::Other, DOING)
                    .because(format!("a server does not start: {ended}")))
            }
        }
    }

    /// Processor time that it has taken so far, all threads together.
    pub(super) fn processor(&self) -> Option<Duration> {
        processor_time(self.child.id())
    }

    /// Waits until it has nothing to do any more, such as to accept connections or to end them.
    pub(super) fn settle(&self) {
        const LOOK: Duration = Duration::from_millis(100);
        // What its timers take.
        const IDLE: Duration = Duration::from_millis(1);
        let begin = Instant::now();
        let mut before = self.processor();
        while begin.elapsed() < START_TIME_MAX {
            std::thread::sleep(LOOK);
            let after = self.processor();
            let taken = after.zip(before).map(|(after, before)| after - before);
            if taken.is_none_or(|taken| taken <= IDLE) {
                return;
            }
            before = after;
        }
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It keeps nothing that anybody wants.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
