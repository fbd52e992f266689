//! A relay before a server: it holds back what passes, and counts round trips.
//!
//! What is read is stamped with the time, queued, and written when it is due. So each byte is late by the same time,
//! however many there are, and as many pass in a second as without. Half of the delay is added in each direction: a
//! round trip takes the whole of it more.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_core::{Error, Result};

/// Bytes that are read at once, and how often as many may wait in a direction: 64 MiB, which is what passes in 20 ms
/// at more than 3 GB a second.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_MAX: usize = 1024;

/// A port of this machine behind which a server seems to be further away.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    server: String,
    /// Added in each direction.
    half: Duration,
    ends: AtomicBool,
    round_trips: AtomicU64,
    /// All that are open, to be closed at the end.
    streams: Mutex<Vec<TcpStream>>,
}

/// Some bytes, and when they are to be written.
type Chunk = (Instant, Vec<u8>);

impl Relay {
    /// Listens on a port of its own, and passes on to `server`, `HOST:PORT`, what comes. Each round trip takes
    /// `delay` more.
    ///
    /// # Errors
    /// `Io` where there is no port.
    pub fn start(server: &str, delay: Duration) -> Result<Relay> {
        let failed = |error| Error::io(error, "start a relay");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = Arc::new(State {
            server: server.to_owned(),
            half: delay / 2,
            ends: AtomicBool::new(false),
            round_trips: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || shared.accept(&listener));
        Ok(Relay {
            address,
            state,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often a client has sent something after it had got an answer, or for the first time, on all connections.
    /// What is sent in several parts counts once, as long as no answer to the first arrives before the last is
    /// sent: with a delay of some milliseconds that is so.
    pub fn round_trips(&self) -> u64 {
        self.state.round_trips.load(Ordering::SeqCst)
    }
}

impl Relay {
    /// Waits until nobody has begun a round trip for a while, or until that was waited for so often.
    pub(super) fn wait_until_quiet(&self, quiet: Duration, waits_max: u32) {
        for _ in 0..waits_max {
            let before = self.round_trips();
            std::thread::sleep(quiet);
            if self.round_trips() == before {
                return;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        // So that it sees that.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.state.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<State>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.ends.load(Ordering::SeqCst) {
                return;
            }
            // Whoever cannot be connected finds the connection closed.
            let _ = client.and_then(|client| self.connect(client));
        }
    }

    fn connect(self: &Arc<State>, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(&self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.open()
            .extend([client.try_clone()?, server.try_clone()?]);
        // Whether an answer has passed since the client has sent something.
        let answered = Arc::new(AtomicBool::new(true));
        for (from, to, is_client) in [
            (client.try_clone()?, server.try_clone()?, true),
            (server, client, false),
        ] {
            let (sender, receiver) = sync_channel(CHUNKS_MAX);
            let (state, seen) = (Arc::clone(self), Arc::clone(&answered));
            std::thread::spawn(move || state.read(from, &sender, is_client.then_some(&*seen)));
            let seen = Arc::clone(&answered);
            std::thread::spawn(move || write(to, &receiver, (!is_client).then_some(&*seen)));
        }
        Ok(())
    }

    fn read(&self, mut from: TcpStream, to: &SyncSender<Chunk>, answered: Option<&AtomicBool>) {
        let mut bytes = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let due = Instant::now() + self.half;
            if answered.is_some_and(|answered| answered.swap(false, Ordering::SeqCst)) {
                self.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            let chunk = bytes.get(..count).unwrap_or_default().to_vec();
            if to.send((due, chunk)).is_err() {
                break;
            }
        }
    }
}

/// Writes what is due until nothing comes any more, or nobody takes it.
fn write(mut to: TcpStream, chunks: &Receiver<Chunk>, answered: Option<&AtomicBool>) {
    for (due, chunk) in chunks {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Before the client can have it.
        if let Some(answered) = answered {
            answered.store(true, Ordering::SeqCst);
        }
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte by one.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut from = stream.unwrap();
                std::thread::spawn(move || {
                    let mut to = from.try_clone().unwrap();
                    std::io::copy(&mut from, &mut to)
                });
            }
        });
        address
    }

    #[test]
    fn round_trips_take_longer_and_are_counted() {
        let delay = Duration::from_millis(50);
        let relay = Relay::start(&echo().to_string(), delay).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        for round in 1..=3 {
            let (begin, before) = (Instant::now(), relay.round_trips());
            client.write_all(b"one").unwrap();
            // In two parts, and one round trip.
            std::thread::sleep(Duration::from_millis(2));
            client.write_all(b"two").unwrap();
            let sent = begin.elapsed();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"onetwo");
            assert!(begin.elapsed() >= delay);
            // On a busy machine the first answer may come before the second part.
            let counted = relay.round_trips() - before;
            assert!(
                counted == 1 || sent >= delay && counted == 2,
                "{round}: {counted}"
            );
        }
        drop(relay);
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }

    #[test]
    fn many_bytes_pass_at_once() {
        const BYTES: usize = 16 << 20;
        let relay = Relay::start(&echo().to_string(), Duration::from_millis(100)).unwrap();
        let client = TcpStream::connect(relay.address()).unwrap();
        let mut writing = client.try_clone().unwrap();
        let sent = std::thread::spawn(move || writing.write_all(&vec![7; BYTES]));
        let mut answer = vec![0; BYTES];
        (&client).read_exact(&mut answer).unwrap();
        sent.join().unwrap().unwrap();
        assert!(answer.iter().all(|byte| *byte == 7));
        assert!(relay.round_trips() > 0);
    }
}
