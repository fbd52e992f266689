//! Sockets that accept connections.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, UnixListener};

use crate::address::Address;
use crate::stream::Stream;

const DOING: &str = "listen";
/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// After so long without a word the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A socket that is bound and accepts connections.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// What is to be removed in the end.
        path: Option<PathBuf>,
    },
}

impl Listener {
    /// Binds the address; of a host name all that it stands for.
    ///
    /// # Errors
    /// `InUse` where somebody listens there, `Usage` for a host that nobody knows.
    pub(crate) fn bind(address: &Address) -> Result<Vec<Listener>> {
        match address {
            Address::Tcp { host, port } => tcp(address, host, *port),
            Address::Unix(path) => {
                let listener = bind_path(path).map_err(|error| cannot(address, error))?;
                let path = Some(path.clone());
                Ok(vec![Listener::unix(listener, address.clone(), path)?])
            }
            Address::Abstract(name) => {
                let listener = bind_abstract(name).map_err(|error| cannot(address, error))?;
                Ok(vec![Listener::unix(listener, address.clone(), None)?])
            }
        }
    }

    /// One that was bound before this process began.
    pub(crate) fn adopt(socket: socket2::Socket) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        if let Some(local) = local.as_socket() {
            let listener = TcpListener::from_std(socket.into())?;
            let address = Address::Tcp {
                host: local.ip().to_string(),
                port: local.port(),
            };
            let socket = Socket::Tcp(listener);
            return Ok(Listener { socket, address });
        }
        let address = match (local.as_pathname(), local.as_abstract_namespace()) {
            (Some(path), _) => Address::Unix(path.to_path_buf()),
            (None, name) => {
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                Address::Abstract(name.into_owned())
            }
        };
        let listener = UnixListener::from_std(socket.into())?;
        // The path belongs to whoever has made it.
        let socket = Socket::Unix {
            listener,
            path: None,
        };
        Ok(Listener { socket, address })
    }

    fn unix(
        listener: unix::UnixListener,
        address: Address,
        path: Option<PathBuf>,
    ) -> Result<Listener> {
        let listener = nonblocking(listener).map_err(|error| cannot(&address, error))?;
        let socket = Socket::Unix { listener, path };
        Ok(Listener { socket, address })
    }

    /// Where it listens: with the port that the system has chosen.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection, and whose it is.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                Ok((Stream::Tcp(stream), Peer::Tcp(address)))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
                Ok((Stream::Unix(stream), Peer::Unix(process)))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix {
            path: Some(path), ..
        } = &self.socket
        {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The other side of a connection, for logs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp(std::net::SocketAddr),
    /// A process of this machine, by its number.
    Unix(Option<i32>),
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(out),
            Peer::Unix(Some(process)) => write!(out, "process:{process}"),
            Peer::Unix(None) => out.write_str("process"),
        }
    }
}

fn tcp(address: &Address, host: &str, port: u16) -> Result<Vec<Listener>> {
    let found = (host, port).to_socket_addrs().map_err(|error| {
        let wrong = Error::new(ErrorKind::Usage, DOING);
        wrong
            .because(format!("{address}: {error}"))
            .caused_by(error)
    })?;
    let mut listeners: Vec<Listener> = Vec::new();
    let mut absent = None;
    for mut one in found {
        if let Some(Address::Tcp { port, .. }) = listeners.first().map(Listener::address) {
            // Where the system chooses the port it is the same for all of a host's addresses.
            one.set_port(*port);
        }
        let bound = bind_tcp(one).and_then(|listener| {
            let local = listener.local_addr()?;
            let listener = TcpListener::from_std(listener)?;
            Ok((listener, local))
        });
        let (listener, local) = match bound {
            Ok(bound) => bound,
            // A name can stand for addresses that this machine does not have, such as those of IPv6.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                absent = Some(error);
                continue;
            }
            Err(error) => return Err(cannot(address, error)),
        };
        listeners.push(Listener {
            socket: Socket::Tcp(listener),
            address: Address::Tcp {
                host: local.ip().to_string(),
                port: local.port(),
            },
        });
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(cannot(address, error)),
        _ => Ok(listeners),
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // Connections of a server that has just ended do not keep the next one from listening.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The IPv4 address of the same name has a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a path. A socket there that nobody listens at is what a killed server has left.
fn bind_path(path: &Path) -> io::Result<unix::UnixListener> {
    match unix::UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            unix::UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn is_abandoned(path: &Path) -> bool {
    let metadata = std::fs::symlink_metadata(path);
    if !metadata.is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return false;
    }
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    unix::UnixStream::connect(path).is_err_and(refused)
}

#[cfg(target_os = "linux")]
fn bind_abstract(name: &str) -> io::Result<unix::UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    unix::UnixListener::bind_addr(&unix::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn bind_abstract(_: &str) -> io::Result<unix::UnixListener> {
    Err(io::ErrorKind::Unsupported.into())
}

fn nonblocking(listener: unix::UnixListener) -> io::Result<UnixListener> {
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn cannot(address: &Address, error: io::Error) -> Error {
    let in_use = error.kind() == io::ErrorKind::AddrInUse;
    let why = format!("{address}: {error}");
    let error = Error::io(error, DOING).because(why);
    match in_use {
        true => error
            .with_kind(ErrorKind::InUse)
            .hint("Another server listens there: stop it, or choose another address."),
        false => error,
    }
}
