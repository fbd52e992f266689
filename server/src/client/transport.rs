//! Bytes to a server and from it, whatever kind of connection it is.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durum_core::config::ServerLocation;
use durum_core::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::{ClientConfig, ClientConnection};
use socket2::{SockRef, TcpKeepalive};

use crate::address::Address;
use crate::tls::{Identity, client_config, server_name};

const DOING: &str = "connect to the server";
/// Encrypted bytes that are read at once.
const RAW_BYTES: usize = 64 << 10;

/// How to connect: files are read once.
#[derive(Clone, Debug)]
pub(super) struct Route {
    location: ServerLocation,
    address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl Route {
    /// # Errors
    /// `Usage` for a bad address, and for files of TLS that cannot be used.
    pub(super) fn new(location: &ServerLocation) -> Result<Route> {
        let tls = location.tls.as_ref().map(|files| {
            let identity = files.identity.as_ref();
            let identity = identity.map(|(certificate, key)| Identity::new(certificate, key));
            client_config(&files.ca, identity.as_ref())
        });
        Ok(Route {
            location: location.clone(),
            address: location.address.parse()?,
            tls: tls.transpose()?,
        })
    }

    /// The server, for messages.
    pub(super) fn url(&self) -> String {
        self.location.to_string()
    }

    /// Connects. A read that gets nothing for `silence` ends with `WouldBlock`.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers within `time`; `Usage` for a host that nobody knows.
    pub(super) fn connect(&self, time: Duration, silence: Duration) -> Result<Transport> {
        let cannot = |error: io::Error| {
            let why = format!("{}: {error}", self.url());
            let unreachable = Error::io(error, DOING).with_kind(ErrorKind::Unreachable);
            unreachable
                .because(why)
                .hint("Is the server running, and does it listen there?")
        };
        let socket = match &self.address {
            Address::Tcp { host, port } => Socket::Tcp(tcp(host, *port, time).map_err(cannot)?),
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).map_err(cannot)?),
            Address::Abstract(name) => Socket::Unix(connect_abstract(name).map_err(cannot)?),
        };
        socket.set_silence(silence).map_err(cannot)?;
        let tls = match (&self.tls, &self.address, &socket) {
            (Some(config), Address::Tcp { host, .. }, Socket::Tcp(stream)) => {
                let tls = Tls::shake_hands(config, host, stream).map_err(|error| match error {
                    Handshake::Name(error) => error,
                    Handshake::Failed(error) => cannot(error),
                })?;
                Some(Mutex::new(tls))
            }
            _ => None,
        };
        Ok(Transport {
            socket,
            tls,
            silence,
        })
    }
}

/// A connection. One thread may send while another receives.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    tls: Option<Mutex<Tls>>,
    silence: Duration,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Tls {
    connection: ClientConnection,
    /// Encrypted bytes that have arrived, to be reused.
    raw: Vec<u8>,
    /// What was decrypted, and from where on it was not handed out.
    plain: Vec<u8>,
    position: usize,
    /// Whether the server has said that nothing more comes.
    ended: bool,
}

/// Why TLS could not be begun.
enum Handshake {
    Name(Error),
    Failed(io::Error),
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tls")
    }
}

/// What became of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// So many bytes; for the rest there is no room yet.
    Part(usize),
}

impl Transport {
    /// The bytes to send for `plain`. One thread at a time, which sends them before the next.
    pub(super) fn seal(&self, plain: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(tls) = &self.tls else {
            return Ok(None);
        };
        let connection = &mut lock(tls).connection;
        connection.writer().write_all(plain)?;
        let mut sealed = Vec::with_capacity(plain.len() + 64);
        while connection.wants_write() {
            connection.write_tls(&mut sealed)?;
        }
        Ok(Some(sealed))
    }

