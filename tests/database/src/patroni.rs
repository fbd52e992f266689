//! Three PostgreSQL servers that Patroni runs: one is the primary, and where it is lost, another is promoted.
//!
//! A node is a process of etcd, one of Patroni, and PostgreSQL, which Patroni starts. All of them are killed at once
//! as a machine is lost. Standbys are synchronous, so that who is promoted has all that was acknowledged.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use durum_testkit::left_out;
use nix::unistd::Pid;

use crate::processes::{kill_all, kill_postgres};
use crate::system::{as_another_user, directory, free_port, give_away, programs};

/// How long a node may take to come, copies of the database included.
const NODE_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a node may take to say how it is.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

const NODES: usize = 3;

/// Ends all nodes when the test that started them has ended, however that was: then nobody holds the other end of its
/// input any more. `$0` is the directory; a file with a number that is another process's by now is left alone.
/// Patroni goes first: it would start PostgreSQL again.
const GUARD: &str = "cat >/dev/null; \
    for file in \"$0\"/*/patroni.pid \"$0\"/*/etcd.pid \"$0\"/*/data/postmaster.pid; do \
    test -f \"$file\" || continue; process=$(head -n 1 \"$file\"); \
    grep -qsF \"$0\" \"/proc/$process/cmdline\" && kill -KILL \"$process\"; done; sleep 1; rm -rf \"$0\"";

/// Three nodes with a directory of their own.
#[derive(Debug)]
pub struct PatroniCluster {
    /// Where PostgreSQL's programs are.
    programs: PathBuf,
    etcd: PathBuf,
    patroni: PathBuf,
    directory: PathBuf,
    nodes: Vec<Node>,
    guard: Child,
}

#[derive(Debug)]
struct Node {
    name: String,
    directory: PathBuf,
    ports: Ports,
    /// etcd and Patroni, while they run.
    running: Vec<Child>,
}

/// Where the parts of a node listen.
#[derive(Clone, Copy, Debug)]
struct Ports {
    postgres: u16,
    patroni: u16,
    etcd: u16,
    /// For the other nodes' etcd.
    peers: u16,
}

