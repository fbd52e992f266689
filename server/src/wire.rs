//! Reading requests from a connection and writing answers to it, with limits of time.
//!
//! An idle connection has no buffers: they are allocated when something comes, and given back when all of
//! it has been answered.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::direct::Pace;
use crate::hangup::Hangup;
use crate::hub::Hub;
use crate::listener::Peer;
use crate::nearness::Nearness;
use crate::stream::Stream;

/// How much of a request is read first: most have no more, and it is cheap to allocate anew for each.
const FIRST_READ_BYTES: usize = 1000;
/// How much is read at once where it is not known how much comes.
const READ_BYTES: usize = 8 << 10;
/// Answers are sent when they are that long.
const WRITE_BYTES: usize = 256 << 10;
/// So long a client is given to take the last word.
const LEAVE: Duration = Duration::from_secs(1);

/// A frame of which not all has come.
#[derive(Debug)]
enum Partial {
    /// Its first byte.
    Begun(u8),
    /// How long it is without its length, and what has come of that.
    Rest(usize, Vec<u8>),
}

/// A connection with its buffers.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Whose it is, for logs.
    pub(crate) peer: Peer,
    /// For counting.
    hub: Arc<Hub>,
    input: BytesMut,
    partial: Option<Partial>,
    /// What is to be sent; answers are appended to it.
    pub(crate) output: Vec<u8>,
    /// How much of `output` was sent: what sends may be given up in between.
    sent: usize,
    time_max: Duration,
    /// When the request began, and by when it has to be there.
    begin: Instant,
    deadline: Instant,
    /// How long the last one took.
    took: Duration,
    pace: Pace,
}

impl Wire {
    /// A connection to be read and written with the limits of `hub`.
    pub(crate) fn new(stream: Stream, peer: Peer, hub: Arc<Hub>) -> Wire {
        Wire {
            stream,
            peer,
            time_max: hub.settings.limits.request_time_max,
            hub,
            input: BytesMut::new(),
            partial: None,
            output: Vec::new(),
            sent: 0,
            begin: Instant::now(),
            deadline: Instant::now(),
            took: Duration::ZERO,
            pace: Pace::default(),
        }
    }

    /// Sends what there is to be sent and waits for the first byte of the next request. For how long does
    /// not matter; nothing is lost when it is given up.
    pub(crate) async fn command(&mut self) -> Result<u8, Hangup> {
        if self.input.is_empty() {
            self.flush().await?;
            self.output = Vec::new();
            self.receive().await?;
        }
        let begin = Instant::now();
        self.pace.add(begin - self.begin);
        self.begin = begin;
        self.deadline = self.begin + self.time_max;
        if self.input.is_empty() {
            return Err(Hangup::Done);
        }
        Ok(self.input.get_u8())
    }

