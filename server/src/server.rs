//! Listening, accepting, ending.

use std::sync::Arc;
use std::time::Duration;

use durum_core::store::{LocalStore, Store as _};
use durum_core::{Error, ErrorKind, Result, Tid};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use crate::address::Address;
use crate::filling::{Home, Vacant};
use crate::handshake::{warn_of_strangers, welcome};
use crate::hangup::Hangup;
use crate::hub::{Hub, Source};
use crate::listener::{Listener, Peer};
use crate::passed::Passed;
use crate::settings::Settings;
use crate::stream::Stream;
use crate::supervisor::Supervisor;
use crate::tls::TlsSettings;
use crate::wire::Wire;
use crate::{descriptors, durum, durus, metrics, standby};

/// After a connection that could not be accepted, for want of descriptors say, the next try comes then.
const PAUSE: Duration = Duration::from_millis(100);

/// A storage server that listens.
///
/// ```
/// use std::sync::Arc;
/// use durum_core::engine::Registry;
/// use durum_memory::MemoryBackend;
/// use durum_server::{Server, Settings};
///
/// let registry = Registry::new().with(MemoryBackend);
/// let store = registry.create(&registry.parse_store("memory:")?)?;
/// let settings = Settings {
///     listen: vec!["127.0.0.1:0".parse()?],
///     ..Settings::default()
/// };
/// let server = Server::bind(Arc::new(store), settings)?;
/// println!("listening at {}", server.addresses()[0]);
/// let stop = server.stopper();
/// let thread = std::thread::spawn(move || server.run());
/// stop.stop();
/// thread.join().unwrap()?;
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listeners: Vec<Listener>,
    metrics: Vec<Listener>,
    supervisor: Option<Supervisor>,
    hub: Arc<Hub>,
}

/// Ends a server from another thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Hub>);

impl Stopper {
    /// Has the server finish what it has begun and end. Can be called more than once.
    pub fn stop(&self) {
        self.0.shutdown.send_replace(true);
    }
}

/// Has a server that runs read its certificates anew.
#[derive(Clone, Debug)]
pub struct Reloader {
    hub: Arc<Hub>,
    addresses: Vec<Address>,
}

impl Reloader {
    /// Reads the certificates, the key and the authorities, and takes the list of clients and the rest of
    /// `tls`, for clients that connect from now on.
    ///
    /// # Errors
    /// As [`Server::bind`]; then what was read before stays.
    pub fn reload(&self, tls: &TlsSettings) -> Result<()> {
        self.hub.reload_tls(tls)?;
        warn_of_strangers(&self.addresses, Some(tls));
        Ok(())
    }
}

impl Server {
    /// Binds all addresses. Clients can connect from then on, and are served by [`Server::run`].
    ///
    /// # Errors
    /// `Usage` for a bad address and for files of TLS that cannot be used, `InUse` where somebody listens
    /// there.
    pub fn bind(store: Arc<LocalStore>, settings: Settings) -> Result<Server> {
        Server::bind_to(Source::Store(store), settings, Passed::default())
    }

    /// As [`Server::bind`], of a store that lies in its home, and is created where there is none. As long as it
    /// is empty a migration can fill it. Where there are `passed` sockets it listens at them instead of at the
    /// addresses of the settings.
    ///
    /// # Errors
    /// As [`Server::bind`], and those of opening the store; `NotFound` where it is only to be read.
    pub fn bind_home(home: Home, settings: Settings, passed: Passed) -> Result<Server> {
        let store = home.open(settings.read_only)?.map(Arc::new);
        Server::bind_to(Source::Home(store, home), settings, passed)
    }

    /// As [`Server::bind`], of a store that is only read here, while this or another process may write it: what they
    /// have committed is seen at once. It needs an engine that is a server. Where the store is not there yet, or cannot
    /// be reached, clients are told so until it is.
    ///
    /// # Errors
    /// As [`Server::bind`]; `Unsupported` where the engine keeps its stores in directories.
    pub fn bind_reads(home: Home, settings: Settings) -> Result<Server> {
        let engine = &home.settings.backend;
        if !home.is_on_server() {
            return Err(Error::new(ErrorKind::Unsupported, "serve reads")
                .because(format!(
                    "a store on `{engine}` is open in one process only, and this would be another"
                ))
                .hint("Who serves it serves reads, too."));
        }
        let settings = Settings {
            read_only: true,
            ..settings
        };
        Server::bind_to(Source::Followed(home), settings, Passed::default())
    }

