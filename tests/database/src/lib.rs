//! Real PostgreSQL servers on loopback, for tests.
//!
//! PostgreSQL is found by `DURUM_POSTGRES` (the directory with `initdb` and `postgres`), on the path, or where
//! Debian's packages put it. Where it is absent, tests are left out with a line that says so, unless
//! `DURUM_REQUIRE` contains `postgres`.
//!
//! [`PatroniCluster`] is three of them that Patroni runs, with etcd; these are found on the path, and asked for as
//! `patroni`.
//!
//! PostgreSQL does not run as root: there its processes are those of the user `postgres`, or else `nobody`.

#![forbid(unsafe_code)]
// A test that cannot go on says why.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod home;
mod patroni;
mod processes;
mod system;

pub use home::{SchemaHome, home};
pub use patroni::PatroniCluster;
pub use system::free_port;

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use durum_testkit::left_out;

use crate::processes::kill_postgres;
use crate::system::{as_another_user, directory, good, programs};

/// Whatever a server is waited for, it does not take longer.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// Ends the server when the test that started it has ended, however that was: then nobody holds the other end
/// of its input any more. Its arguments are the command, and `$0` is the server's directory.
const GUARD: &str = "exec 3<&0; \"$@\" </dev/null & server=$!; echo $server > \"$0/guarded\"; \
    cat <&3 >/dev/null; kill -QUIT $server 2>/dev/null; wait $server; rm -rf \"$0\"";

/// A PostgreSQL server with a directory of its own.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    guard: Option<Child>,
}

impl Server {
    /// Starts a server with an empty database `test`, or `None` where there is no PostgreSQL: the reason is then
    /// on standard error.
    ///
    /// # Panics
    /// When there is none and `DURUM_REQUIRE` contains `postgres`, and when it does not start.
    pub fn start() -> Option<Server> {
        let programs = match programs() {
            Ok(programs) => programs,
            Err(reason) => {
                left_out("postgres", &reason);
                return None;
            }
        };
        let mut server = Server {
            programs,
            directory: directory(),
            port: free_port(),
            guard: None,
        };
        server.initialize();
        server.run();
        server.sql("postgres", "CREATE DATABASE test");
        Some(server)
    }

    /// The server that all tests of a program share.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn shared() -> Option<&'static Server> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(Server::start).as_ref()
    }

    fn command(&self, program: &str) -> Command {
        as_another_user(Command::new(self.programs.join(program)))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn initialize(&self) {
        let mut command = self.command("initdb");
        let data = self.data();
        let arguments = [
            "--username=durum",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "-D",
        ];
        good(command.args(arguments).arg(&data));
        // What servers share that are killed is to go with the directory.
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
             dynamic_shared_memory_type = mmap\nshared_buffers = 32MB\nmax_connections = 200\n\
             log_line_prefix = '%m [%p] '\n",
            self.port
        );
        let path = data.join("postgresql.auto.conf");
        std::fs::write(path, settings).expect("the settings are written");
    }

    /// Starts the server's processes, and waits until it answers.
    pub fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .expect("the log");
        let mut guard = as_another_user(Command::new("sh"));
        guard.args(["-c", GUARD]).arg(&self.directory);
        guard
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.data());
        guard
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        self.guard = Some(guard.spawn().expect("the server is started"));
        let began = Instant::now();
        while !self.answers() {
            assert!(
                began.elapsed() < TIME_MAX,
                "the server does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && self.try_sql("postgres", "SELECT 1").status.success()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database, as it stands in URLs behind `postgres:`.
    pub fn address(&self, database: &str) -> String {
        format!("//durum@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL by `psql`; its output, without headings.
    ///
    /// # Panics
    /// Where it fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The number that SQL comes to, by `psql`; none where it fails, or comes to something else.
    ///
    /// # Panics
    /// Where there is no `psql`.
    pub fn number(&self, database: &str, sql: &str) -> Option<i64> {
        let output = self.try_sql(database, sql);
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().ok().filter(|_| output.status.success())
    }

    /// Ends the sessions that have a lock in `database`, as an administrator does, or a network that lets go of them;
    /// how many there were.
    ///
    /// # Panics
    /// As [`Server::sql`].
    pub fn end_writers(&self, database: &str) -> usize {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
        self.sql(database, sql).parse().expect("a number")
    }

    /// Begins to run SQL as [`Server::sql`] does, such as what keeps others waiting.
    pub fn begin_sql(&self, database: &str, sql: &str) -> Child {
        let mut command = self.psql(database, sql);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("psql runs")
    }

    fn try_sql(&self, database: &str, sql: &str) -> Output {
        self.psql(database, sql).output().expect("psql runs")
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "durum",
        ]);
        command.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        command
    }

    /// Kills all of its processes at once, as a crash does.
    pub fn kill(&mut self) {
        assert!(kill_postgres(&self.data()), "the server runs");
        // The guard removes the directory only when its input ends.
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        } else {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
