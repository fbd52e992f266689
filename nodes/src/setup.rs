//! How nodes come into being: `init`, `invite`, `join`.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_garage::{CLUSTER_FILE, CLUSTER_VERSION, ClusterAccess, ClusterFile, NodeAddress};
use durum_server::tls::issue::{Authority, Files, How, check_client, make_authority};

use crate::files;
use crate::invitation::{Invitation, LENGTH_MAX};
use crate::key::{NodeKey, random_hex};
use crate::overview::list;
use crate::process::{Process, check_sockets};
use crate::settings::{ClusterSecrets, NodeDir, NodeSettings, Peer, Secrets, host_port};

const DOING: &str = "make a node";
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Authority and certificates alike: nobody is there to renew those of nodes.
const VALID: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What is said of a new node.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// The name or the IP number by which others reach it.
    pub host: String,
    /// Where it is; else its host is taken for a zone.
    pub zone: Option<String>,
    /// The IP number on which it listens.
    pub listen: IpAddr,
    /// The port for clients.
    pub port: u16,
    /// The Garage program.
    pub garage: Option<PathBuf>,
    /// How much it takes, such as `100GiB`.
    pub capacity: Option<String>,
}

/// Makes the first node, of a new cluster for each number of copies; its number.
///
/// # Errors
/// `Exists` where there is a node, `Usage` for what cannot be.
pub fn init(dir: &NodeDir, node: NewNode, copies: &[u32]) -> Result<String> {
    let mut settings = settings(node);
    settings.copies = copies.to_vec();
    prepare(dir, &settings)?;
    let clusters: Result<Vec<ClusterSecrets>> = copies
        .iter()
        .map(|copies| {
            Ok(ClusterSecrets {
                copies: *copies,
                rpc_secret: random_hex(32)?,
                access_key: format!("GK{}", random_hex(12)?),
                secret_key: random_hex(32)?,
            })
        })
        .collect();
    files::make_dir(DOING, &dir.authority())?;
    make_authority(&dir.authority(), None, VALID)?;
    for copies in copies {
        files::make_dir(DOING, &Process::metadata(&dir.process(*copies)))?;
        files::write(DOING, &dir.first(*copies), files::SECRET, b"")?;
    }
    finish(dir, &settings, clusters?)
}

/// Makes another node; its number.
///
/// # Errors
/// As [`init`].
pub fn join(dir: &NodeDir, node: NewNode, invitation: &str) -> Result<String> {
    let invitation = Invitation::parse(invitation)?;
    let mut settings = settings(node);
    settings.copies = invitation.cluster.iter().map(|it| it.copies).collect();
    settings.peers = invitation.peers;
    prepare(dir, &settings)?;
    let authority = Files::of(&dir.authority(), "ca");
    files::make_dir(DOING, &dir.authority())?;
    let text = invitation.ca_certificate.as_bytes();
    files::write(DOING, &authority.certificate, files::SECRET, text)?;
    let text = invitation.ca_key.as_bytes();
    files::write(DOING, &authority.key, files::SECRET, text)?;
    finish(dir, &settings, invitation.cluster)
}

/// Reads an invitation from a file.
///
/// # Errors
/// `NotFound` where there is none, `Usage` for a file that is none.
pub fn read_invitation(from: impl std::io::Read, path: &Path) -> Result<String> {
    const DOING: &str = "read an invitation";
    let mut text = Vec::new();
    let mut from = from.take(LENGTH_MAX);
    from.read_to_end(&mut text).during(DOING, path)?;
    String::from_utf8(text).map_err(|error| {
        Error::new(ErrorKind::Usage, DOING)
            .with_path(path)
            .because("this is no invitation")
            .caused_by(error)
    })
}

/// An invitation for another node, which any node can make.
///
/// # Errors
/// `NotFound` where there is no node.
pub fn invite(dir: &NodeDir) -> Result<String> {
    let (settings, secrets) = (dir.settings()?, dir.secrets()?);
    let authority = Files::of(&dir.authority(), "ca");
    let text = |path: &Path| fs::read_to_string(path).during("make an invitation", path);
    Invitation {
        cluster: secrets.cluster,
        ca_certificate: text(&authority.certificate)?,
        ca_key: text(&authority.key)?,
        peers: known(dir, settings)?,
    }
    .to_text()
}

