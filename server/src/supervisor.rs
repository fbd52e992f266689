//! Telling systemd how the server is.
//!
//! The protocol is one datagram a message, so that there is no library for it here: those that exist do not
//! reach abstract sockets, which systemd may name as well.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tracing::warn;

/// Who has started the process and wants to hear when it is ready, when it stops, and that it lives.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`), if any. One
    /// that cannot be reached is only logged: the server works without.
    pub fn from_env() -> Option<Supervisor> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        match connect(&name) {
            Ok(socket) => Some(Supervisor {
                socket,
                watchdog: watchdog(),
            }),
            Err(error) => {
                let socket = name.to_string_lossy();
                warn!(socket = &*socket, %error, "systemd cannot be told how the server is");
                None
            }
        }
    }

    /// How often it wants to hear that the process lives: twice in the time after which it takes it for
    /// dead.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// Says that requests are answered from now on.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Says that the process lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Says that the process is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, what: &str) {
        if let Err(error) = self.socket.send(what.as_bytes()) {
            warn!(message = what, %error, "systemd could not be told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // It must not hold up the server.
    socket.set_nonblocking(true)?;
    match name.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => connect_abstract(&socket, name)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where it is meant for this process.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let process = std::env::var_os("WATCHDOG_PID");
    if process.is_some() && number("WATCHDOG_PID") != Some(u64::from(std::process::id())) {
        return None;
    }
    let time = number("WATCHDOG_USEC").filter(|time| *time > 0);
    time.map(Duration::from_micros)
}
