//! The nodes of an installation, and the clusters that they form: one for each number of copies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::answer::{collect, json};
use crate::k2v::K2v;
use crate::node::{Node, NodeAddress};
use crate::request::{Ask, ROUTE, Signed};
use crate::routing::{Answer, Routing};
use crate::s3::S3;
use crate::settings::Settings;
use crate::sigv4::{Credentials, HOST, Service};

/// The service of a front that lists all fronts.
pub const NODES_SERVICE: &str = "nodes";
/// How often the nodes are asked for others that have come.
const LEARN_EVERY: Duration = Duration::from_secs(20);
/// For how long a node is waited for that is asked for the others.
const LEARN_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest list of nodes, in bytes, and the most of them.
const LIST_BYTES_MAX: usize = 1 << 20;
const NODES_MAX: usize = 1000;

/// The nodes of an installation. It is cheap to clone.
///
/// Requests are made with [`Cluster::k2v`] and [`Cluster::s3`]. They need a Tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    nodes: RwLock<Arc<Vec<Arc<Node>>>>,
    routing: Routing,
    learning: AtomicBool,
    learnt: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Cluster")
            .field("nodes", &self.nodes())
            .field("copies", &self.copies())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster that a client's directory names, as `durum node invite --client` writes it. No node is asked
    /// yet.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn open(dir: impl AsRef<std::path::Path>) -> Result<Cluster> {
        Cluster::new(Settings::read(dir.as_ref())?)
    }

    /// A cluster that is reached so. No node is asked yet.
    ///
    /// # Errors
    /// `Usage` where there is no node, or a front and no certificates.
    pub fn new(settings: Settings) -> Result<Cluster> {
        if settings.nodes.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "reach a cluster").because("it has no nodes"));
        }
        let tls = settings.tls.as_ref();
        let nodes: Result<Vec<_>> = settings
            .nodes
            .iter()
            .map(|address| Node::new(address.clone(), tls).map(Arc::new))
            .collect();
        Ok(Cluster {
            shared: Arc::new(Shared {
                nodes: RwLock::new(Arc::new(nodes?)),
                settings,
                routing: Routing::default(),
                learning: AtomicBool::new(false),
                learnt: Mutex::default(),
            }),
        })
    }

    /// How many copies its clusters keep, in rising order.
    pub fn copies(&self) -> Vec<u32> {
        self.shared.settings.access.keys().copied().collect()
    }

    /// The nodes that are known by now.
    pub fn nodes(&self) -> Vec<NodeAddress> {
        let nodes = self.current();
        nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// The items of a bucket in the cluster that keeps so many copies.
    ///
    /// # Errors
    /// `Usage` where there is no such cluster, or the bucket cannot be called so.
    pub fn k2v(&self, copies: u32, bucket: &str) -> Result<K2v> {
        let access = self.access(copies)?;
        check_bucket(bucket)?;
        Ok(K2v::new(access, bucket.to_owned()))
    }

    /// The objects of a bucket in the cluster that keeps so many copies.
    ///
    /// # Errors
    /// As [`Cluster::k2v`].
    pub fn s3(&self, copies: u32, bucket: &str) -> Result<S3> {
        let access = self.access(copies)?;
        check_bucket(bucket)?;
        Ok(S3::new(access, bucket.to_owned()))
    }

    /// Makes a bucket for items and objects; it is as well if there is one.
    ///
    /// # Errors
    /// `Exists` where the bucket belongs to another access key, and as all requests.
    pub async fn create_bucket(&self, copies: u32, bucket: &str) -> Result<()> {
        self.s3(copies, bucket)?.create().await
    }

    fn access(&self, copies: u32) -> Result<Access> {
        match self.shared.settings.access.get(&copies) {
            Some(credentials) => Ok(Access {
                cluster: self.clone(),
                copies,
                credentials: credentials.clone(),
            }),
            None => {
                let there: Vec<String> = self.copies().iter().map(u32::to_string).collect();
                Err(
                    Error::new(ErrorKind::Usage, "reach a cluster").because(format!(
                        "no cluster keeps {copies} copies; there is one for each of: {}",
                        there.join(", ")
                    )),
                )
            }
        }
    }

    fn current(&self) -> Arc<Vec<Arc<Node>>> {
        let nodes = self.shared.nodes.read();
        nodes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn perform(&self, ask: Signed) -> Result<Answer> {
        self.learn_in_the_background();
        let nodes = self.current();
        let patience = self.shared.settings.patience;
        self.shared.routing.perform(&nodes, ask, patience).await
    }

    /// Asks for nodes that have come, now and then. Only fronts know.
    fn learn_in_the_background(&self) {
        let fronts = self.current();
        let is_front = |node: &Arc<Node>| matches!(node.address, NodeAddress::Front { .. });
        if !fronts.iter().any(is_front) {
            return;
        }
        {
            let learnt = self.shared.learnt.lock();
            let mut learnt = learnt.unwrap_or_else(PoisonError::into_inner);
            if learnt.is_some_and(|at| at.elapsed() < LEARN_EVERY) {
                return;
            }
            *learnt = Some(Instant::now());
        }
        let cluster = self.clone();
        tokio::spawn(async move { cluster.learn().await });
    }

    /// Asks the nodes for all nodes, which takes one that answers. It happens by itself every 20 seconds in which
    /// there are requests.
    pub async fn learn(&self) {
        if self.shared.learning.swap(true, Ordering::AcqRel) {
            return;
        }
        for node in self.current().iter() {
            match timeout(LEARN_TIME_MAX, list_of(node)).await {
                Ok(Ok(found)) => {
                    self.adopt(&found);
                    break;
                }
                Ok(Err(why)) => debug!(node = node.name, why, "a node lists no nodes"),
                Err(_) => debug!(node = node.name, "a node does not list the nodes in time"),
            }
        }
        self.shared.learning.store(false, Ordering::Release);
    }

    /// Adds the nodes that are new. Those that are no longer listed stay, for a list can be wrong: they fail and
    /// are avoided.
    fn adopt(&self, found: &[String]) {
        let nodes = self.shared.nodes.write();
        let mut nodes = nodes.unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<Node>> = nodes.as_ref().clone();
        for text in found {
            let Ok(address) = NodeAddress::front(text) else {
                debug!(
                    address = text,
                    "a node is listed with an address that is none"
                );
                continue;
            };
            if all.len() >= NODES_MAX || all.iter().any(|node| node.address == address) {
                continue;
            }
            if let Ok(node) = Node::new(address, self.shared.settings.tls.as_ref()) {
                debug!(node = node.name, "a node has come");
                all.push(Arc::new(node));
            }
        }
        *nodes = Arc::new(all);
    }
}

#[derive(Deserialize)]
struct Listed {
    nodes: Vec<String>,
}

async fn list_of(node: &Node) -> Result<Vec<String>, String> {
    let request = Request::get("/")
        .header("host", HOST)
        .header(ROUTE, NODES_SERVICE)
        .body(Full::new(Bytes::new()))
        .map_err(|error| error.to_string())?;
    let target = node.target(Service::K2v);
    let answer = target.send(&request).await;
    let (response, lease) = answer.map_err(|fault| fault.to_string())?;
    if !response.status().is_success() {
        return Err(response.status().to_string());
    }
    let body = collect(response.into_body(), LIST_BYTES_MAX).await;
    let body = body.map_err(|fault| fault.to_string())?;
    lease.give_back();
    json::<Listed>(&body).map(|listed| listed.nodes)
}

/// One cluster, with the key that opens it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    cluster: Cluster,
    copies: u32,
    credentials: Credentials,
}

impl Access {
    pub(crate) fn hedge_after(&self) -> Duration {
        self.cluster.shared.settings.patience.hedge_after
    }

    pub(crate) async fn perform(&self, ask: Ask<'_>) -> Result<Answer> {
        let signed = Signed::new(ask, self.copies, &self.credentials)?;
        self.cluster.perform(signed).await
    }
}

/// As S3 has it: 3 to 63 lower-case letters, digits and hyphens. Garage allows dots as well, which look like
/// paths.
fn check_bucket(name: &str) -> Result<()> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias");
    match good {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, "name a bucket").because(format!(
            "`{}` is no name of a bucket: 3 to 63 lower-case letters, digits and hyphens, with a letter or digit \
             first and last",
            name.escape_debug()
        ))),
    }
}
