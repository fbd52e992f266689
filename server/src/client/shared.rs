//! What a store behind a server shares with its snapshots: the connection, which is made anew when it is
//! lost.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use durum_core::engine::Capabilities;
use durum_core::record::{Codecs, Payload};
use durum_core::{Error, ErrorKind, Result, StoreId, Tid};

use super::link::Link;
use super::sessions::Sessions;
use super::transport::Route;
use crate::protocol::Kind;
use crate::protocol::bytes::put_u64;

/// How a client behaves where a server is slow or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long it may take to connect.
    pub connect_time_max: Duration,
    /// After so long without a byte the server is asked for one, and after as long again it is given up.
    pub silence: Duration,
    /// For how long a connection that was lost is tried to be made again.
    pub patience: Duration,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            connect_time_max: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }
}

/// The first pause between two attempts to connect; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a store behind a server shares with its snapshots.
#[derive(Debug)]
pub(super) struct Shared {
    route: Route,
    options: ClientOptions,
    pub(super) id: StoreId,
    pub(super) engine: Capabilities,
    pub(super) codecs: Codecs,
    pub(super) sessions: Mutex<Sessions>,
    current: Mutex<Arc<Link>>,
    /// The number of the next snapshot.
    pub(super) snapshots: AtomicU32,
    /// The newest commit that this client has heard of.
    heard: AtomicU64,
}

/// For how long something is tried again.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// Whether the error is only that the connection was lost, and it is not yet too late to try again.
    pub(super) fn bears(&mut self, error: &Error) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        error.kind() == ErrorKind::Unreachable && since.elapsed() < self.limit
    }
}

impl Shared {
    pub(super) fn connect(route: Route, options: ClientOptions) -> Result<Shared> {
        let link = Link::connect(&route, options.connect_time_max, options.silence, 0)?;
        Shared::over(route, options, link)
    }

    pub(super) fn over(route: Route, options: ClientOptions, link: Link) -> Result<Shared> {
        Ok(Shared {
            id: link.welcome.store_id()?,
            engine: (&link.welcome.engine).into(),
            codecs: Codecs::default(),
            sessions: Mutex::new(Sessions::default()),
            heard: AtomicU64::new(link.welcome.tid.0),
            current: Mutex::new(Arc::new(link)),
            snapshots: AtomicU32::new(1),
            route,
            options,
        })
    }

    /// The server, for messages.
    pub(super) fn url(&self) -> String {
        self.route.url()
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            limit: self.options.patience,
            since: None,
        }
    }

    /// The connection as it is, lost or not.
    pub(super) fn current(&self) -> Arc<Link> {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection; a new one where it was lost.
    ///
    /// # Errors
    /// `Unreachable` after the patience has ended; `Other` where another store is served now.
    pub(super) fn link(&self) -> Result<Arc<Link>> {
        // Others wait: one attempt is enough.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.connection.is_lost() {
            return Ok(current.clone());
        }
        let (mut patience, mut pause) = (self.patience(), PAUSE_MIN);
        let link = loop {
            let time = self.options.connect_time_max;
            let generation = current.generation + 1;
            match Link::connect(&self.route, time, self.options.silence, generation) {
                Ok(link) => break Arc::new(link),
                Err(error) if patience.bears(&error) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        };
        if link.welcome.store_id()? != self.id {
            return Err(Error::new(ErrorKind::Other, "connect to the server")
                .because(format!("another store is served at {} now", self.url()))
                .hint("Open it anew."));
        }
        *current = link.clone();
        Ok(link)
    }

    /// Sends a request that may be sent again, and waits for the answer's body.
    pub(super) fn call(&self, kind: Kind, fill: impl Fn(&mut Vec<u8>)) -> Result<Vec<u8>> {
        self.with_link(|link| link.call(kind, &fill))
    }

    /// Does what may be done again on another connection.
    pub(super) fn with_link<T>(&self, work: impl Fn(&Link) -> Result<T>) -> Result<T> {
        let mut patience = self.patience();
        loop {
            match self.link().and_then(|link| work(&link)) {
                Err(error) if patience.bears(&error) => {}
                result => return result,
            }
        }
    }

    /// Notes a commit that there is.
    pub(super) fn hear(&self, tid: Tid) -> Tid {
        self.heard.fetch_max(tid.0, Ordering::AcqRel);
        tid
    }

    /// The newest commit that this client has heard of.
    pub(super) fn heard(&self) -> Tid {
        Tid(self.heard.load(Ordering::Acquire))
    }

    /// Sees to it that the payload can be decompressed.
    pub(super) fn need_dictionary(&self, payload: Payload<'_>) -> Result<()> {
        let Some(number) = payload.dictionary() else {
            return Ok(());
        };
        if !self.codecs.knows_dictionary(number) {
            let bytes = self.call(Kind::Dictionary, |out| put_u64(out, number))?;
            self.codecs.add_dictionary(number, &bytes);
        }
        Ok(())
    }
}
