//! Two servers of one store as processes: one serves, the other stands by.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use durum_database::Server as Database;
use durum_testkit::{LONG, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The exit code of a server whose store another has taken over.
pub(crate) const REPLACED: i32 = 5;

/// Two servers of one store.
#[derive(Debug)]
pub(crate) struct Servers {
    url: String,
    servers: [Process; 2],
    /// Removed last: there are their logs.
    home: TempDir,
}

/// A server, which runs or does not.
#[derive(Debug)]
pub(crate) struct Process {
    port: u16,
    /// Where it serves reads, whether it has the store or not.
    read_port: u16,
    log: PathBuf,
    /// What it says when it serves.
    said: PathBuf,
    child: Option<Child>,
}

impl Process {
    fn new(home: &Path, number: usize) -> Process {
        Process {
            port: durum_database::free_port(),
            read_port: durum_database::free_port(),
            log: home.join(format!("server{number}.log")),
            said: home.join(format!("server{number}.json")),
            child: None,
        }
    }

    fn start(&mut self, home: &Path, url: &str, standby: bool) {
        let address = format!("127.0.0.1:{}", self.port);
        let reads = format!("127.0.0.1:{}", self.read_port);
        let mut arguments = vec!["serve", url, "--json", "--listen", &address];
        arguments.extend(["--read-listen", &reads]);
        arguments.extend(standby.then_some("--standby"));
        let mut log = File::options();
        let log = log.create(true).append(true).open(&self.log).unwrap();
        let mut command = durum_testkit::durum(env!("CARGO_BIN_EXE_durum"), home, &arguments);
        command
            .stdout(File::create(&self.said).unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has got the store.
    fn serves(&self) -> bool {
        self.child.is_some() && std::fs::metadata(&self.said).unwrap().len() > 0
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
    }

    /// Stops it: none of its threads does anything any more.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.as_ref().unwrap().id());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            // Behind the name, which is in parentheses.
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        wait_until("all threads stop", || {
            std::fs::read_dir(&tasks).unwrap().all(is_stopped)
        });
    }

    /// Kills it; it is gone then.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait(), None);
    }

    /// The exit code, once it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < LONG, "it does not end: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        self.child.take().unwrap().wait().unwrap().code()
    }

    fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_none_or(|child| child.try_wait().unwrap().is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("{}: {}", self.log.display(), self.log());
        }
    }
}

impl Servers {
    /// Those of a store in a server of its own.
    pub(crate) fn on(database: &Database) -> Servers {
        Servers::start(&database.address("test"))
    }

    /// Makes a store in the database at `address`, and has both begin, of which the first serves.
    pub(crate) fn start(address: &str) -> Servers {
        let url = &format!("postgres:{address}");
        let home = tempfile::tempdir().unwrap();
        let servers = [0, 1].map(|number| Process::new(home.path(), number));
        let mut servers = Servers {
            home,
            url: url.to_owned(),
            servers,
        };
        servers.run(&["init", url]);
        servers.servers[0].start(servers.home.path(), url, false);
        wait_until("a server", || servers.servers[0].serves());
        servers.stand_by(1);
        wait_until("a standby", || {
            servers.servers[1].log().contains("standing by")
        });
        servers
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn ports(&self) -> [u16; 2] {
        [self.servers[0].port, self.servers[1].port]
    }

    pub(crate) fn read_ports(&self) -> [u16; 2] {
        [self.servers[0].read_port, self.servers[1].read_port]
    }

    /// Which of them serves; the later one while the other has not noticed.
    pub(crate) fn active(&self) -> Option<usize> {
        let serving = (0..2).filter(|index| self.servers[*index].serves());
        serving.max_by_key(|index| {
            let said = std::fs::metadata(&self.servers[*index].said).unwrap();
            said.modified().unwrap()
        })
    }

    pub(crate) fn active_port(&self) -> u16 {
        self.servers[self.active().unwrap()].port
    }

    pub(crate) fn server(&mut self, index: usize) -> &mut Process {
        &mut self.servers[index]
    }

    /// Starts one that has ended, to stand by.
    pub(crate) fn stand_by(&mut self, index: usize) {
        self.servers[index].start(self.home.path(), &self.url, true);
    }

    /// Starts again whichever has ended, as a supervisor does: those whose store the other has taken over, and
    /// others that have not found the database. Their exit codes.
    pub(crate) fn start_those_that_have_ended(&mut self) -> Vec<(usize, Option<i32>)> {
        let mut ended = Vec::new();
        for index in 0..2 {
            if self.servers[index].child.is_some() && self.servers[index].has_ended() {
                ended.push((index, self.servers[index].wait()));
                self.stand_by(index);
            }
        }
        ended
    }

    /// Stops both, and has the store checked.
    pub(crate) fn stop_and_check(mut self) -> Value {
        let active = self.active().unwrap();
        // The standby first, which would take over.
        self.servers[1 - active].signal(Signal::KILL);
        self.servers[1 - active].wait();
        self.servers[active].signal(Signal::TERM);
        let code = self.servers[active].wait();
        assert_eq!(code, Some(0), "{}", self.servers[active].log());
        self.check()
    }

    /// Has the store checked, which no server has open.
    pub(crate) fn check(&self) -> Value {
        let checked = self.run(&["check", &self.url]);
        assert_eq!(checked["errors"], serde_json::json!([]), "{checked}");
        assert_eq!(checked["dangling"], 0, "{checked}");
        checked
    }

    /// Runs a command that succeeds.
    fn run(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let program = env!("CARGO_BIN_EXE_durum");
        let mut command = durum_testkit::durum(program, self.home.path(), &arguments);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
