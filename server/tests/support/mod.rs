//! Servers in this process, and a proxy that can cut connections.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code
)]

pub(crate) mod certificates;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_core::config::ServerLocation;
use durum_core::engine::Registry;
use durum_core::store::LocalStore;
use durum_core::{Error, Result};
use durum_file::FileBackend;
use durum_memory::MemoryBackend;
use durum_server::{Home, Passed, Server, Settings, Stopper};

/// A server in this process, which ends when this is dropped.
pub(crate) struct Running {
    pub(crate) location: ServerLocation,
    stop: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(store: Arc<LocalStore>, settings: Settings) -> Running {
        Running::of(Server::bind(store, settings).unwrap())
    }

    /// A server whose store can be filled.
    pub(crate) fn at_home(home: Home, settings: Settings) -> Running {
        Running::of(Server::bind_home(home, settings, Passed::default()).unwrap())
    }

    fn of(server: Server) -> Running {
        Running {
            location: at(server.addresses()[0].to_string()),
            stop: server.stopper(),
            thread: Some(std::thread::spawn(move || server.run().unwrap())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A server that listens at this address, without TLS.
pub(crate) fn at(address: String) -> ServerLocation {
    ServerLocation { address, tls: None }
}

/// Settings for a server at a port that the system chooses.
pub(crate) fn on_loopback() -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Settings::default()
    }
}

/// A place for a store by its URL.
pub(crate) fn home(url: &str) -> Home {
    let registry = Registry::new().with(FileBackend).with(MemoryBackend);
    let settings = registry.parse_store(url).unwrap();
    Home { registry, settings }
}

/// The error of what has to fail.
pub(crate) fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it works"),
        Err(error) => error,
    }
}

/// What may take a moment: another client is about to leave.
pub(crate) fn soon<T>(what: impl Fn() -> Result<T>) -> T {
    let begin = Instant::now();
    loop {
        match what() {
            Ok(done) => return done,
            Err(error) if begin.elapsed() > Duration::from_secs(30) => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Passes bytes on, and cuts a connection when so many have come from the server over all of them.
pub(crate) struct Proxy {
    pub(crate) location: ServerLocation,
    /// Bytes from the server that are still passed on before the connection is cut, and from then on all are.
    left: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn before(server: &ServerLocation) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = at(listener.local_addr().unwrap().to_string());
        let (left, cuts) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::default());
        let proxy = Proxy {
            location,
            left: Arc::clone(&left),
            cuts: Arc::clone(&cuts),
        };
        let server = server.address.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    pass(from, to, &AtomicU64::new(u64::MAX), &AtomicU64::new(0))
                });
                let (left, cuts) = (left.clone(), cuts.clone());
                std::thread::spawn(move || pass(server, client, &left, &cuts));
            }
        });
        proxy
    }

    /// Has the connection cut after so many more bytes from the server.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64, cuts: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let room = left.load(Ordering::SeqCst);
        let passed = count.min(usize::try_from(room).unwrap_or(usize::MAX));
        let sent = to.write_all(&buffer[..passed]);
        if room != u64::MAX {
            left.store(room - passed as u64, Ordering::SeqCst);
        }
        let cut = passed < count;
        if cut {
            left.store(u64::MAX, Ordering::SeqCst);
            cuts.fetch_add(1, Ordering::SeqCst);
        }
        if cut || count == 0 || sent.is_err() {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}