impl PatroniCluster {
    /// Starts the nodes, and waits until there are a primary and two standbys; `None` where programs are missing:
    /// which these are is then on standard error.
    ///
    /// # Panics
    /// When they are missing and `DURUM_REQUIRE` contains `patroni`, and when the cluster does not come about.
    pub fn start() -> Option<PatroniCluster> {
        let found =
            programs().and_then(|postgres| Ok((postgres, on_path("etcd")?, on_path("patroni")?)));
        let (programs, etcd, patroni) = match found {
            Ok(found) => found,
            Err(reason) => {
                left_out("patroni", &reason);
                return None;
            }
        };
        let directory = directory();
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .arg(&directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .expect("the shell is started");
        let mut cluster = PatroniCluster {
            nodes: nodes(&directory),
            programs,
            etcd,
            patroni,
            directory,
            guard,
        };
        for node in 0..NODES {
            cluster.run(node);
        }
        cluster.wait_until_complete();
        Some(cluster)
    }

    /// The address of the database `postgres` on whichever node can be written to, as it stands in URLs behind
    /// `postgres:`.
    pub fn address(&self) -> String {
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.ports.postgres));
        format!("//durum@{}/postgres", hosts.collect::<Vec<_>>().join(","))
    }

    /// The node that says that it is the primary.
    pub fn primary(&self) -> Option<usize> {
        (0..NODES).find(|node| self.says(*node, "primary"))
    }

    /// Waits until there are a primary and two standbys, of which one is synchronous.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_until_complete(&self) {
        let count = |what| (0..NODES).filter(|node| self.says(*node, what)).count();
        let began = Instant::now();
        // A replica that has just been started may still be behind; the synchronous one is not.
        while (count("primary"), count("replica"), count("sync")) != (1, NODES - 1, 1) {
            assert!(
                began.elapsed() < NODE_TIME_MAX,
                "the nodes do not come: {}",
                self.logs()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether Patroni on a node says that this is its part.
    fn says(&self, node: usize, what: &str) -> bool {
        let node = &self.nodes[node];
        !node.running.is_empty()
            && ask(node.ports.patroni, what).is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// Starts what a node runs.
    ///
    /// # Panics
    /// When it is running.
    pub fn run(&mut self, node: usize) {
        let (configuration, etcd) = (self.configuration(node), self.etcd_command(node));
        let node = &mut self.nodes[node];
        assert!(node.running.is_empty(), "{} runs", node.name);
        let path = node.directory.join("patroni.yml");
        std::fs::write(&path, configuration).expect("the configuration is written");
        let mut patroni = as_another_user(Command::new(&self.patroni));
        patroni
            .arg(path)
            .env("HOME", &node.directory)
            .env_remove("PGPASSFILE");
        for (name, command) in [("etcd", etcd), ("patroni", patroni)] {
            node.spawn(name, command);
        }
    }

    /// Kills all processes of a node, as a loss of its machine does.
    pub fn kill(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let ids = node
            .running
            .iter()
            .map(|child| Pid::from_raw(child.id() as i32));
        kill_all(&ids.collect::<Vec<_>>());
        for mut child in node.running.drain(..) {
            let _ = child.wait();
        }
        kill_postgres(&node.directory.join("data"));
    }

    fn etcd_command(&self, node: usize) -> Command {
        let peers = self
            .nodes
            .iter()
            .map(|node| format!("{}={}", node.name, url(node.ports.peers)));
        let peers = peers.collect::<Vec<_>>().join(",");
        let node = &self.nodes[node];
        let (clients, own) = (url(node.ports.etcd), url(node.ports.peers));
        let mut command = as_another_user(Command::new(&self.etcd));
        command.arg("--data-dir").arg(node.directory.join("etcd"));
        command.args(["--name", &node.name]);
        command.args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ]);
        command.args([
            "--listen-peer-urls",
            &own,
            "--initial-advertise-peer-urls",
            &own,
        ]);
        command.args([
            "--initial-cluster",
            &peers,
            "--initial-cluster-state",
            "new",
        ]);
        // The nodes are near each other, but processors are few.
        command.args(["--heartbeat-interval", "100", "--election-timeout", "1000"]);
        command
    }

    /// The configuration of Patroni on a node.
    ///
    /// The times are the shortest that Patroni's manual allows: a primary that is lost is given up after `ttl`.
    /// The old primary's data is brought back to what the new one has, or copied anew.
    fn configuration(&self, node: usize) -> String {
        let etcd = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.ports.etcd));
        let etcd = etcd.collect::<Vec<_>>().join(",");
        let Node {
            name,
            directory,
            ports,
            ..
        } = &self.nodes[node];
        let (directory, programs) = (directory.display(), self.programs.display());
        let Ports {
            postgres, patroni, ..
        } = ports;
        format!(
            "scope: durum
name: {name}
restapi: {{listen: '127.0.0.1:{patroni}', connect_address: '127.0.0.1:{patroni}'}}
etcd3: {{hosts: '{etcd}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql: {{use_pg_rewind: true, use_slots: true}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, no-sync]
postgresql:
  listen: 127.0.0.1:{postgres}
  connect_address: 127.0.0.1:{postgres}
  data_dir: {directory}/data
  bin_dir: {programs}
  pgpass: {directory}/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication:
    superuser: {{username: durum, password: unused}}
    replication: {{username: replicator, password: unused}}
  pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
  parameters:
    unix_socket_directories: ''
    dynamic_shared_memory_type: mmap
    shared_buffers: 32MB
    max_wal_size: 256MB
"
        )
    }

    /// The end of what Patroni has logged on each node.
    pub fn logs(&self) -> String {
        let log = |node: &Node| {
            let text =
                std::fs::read_to_string(node.directory.join("patroni.log")).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = lines.len().saturating_sub(30);
            format!("{}:\n{}\n", node.name, lines[last..].join("\n"))
        };
        self.nodes.iter().map(log).collect()
    }
}

impl Node {
    fn spawn(&mut self, name: &str, mut command: Command) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join(format!("{name}.log")))
            .expect("the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("the program is started");
        let path = self.directory.join(format!("{name}.pid"));
        std::fs::write(path, child.id().to_string()).expect("the number is written");
        self.running.push(child);
    }
}

impl Drop for PatroniCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.logs());
        }
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Nodes with a directory and ports each.
fn nodes(directory: &Path) -> Vec<Node> {
    let mut ports = BTreeSet::new();
    while ports.len() < 4 * NODES {
        ports.insert(free_port());
    }
    let ports: Vec<u16> = ports.into_iter().collect();
    let node = |(number, ports): (usize, &[u16])| {
        let name = format!("node{number}");
        let directory = directory.join(&name);
        std::fs::create_dir(&directory).expect("a directory");
        give_away(&directory);
        Node {
            name,
            directory,
            ports: Ports {
                postgres: ports[0],
                patroni: ports[1],
                etcd: ports[2],
                peers: ports[3],
            },
            running: Vec::new(),
        }
    };
    ports.chunks(4).enumerate().map(node).collect()
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The first line of what Patroni answers: the code says whether it is so.
fn ask(port: u16, what: &str) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    write!(stream, "GET /{what} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn on_path(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    places.find(|path| path.is_file()).ok_or_else(|| {
        format!("`{name}` is not there: install Debian's packages `patroni`, `etcd-server` and `python3-etcd`")
    })
}
