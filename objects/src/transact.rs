//! Transactions that are repeated where they meet others.

use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};

use crate::database::Database;
use crate::transaction::Transaction;

/// The wait before the second attempt, on average; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_micros(100);

impl Database {
    /// Runs `work` in a transaction and commits what it did. Where that conflicts with what others have
    /// committed meanwhile, it is run again on the newest state, after a short while, up to
    /// [`Options::attempts`](crate::Options::attempts) times. What `work` does besides must bear repetition.
    ///
    /// # Errors
    /// That of `work`, which then has changed nothing; `Conflict`, naming the objects, where all attempts met
    /// others; as [`Transaction::commit`].
    pub fn transact<R>(&self, work: impl FnMut(&Transaction) -> Result<R>) -> Result<R> {
        self.try_transact(work)
    }

    /// As [`Database::transact`], for work with errors of its own.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub fn try_transact<R, E: From<Error>>(
        &self,
        mut work: impl FnMut(&Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        let attempts = self.inner.options.attempts.max(1);
        let mut attempt = 1;
        loop {
            let mut tx = self.begin()?;
            let error = match work(&tx) {
                Ok(result) => match tx.commit() {
                    Ok(_) => return Ok(result),
                    Err(error) if !is_transient(&error, attempt) => return Err(error.into()),
                    Err(error) if attempt >= attempts => {
                        return Err(given_up(error, attempts).into());
                    }
                    Err(_) => None,
                },
                Err(error) => Some(error),
            };
            // An error of `work` is its own, unless it could not read on for what others did.
            if let Some(error) = error
                && (attempt >= attempts || !tx.was_disturbed())
            {
                return Err(error);
            }
            std::thread::sleep(self.wait(attempt));
            attempt += 1;
        }
    }

    /// Runs `work` in a view, and repeats it in another one where the state of the first could not be had any longer:
    /// behind a server that was started anew while others committed, or because it was kept open for too long.
    ///
    /// # Errors
    /// That of `work`; those of [`Database::view`].
    pub fn read<R>(&self, work: impl FnMut(&Transaction) -> Result<R>) -> Result<R> {
        self.try_read(work)
    }

    /// As [`Database::read`], for work with errors of its own.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub fn try_read<R, E: From<Error>>(
        &self,
        mut work: impl FnMut(&Transaction) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut attempt = 1;
        loop {
            let tx = self.view()?;
            let result = work(&tx);
            if result.is_ok() || !tx.was_disturbed() || attempt >= self.inner.options.attempts {
                return result;
            }
            std::thread::sleep(self.wait(attempt));
            attempt += 1;
        }
    }

    /// Between nothing and twice the average, so that those who met do not meet again.
    fn wait(&self, attempt: u32) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << attempt.min(16));
        let longest = doubled.min(self.inner.options.longest_wait);
        longest.mul_f64(fastrand::f64())
    }
}

/// How often something may be gone: a reference to an object that does not exist stays one.
const GONE_MAX: u32 = 3;

/// Whether the same may succeed on a newer state.
fn is_transient(error: &Error, attempt: u32) -> bool {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::TooOld => true,
        ErrorKind::Gone => attempt <= GONE_MAX,
        _ => false,
    }
}

fn given_up(error: Error, attempts: u32) -> Error {
    let reason = format!("{}; given up after {attempts} attempts", error.reason());
    error.because(reason).hint(
        "Make the transaction shorter, split the objects that all of them change, or raise Options::attempts.",
    )
}