    /// Sends bytes as they are, as many as there is room for.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(self.socket.fd(), rest, flags) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Sent::Part(sent)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Sent::All)
    }

    /// Waits until there is room to send, or something has come; false where nothing happens for too long.
    pub(super) fn wait(&self) -> io::Result<bool> {
        let flags = PollFlags::IN | PollFlags::OUT;
        let silence = Timespec::try_from(self.silence).ok();
        loop {
            match poll(
                &mut [PollFd::new(&self.socket.fd(), flags)],
                silence.as_ref(),
            ) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until there is room to send, but no longer than `time`.
    pub(super) fn wait_to_send(&self, time: Duration) -> io::Result<()> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(
            &mut [PollFd::new(&self.socket.fd(), PollFlags::OUT)],
            Some(&time),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what has arrived, at least a byte, for which it waits; 0 where the server has closed the
    /// connection. `now`: without waiting.
    pub(super) fn receive(&self, out: &mut Vec<u8>, bytes: usize, now: bool) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return self.receive_raw(out, bytes, now);
        };
        loop {
            let mut raw = {
                let tls = &mut *lock(tls);
                if let Some(count) = tls.read(out, bytes)? {
                    return Ok(count);
                }
                std::mem::take(&mut tls.raw)
            };
            raw.clear();
            // Whoever sends needs the lock meanwhile.
            let received = self.receive_raw(&mut raw, RAW_BYTES, now);
            let tls = &mut *lock(tls);
            tls.accept(&mut raw.as_slice(), received?)?;
            tls.raw = raw;
        }
    }

    fn receive_raw(&self, out: &mut Vec<u8>, bytes: usize, now: bool) -> io::Result<usize> {
        /// No more memory is taken than soon arrives, whatever a length says.
        const BYTES_MAX: usize = 1 << 20;
        let (begin, bytes) = (out.len(), bytes.min(BYTES_MAX));
        let flags = match now {
            true => RecvFlags::DONTWAIT,
            false => RecvFlags::empty(),
        };
        out.reserve(bytes);
        loop {
            match recv(self.socket.fd(), rustix::buffer::spare_capacity(out), flags) {
                Ok(_) => return Ok(out.len() - begin),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends the connection for all threads that use it.
    pub(super) fn close(&self) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(std::net::Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(std::net::Shutdown::Both),
        };
    }
}

impl Tls {
    /// Agrees with the server on how to encrypt.
    fn shake_hands(
        config: &Arc<ClientConfig>,
        host: &str,
        mut socket: &TcpStream,
    ) -> Result<Tls, Handshake> {
        let name = server_name(host).map_err(Handshake::Name)?;
        let connection = ClientConnection::new(config.clone(), name);
        let invalid = |error| Handshake::Failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let mut connection = connection.map_err(invalid)?;
        connection.set_buffer_limit(None);
        while connection.is_handshaking() {
            connection
                .complete_io(&mut socket)
                .map_err(Handshake::Failed)?;
        }
        Ok(Tls {
            connection,
            raw: Vec::new(),
            plain: Vec::new(),
            position: 0,
            ended: false,
        })
    }

    /// Appends what has been decrypted; `None` where there is nothing yet.
    fn read(&mut self, out: &mut Vec<u8>, bytes: usize) -> io::Result<Option<usize>> {
        if self.position == self.plain.len() {
            self.plain.clear();
            self.position = 0;
            self.decrypt()?;
        }
        let rest = self.plain.get(self.position..).unwrap_or_default();
        let some = rest.get(..bytes).unwrap_or(rest);
        out.extend_from_slice(some);
        self.position += some.len();
        match (some.len(), self.ended) {
            (0, false) => Ok(None),
            (count, _) => Ok(Some(count)),
        }
    }

    /// Takes what the connection has decrypted.
    fn decrypt(&mut self) -> io::Result<()> {
        match self.connection.reader().read_to_end(&mut self.plain) {
            Ok(_) => self.ended = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn accept(&mut self, raw: &mut &[u8], count: usize) -> io::Result<()> {
        if count == 0 {
            self.connection.read_tls(&mut io::empty())?;
        }
        while !raw.is_empty() {
            // None is taken after the server has said that nothing more comes.
            if self.connection.read_tls(raw)? == 0 {
                break;
            }
            let processed = self.connection.process_new_packets();
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // It holds no more than a record of that.
            self.decrypt()?;
        }
        Ok(())
    }
}

impl Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }

    fn set_silence(&self, silence: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_read_timeout(Some(silence)),
            Socket::Unix(socket) => socket.set_read_timeout(Some(silence)),
        }
    }
}

fn lock(tls: &Mutex<Tls>) -> MutexGuard<'_, Tls> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries all addresses that the host has.
fn tcp(host: &str, port: u16, time: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30));
                SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(target_os = "linux")]
fn connect_abstract(name: &str) -> io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &str) -> io::Result<UnixStream> {
    Err(io::ErrorKind::Unsupported.into())
}
