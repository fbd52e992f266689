//! What a store behind a server shares with its snapshots: the connection, which is made anew when it is
//! lost.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use durum_core::engine::{Capabilities, Durability};
use durum_core::record::{Codecs, Payload};
use durum_core::store::Batch;
use durum_core::{Error, ErrorKind, Result, StoreId, Tid};

use super::link::Link;
use super::sessions::Sessions;
use super::transport::Route;
use crate::protocol::Kind;
use crate::protocol::bytes::put_u64;
use crate::protocol::describe::{self, Welcome};

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
    /// What the server said when it was reached for the first time.
    pub(super) welcome: Welcome,
    pub(super) sessions: Mutex<Sessions>,
    current: Mutex<Current>,
    /// The number of the next snapshot.
    pub(super) snapshots: AtomicU32,
    /// The newest commit that this client has heard of.
    heard: AtomicU64,
    heard_at: Mutex<Instant>,
}

/// The connection, and since when there is no other.
#[derive(Debug)]
struct Current {
    link: Arc<Link>,
    failed: Option<(Instant, Error)>,
}

/// For how long something is tried again.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Whether the error is only that the connection was lost, and it is not yet too late to try again.
    pub(super) fn bears(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Unreachable {
            return false;
        }
        if self.begin().elapsed() >= self.limit {
            return false;
        }
        // The first time at once: mostly that is all that it takes.
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        true
    }

    /// From here on there is only so much of it.
    fn begin(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
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
            welcome: link.welcome.clone(),
            sessions: Mutex::new(Sessions::default()),
            heard: AtomicU64::new(link.welcome.tid.0),
            heard_at: Mutex::new(Instant::now()),
            current: Mutex::new(Current {
                link: Arc::new(link),
                failed: None,
            }),
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
            pause: Duration::ZERO,
        }
    }

    /// The connection as it is, lost or not; none while another one is made.
    pub(super) fn current(&self) -> Option<Arc<Link>> {
        match self.current.try_lock() {
            Ok(current) => Some(current.link.clone()),
            Err(TryLockError::Poisoned(current)) => Some(current.into_inner().link.clone()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether commits that `batch` was made from may be lost, and their numbers be those of others.
    pub(super) fn is_another_life(&self, link: &Link, batch: &Batch) -> bool {
        // What was confirmed is there whatever has happened.
        self.welcome.durability != Durability::Power
            && batch
                .incarnation()
                .is_some_and(|expected| expected != link.welcome.incarnation)
    }

    /// The connection; a new one where it was lost.
    ///
    /// # Errors
    /// `Unreachable` after the patience has ended; `Other` where another store is served now.
    pub(super) fn link(&self, patience: &mut Patience) -> Result<Arc<Link>> {
        let waiting = Instant::now();
        // Others wait: one attempt is enough.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.link.connection.is_lost() {
            return Ok(current.link.clone());
        }
        patience.since.get_or_insert(waiting);
        if let Some((at, error)) = &current.failed
            && *at > waiting
        {
            return Err(error.duplicate());
        }
        let generation = current.link.generation + 1;
        let link = loop {
            let time = self.options.connect_time_max;
            match Link::connect(&self.route, time, self.options.silence, generation) {
                Ok(link) => break Arc::new(link),
                Err(error) if patience.bears(&error) => {}
                Err(error) => {
                    current.failed = Some((Instant::now(), error.duplicate()));
                    return Err(error);
                }
            }
        };
        if link.welcome.store_id()? != self.id {
            return Err(Error::new(ErrorKind::Other, "connect to the server")
                .because(format!("another store is served at {} now", self.url()))
                .hint("Open it anew."));
        }
        current.link = link.clone();
        current.failed = None;
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
            match self.link(&mut patience).and_then(|link| work(&link)) {
                Err(error) if patience.bears(&error) => {}
                result => return result,
            }
        }
    }

    /// Notes a commit that there is.
    pub(super) fn hear(&self, tid: Tid) -> Tid {
        self.heard.fetch_max(tid.0, Ordering::AcqRel);
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        tid
    }

    /// A commit that there was before now, and not long before.
    pub(super) fn heard(&self) -> Result<Tid> {
        /// The server remembers what was committed later, unless very much is committed in this time.
        const AGE_MAX: Duration = Duration::from_secs(2);
        let heard_at = self
            .heard_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        if heard_at > AGE_MAX {
            let welcome: Welcome = describe::take(&self.call(Kind::Hello, |_| {})?)?;
            self.hear(welcome.tid);
        }
        Ok(Tid(self.heard.load(Ordering::Acquire)))
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
