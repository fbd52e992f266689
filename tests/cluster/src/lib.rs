//! Real Garage clusters on loopback, for tests.
//!
//! Garage is found by `DURUM_GARAGE`, on the path, or where `.ci/run` installs it. Where it is absent, tests are
//! left out with a line that says so, unless `DURUM_REQUIRE` contains `garage`.

#![forbid(unsafe_code)]
// A test that cannot go on says why.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod load;

pub use load::Load;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use durum_garage::admin::Role;
use durum_garage::{Admin, Cluster, Credentials, GARAGE_VERSION, NodeAddress, Patience, Settings};
use durum_nodes::{NodeKey, Process, Sockets, random_hex};
use durum_testkit::left_out;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Whatever a cluster is waited for, it does not take longer. What Garage could not copy it tries again after a minute.
pub const TIME_MAX: Duration = Duration::from_secs(180);

/// The Garage program, or `None` where there is none: the reason is then on standard error.
///
/// # Panics
/// When there is none and `DURUM_REQUIRE` contains `garage`.
pub fn garage() -> Option<PathBuf> {
    match find() {
        Ok(path) => Some(path),
        Err(reason) => {
            left_out("garage", &reason);
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    let named = std::env::var_os("DURUM_GARAGE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("garage"));
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home);
    let cached = cache.map(|cache| {
        let dir = cache.join(format!("durum/garage-{GARAGE_VERSION}"));
        dir.join("bin/garage")
    });
    let mut places = named.into_iter().chain(on_path).chain(cached);
    let Some(found) = places.find(|path| path.is_file()) else {
        return Err("it is not installed (see docs/TESTING.md)".to_owned());
    };
    let output = Command::new(&found).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}", found.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    match version.contains(GARAGE_VERSION) {
        true => Ok(found),
        false => Err(format!(
            "{} is {}, and these tests need version {GARAGE_VERSION}",
            found.display(),
            version.trim()
        )),
    }
}

/// How many clusters a process runs at a time. Tests with clusters mostly wait for Garage; but many at once on few
/// processors are slow enough to look broken.
const CLUSTERS_MAX: usize = 2;

/// Somebody's turn to run a cluster in this process.
#[derive(Debug)]
pub struct Turn {
    _one: OwnedSemaphorePermit,
}

/// Waits until few enough other tests of this process run a cluster.
///
/// # Panics
/// Never.
pub async fn turn() -> Turn {
    static TURNS: LazyLock<Arc<Semaphore>> =
        LazyLock::new(|| Arc::new(Semaphore::new(CLUSTERS_MAX)));
    let turn = TURNS.clone().acquire_owned().await;
    Turn {
        _one: turn.expect("nobody closes it"),
    }
}

/// A cluster of Garage processes, which end with it. There are few at a time in a process.
#[derive(Debug)]
pub struct TestCluster {
    dir: TempDir,
    garage: PathBuf,
    copies: u32,
    credentials: Credentials,
    rpc_secret: String,
    admin_token: String,
    nodes: Vec<TestNode>,
    _turn: Turn,
}

#[derive(Debug)]
struct TestNode {
    id: String,
    rpc: String,
    dir: PathBuf,
    child: Option<Child>,
}

impl TestCluster {
    /// Starts nodes, each in a zone of its own, and waits until they serve. `None` where there is no Garage.
    ///
    /// # Panics
    /// When the cluster does not come about, as all that is done with it does.
    pub async fn start(nodes: usize, copies: u32) -> Option<TestCluster> {
        let garage = garage()?;
        let turn = turn().await;
        let dir = tempfile::Builder::new().prefix("durum-g").tempdir();
        let mut cluster = TestCluster {
            dir: dir.expect("a temporary directory"),
            garage,
            copies,
            credentials: Credentials {
                key_id: format!("GK{}", random_hex(12).expect("random numbers")),
                secret: random_hex(32).expect("random numbers"),
            },
            rpc_secret: random_hex(32).expect("random numbers"),
            admin_token: random_hex(32).expect("random numbers"),
            nodes: Vec::new(),
            _turn: turn,
        };
        for _ in 0..nodes {
            cluster.add_without_role();
        }
        cluster.wait_until_all_are_up().await;
        let roles: Vec<(String, Role)> = (0..nodes).map(|index| cluster.role(index)).collect();
        let admin = cluster.admin(0);
        admin.stage(&roles).await.expect("roles are staged");
        admin.apply(1).await.expect("the layout is applied");
        cluster.wait_for_layout(1).await;
        let key = &cluster.credentials;
        admin
            .import_key("tests", key)
            .await
            .expect("a key is imported");
        Some(cluster)
    }