    /// Waits until there is something to be read, or the other side has closed.
    pub(crate) async fn ready(&mut self, hub: &Hub) -> Result<(), Hangup> {
        let mut shutdown = hub.shutdown.subscribe();
        if !self.input.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            ready = self.stream.readable() => Ok(ready?),
            _ = shutdown.wait_for(|ends| *ends) => Err(Hangup::Shutdown),
        }
    }

    /// Whether a thread waits in the socket, and may do so again.
    pub(crate) fn goes_on_directly(&self) -> bool {
        self.stream.is_direct() && !*self.hub.shutdown.borrow()
    }

    /// Has the thread that reads wait in the socket, if requests come closely enough for that, and it is not
    /// done for too many connections already; as long as the place is held.
    pub(crate) fn go_direct(&mut self) -> Result<Option<OwnedSemaphorePermit>, Hangup> {
        if !self.pace.take_brisk() || !self.stream.can_be_direct() {
            return Ok(None);
        }
        let Ok(place) = self.hub.direct.clone().try_acquire_owned() else {
            return Ok(None);
        };
        self.stream.go_direct()?;
        self.hub.metrics.direct.add(1);
        Ok(Some(place))
    }

    /// Has the network threads wait for the connection again.
    pub(crate) fn leave_direct(&mut self) -> Result<(), Hangup> {
        Ok(self.stream.leave_direct()?)
    }

    /// Sends what there is to be sent and waits in the socket until a request comes, or its first bytes; it is
    /// pending where that takes longer. Nothing is lost when it is given up.
    pub(crate) async fn receive_soon(&mut self) -> Result<(), Hangup> {
        if self.input.is_empty() {
            self.flush().await?;
            if self.fill(FIRST_READ_BYTES).await? == 0 {
                return Err(Hangup::Done);
            }
        }
        Ok(())
    }

    /// Keeps the thread that waits in the socket where that is best, after an answer that was not sent yet.
    pub(crate) fn stay_near(&self, nearness: &mut Nearness) {
        if let Stream::Direct(socket) = &self.stream {
            nearness.answered(socket, self.took, || {
                self.input.is_empty() && !socket.has_more()
            });
        }
    }

    /// The request is answered; how long ago its first byte was taken.
    pub(crate) fn answered(&mut self) -> Duration {
        self.took = self.begin.elapsed();
        self.took
    }

    /// The next bytes of the request.
    pub(crate) async fn array<const N: usize>(&mut self) -> Result<[u8; N], Hangup> {
        self.need(N).await?;
        let mut bytes = [0; N];
        self.input.copy_to_slice(&mut bytes);
        Ok(bytes)
    }

    /// The next four bytes, as a number.
    pub(crate) async fn u32(&mut self) -> Result<u32, Hangup> {
        self.array().await.map(u32::from_be_bytes)
    }

    /// The next eight bytes, as a number.
    pub(crate) async fn u64(&mut self) -> Result<u64, Hangup> {
        self.array().await.map(u64::from_be_bytes)
    }

    /// The next `length` bytes. No more memory is taken than has arrived.
    pub(crate) async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Hangup> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            self.need(1).await?;
            let taken = self.input.len().min(length - bytes.len());
            bytes.extend_from_slice(self.input.get(..taken).unwrap_or_default());
            self.input.advance(taken);
        }
        Ok(bytes)
    }

    /// Sends what there is, where no request has come, not even in part. Who sends one may not take anything
    /// before it has sent all of it: meanwhile answers are sent as it takes them.
    pub(crate) async fn settle(&mut self) -> Result<(), Hangup> {
        match self.input.is_empty() && self.partial.is_none() {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Whether a frame has come in part.
    pub(crate) fn is_inside_frame(&self) -> bool {
        self.partial.is_some()
    }

    /// The next frame: what follows its length. Nothing is lost when it is given up; then it goes on the next
    /// time, and meanwhile sends what there is.
    pub(crate) async fn frame(&mut self, length_max: u64) -> Result<Bytes, Hangup> {
        if self.partial.is_none() {
            let first = self.command().await?;
            self.partial = Some(Partial::Begun(first));
        }
        if let Some(Partial::Begun(first)) = self.partial {
            let [second, third, fourth] = self.array().await?;
            let length = u32::from_be_bytes([first, second, third, fourth]);
            if u64::from(length) > length_max {
                let why =
                    format!("it sends a request of {length} bytes, and {length_max} are allowed");
                return Err(Hangup::Refused(why));
            }
            self.partial = Some(Partial::Rest(length as usize, Vec::new()));
        }
        while let Some(Partial::Rest(length, there)) = &mut self.partial {
            let rest = *length - there.len();
            if there.is_empty() && (rest <= self.input.len() || rest <= READ_BYTES) {
                self.need(rest).await?;
                self.partial = None;
                return Ok(self.input.split_to(rest).freeze());
            }
            // No more memory is taken than has arrived.
            let taken = self.input.len().min(rest);
            there.extend_from_slice(self.input.get(..taken).unwrap_or_default());
            self.input.advance(taken);
            if taken == rest {
                break;
            }
            self.need(1).await?;
        }
        match self.partial.take() {
            Some(Partial::Rest(_, there)) => Ok(there.into()),
            _ => Ok(Bytes::new()),
        }
    }

    /// Sends what there is, if that is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), Hangup> {
        match self.output.len() < WRITE_BYTES {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Sends what there is. Where that is given up it goes on the next time.
    pub(crate) async fn flush(&mut self) -> Result<(), Hangup> {
        if self.output.is_empty() {
            return Ok(());
        }
        // Mostly it goes at once, and no clock is needed.
        let sent = poll_fn(|context| Poll::Ready(self.poll_send(context))).await;
        match sent {
            Poll::Ready(sent) => Ok(sent?),
            Poll::Pending => {
                let time_max = self.time_max;
                let sending = poll_fn(|context| self.poll_send(context));
                match timeout(time_max, sending).await {
                    Ok(sent) => Ok(sent?),
                    Err(_) => Err(Hangup::Late("taking an answer")),
                }
            }
        }
    }

    /// Takes leave of the client, where it is there and can tell that from a connection that was cut.
    pub(crate) async fn close(&mut self, end: &Hangup) {
        let gone = matches!(end, Hangup::Io(_) | Hangup::Late(_));
        if self.stream.is_encrypted() && !gone {
            // If it does not listen, that is its own affair.
            let _ = Box::pin(timeout(LEAVE, self.stream.shutdown())).await;
        }
    }

    async fn need(&mut self, length: usize) -> Result<(), Hangup> {
        while self.input.len() < length {
            if self.fill_in_time(READ_BYTES.max(length)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    /// Waits until something comes.
    async fn receive(&mut self) -> Result<(), Hangup> {
        loop {
            self.input = BytesMut::new();
            self.stream.readable().await?;
            if !self.stream.is_encrypted() {
                self.fill(FIRST_READ_BYTES).await?;
                return Ok(());
            }
            // What has come may be less than can be decrypted.
            self.deadline = Instant::now() + self.time_max;
            match Box::pin(self.fill_in_time(READ_BYTES)).await {
                // It was a matter of TLS alone, and no request.
                Err(Hangup::Late(_)) if !self.stream.is_inside_record() => {}
                filled => return filled.map(drop),
            }
        }
    }

    async fn fill_in_time(&mut self, length: usize) -> Result<usize, Hangup> {
        let deadline = self.deadline;
        match timeout_at(deadline, self.fill(length)).await {
            Ok(filled) => Ok(filled?),
            Err(_) => Err(Hangup::Late("a request")),
        }
    }

    /// Reads, and sends what there is as far as the other side takes it.
    fn poll_both(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        pin!(self.stream.read_buf(&mut self.input)).poll(context)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.have_sent();
        Poll::Ready(Ok(()))
    }

    fn have_sent(&mut self) {
        self.sent = 0;
        self.hub.metrics.bytes_out.add(self.output.len() as u64);
        self.output.clear();
    }

    async fn fill(&mut self, length: usize) -> io::Result<usize> {
        self.input
            .reserve(length.saturating_sub(self.input.len()).max(1));
        let read = match self.partial {
            None => self.stream.read_buf(&mut self.input).await?,
            Some(_) => poll_fn(|context| self.poll_both(context)).await?,
        };
        self.hub.metrics.bytes_in.add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread::JoinHandle;

    use durum_core::engine::Registry;
    use durum_memory::MemoryBackend;
    use rustls::{ClientConnection, StreamOwned};
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::filling::Home;
    use crate::hub::Source;
    use crate::records::Records;
    use crate::settings::Settings;
    use crate::tls::tests::{directory, identity};
    use crate::tls::{ServerTls, TlsSettings, client_config, server_name};

    const MINUTE: Duration = Duration::from_secs(60);
    /// More than the kernel and what encrypts hold together.
    const BYTES: u32 = 150_000;

    fn answer() -> Vec<u8> {
        (0..BYTES).map(|at| (at % 251) as u8).collect()
    }

    /// A client that sends a question, reads an answer later and then sends something else; what it has read.
    fn client(mut stream: impl Read + Write + Send + 'static) -> JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            stream.write_all(b"?").unwrap();
            // By then the server has written all that it can.
            std::thread::sleep(Duration::from_millis(200));
            let mut read = vec![0; answer().len()];
            stream.read_exact(&mut read).unwrap();
            stream.write_all(b".").unwrap();
            read
        })
    }

    /// The client's socket and the server's, between which the kernel holds little.
    async fn sockets() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        SockRef::from(&listener)
            .set_recv_buffer_size(16_384)
            .unwrap();
        let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        theirs.set_read_timeout(Some(MINUTE)).unwrap();
        let set = SockRef::from(&theirs).set_recv_buffer_size(16_384);
        set.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        SockRef::from(&ours).set_send_buffer_size(4096).unwrap();
        (theirs, ours)
    }

    /// Answers a question, which may be given up in the middle, and waits for what comes then.
    async fn converse(stream: Stream, gives_up: bool) {
        let registry = Registry::new().with(MemoryBackend);
        let settings = registry.parse_store("memory:").unwrap();
        let nothing = Source::Home(None, Home { registry, settings });
        let hub = Hub::new(nothing, Settings::default()).unwrap();
        let mut wire = Wire::new(stream, Peer::Unix(None), Arc::new(hub));
        assert_eq!(wire.command().await.unwrap(), b'?');
        wire.output = answer();
        if gives_up {
            let given_up = timeout(Duration::from_millis(50), wire.command()).await;
            assert!(given_up.is_err());
        }
        // What waits for the next command sends what there is.
        assert_eq!(wire.command().await.unwrap(), b'.');
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_is_sent_once_and_to_its_last_byte() {
        for gives_up in [false, true] {
            let (theirs, ours) = sockets().await;
            let client = client(theirs);
            converse(Stream::Tcp(ours), gives_up).await;
            assert!(client.join().unwrap() == answer(), "{gives_up}");
        }
    }

    /// The kernel holds less than what encrypts does: what that holds in the end is sent, too.
    #[tokio::test(flavor = "multi_thread")]
    async fn with_tls_too() {
        let dir = directory();
        let tls = ServerTls::load(&TlsSettings {
            identity: identity(dir.path(), "server"),
            client_ca: None,
            clients: None,
            required: true,
        });
        let acceptor = TlsAcceptor::from(tls.unwrap().config());
        let config = client_config(&dir.path().join("ca.pem"), None).unwrap();
        for gives_up in [false, true] {
            let name = server_name("localhost").unwrap();
            let connection = ClientConnection::new(config.clone(), name).unwrap();
            let (theirs, ours) = sockets().await;
            let client = client(StreamOwned::new(connection, theirs));
            let accepted = acceptor.accept(Records::new(ours)).await.unwrap();
            converse(Stream::Tls(Box::new(accepted)), gives_up).await;
            assert!(client.join().unwrap() == answer(), "{gives_up}");
        }
    }
}