    /// As [`Server::bind_home`], and waits for as long as another process has the store open.
    ///
    /// # Errors
    /// As [`Server::bind_home`].
    pub fn bind_home_when_free(home: Home, settings: Settings, passed: Passed) -> Result<Server> {
        let store = home.open_when_free(settings.read_only)?.map(Arc::new);
        Server::bind_to(Source::Home(store, home), settings, passed)
    }

    fn bind_to(source: Source, settings: Settings, passed: Passed) -> Result<Server> {
        descriptors::allow(settings.limits.connections_max);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("durum-server")
            .enable_all()
            .build()
            .map_err(|error| Error::io(error, "start the server"))?;
        let (listeners, metrics) = {
            let _runtime = runtime.enter();
            let listeners = match passed.is_empty() {
                true => bind_all(&settings.listen)?,
                false => passed.listen()?,
            };
            (listeners, bind_all(settings.metrics.as_slice())?)
        };
        if listeners.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "start the server")
                .because("there is no address to listen at"));
        }
        let hub = Arc::new(Hub::new(source, settings)?);
        let addresses = listeners.iter().map(Listener::address);
        warn_of_strangers(addresses, hub.settings.tls.as_ref());
        Ok(Server {
            runtime,
            listeners,
            metrics,
            supervisor: None,
            hub,
        })
    }

    /// Has the server tell who has started it when it is ready, when it stops, and meanwhile that it lives.
    #[must_use]
    pub fn supervised(mut self, supervisor: Option<Supervisor>) -> Server {
        self.supervisor = supervisor;
        self
    }

    /// Where it listens, with the ports that the system has chosen.
    pub fn addresses(&self) -> Vec<Address> {
        addresses(&self.listeners)
    }

    /// Where it tells metrics and health.
    pub fn metrics_addresses(&self) -> Vec<Address> {
        addresses(&self.metrics)
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.hub.clone())
    }

    /// What has it read its certificates anew.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            hub: self.hub.clone(),
            addresses: self.addresses(),
        }
    }

    /// Serves clients until it is stopped: then requests that have begun are finished, for a limited time,
    /// and everything committed is made durable.
    ///
    /// # Errors
    /// Those of the last synchronization; `InUse` where another process has taken the store over, `Poisoned` where its
    /// engine is a server that was away for so long that a write was given up: start it again.
    pub fn run(self) -> Result<()> {
        let Server {
            runtime,
            listeners,
            metrics,
            supervisor,
            hub,
        } = self;
        for listener in metrics {
            runtime.spawn(metrics::serve(listener, hub.clone()));
        }
        let supervisor = supervisor.map(Arc::new);
        if let Some(supervisor) = &supervisor {
            runtime.spawn(watch(supervisor.clone()));
        }
        match &hub.followed {
            Some(home) => runtime.spawn(standby::follow(hub.clone(), home.clone())),
            None => runtime.spawn(standby::watch(hub.clone())),
        };
        runtime.block_on(serve(listeners, supervisor.as_deref(), &hub));
        // What is being written is finished.
        let patience = hub.settings.limits.shutdown_time_max;
        runtime.shutdown_timeout(patience);
        hub.wait_for_filling(patience);
        if let Some(error) = hub.replaced.get() {
            return Err(error.duplicate());
        }
        match hub.served() {
            Ok(served) if !hub.settings.read_only && !served.store.is_poisoned() => {
                served.store.sync().map(drop)
            }
            _ => Ok(()),
        }
    }
}

fn bind_all(addresses: &[Address]) -> Result<Vec<Listener>> {
    let bound = addresses.iter().map(Listener::bind);
    let bound = bound.collect::<Result<Vec<_>>>()?;
    Ok(bound.into_iter().flatten().collect())
}

