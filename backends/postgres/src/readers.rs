//! Connections for reading, of which as many are open as are used at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};

use crate::config::Address;
use crate::connection::Connection;
use crate::error::Failure;

/// How long to wait before a server is tried once more.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections for reading.
#[derive(Debug)]
pub(crate) struct Readers {
    address: Address,
    /// Whether connections are opened where all are in use, or lost.
    opens: bool,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    /// Those that are in use.
    busy: usize,
}

impl Readers {
    pub(crate) fn new(address: Address) -> Readers {
        Readers {
            address,
            opens: true,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Readers that have no connection but this one: where that is lost, they read nothing any more.
    pub(crate) fn only(&self, connection: Connection) -> Readers {
        let mut readers = Readers::new(self.address.clone());
        readers.opens = false;
        readers.address.connections = 1;
        readers.address.reconnect = Duration::ZERO;
        readers.lock().idle.push(connection);
        readers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on a connection. Where that is lost, it is done again on another, until that has gone on for too
    /// long.
    ///
    /// # Errors
    /// `Unreachable`; those of `read`.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        mut read: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T> {
        self.hold(operation, |held| match held {
            Some(connection) => read(connection),
            None => Err(Failure::Closed),
        })
    }

    /// A connection on which something was begun, to be kept for longer and given back, see [`Readers::give`]. It does
    /// not count among those that are in use.
    ///
    /// # Errors
    /// As [`Readers::read`].
    pub(crate) fn take_out(
        &self,
        operation: &'static str,
        mut begin: impl FnMut(&mut Connection) -> Result<(), Failure>,
    ) -> Result<Connection> {
        self.hold(operation, |held| {
            let mut connection = held.take().ok_or(Failure::Closed)?;
            begin(&mut connection)?;
            Ok(connection)
        })
    }

    fn hold<T>(
        &self,
        operation: &'static str,
        mut work: impl FnMut(&mut Option<Connection>) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut retry = Retry::new(self.address.reconnect);
        loop {
            let error = match self.take() {
                Err(error) => error,
                Ok(mut held) => match work(&mut held.connection) {
                    Ok(done) => return Ok(done),
                    Err(failure) if !failure.is_lost() => return Err(failure.during(operation)),
                    Err(failure) => {
                        // Those that lie idle were most likely lost with it.
                        held.connection = None;
                        self.lock().idle.clear();
                        failure.during(operation)
                    }
                },
            };
            retry.again(error)?;
        }
    }

    /// Takes back a connection that was taken out; one too many is closed.
    pub(crate) fn give(&self, connection: Connection) {
        let mut state = self.lock();
        if connection.is_open() && state.idle.len() < self.address.connections {
            state.idle.push(connection);
            drop(state);
            self.freed.notify_one();
        }
    }

    /// Those that lie idle, to be used elsewhere.
    pub(crate) fn take_idle(&self) -> Vec<Connection> {
        std::mem::take(&mut self.lock().idle)
    }

    fn take(&self) -> Result<Held<'_>> {
        let mut state = self.lock();
        while state.idle.is_empty() && state.busy >= self.address.connections {
            state = self
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        let idle = state.idle.pop();
        drop(state);
        // From here on the drop of this undoes the count.
        let mut held = Held {
            connection: idle,
            readers: self,
        };
        if held.connection.is_none() {
            if !self.opens {
                return Err(Failure::Closed.during("read"));
            }
            held.connection = Some(Connection::open(&self.address)?);
        }
        Ok(held)
    }

    /// A connection that is none of these.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) fn another(&self) -> Result<Connection> {
        Connection::open(&self.address)
    }

    /// Closes those that lie idle.
    pub(crate) fn close(&self) {
        self.lock().idle.clear();
    }
}

/// A connection that is in use.
struct Held<'a> {
    connection: Option<Connection>,
    readers: &'a Readers,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        state.busy -= 1;
        state
            .idle
            .extend(self.connection.take().filter(Connection::is_open));
        drop(state);
        self.readers.freed.notify_one();
    }
}

/// For how long something is tried again.
pub(crate) struct Retry {
    limit: Duration,
    began: Option<Instant>,
}

impl Retry {
    pub(crate) fn new(limit: Duration) -> Retry {
        Retry { limit, began: None }
    }

    /// Called after a failure: at once the first time, later after a pause.
    ///
    /// # Errors
    /// The error itself, where trying again is of no use, or has gone on for too long.
    pub(crate) fn again(&mut self, error: Error) -> Result<()> {
        let passing = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::InUse);
        let began = match self.began {
            _ if !passing || self.limit.is_zero() => return Err(error),
            None => {
                self.began = Some(Instant::now());
                tracing::warn!(%error, "connecting again");
                return Ok(());
            }
            Some(began) => began,
        };
        if began.elapsed() >= self.limit {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }
}
