//! Serving a client whose requests follow one another closely on a thread of its own.
//!
//! Usually the network threads wait for all connections at once. Who sends a request then wakes one of
//! them, which costs more than to answer it: on another processor, that sleeps, several times as much. A
//! client that sends the next request as soon as it has its answer is therefore served, as long as it does
//! so, by a thread that waits in its socket and nowhere else. Where there is another processor for it, and
//! nobody else wants that, it looks for the next request for some microseconds before it sleeps ([`Spin`]); else
//! it stays where its client is ([`Nearness`]). As few connections as there are processors are served so at
//! once, and all others as before.

use std::future::{Future as _, poll_fn};
use std::io::{self, Read, Write};
use std::net;
use std::os::unix::net as unix;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, recv};
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::{block_in_place, unconstrained};

use crate::hangup::Hangup;
use crate::nearness::Nearness;
use crate::spin::Spin;
use crate::stream::Stream;
use crate::wire::Wire;

/// So many requests in a row that came soon make a connection one to be served on a thread of its own.
const BRISK: u32 = 32;
/// From one request to the next, the time for its answer included.
const SOON: Duration = Duration::from_micros(500);
/// So long a thread waits in a socket, or a little longer, as the system's clock goes.
const PATIENCE: Duration = Duration::from_millis(4);

/// How closely a connection's requests follow one another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace(u32);

impl Pace {
    /// Another request has come, so long after the one before.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0 = match time < SOON {
            true => self.0.saturating_add(1),
            false => 0,
        };
    }

    /// Whether many have come soon; after that it is to be found out anew.
    pub(crate) fn take_brisk(&mut self) -> bool {
        let brisk = self.0 >= BRISK;
        if brisk {
            self.0 = 0;
        }
        brisk
    }
}

/// A socket that a thread waits in, for a short time.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) socket: Socket,
    spin: Spin,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(net::TcpStream),
    Unix(unix::UnixStream),
}

impl Direct {
    fn new(socket: Socket) -> Direct {
        Direct::with(socket, Spin::new())
    }

    pub(crate) fn with(socket: Socket, spin: Spin) -> Direct {
        Direct { socket, spin }
    }

    /// Whether the thread looks for what comes, before it sleeps.
    pub(crate) fn is_looking(&self) -> bool {
        self.spin.is_looking()
    }

    /// Nobody else is told any more when something comes.
    pub(crate) fn from_tcp(stream: TcpStream) -> io::Result<Direct> {
        let socket = stream.into_std()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nonblocking(false)?;
        Ok(Direct::new(Socket::Tcp(socket)))
    }

    pub(crate) fn from_unix(stream: UnixStream) -> io::Result<Direct> {
        let socket = stream.into_std()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nonblocking(false)?;
        Ok(Direct::new(Socket::Unix(socket)))
    }

    /// What the network threads wait for again.
    pub(crate) fn register(self) -> io::Result<Stream> {
        match self.socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpStream::from_std(socket).map(Stream::Tcp)
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixStream::from_std(socket).map(Stream::Unix)
            }
        }
    }

    /// Whether something has come that was not read yet.
    pub(crate) fn has_more(&self) -> bool {
        let there = match &self.socket {
            Socket::Tcp(socket) => ioctl_fionread(socket),
            Socket::Unix(socket) => ioctl_fionread(socket),
        };
        there.is_ok_and(|bytes| bytes > 0)
    }

    /// Reads, where something comes soon; false where nothing does.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let Direct { socket, spin } = self;
        let unfilled = buffer.initialize_unfilled();
        let found = spin.wait(|| {
            let received = match socket {
                Socket::Tcp(socket) => recv(socket, &mut *unfilled, RecvFlags::DONTWAIT),
                Socket::Unix(socket) => recv(socket, &mut *unfilled, RecvFlags::DONTWAIT),
            };
            match received {
                Ok((count, _)) => Ok(Some(count)),
                Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        let read = match found {
            Some(count) => Some(count),
            None => soon(|| match socket {
                Socket::Tcp(socket) => (&*socket).read(unfilled),
                Socket::Unix(socket) => (&*socket).read(unfilled),
            })?,
        };
        read.inspect(|count| buffer.advance(*count));
        Ok(read.is_some())
    }

    /// Writes as much as can be soon; `None` where nothing can.
    pub(crate) fn write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        soon(|| match &self.socket {
            Socket::Tcp(socket) => (&*socket).write(data),
            Socket::Unix(socket) => (&*socket).write(data),
        })
    }
}