    fn role(&self, index: usize) -> (String, Role) {
        let role = Role {
            zone: format!("zone{index}"),
            tags: Vec::new(),
            capacity: Some(1 << 30),
        };
        (self.nodes[index].id.clone(), role)
    }

    /// Starts another node, which knows the others and has nothing to do yet; its index.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn add_without_role(&mut self) -> usize {
        self.add_with_secret(&self.rpc_secret.clone())
    }

    /// As [`TestCluster::add_without_role`], with a secret that can be the wrong one.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn add_with_secret(&mut self, rpc_secret: &str) -> usize {
        let index = self.nodes.len();
        let dir = self.dir.path().join(index.to_string());
        let rpc = format!("127.0.0.1:{}", free_port());
        let process = Process {
            dir: dir.clone(),
            copies: self.copies,
            rpc_bind: rpc.parse().expect("an address"),
            rpc_public: rpc.clone(),
            peers: self.peers(),
            rpc_secret: rpc_secret.to_owned(),
            admin_token: self.admin_token.clone(),
            // What is tested is how nodes work together, not the disk.
            metadata_fsync: false,
            data_fsync: false,
        };
        process.write().expect("a configuration is written");
        let key = NodeKey::generate().expect("a key");
        key.write(&Process::metadata(&dir))
            .expect("a key is written");
        self.nodes.push(TestNode {
            id: key.id(),
            rpc,
            dir,
            child: None,
        });
        self.run(index);
        index
    }

    /// How nodes name the others: `ID@HOST:PORT`.
    pub fn peers(&self) -> Vec<String> {
        let name = |node: &TestNode| format!("{}@{}", node.id, node.rpc);
        self.nodes.iter().map(name).collect()
    }

    /// Starts a node's process, which is not running.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let log = File::options()
            .create(true)
            .append(true)
            .open(node.dir.join("log"))
            .expect("a log");
        let child = Command::new(&self.garage)
            .arg("-c")
            .arg(Process::config_path(&node.dir))
            .arg("server")
            .env("RUST_LOG", "garage=info,garage_net=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        node.child = Some(child.expect("Garage starts"));
    }

    /// Kills a node's process with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, index: usize) {
        let mut child = self.nodes[index].child.take().expect("it runs");
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
    }

    /// Sends a node's process a signal, such as `SIGSTOP`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, index: usize, signal: Signal) {
        let child = self.nodes[index].child.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
        kill(pid, signal).expect("it gets a signal");
    }

    /// Ends a node for good, gives the others the task to do without it, and waits until they have all copies.
    ///
    /// # Panics
    /// When they do not.
    pub async fn remove(&mut self, index: usize) {
        self.kill(index);
        let admin = self.admin((index + 1) % self.nodes.len());
        let id = self.nodes[index].id.clone();
        admin.stage_removal(&id).await.expect("a removal is staged");
        self.apply(&admin).await;
    }

    /// Gives a node that was added a role, as the others have, and waits until it has its share.
    ///
    /// # Panics
    /// When it does not get it.
    pub async fn give_role(&mut self, index: usize) {
        self.wait_until_all_are_up().await;
        let admin = self.admin(0);
        let role = self.role(index);
        admin.stage(&[role]).await.expect("a role is staged");
        self.apply(&admin).await;
    }

    async fn apply(&self, admin: &Admin) {
        let version = admin.layout().await.expect("the layout").version + 1;
        admin.apply(version).await.expect("the layout is applied");
        // Nodes that are down cannot say that they know it.
        let _nobody = admin.skip_dead_nodes(version, false).await;
        let begun = Instant::now();
        loop {
            let history = admin.layout_history().await.expect("the layouts");
            let draining = |it: &durum_garage::admin::LayoutVersion| it.status == "Draining";
            if history.current_version >= version && !history.versions.iter().any(draining) {
                return;
            }
            assert!(begun.elapsed() < TIME_MAX, "{history:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The administration of a node.
    pub fn admin(&self, index: usize) -> Admin {
        let sockets = Sockets::of(&self.nodes[index].dir);
        let token = self.admin_token.clone();
        Admin::new(Sockets::address(&sockets.admin), token)
    }

    /// A node's number in the cluster.
    pub fn id(&self, index: usize) -> &str {
        &self.nodes[index].id
    }

    /// The access key of tests.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// How the cluster is reached, past any front.
    pub fn settings(&self) -> Settings {
        let address = |node: &TestNode| {
            let sockets = Sockets::of(&node.dir);
            NodeAddress::Direct {
                k2v: Sockets::address(&sockets.k2v),
                s3: Sockets::address(&sockets.s3),
            }
        };
        Settings {
            nodes: self.nodes.iter().map(address).collect(),
            access: BTreeMap::from([(self.copies, self.credentials.clone())]),
            tls: None,
            patience: Patience::default(),
        }
    }

    /// A client.
    ///
    /// # Panics
    /// Never, as long as there is a node.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.settings()).expect("a client")
    }

    /// What the nodes have written to their logs, for messages of failures.
    pub fn logs(&self) -> String {
        let log = |node: &TestNode| {
            let text = std::fs::read_to_string(node.dir.join("log")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("--- {}\n{}\n", node.dir.display(), lines.join("\n"))
        };
        self.nodes.iter().map(log).collect()
    }

    /// Waits until every node that runs sees all others that run.
    ///
    /// # Panics
    /// When that takes longer than [`TIME_MAX`].
    pub async fn wait_until_all_are_up(&self) {
        let running = self.nodes.iter().filter(|node| node.child.is_some());
        let running = running.count();
        let begun = Instant::now();
        for index in 0..self.nodes.len() {
            if self.nodes[index].child.is_none() {
                continue;
            }
            loop {
                let up = match self.admin(index).status().await {
                    Ok(status) => status.nodes.iter().filter(|node| node.is_up).count(),
                    Err(_) => 0,
                };
                if up >= running {
                    break;
                }
                // Garage by itself tries again after half a minute only.
                let _some_fail = self.admin(index).connect(&self.peers()).await;
                assert!(
                    begun.elapsed() < TIME_MAX,
                    "nodes do not start\n{}",
                    self.logs()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn wait_for_layout(&self, version: u64) {
        let begun = Instant::now();
        for index in 0..self.nodes.len() {
            loop {
                let admin = self.admin(index);
                let known = admin.status().await.map_or(0, |it| it.layout_version);
                let healthy = admin.health().await.is_ok_and(|it| it.status == "healthy");
                if known >= version && healthy {
                    break;
                }
                assert!(begun.elapsed() < TIME_MAX, "no layout\n{}", self.logs());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // Also one that is stopped ends by that.
                let _gone = child.kill();
                let _gone = child.wait();
            }
        }
    }
}

/// A port of loopback that nobody uses at the moment, and that no other test of this process has got.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many ports in a row, each of which is as [`free_port`] says.
///
/// # Panics
/// When there are none.
pub fn free_ports(count: u16) -> u16 {
    // Whoever got one listens on it a moment later only, and not while a node is down.
    static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let row = |first: u16| first..first.saturating_add(count);
    let all_free = |first: &u16| {
        let row = row(*first);
        let bound = row.map(|port| match given.contains(&port) {
            true => None,
            false => TcpListener::bind(("127.0.0.1", port)).ok(),
        });
        bound.collect::<Option<Vec<TcpListener>>>().is_some()
    };
    // The system gives those above to connections: one of them could have a node's port while that is down.
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    let first = ports.find(all_free).expect("ports");
    given.extend(row(first));
    first
}
