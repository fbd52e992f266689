//! `run`: all that a node is, until it is told to end.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_garage::Admin;
use durum_server::Supervisor;
use durum_server::tls::{Identity, TlsSettings, server_config};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::info;

use crate::front::{Front, Routes};
use crate::keeper::Keeper;
use crate::key::NodeKey;
use crate::process::{Process, Sockets};
use crate::program::{self, Launcher};
use crate::settings::{NodeDir, NodeSettings, Secrets, host_port};
use crate::supervise::Supervised;

const DOING: &str = "run a node";
/// How long requests may take that have begun when the node is told to end.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);
/// How long others may need to let go of a port, and how often that is looked at.
const PORT_TIME_MAX: Duration = Duration::from_secs(5);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// Tells a node to end.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Default for Stopper {
    fn default() -> Stopper {
        Stopper(watch::Sender::new(false))
    }
}

impl Stopper {
    /// The node finishes what it has begun and ends.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A node that answers.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its number.
    pub id: String,
    /// Where clients reach it.
    pub front: String,
    /// How many copies its clusters keep.
    pub copies: Vec<u32>,
}

/// Runs a node until it is told to end. `ready` is called when it answers.
///
/// # Errors
/// `NotFound` where there is no node, `Usage` for settings that cannot be and for a Garage that is absent or has
/// another version, `InUse` where it runs already or its ports are taken.
pub fn run(
    dir: &NodeDir,
    launcher: &Launcher,
    supervisor: Option<&Supervisor>,
    stopper: &Stopper,
    ready: impl FnOnce(&Ready),
) -> Result<()> {
    let (settings, secrets, id) = (dir.settings()?, dir.secrets()?, dir.id()?);
    let garage = program::find(settings.garage.as_deref())?;
    let _alone = lock(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io(error, DOING))?;
    let result = Node {
        dir,
        settings: &settings,
        secrets: &secrets,
        id: &id,
        stop: stopper.0.subscribe(),
    }
    .run(&garage, launcher, &runtime, supervisor, ready);
    stopper.stop();
    runtime.shutdown_timeout(FINISH_TIME_MAX);
    result
}

/// Waits until nobody listens there: where the node was killed, its last Garage may still be ending.
fn wait_for_port(address: SocketAddr) -> std::io::Result<()> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && began.elapsed() < PORT_TIME_MAX =>
            {
                std::thread::sleep(PORT_PAUSE);
            }
            bound => return bound.map(drop),
        }
    }
}

/// Two would write to the same files.
fn lock(dir: &NodeDir) -> Result<File> {
    let path = dir.lock();
    let file = File::create(&path).during(DOING, &path)?;
    file.try_lock().map_err(|_| {
        Error::new(ErrorKind::InUse, DOING)
            .with_path(dir.path())
            .because("it runs already")
    })?;
    Ok(file)
}

struct Node<'a> {
    dir: &'a NodeDir,
    settings: &'a NodeSettings,
    secrets: &'a Secrets,
    id: &'a str,
    stop: watch::Receiver<bool>,
}