fn addresses(listeners: &[Listener]) -> Vec<Address> {
    listeners.iter().map(|one| one.address().clone()).collect()
}

/// Tells again and again that the server lives, where somebody wants to hear that.
async fn watch(supervisor: Arc<Supervisor>) {
    while let Some(time) = supervisor.watchdog() {
        sleep(time).await;
        supervisor.alive();
    }
}

async fn serve(listeners: Vec<Listener>, supervisor: Option<&Supervisor>, hub: &Arc<Hub>) {
    let mut shutdown = hub.shutdown.subscribe();
    if hub.followed.is_some() {
        standby::readable(hub).await;
    }
    let places = Arc::new(Semaphore::new(hub.settings.limits.connections_max));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, hub.clone(), places.clone()));
    }
    if let Some(supervisor) = supervisor {
        supervisor.ready();
    }
    // It is never dropped before.
    let _ = shutdown.wait_for(|ends| *ends).await;
    if let Some(supervisor) = supervisor {
        supervisor.stopping();
    }
    let deadline = Instant::now() + hub.settings.limits.shutdown_time_max;
    let mut connections = JoinSet::new();
    while let Some(ended) = accepting.join_next().await {
        if let Ok(served) = ended {
            connections.spawn(finish(served));
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout_at(deadline, finished).await.is_err() {
        warn!("clients whose requests were not finished in time are cut off");
    }
}

async fn finish(mut connections: JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// Accepts connections until the server ends; those that are still served then.
async fn accept(listener: Listener, hub: Arc<Hub>, places: Arc<Semaphore>) -> JoinSet<()> {
    let mut shutdown = hub.shutdown.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|ends| *ends) => return connections,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(address = %listener.address(), %error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                hub.metrics.accepted.add(1);
                let hub = hub.clone();
                connections.spawn(async move {
                    converse(stream, peer, &hub).await;
                    drop(place);
                });
            }
            Err(_) => {
                hub.metrics.refused.add(1);
                let reason = "there are as many connections as there may be";
                warn!(client = %peer, reason, "refused");
            }
        }
    }
}

async fn converse(stream: Stream, peer: Peer, hub: &Arc<Hub>) {
    debug!(client = %peer, "connected");
    // What is committed from now on it does not know. Of the store it keeps nothing until it says something.
    let known = hub.served().and_then(|served| {
        let synced = served.visible()?;
        Ok((served.incarnation, synced))
    });
    let end = attend(stream, peer, hub, known).await;
    hub.metrics.closed(&end);
    let reason = end.to_string();
    match end {
        Hangup::Done | Hangup::Shutdown | Hangup::Upgrade | Hangup::Io(_) => {
            debug!(client = %peer, reason, "disconnected");
        }
        Hangup::Store(_) => warn!(client = %peer, reason, "cut off"),
        Hangup::Late(_) | Hangup::Refused(_) => info!(client = %peer, reason, "cut off"),
    }
}

/// Serves a client that knows what was committed up to some commit.
async fn attend(stream: Stream, peer: Peer, hub: &Arc<Hub>, known: Result<(u64, Tid)>) -> Hangup {
    let (stream, rights) = match welcome(stream, &peer, hub).await {
        Ok(welcomed) => welcomed,
        Err(end) => return end,
    };
    let mut wire = Wire::new(stream, peer, hub.clone());
    if let Err(end) = wire.ready(hub).await {
        return end;
    }
    let durus = match (known, hub.served()) {
        (Ok((incarnation, synced)), Ok(served)) if served.incarnation == incarnation => {
            durus::serve(&mut wire, hub, served, rights, synced).await
        }
        // Another store was put in the place of that which was served when the client came.
        (known, served) => {
            let why = known.map(drop).and(served.map(drop)).err();
            let why = why.unwrap_or_else(|| Vacant::Filling.error());
            durus::refuse(&mut wire, hub, why).await
        }
    };
    let end = match durus {
        Hangup::Upgrade => Box::pin(durum::serve(&mut wire, hub, rights)).await,
        end => end,
    };
    wire.close(&end).await;
    end
}