/// This node and all that it knows, should one of them be lost: while it runs those that are there now, and else
/// those that were there when it joined.
fn known(dir: &NodeDir, settings: NodeSettings) -> Result<Vec<Peer>> {
    let mut known = vec![Peer {
        id: dir.id()?,
        host: settings.host,
        port: settings.port,
    }];
    let listed = list(dir).unwrap_or_default().into_iter().filter_map(|row| {
        let address = NodeAddress::front(row.address.as_deref()?);
        match address.ok()? {
            NodeAddress::Front { host, port } => Some(Peer {
                id: row.id,
                host,
                port,
            }),
            NodeAddress::Direct { .. } => None,
        }
    });
    for peer in listed.chain(settings.peers) {
        if !known.iter().any(|it| it.id == peer.id) {
            known.push(peer);
        }
    }
    Ok(known)
}

/// Writes what a client needs into a new directory.
///
/// # Errors
/// `Exists` where the directory is not empty, `Usage` for a name that is none.
pub fn invite_client(dir: &NodeDir, name: &str, to: &Path) -> Result<()> {
    const DOING: &str = "invite a client";
    check_client(name)?;
    let (settings, secrets) = (dir.settings()?, dir.secrets()?);
    must_be_empty(DOING, to)?;
    files::make_dir(DOING, to)?;
    let authority = Authority::read(&dir.authority())?;
    let how = How {
        valid: YEAR,
        replace: false,
    };
    authority.make_client(Files::of(to, "client"), name, how)?;
    let ca = to.join("ca.pem");
    let text = fs::read(authority.path()).during(DOING, authority.path())?;
    files::write(DOING, &ca, files::SECRET, &text)?;
    let nodes = known(dir, settings)?;
    let nodes = nodes.iter().map(|it| host_port(&it.host, it.port));
    let file = ClusterFile {
        version: CLUSTER_VERSION,
        nodes: nodes.collect(),
        ca: "ca.pem".into(),
        certificate: "client.pem".into(),
        key: "client.key".into(),
        cluster: secrets
            .cluster
            .into_iter()
            .map(|it| ClusterAccess {
                copies: it.copies,
                access_key: it.access_key,
                secret_key: it.secret_key,
            })
            .collect(),
    };
    let text = toml::to_string(&file)
        .map_err(|error| Error::new(ErrorKind::Other, DOING).caused_by(error))?;
    files::write(
        DOING,
        &to.join(CLUSTER_FILE),
        files::SECRET,
        text.as_bytes(),
    )
}

fn settings(node: NewNode) -> NodeSettings {
    let mut settings = NodeSettings::new(node.host, node.zone, node.listen, node.port);
    settings.garage = node.garage;
    settings.capacity = node.capacity;
    settings
}

/// All that can be wrong is found before anything is written.
fn prepare(dir: &NodeDir, settings: &NodeSettings) -> Result<()> {
    settings.check()?;
    for copies in &settings.copies {
        check_sockets(&dir.process(*copies))?;
    }
    must_be_empty(DOING, dir.path())?;
    files::make_dir(DOING, dir.path())
}

fn must_be_empty(doing: &'static str, dir: &Path) -> Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Exists, doing)
                .with_path(dir)
                .because("there is something in this directory")
                .hint("Name a directory that is empty or does not exist.")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(error, doing).with_path(dir)),
    }
}

/// The node's own key and certificate, and its settings.
fn finish(dir: &NodeDir, settings: &NodeSettings, clusters: Vec<ClusterSecrets>) -> Result<String> {
    let key = NodeKey::generate()?;
    files::make_dir(DOING, &dir.key())?;
    key.write(&dir.key())?;
    for copies in &settings.copies {
        // One key for all its clusters: they have different secrets, and the node one name.
        let metadata = Process::metadata(&dir.process(*copies));
        files::make_dir(DOING, &metadata)?;
        key.write(&metadata)?;
    }
    let how = How {
        valid: VALID,
        replace: false,
    };
    let authority = Authority::read(&dir.authority())?;
    let hosts = [settings.host.clone()];
    authority.make_server(dir.certificate(), &hosts, how)?;
    dir.write(settings, &Secrets::new(random_hex(32)?, clusters))?;
    Ok(key.id())
}
