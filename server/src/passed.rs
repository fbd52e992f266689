//! Sockets that the process was started with.

use std::os::fd::OwnedFd;

use durum_core::{Error, ErrorKind, Result};
use listenfd::ListenFd;
use socket2::Socket;

use crate::listener::Listener;

const DOING: &str = "take over the sockets that systemd has passed";

/// Sockets that whoever started the process has opened for it, as systemd does for a `.socket` unit: clients
/// can connect while the server starts, and ports need no rights of its own.
#[derive(Debug, Default)]
pub struct Passed(Vec<Socket>);

impl Passed {
    /// Those that the environment announces (`LISTEN_FDS`, `LISTEN_PID`), which says so no more after that.
    /// To be called once, before there are other threads.
    ///
    /// # Errors
    /// `Usage` for one at which stream clients cannot connect.
    pub fn take() -> Result<Passed> {
        let mut announced = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..announced.len() {
            let tcp = announced.take_tcp_listener(place);
            let taken = match tcp {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => announced
                    .take_unix_listener(place)
                    .map_err(|_| unfit(place))?
                    .map(OwnedFd::from),
            };
            let socket = Socket::from(taken.ok_or_else(|| unfit(place))?);
            match socket.is_listener() {
                Ok(true) => sockets.push(socket),
                _ => return Err(unfit(place)),
            }
        }
        Ok(Passed(sockets))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has them accept connections.
    pub(crate) fn listen(self) -> Result<Vec<Listener>> {
        let adopted = self.0.into_iter().map(Listener::adopt);
        adopted
            .collect::<std::io::Result<_>>()
            .map_err(|error| Error::io(error, DOING))
    }
}

fn unfit(place: usize) -> Error {
    Error::new(ErrorKind::Usage, DOING)
        .because(format!(
            "number {} of them is no stream socket that listens",
            place + 1
        ))
        .hint("The socket unit needs `ListenStream=` and `Accept=no`.")
}
