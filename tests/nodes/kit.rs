//! Nodes of one machine, which end with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use durum_cluster::{TIME_MAX, Turn};
use durum_garage::{Cluster, Settings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::relay::{RELAY_HOST, Relays};

/// Ports of a node: its own, and each of its clusters' after it.
const PORTS: u16 = 4;

/// Nodes, by their index.
#[derive(Debug)]
pub(crate) struct Nodes {
    dir: TempDir,
    garage: PathBuf,
    nodes: Vec<Node>,
    /// By which others reach the nodes, which listen on `127.0.0.1`.
    host: &'static str,
    /// Where that is another address: what stands there.
    relays: Option<Relays>,
    _turn: Turn,
}

#[derive(Debug)]
struct Node {
    port: u16,
    child: Option<Child>,
}

impl Nodes {
    /// So many nodes that run and have their roles; `None` where there is no Garage.
    pub(crate) async fn start(count: usize) -> Option<Nodes> {
        Nodes::start_behind(count, None).await
    }

    /// The same, where all that is sent to nodes goes through relays, if they are given.
    pub(crate) async fn start_behind(count: usize, relays: Option<Relays>) -> Option<Nodes> {
        let garage = durum_cluster::garage()?;
        let turn = durum_cluster::turn().await;
        let dir = tempfile::Builder::new().prefix("durum-n").tempdir();
        let mut nodes = Nodes {
            dir: dir.unwrap(),
            garage,
            nodes: Vec::new(),
            host: match relays {
                None => "127.0.0.1",
                Some(_) => RELAY_HOST,
            },
            relays,
            _turn: turn,
        };
        let begun = Instant::now();
        for _ in 0..count {
            nodes.add();
        }
        for index in 0..count {
            nodes.run(index);
        }
        nodes.wait_for(0, |clusters| {
            let complete = |it: &Value| it["health"] == "healthy" && it["nodes_up"] == count;
            clusters.iter().all(complete)
        });
        for index in 0..count {
            nodes.wait_for(index, |clusters| {
                clusters.iter().all(|it| it["serves"] == true)
            });
        }
        println!("{count} nodes were ready after {:?}", begun.elapsed());
        Some(nodes)
    }

    /// Makes a node: the first, or another one from an invitation.
    pub(crate) fn add(&mut self) -> usize {
        let (index, port) = (self.nodes.len(), durum_cluster::free_ports(PORTS));
        let dir = self.path(index);
        let invitation = self.dir.path().join(format!("invitation{index}"));
        let mut command = durum();
        command.arg("node");
        if index == 0 {
            command.arg("init").arg(&dir);
        } else {
            let made = durum()
                .args(["node", "invite"])
                .arg(self.path(0))
                .arg("--output")
                .arg(&invitation)
                .output();
            good(&made.unwrap());
            command.arg("join").arg(&dir).arg(&invitation);
        }
        command
            .args(["--host", self.host, "--listen", "127.0.0.1"])
            .args(["--zone", &format!("zone{index}")])
            .args(["--port", &port.to_string()])
            .arg("--garage")
            .arg(&self.garage);
        good(&command.output().unwrap());
        if let Some(relays) = &self.relays {
            for copies in [0, 1, 3] {
                relays.add(port + copies);
            }
        }
        self.nodes.push(Node { port, child: None });
        index
    }

    pub(crate) fn relays(&self) -> &Relays {
        self.relays.as_ref().unwrap()
    }

    /// Takes the disk away of a node that does not run: its metadata and its data.
    pub(crate) fn wipe(&self, index: usize) {
        for cluster in ["garage-1", "garage-3"] {
            for part in ["meta", "data"] {
                let dir = self.path(index).join(cluster).join(part);
                std::fs::remove_dir_all(&dir).unwrap();
                std::fs::create_dir(&dir).unwrap();
            }
        }
    }

    /// Runs a node.
    pub(crate) fn run(&mut self, index: usize) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(index))
            .unwrap();
        let child = durum()
            .args(["node", "run", "-v"])
            .arg(self.path(index))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.nodes[index].child = Some(child.unwrap());
    }

    pub(crate) fn path(&self, index: usize) -> PathBuf {
        self.dir.path().join(index.to_string())
    }

    pub(crate) fn port(&self, index: usize) -> u16 {
        self.nodes[index].port
    }

    pub(crate) fn address(&self, index: usize) -> String {
        format!("{}:{}", self.host, self.nodes[index].port)
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("log{index}"))
    }

    pub(crate) fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.log_path(index)).unwrap_or_default()
    }

    /// Kills what supervises a node with SIGKILL, and waits until its Garage processes have gone with it.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut child = self.nodes[index].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let begun = Instant::now();
        while !self.garages(index).is_empty() {
            assert!(begun.elapsed() < TIME_MAX, "{:?}", self.garages(index));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The parts of the data of which a node has a copy, in a cluster, as another one sees it.
    pub(crate) fn partitions(&self, asked: usize, of: usize, copies: u64) -> Option<u64> {
        let list = self.ask("list", asked)?;
        let rows = list["nodes"].as_array()?;
        let row = rows.iter().find(|row| row["address"] == self.address(of))?;
        let shares = row["clusters"].as_array()?;
        let share = shares.iter().find(|share| share["copies"] == copies)?;
        share["partitions"].as_u64()
    }

    /// Ends a node by SIGTERM, and gives its exit code.
    pub(crate) fn end(&mut self, index: usize) -> Option<i32> {
        let mut child = self.nodes[index].child.take().unwrap();
        signal(child.id(), Signal::TERM);
        child.wait().unwrap().code()
    }

    /// The Garage processes of a node.
    pub(crate) fn garages(&self, index: usize) -> Vec<u32> {
        let marker = format!("{}/", self.path(index).display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().parse();
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            if let Ok(pid) = pid
                && words.contains(&marker)
                && words.ends_with("\0server\0")
            {
                found.push(pid);
            }
        }
        found
    }

    /// What `durum node` says in JSON, if it does not fail.
    pub(crate) fn ask(&self, what: &str, index: usize) -> Option<Value> {
        let mut command = durum();
        let output = command
            .args(["node", what, "--json"])
            .arg(self.path(index))
            .output()
            .unwrap();
        match output.status.success() {
            true => Some(serde_json::from_slice(&output.stdout).unwrap()),
            false => None,
        }
    }

    /// Waits until the clusters are so, as one node sees them.
    pub(crate) fn wait_for(&self, index: usize, good: impl Fn(&[Value]) -> bool) {
        let begun = Instant::now();
        loop {
            let status = self.ask("status", index);
            let clusters = status.as_ref().and_then(|it| it["clusters"].as_array());
            if clusters.is_some_and(|clusters| good(clusters)) {
                return;
            }
            assert!(
                begun.elapsed() < TIME_MAX,
                "{status:?}\n{}",
                self.logs(index)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What all have logged, the node in question first.
    fn logs(&self, first: usize) -> String {
        let others = (0..self.nodes.len()).filter(|index| *index != first);
        let all = std::iter::once(first).chain(others);
        all.map(|index| format!("node {index}:\n{}\n", self.log(index)))
            .collect()
    }

    /// A client's directory.
    pub(crate) fn invite_client(&self, name: &str) -> PathBuf {
        let to = self.dir.path().join(format!("client-{name}"));
        let mut command = durum();
        command.args(["node", "invite"]).arg(self.path(0));
        command.args(["--client", name, "--output"]).arg(&to);
        good(&command.output().unwrap());
        to
    }

    /// A client that was told of one node, and knows all of them.
    pub(crate) async fn client(&self, name: &str) -> Cluster {
        let dir = self.invite_client(name);
        let mut settings = Settings::read(&dir).unwrap();
        settings.nodes.truncate(1);
        let cluster = Cluster::new(settings).unwrap();
        let begun = Instant::now();
        let running = self.nodes.iter().filter(|node| node.child.is_some());
        let running = running.count();
        while cluster.nodes().len() < running {
            cluster.learn().await;
            assert!(begun.elapsed() < TIME_MAX, "{cluster:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // Garage ends with it.
                let _gone = child.kill();
                let _gone = child.wait();
            }
        }
    }
}

/// The program.
pub(crate) fn durum() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_durum"));
    command
        .env_remove("DURUM_CONFIG")
        .env_remove("DURUM_LOG")
        .stdin(Stdio::null());
    command
}

pub(crate) fn good(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether a process runs; one that has ended and was not waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
