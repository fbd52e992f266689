//! One Garage process: its directory, its configuration, its sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, Result};
use durum_garage::REGION;
use durum_server::Address;
use serde::Serialize;

use crate::files;

const DOING: &str = "write Garage's configuration";
/// The longest path of a Unix-domain socket on Linux, in bytes.
const SOCKET_PATH_MAX: usize = 107;
/// How long a process waits for another one that says nothing, before a reader gets its data from a third. Garage
/// has 300 s, which is longer than anybody waits. Less would cut off transfers over slow lines.
const RPC_TIME_MAX_MS: u32 = 10_000;

/// What a Garage process is started with.
///
/// Its interfaces for clients are Unix-domain sockets in a directory that only its owner enters: they cannot be
/// reached from elsewhere, need no ports, and do not wait for acknowledgements as TCP does, which on loopback cost
/// 40 ms now and then because Garage does not set `TCP_NODELAY`.
#[derive(Clone, Debug)]
pub struct Process {
    /// Everything that belongs to it is there.
    pub dir: PathBuf,
    /// How many copies its cluster keeps.
    pub copies: u32,
    /// Where it listens to other nodes.
    pub rpc_bind: SocketAddr,
    /// Where other nodes reach it: `HOST:PORT`.
    pub rpc_public: String,
    /// Other nodes, `ID@HOST:PORT` each.
    pub peers: Vec<String>,
    /// What all nodes of the cluster know, and nobody else: 64 hexadecimal digits.
    pub rpc_secret: String,
    /// What its administrators know.
    pub admin_token: String,
    /// Whether what it has acknowledged survives a loss of power: metadata, and so items.
    pub metadata_fsync: bool,
    /// The same of objects.
    pub data_fsync: bool,
}

/// Where a process is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// K2V.
    pub k2v: PathBuf,
    /// S3.
    pub s3: PathBuf,
    /// Administration.
    pub admin: PathBuf,
}

impl Sockets {
    /// Those of the process in a directory.
    pub fn of(dir: &Path) -> Sockets {
        Sockets {
            k2v: dir.join("k2v.sock"),
            s3: dir.join("s3.sock"),
            admin: dir.join("admin.sock"),
        }
    }

    /// The address of one of them.
    pub fn address(path: &Path) -> Address {
        Address::Unix(path.to_path_buf())
    }
}

#[derive(Serialize)]
struct Config<'a> {
    metadata_dir: &'a Path,
    data_dir: &'a Path,
    db_engine: &'static str,
    replication_factor: u32,
    rpc_timeout_msec: u32,
    consistency_mode: &'static str,
    metadata_fsync: bool,
    data_fsync: bool,
    rpc_secret: &'a str,
    rpc_bind_addr: String,
    rpc_public_addr: &'a str,
    bootstrap_peers: &'a [String],
    s3_api: S3Api<'a>,
    k2v_api: K2vApi<'a>,
    admin: AdminApi<'a>,
}

#[derive(Serialize)]
struct S3Api<'a> {
    s3_region: &'static str,
    api_bind_addr: &'a Path,
}

#[derive(Serialize)]
struct K2vApi<'a> {
    api_bind_addr: &'a Path,
}

#[derive(Serialize)]
struct AdminApi<'a> {
    api_bind_addr: &'a Path,
    admin_token: &'a str,
}

impl Process {
    /// The directory of Garage's metadata, of which the node's key is a part.
    pub fn metadata(dir: &Path) -> PathBuf {
        dir.join("meta")
    }

    /// The file that Garage is started with.
    pub fn config_path(dir: &Path) -> PathBuf {
        dir.join("garage.toml")
    }

    /// Makes the directories and writes the configuration.
    ///
    /// # Errors
    /// `Usage` for a directory whose name is too long, and those of the file system.
    pub fn write(&self) -> Result<()> {
        let dir = std::path::absolute(&self.dir)
            .map_err(|error| Error::io(error, DOING).with_path(&self.dir))?;
        check_sockets(&dir)?;
        let sockets = Sockets::of(&dir);
        if dir.to_str().is_none() {
            return Err(Error::new(ErrorKind::Usage, DOING)
                .with_path(&dir)
                .because("its name is not UTF-8, which configurations have to be"));
        }
        let (metadata, data) = (Process::metadata(&dir), dir.join("data"));
        files::make_dir(DOING, &metadata)?;
        files::make_dir(DOING, &data)?;
        let config = Config {
            metadata_dir: &metadata,
            data_dir: &data,
            db_engine: "lmdb",
            replication_factor: self.copies,
            rpc_timeout_msec: RPC_TIME_MAX_MS,
            consistency_mode: "consistent",
            metadata_fsync: self.metadata_fsync,
            data_fsync: self.data_fsync,
            rpc_secret: &self.rpc_secret,
            rpc_bind_addr: self.rpc_bind.to_string(),
            rpc_public_addr: &self.rpc_public,
            bootstrap_peers: &self.peers,
            s3_api: S3Api {
                s3_region: REGION,
                api_bind_addr: &sockets.s3,
            },
            k2v_api: K2vApi {
                api_bind_addr: &sockets.k2v,
            },
            admin: AdminApi {
                api_bind_addr: &sockets.admin,
                admin_token: &self.admin_token,
            },
        };
        let text = toml::to_string(&config)
            .map_err(|error| Error::new(ErrorKind::Other, DOING).caused_by(error))?;
        files::write(
            DOING,
            &Process::config_path(&dir),
            files::SECRET,
            text.as_bytes(),
        )
    }
}

/// Whether the names of the sockets in an absolute directory are short enough for the system.
pub(crate) fn check_sockets(dir: &Path) -> Result<()> {
    let length = Sockets::of(dir).admin.as_os_str().len();
    match length > SOCKET_PATH_MAX {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::Usage, DOING)
            .with_path(dir)
            .because(format!(
                "the sockets in it would have names of {length} bytes, and the system allows {SOCKET_PATH_MAX}"
            ))
            .hint("Choose a directory with a shorter path.")),
    }
}
