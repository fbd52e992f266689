//! A connection on which both sides have agreed how to speak.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};

use super::connection::{Answer, Connection, Ticket};
use super::transport::{Route, Sent, Transport};
use crate::protocol::bytes::Body;
use crate::protocol::describe::{self, Welcome};
use crate::protocol::{Kind, Status, VERSION, failure};

/// A connection on which both sides have agreed how to speak.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Arc<Connection>,
    pub(super) welcome: Welcome,
    /// Which of a client's connections it is.
    pub(super) generation: u64,
}

impl Link {
    /// Connects, and asks what is served.
    ///
    /// # Errors
    /// `Unreachable`, also where the other side is silent for twice `silence`; `Unsupported` where it speaks
    /// only Durus's protocol.
    pub(super) fn connect(
        route: &Route,
        time: Duration,
        silence: Duration,
        generation: u64,
    ) -> Result<Link> {
        let connection = open(route, time, silence)?;
        Link::greet(connection, generation)
    }

    /// Asks what is served, on a connection that there is already.
    pub(super) fn greet(connection: Arc<Connection>, generation: u64) -> Result<Link> {
        let answer = connection.ask(Kind::Hello, |_| {})?.wait()?;
        let welcome = describe::take(&body_of(answer)?)?;
        Ok(Link {
            connection,
            welcome,
            generation,
        })
    }

    /// Sends a request.
    pub(super) fn ask(&self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> Result<Ticket> {
        self.connection.ask(kind, fill)
    }

    /// Sends a request and waits for the answer's body.
    pub(super) fn call(&self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
        call(&self.connection, kind, fill)
    }
}

/// Connects, without asking what is served.
pub(super) fn open(route: &Route, time: Duration, silence: Duration) -> Result<Arc<Connection>> {
    let transport = route.connect(time, silence)?;
    agree(&transport, &route.url())?;
    Ok(Arc::new(Connection::new(transport)))
}

/// Sends a request and waits for the answer's body.
pub(super) fn call(
    connection: &Arc<Connection>,
    kind: Kind,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>> {
    body_of(connection.ask(kind, fill)?.wait()?)
}

/// The body of an answer, unless it is an error.
pub(super) fn body_of(answer: Answer) -> Result<Vec<u8>> {
    receipt_of(answer).map_err(|error| match error.kind() {
        // Only this side knows whether the server can be reached.
        ErrorKind::Unreachable => error.with_kind(ErrorKind::Other),
        _ => error,
    })
}

/// As [`body_of`], for a commit: where the server cannot reach its database, what has become of the commit is as open as
/// if the server itself were out of reach.
pub(super) fn receipt_of(answer: Answer) -> Result<Vec<u8>> {
    if answer.status == Status::Done as u8 {
        return Ok(answer.body);
    }
    Err(failure::take(&mut Body::new(&answer.body)).unwrap_or_else(nonsense))
}

/// An answer that is not what it should be.
pub(super) fn nonsense() -> Error {
    Error::new(ErrorKind::Other, "speak with the server")
        .because("its answer makes no sense")
        .hint("Is it a server of Durum, and of a version that fits?")
}

/// Asks for this protocol.
fn agree(transport: &Transport, url: &str) -> Result<()> {
    let failed = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::WouldBlock => "it does not answer".to_owned(),
            _ => error.to_string(),
        };
        Error::new(ErrorKind::Unreachable, "connect to the server")
            .because(format!("{url}: {why}"))
            .caused_by(error)
    };
    let mut hello = vec![b'V'];
    hello.extend_from_slice(&VERSION.to_be_bytes());
    let sealed = transport.seal(&hello).map_err(failed)?;
    let mut rest = sealed.as_deref().unwrap_or(&hello);
    while let Sent::Part(count) = transport.send(rest).map_err(failed)? {
        rest = rest.get(count..).unwrap_or_default();
        if !transport.wait().map_err(failed)? {
            return Err(failed(io::ErrorKind::WouldBlock.into()));
        }
    }
    let (mut answer, begin) = (Vec::new(), Instant::now());
    while answer.len() < 4 {
        let missing = 4 - answer.len();
        match transport.receive(&mut answer, missing, false) {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        // Byte by byte it could take for ever.
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(failed(io::ErrorKind::WouldBlock.into()));
        }
    }
    match answer.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
        Some(VERSION) => Ok(()),
        Some(1) => Err(Error::new(ErrorKind::Unsupported, "connect to the server")
            .because(format!("{url} speaks only Durus's own protocol"))
            .hint("It can be read by `durum migrate`.")),
        _ => Err(nonsense()),
    }
}
