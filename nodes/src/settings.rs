//! What a node is: `node.toml`, which its owner may change, and `secrets.toml`, which nobody else may see.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use durum_core::units::parse_size;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_garage::Credentials;
use durum_server::tls::issue::Files;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::key::random_hex;
use crate::process::Process;

/// The form of both files.
const VERSION: u32 = 1;
const DOING: &str = "read a node's settings";

/// `node.toml`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// The form of this file.
    pub version: u32,
    /// Where the node is. Copies are spread over as many zones as there are.
    pub zone: String,
    /// The name or the IP number by which other nodes and clients reach it.
    pub host: String,
    /// The IP number on which it listens; `0.0.0.0` is all of IPv4.
    pub listen: IpAddr,
    /// The port for clients. That for other nodes is this plus the number of copies, one for each cluster.
    pub port: u16,
    /// How many copies the clusters keep that it belongs to.
    pub copies: Vec<u32>,
    /// The Garage program; else it is looked for on the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garage: Option<PathBuf>,
    /// How much it takes, such as `100GiB`; else what is free on its disk when it joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// Whether acknowledged items survive a loss of power here.
    #[serde(default = "yes")]
    pub metadata_fsync: bool,
    /// Whether acknowledged objects do.
    #[serde(default = "yes")]
    pub data_fsync: bool,
    /// Nodes that were there when it joined, `ID@HOST` and the port for clients.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

fn yes() -> bool {
    true
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its number.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

/// `secrets.toml`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    pub(crate) version: u32,
    /// What the administration of this node's processes asks for.
    pub(crate) admin_token: String,
    pub(crate) cluster: Vec<ClusterSecrets>,
}

/// The secrets that all nodes of a cluster have.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterSecrets {
    pub(crate) copies: u32,
    pub(crate) rpc_secret: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl ClusterSecrets {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            key_id: self.access_key.clone(),
            secret: self.secret_key.clone(),
        }
    }
}

/// A node's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDir(PathBuf);