impl Node<'_> {
    fn run(
        mut self,
        garage: &std::path::Path,
        launcher: &Launcher,
        runtime: &Runtime,
        supervisor: Option<&Supervisor>,
        ready: impl FnOnce(&Ready),
    ) -> Result<()> {
        let routes = Arc::new(self.routes());
        let identity = self.dir.certificate();
        let tls = server_config(&TlsSettings {
            identity: Identity::new(identity.certificate, identity.key),
            client_ca: Some(self.dir.authority().join("ca.pem")),
            clients: None,
            required: true,
        })?;
        let address = SocketAddr::new(self.settings.listen, self.settings.port);
        let front = runtime.block_on(Front::bind(address, tls, routes.clone()))?;
        let mut processes = Vec::new();
        for copies in &self.settings.copies {
            self.write_process(*copies)?;
        }
        for copies in &self.settings.copies {
            let dir = self.dir.process(*copies);
            processes.push(Supervised::start(*copies, garage, &dir, launcher)?);
        }
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        for (copies, process) in self.settings.copies.iter().zip(&processes) {
            let keeper = self.keeper(*copies, routes.clone(), process)?;
            tasks.push(runtime.spawn(keeper.run(self.stop.clone())));
        }
        tasks.push(runtime.spawn(front.serve(self.stop.clone())));
        if runtime.block_on(self.answers()) {
            if let Some(supervisor) = supervisor {
                supervisor.ready();
            }
            ready(&Ready {
                id: self.id.to_owned(),
                front: self.settings.front(),
                copies: self.settings.copies.clone(),
            });
        }
        runtime.block_on(self.until_stopped(supervisor));
        info!("the node ends");
        if let Some(supervisor) = supervisor {
            supervisor.stopping();
        }
        // Requests that have begun still reach Garage while it finishes its own.
        for process in &processes {
            process.stop();
        }
        for process in &mut processes {
            process.join();
        }
        Ok(())
    }

    fn routes(&self) -> Routes {
        let mut routes = Routes::default();
        for copies in &self.settings.copies {
            let sockets = Sockets::of(&self.dir.process(*copies));
            routes.sockets.insert(format!("k2v/{copies}"), sockets.k2v);
            routes.sockets.insert(format!("s3/{copies}"), sockets.s3);
        }
        routes
    }

    fn peers(&self, copies: u32) -> Result<Vec<String>> {
        let peers = self.settings.peers.iter();
        peers
            .map(|peer| {
                let port = NodeSettings::rpc_port(peer.port, copies)?;
                Ok(format!("{}@{}", peer.id, host_port(&peer.host, port)))
            })
            .collect()
    }

    fn write_process(&self, copies: u32) -> Result<()> {
        let port = NodeSettings::rpc_port(self.settings.port, copies)?;
        let rpc_bind = SocketAddr::new(self.settings.listen, port);
        // Garage would say so in its log, and be started again and again.
        wait_for_port(rpc_bind).map_err(|error| {
            let why = format!("{rpc_bind}, for other nodes: {error}");
            let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
            let error = Error::io(error, DOING).because(why);
            match in_use {
                true => error.with_kind(ErrorKind::InUse),
                false => error,
            }
        })?;
        Process {
            dir: self.dir.process(copies),
            copies,
            rpc_bind,
            rpc_public: host_port(&self.settings.host, port),
            peers: self.peers(copies)?,
            rpc_secret: self.secrets.of(copies)?.rpc_secret.clone(),
            admin_token: self.secrets.admin_token.clone(),
            metadata_fsync: self.settings.metadata_fsync,
            data_fsync: self.settings.data_fsync,
        }
        .write()?;
        let metadata = Process::metadata(&self.dir.process(copies));
        NodeKey::keep(&self.dir.key(), &metadata)
    }

    fn keeper(&self, copies: u32, routes: Arc<Routes>, process: &Supervised) -> Result<Keeper> {
        Ok(Keeper {
            copies,
            id: self.id.to_owned(),
            admin: admin(self.dir, self.secrets, copies),
            zone: self.settings.zone.clone(),
            front: self.settings.front(),
            capacity: self.settings.capacity()?,
            peers: self.peers(copies)?,
            credentials: self.secrets.of(copies)?.credentials(),
            first: self.dir.first(copies).exists(),
            disk: self.dir.disk(copies)?,
            dir: self.dir.clone(),
            routes,
            process: process.shared.clone(),
        })
    }

    /// Waits until all processes answer; false when it is told to end before.
    async fn answers(&mut self) -> bool {
        for copies in &self.settings.copies {
            let admin = admin(self.dir, self.secrets, *copies);
            while admin.status().await.is_err() {
                if *self.stop.borrow() {
                    return false;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        true
    }

    async fn until_stopped(&mut self, supervisor: Option<&Supervisor>) {
        let alive = async {
            let Some((supervisor, every)) = supervisor.and_then(|it| Some((it, it.watchdog()?)))
            else {
                return std::future::pending::<()>().await;
            };
            loop {
                supervisor.alive();
                sleep(every).await;
            }
        };
        tokio::select! {
            _ = self.stop.wait_for(|stops| *stops) => {}
            () = alive => {}
        }
    }
}

/// The administration of one of a node's processes.
pub(crate) fn admin(dir: &NodeDir, secrets: &Secrets, copies: u32) -> Admin {
    let sockets = Sockets::of(&dir.process(copies));
    Admin::new(Sockets::address(&sockets.admin), &secrets.admin_token)
}
