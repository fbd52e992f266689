//! Several servers of one store, where its engine is a server itself: one has it open, others stand by.
//!
//! Which of them that is the engine decides, by its lock. Whoever stands by tries to open the store again and
//! again; whoever has it open asks again and again whether that is still so, since a process that was stopped for a
//! while, or cut off, does not notice by itself that another has taken over. It ends then; and where the engine was away
//! for so long that a write was given up, so that whoever has it started again has it write again.
//!
//! Reads can be served by all of them, at addresses of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::store::LocalStore;
use durum_core::{Error, ErrorKind, Result};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::blocking::blocking;
use crate::filling::{Home, Vacant};
use crate::hub::Hub;

/// How often the store is tried.
const TRY: Duration = Duration::from_millis(100);

/// How often a server asks whether it has the store still.
const ASK: Duration = Duration::from_secs(1);

impl Home {
    /// As [`Home::open`], once nobody else has the store open. Where its engine's server is away, as while that fails
    /// over, it is waited for: whoever stands by is there for such times.
    pub(crate) fn open_when_free(&self, read_only: bool) -> Result<Option<LocalStore>> {
        let (mut told, mut warned) = (false, false);
        loop {
            match self.open(read_only) {
                Err(error) if error.kind() == ErrorKind::InUse => {
                    if !told {
                        info!(%error, "standing by until the store is free");
                        told = true;
                    }
                    warned = false;
                    std::thread::sleep(TRY);
                }
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    if !warned {
                        warn!(%error, "standing by until the store can be reached");
                        warned = true;
                    }
                    std::thread::sleep(TRY);
                }
                opened => {
                    if (told || warned) && opened.is_ok() {
                        info!("the store is free, and is taken over");
                    }
                    return opened;
                }
            }
        }
    }
}

/// Reads the store that another process may write, and looks for new commits, until the server ends.
pub(crate) async fn follow(hub: Arc<Hub>, home: Home) {
    let (mut awaited, mut looked) = (None, Instant::now());
    let mut times = interval(TRY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let seen = match hub.served() {
            Err(_) => open_to_read(&hub, &home).await,
            // Whoever takes a snapshot looks for himself. This is for those who wait for commits; and now and then for
            // the database, which keeps everything that the last view shows.
            Ok(served) if served.newest.receiver_count() > 0 || looked.elapsed() > ASK => {
                looked = Instant::now();
                blocking(move || served.store.refresh()).await
            }
            Ok(_) => continue,
        };
        match seen {
            Ok(()) if awaited.take().is_some() => info!("the store can be read"),
            Ok(()) => {}
            Err(error) => {
                // Snapshots of it would be of another life of the store.
                if error.kind() == ErrorKind::Mismatch {
                    hub.take_off(Vacant::Awaited);
                }
                if awaited.replace(error.kind()) != Some(error.kind()) {
                    warn!(%error, "reads wait for the store");
                }
            }
        }
    }
}

/// Waits until the store can be read, but not for long: clients would rather wait a moment than be told that it cannot,
/// and rather be told than wait for long.
pub(crate) async fn readable(hub: &Hub) {
    const PAUSE: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    while hub.served().is_err() && begin.elapsed() < ASK {
        sleep(PAUSE).await;
    }
}

async fn open_to_read(hub: &Arc<Hub>, home: &Home) -> Result<()> {
    let (hub, home) = (hub.clone(), home.clone());
    blocking(move || hub.serve(home.follow()?)).await
}

/// Ends the server when it notices that another has its store, or that it must not write to it any more.
pub(crate) async fn watch(hub: Arc<Hub>) {
    loop {
        sleep(ASK).await;
        if is_over(&hub).await {
            return;
        }
    }
}

/// Whether a commit failed since another has the store: the server ends then. Whether the commit is there is open,
/// where the database was lost while it was written. So its client is told nothing, and asks the server that serves
/// now.
pub(crate) async fn leaves_open(hub: &Arc<Hub>, error: &Error) -> bool {
    error.kind() == ErrorKind::InUse && is_over(hub).await
}

async fn is_over(hub: &Arc<Hub>) -> bool {
    // There is none while one is filled.
    let Ok(served) = hub.served() else {
        return false;
    };
    let store = served.store.clone();
    let error = match spawn_blocking(move || store.check_writer()).await {
        Ok(Err(error)) if error.kind() == ErrorKind::InUse => error,
        // The database is there again.
        Ok(Ok(())) if served.store.is_on_server() => match served.store.health().poisoned {
            Some(why) => Error::new(ErrorKind::Poisoned, "write to the store")
                .because(format!("an earlier write was left open: {why}"))
                .hint("Start the server again: what was acknowledged is there."),
            None => return false,
        },
        _ => return false,
    };
    if hub.replaced.set(error.duplicate()).is_ok() {
        error!(%error, "the server ends");
    }
    hub.shutdown.send_replace(true);
    true
}
