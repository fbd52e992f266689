//! Nodes on loopback that the benchmark starts itself: each a `durum node run`, with its Garage, that ends with it.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_nodes::{ClusterRow, NewNode, NodeDir};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::DOING;
use crate::migrate::child::Taken;

/// By then nodes have their roles.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// By then a node that was told so has ended.
const END_TIME_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// More copies than these nobody has by default.
const COPIES_MAX: u32 = 3;

/// The most memory that a node's processes had resident, in bytes, mapped files included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeMemory {
    /// That of Garage.
    pub garage: Option<u64>,
    /// That of `durum node run`, which clients speak with.
    pub front: Option<u64>,
}

/// Nodes that run until this is dropped.
#[derive(Debug)]
pub(super) struct Nodes {
    dir: PathBuf,
    children: Vec<Child>,
}

impl Nodes {
    /// As many new nodes in a directory, each in a zone of its own, that have their roles.
    pub(super) fn start(
        dir: &Path,
        count: u32,
        program: &Path,
        garage: Option<&Path>,
    ) -> Result<Nodes> {
        let garage = durum_nodes::find_garage(garage)?;
        let mut nodes = Nodes {
            dir: dir.to_path_buf(),
            children: Vec::new(),
        };
        let first = nodes.node(0)?;
        for index in 0..count {
            let (node, new) = (nodes.node(index)?, new_node(index, &garage)?);
            match index {
                0 => durum_nodes::init(&node, new, &[copies(count)])?,
                _ => durum_nodes::join(&node, new, &durum_nodes::invite(&first)?)?,
            };
        }
        for index in 0..count {
            let child = nodes.run(index, program)?;
            nodes.children.push(child);
        }
        let all_are_up =
            |it: &ClusterRow| it.health == "healthy" && it.nodes_up == u64::from(count);
        nodes.wait(0, all_are_up)?;
        for index in 0..count {
            nodes.wait(index, |cluster| cluster.serves)?;
        }
        durum_nodes::invite_client(&first, "bench", &nodes.client())?;
        Ok(nodes)
    }

    fn node(&self, index: u32) -> Result<NodeDir> {
        NodeDir::new(&self.dir.join(index.to_string()))
    }

    fn client(&self) -> PathBuf {
        self.dir.join("client")
    }

    fn log(&self, index: u32) -> PathBuf {
        self.dir.join(format!("log{index}"))
    }

    /// How clients reach them.
    pub(super) fn url(&self) -> String {
        format!("garage:{}", self.client().display())
    }

    /// By `durum node exec`, so that it ends with this process, even when that is killed.
    fn run(&self, index: u32, program: &Path) -> Result<Child> {
        let log = self.log(index);
        let log = File::create(&log).during(DOING, &log)?;
        let itself = std::process::id().to_string();
        let words = ["node", "exec", &itself].map(OsStr::new);
        let child = Command::new(program)
            .args(words)
            .arg(program)
            .args(["node", "run", "--quiet"])
            .arg(self.node(index)?.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        child.during(DOING, program)
    }

    fn wait(&mut self, index: u32, is_so: impl Fn(&ClusterRow) -> bool) -> Result<()> {
        let (node, begun) = (self.node(index)?, Instant::now());
        loop {
            let status = durum_nodes::status(&node);
            if status.is_ok_and(|clusters| clusters.iter().all(&is_so)) {
                return Ok(());
            }
            let mut ended = false;
            for child in &mut self.children {
                ended |= child.try_wait().is_ok_and(|status| status.is_some());
            }
            if ended || begun.elapsed() > START_TIME_MAX {
                let said = std::fs::read_to_string(self.log(index)).unwrap_or_default();
                let why = format!("the nodes do not come up; one says: {}", said.trim());
                return Err(Error::new(ErrorKind::Other, DOING).because(why));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What each has taken by now.
    pub(super) fn memory(&self) -> Vec<NodeMemory> {
        let of = |child: &Child| NodeMemory {
            garage: child_of(child.id()).and_then(|garage| Taken::of(garage).peak),
            front: Taken::of(child.id()).peak,
        };
        self.children.iter().map(of).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &self.children {
            // One that has ended needs no signal.
            let _gone = kill_process(Pid::from_child(child), Signal::TERM);
        }
        let begun = Instant::now();
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < END_TIME_MAX {
                std::thread::sleep(LOOK);
            }
            // Garage ends with it.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// How many copies so many nodes keep.
pub(super) fn copies(nodes: u32) -> u32 {
    nodes.clamp(1, COPIES_MAX)
}

fn new_node(index: u32, garage: &Path) -> Result<NewNode> {
    Ok(NewNode {
        host: Ipv4Addr::LOCALHOST.to_string(),
        zone: Some(format!("zone{index}")),
        listen: Ipv4Addr::LOCALHOST.into(),
        port: free_port()?,
        garage: Some(garage.to_path_buf()),
        capacity: None,
    })
}

/// A port that nobody uses, nor those after it that a node has for others.
fn free_port() -> Result<u16> {
    /// Somewhere there are some.
    const TRIES: u32 = 1000;
    let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..TRIES {
        let first = listen(0).and_then(|free| free.local_addr());
        let port = first.map_err(|error| Error::io(error, DOING))?.port();
        let is_free = |more| {
            port.checked_add(more)
                .is_some_and(|port| listen(port).is_ok())
        };
        if (0..=COPIES_MAX as u16).all(is_free) {
            return Ok(port);
        }
    }
    Err(Error::new(ErrorKind::InUse, DOING).because("no ports are free"))
}

/// The process that another one has started, where there is one only.
fn child_of(parent: u32) -> Option<u32> {
    let line = format!("PPid:\t{parent}");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut processes =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.find(|process| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        status.is_ok_and(|status| status.lines().any(|it| it == line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_children_are_found() {
        assert!(free_port().unwrap() > 0);
        assert_eq!([1, 2, 3, 7].map(copies), [1, 2, 3, 3]);
        assert_eq!(child_of(u32::MAX), None);
    }

    #[test]
    fn what_is_not_garage_starts_no_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = Path::new("/bin/true");
        let error = Nodes::start(dir.path(), 3, wrong, Some(wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
