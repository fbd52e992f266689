//! Which clusters there are and how they are reached: the directory that `durum node invite --client` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_server::tls::{Identity, client_config};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::node::NodeAddress;
use crate::routing::Patience;
use crate::sigv4::Credentials;

/// The file's name in its directory.
pub const CLUSTER_FILE: &str = "cluster.toml";
/// The form of the file that this program writes and reads.
pub const CLUSTER_VERSION: u32 = 1;
const DOING: &str = "read how a cluster is reached";

/// How clusters are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The nodes; more are learnt from them.
    pub nodes: Vec<NodeAddress>,
    /// The access key of the cluster with so many copies.
    pub access: BTreeMap<u32, Credentials>,
    /// The client's certificate and the authority, for nodes behind a front.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long to wait.
    pub patience: Patience,
}

/// `cluster.toml`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// [`CLUSTER_VERSION`].
    pub version: u32,
    /// `HOST:PORT` of the nodes' fronts.
    pub nodes: Vec<String>,
    /// The authority that has signed the nodes' certificates: a path relative to this file, as the next two.
    pub ca: PathBuf,
    /// The client's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// A cluster each.
    pub cluster: Vec<ClusterAccess>,
}

/// The access to one cluster.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterAccess {
    /// How many copies it keeps.
    pub copies: u32,
    /// The access key's public name.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: String,
}

impl std::fmt::Debug for ClusterAccess {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ClusterAccess")
            .field("copies", &self.copies)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the directory of a client.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Usage` for a file that is not what it should be; it says which.
    pub fn read(dir: &Path) -> Result<Settings> {
        let path = dir.join(CLUSTER_FILE);
        let text = std::fs::read_to_string(&path)
            .during(DOING, &path)
            .map_err(|error| {
                let hint = "A client's directory is made with `durum node invite --client NAME`.";
                error.hint(hint)
            })?;
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, DOING)
                .with_path(&path)
                .because(why)
        };
        let file: ClusterFile =
            toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        if file.version != CLUSTER_VERSION {
            let version = file.version;
            return Err(wrong(format!(
                "it has version {version}, and this program reads version {CLUSTER_VERSION}"
            )));
        }
        let nodes: Result<Vec<_>> = file.nodes.iter().map(|it| NodeAddress::front(it)).collect();
        let nodes = nodes.map_err(|error| wrong(error.reason().to_owned()))?;
        if nodes.is_empty() || file.cluster.is_empty() {
            return Err(wrong("it names no node or no cluster".to_owned()));
        }
        let identity = Identity::new(dir.join(&file.certificate), dir.join(&file.key));
        let access = file.cluster.into_iter().map(|it| {
            let credentials = Credentials {
                key_id: it.access_key,
                secret: it.secret_key,
            };
            (it.copies, credentials)
        });
        Ok(Settings {
            nodes,
            access: access.collect(),
            tls: Some(client_config(&dir.join(&file.ca), Some(&identity))?),
            patience: Patience::default(),
        })
    }
}
