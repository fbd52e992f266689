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
            state: Mutex::default(),
            freed: Condvar::new(),
        }
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
        let mut retry = Retry::new(self.address.reconnect);
        loop {
            let error = match self.take() {
                Err(error) => error,
                Ok(mut held) => match held.connection.as_mut().map(&mut read) {
                    Some(Ok(found)) => return Ok(found),
                    Some(Err(failure)) if !failure.is_lost() => {
                        return Err(failure.during(operation));
                    }
                    Some(Err(failure)) => {
                        // Those that lie idle were most likely lost with it.
                        held.connection = None;
                        self.lock().idle.clear();
                        failure.during(operation)
                    }
                    None => Error::new(ErrorKind::Other, operation),
                },
            };
            retry.again(error)?;
        }
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
            held.connection = Some(Connection::open(&self.address)?);
        }
        Ok(held)
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