/// What becomes of reading or writing, unless it takes too long.
fn soon(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match attempt() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Serves a client on this thread, as long as its requests follow one another closely, if they do now. `step`
/// answers one that has come, and says whether that may go on.
pub(crate) fn serve_brisk(
    wire: &mut Wire,
    step: impl AsyncFnMut(&mut Wire) -> Result<bool, Hangup>,
) -> Result<(), Hangup> {
    let Some(place) = wire.go_direct()? else {
        return Ok(());
    };
    // Other threads take over what else this one has to do.
    let done = block_in_place(|| {
        let serving = serve_directly(wire, step);
        Handle::current().block_on(unconstrained(serving))
    });
    wire.leave_direct()?;
    drop(place);
    done
}

async fn serve_directly(
    wire: &mut Wire,
    mut step: impl AsyncFnMut(&mut Wire) -> Result<bool, Hangup>,
) -> Result<(), Hangup> {
    let mut nearness = Nearness::new();
    while wire.goes_on_directly() {
        let received = {
            let mut receiving = pin!(wire.receive_soon());
            poll_fn(|context| Poll::Ready(receiving.as_mut().poll(context))).await
        };
        match received {
            Poll::Ready(received) => received?,
            // It is for the network threads to wait longer.
            Poll::Pending => return Ok(()),
        }
        if !step(wire).await? {
            return Ok(());
        }
        wire.stay_near(&mut nearness);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use durum_core::Oid;
    use durum_core::config::Rights;
    use durum_core::engine::{Durability, Registry};
    use durum_core::store::{Batch, LocalStore, Store as _};
    use durum_memory::MemoryBackend;
    use tokio::net::{TcpListener, UnixListener};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::durus;
    use crate::hub::{Hub, Source};
    use crate::listener::Peer;
    use crate::settings::Settings;

    const LOAD_ROOT: &[u8] = b"L\0\0\0\0\0\0\0\0";
    /// More than a thread waits in a socket.
    const PAUSE: Duration = Duration::from_millis(60);

    fn store() -> Arc<LocalStore> {
        let registry = Registry::new().with(MemoryBackend);
        let settings = registry.parse_store("memory:").unwrap();
        let store = Arc::new(registry.create(&settings).unwrap());
        write(&store, b"first");
        store
    }

    fn write(store: &LocalStore, data: &'static [u8]) {
        let mut batch = Batch::new();
        match store.stats().unwrap().objects {
            0 => batch.create(Oid::ROOT, data, []),
            _ => batch.update(Oid::ROOT, data, []),
        };
        store.commit(batch, Durability::Relaxed).unwrap();
    }

    /// Serves one client.
    fn serve(stream: Stream, hub: &Arc<Hub>) -> JoinHandle<Hangup> {
        let hub = hub.clone();
        tokio::spawn(async move {
            let served = hub.served().unwrap();
            let synced = served.visible().unwrap();
            let mut wire = Wire::new(stream, Peer::Unix(None), hub.clone());
            durus::serve(&mut wire, &hub, served, Rights::ReadWrite, synced).await
        })
    }

    /// Both sides of a connection, with TCP or on a Unix-domain socket.
    async fn connect(unix: bool) -> (Box<dyn Socket>, Stream) {
        if unix {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("socket");
            let listener = UnixListener::bind(&path).unwrap();
            let client = unix::UnixStream::connect(path).unwrap();
            let (ours, _) = listener.accept().await.unwrap();
            return (Box::new(client), Stream::Unix(ours));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        (Box::new(client), Stream::Tcp(ours))
    }

    trait Socket: Read + Write + Send {}
    impl<T: Read + Write + Send> Socket for T {}

    /// What is answered to a load: the status, and the data.
    fn answer(client: &mut dyn Socket) -> (u8, Vec<u8>) {
        let mut status = [0];
        client.read_exact(&mut status).unwrap();
        if status != *b"O" {
            return (status[0], Vec::new());
        }
        let mut length = [0; 4];
        client.read_exact(&mut length).unwrap();
        let mut record = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut record).unwrap();
        (status[0], record.split_off(12))
    }

    fn load(client: &mut dyn Socket) -> (u8, Vec<u8>) {
        client.write_all(LOAD_ROOT).unwrap();
        answer(client)
    }

    /// Loads until a thread of its own serves the client, anew.
    fn hurry(client: &mut dyn Socket, hub: &Hub, expected: &[u8]) {
        let before = hub.metrics.direct.get();
        while hub.metrics.direct.get() == before {
            assert_eq!(load(client), (b'O', expected.to_vec()));
        }
    }

    fn sync(client: &mut dyn Socket) -> Vec<u8> {
        client.write_all(b"S").unwrap();
        let mut count = [0; 4];
        client.read_exact(&mut count).unwrap();
        let mut oids = vec![0; u32::from_be_bytes(count) as usize * 8];
        client.read_exact(&mut oids).unwrap();
        oids
    }

    fn free(hub: &Hub) -> usize {
        hub.direct.available_permits()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_answered_is_the_same() {
        for unix in [false, true] {
            let store = store();
            let hub = Arc::new(Hub::new(Source::Store(store.clone()), Settings::default()).unwrap());
            let places = free(&hub);
            let (mut client, ours) = connect(unix).await;
            let serving = serve(ours, &hub);
            let shared = hub.clone();
            let conversing = tokio::task::spawn_blocking(move || {
                let client = &mut *client;
                hurry(client, &shared, b"first");
                // What others commit is invalid until it is asked for, and then it is there.
                write(&store, b"second");
                assert_eq!(load(client).0, b'I');
                assert_eq!(sync(client), [0; 8]);
                assert_eq!(load(client), (b'O', b"second".to_vec()));
                // The request comes in two parts, and late.
                hurry_once_more(client, &shared);
                client.write_all(&LOAD_ROOT[..4]).unwrap();
                std::thread::sleep(PAUSE);
                client.write_all(&LOAD_ROOT[4..]).unwrap();
                assert_eq!(answer(client), (b'O', b"second".to_vec()));
                // Several are sent at once.
                hurry_once_more(client, &shared);
                client.write_all(&LOAD_ROOT.repeat(1000)).unwrap();
                for _ in 0..1000 {
                    assert_eq!(answer(client), (b'O', b"second".to_vec()));
                }
                hurry_once_more(client, &shared);
            });
            conversing.await.unwrap();
            // Its client is gone.
            assert!(matches!(serving.await.unwrap(), Hangup::Done), "{unix}");
            assert_eq!(free(&hub), places);
        }
    }

    /// After a pause, in which it is not served so any more.
    fn hurry_once_more(client: &mut dyn Socket, hub: &Hub) {
        std::thread::sleep(PAUSE);
        hurry(client, hub, b"second");
    }

    /// The server ends though its client never pauses.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_ends_all_the_same() {
        let hub = Arc::new(Hub::new(Source::Store(store()), Settings::default()).unwrap());
        let (mut client, ours) = connect(false).await;
        let serving = serve(ours, &hub);
        let shared = hub.clone();
        let conversing = tokio::task::spawn_blocking(move || {
            hurry(&mut *client, &shared, b"first");
            shared.shutdown.send_replace(true);
            let mut byte = [0];
            while client.write_all(LOAD_ROOT).is_ok() && client.read(&mut byte).unwrap_or(0) > 0 {}
        });
        assert!(matches!(serving.await.unwrap(), Hangup::Shutdown));
        conversing.await.unwrap();
    }

    /// There are threads for some, and all others are served as before.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_than_some_are_served_so() {
        let hub = Arc::new(Hub::new(Source::Store(store()), Settings::default()).unwrap());
        let places = free(&hub);
        let taken = hub.direct.clone().acquire_many_owned(places as u32).await;
        let (mut client, ours) = connect(false).await;
        let serving = serve(ours, &hub);
        let conversing = tokio::task::spawn_blocking(move || {
            for _ in 0..10 * BRISK {
                assert_eq!(load(&mut *client), (b'O', b"first".to_vec()));
            }
        });
        conversing.await.unwrap();
        assert!(matches!(serving.await.unwrap(), Hangup::Done));
        assert_eq!(hub.metrics.direct.get(), 0);
        drop(taken);
    }
}