impl NodeDir {
    /// The node in a directory.
    ///
    /// # Errors
    /// Where the path cannot be made absolute.
    pub fn new(dir: &Path) -> Result<NodeDir> {
        let dir = std::path::absolute(dir).during(DOING, dir)?;
        Ok(NodeDir(dir))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory of the Garage process of the cluster with so many copies.
    pub fn process(&self, copies: u32) -> PathBuf {
        self.0.join(format!("garage-{copies}"))
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    fn metadata(&self, copies: u32) -> PathBuf {
        Process::metadata(&self.process(copies))
    }

    /// A file that the node with which a cluster begins has. It goes with the disk: one that comes back with an
    /// empty one must not begin anew.
    pub(crate) fn first(&self, copies: u32) -> PathBuf {
        self.metadata(copies).join("first")
    }

    /// A file that is there once the node has had a role. It goes with the disk.
    pub(crate) fn had_role(&self, copies: u32) -> PathBuf {
        self.metadata(copies).join("had-role")
    }

    /// The name of the disk on which the metadata are: a random one, that another disk does not have.
    pub(crate) fn disk(&self, copies: u32) -> Result<String> {
        let path = self.disk_path(copies);
        match std::fs::read_to_string(&path) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.name_disk(copies),
            Err(error) => Err(Error::io(error, "read the name of a disk").with_path(path)),
        }
    }

    /// Gives the disk another name, as if it were another one.
    pub(crate) fn name_disk(&self, copies: u32) -> Result<String> {
        let (name, path) = (random_hex(8)?, self.disk_path(copies));
        files::write("name a disk", &path, files::SECRET, name.as_bytes())?;
        Ok(name)
    }

    fn disk_path(&self, copies: u32) -> PathBuf {
        self.metadata(copies).join("disk")
    }

    /// A file that is there from when a node with a new disk asks for what was on the old one until it has all.
    pub(crate) fn lacks(&self, copies: u32) -> PathBuf {
        self.metadata(copies).join("lacks")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("ca")
    }

    pub(crate) fn certificate(&self) -> Files {
        Files::of(&self.0, "server")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn settings_path(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    fn secrets_path(&self) -> PathBuf {
        self.0.join("secrets.toml")
    }

    /// Reads `node.toml`.
    ///
    /// # Errors
    /// `NotFound` where there is no node, `Usage` for a file that is not what it should be.
    pub fn settings(&self) -> Result<NodeSettings> {
        let path = self.settings_path();
        let settings: NodeSettings = read(&path)?;
        settings.check().map_err(|error| error.with_path(&path))?;
        Ok(settings)
    }

    pub(crate) fn secrets(&self) -> Result<Secrets> {
        let path = self.secrets_path();
        let secrets: Secrets = read(&path)?;
        match secrets.version == VERSION {
            true => Ok(secrets),
            false => Err(other_version(secrets.version).with_path(path)),
        }
    }

    pub(crate) fn write(&self, settings: &NodeSettings, secrets: &Secrets) -> Result<()> {
        write(&self.secrets_path(), secrets)?;
        // The last: a directory with it is a node.
        write(&self.settings_path(), settings)
    }

    /// Its number.
    ///
    /// # Errors
    /// `NotFound` where there is no node.
    pub fn id(&self) -> Result<String> {
        crate::NodeKey::read_id(&self.key())
    }
}

impl NodeSettings {
    pub(crate) fn new(
        host: String,
        zone: Option<String>,
        listen: IpAddr,
        port: u16,
    ) -> NodeSettings {
        NodeSettings {
            version: VERSION,
            // Unless somebody says that machines fail together they do not.
            zone: zone.unwrap_or_else(|| host.clone()),
            host,
            listen,
            port,
            copies: Vec::new(),
            garage: None,
            capacity: None,
            metadata_fsync: true,
            data_fsync: true,
            peers: Vec::new(),
        }
    }

    /// The address for clients.
    pub fn front(&self) -> String {
        host_port(&self.host, self.port)
    }

    pub(crate) fn capacity(&self) -> Result<Option<u64>> {
        self.capacity.as_deref().map(parse_size).transpose()
    }

    pub(crate) fn rpc_port(port: u16, copies: u32) -> Result<u16> {
        u16::try_from(copies)
            .ok()
            .and_then(|copies| port.checked_add(copies))
            .ok_or_else(|| usage(format!("there is no port {port} + {copies}")))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.version != VERSION {
            return Err(other_version(self.version));
        }
        if self.copies.is_empty() || self.copies.iter().any(|it| !(1..=7).contains(it)) {
            return Err(usage("`copies` has to list numbers from 1 to 7".to_owned()));
        }
        let mut unique = self.copies.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() != self.copies.len() {
            return Err(usage("`copies` lists a number twice".to_owned()));
        }
        if self.port == 0 {
            return Err(usage(
                "`port` must not be 0: others have to know it".to_owned(),
            ));
        }
        for copies in &self.copies {
            NodeSettings::rpc_port(self.port, *copies)?;
        }
        let name = |what: &str, text: &str| match text.is_empty()
            || text.chars().any(|it| it.is_whitespace() || it.is_control())
        {
            true => Err(usage(format!("`{what}` is empty or has spaces in it"))),
            false => Ok(()),
        };
        name("host", &self.host)?;
        name("zone", &self.zone)?;
        let unspecified = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
        if unspecified(&self.host) {
            let why = "`host` is what others connect to: it cannot be the number for all addresses";
            return Err(usage(why.to_owned()));
        }
        self.capacity().map(drop)
    }
}

/// `HOST:PORT`, with brackets where they are needed.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

pub(crate) fn usage(why: String) -> Error {
    Error::new(ErrorKind::Usage, DOING).because(why)
}

fn other_version(version: u32) -> Error {
    usage(format!(
        "it has version {version}, and this program reads version {VERSION}"
    ))
}

impl Secrets {
    pub(crate) fn new(admin_token: String, cluster: Vec<ClusterSecrets>) -> Secrets {
        Secrets {
            version: VERSION,
            admin_token,
            cluster,
        }
    }

    pub(crate) fn of(&self, copies: u32) -> Result<&ClusterSecrets> {
        let found = self.cluster.iter().find(|it| it.copies == copies);
        found.ok_or_else(|| {
            usage(format!(
                "there are no secrets of a cluster with {copies} copies, which `copies` lists"
            ))
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .during(DOING, path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.hint(
                "There is no node here: make the first one with `durum node init`, others with `durum node join`.",
            ),
            _ => error,
        })?;
    toml::from_str(&text).map_err(|error| usage(error.message().to_owned()).with_path(path))
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = toml::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Other, DOING).caused_by(error))?;
    files::write(
        "write a node's settings",
        path,
        files::SECRET,
        text.as_bytes(),
    )
}
