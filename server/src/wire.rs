//! Reading requests from a connection and writing answers to it, with limits of time.
//!
//! An idle connection has no buffers: they are allocated when something comes, and given back when all of
//! it has been answered.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::hangup::Hangup;
use crate::hub::Hub;
use crate::listener::Peer;
use crate::stream::Stream;

/// How much of a request is read first: most have no more, and it is cheap to allocate anew for each.
const FIRST_READ_BYTES: usize = 1000;
/// How much is read at once where it is not known how much comes.
const READ_BYTES: usize = 8 << 10;
/// Answers are sent when they are that long.
const WRITE_BYTES: usize = 256 << 10;

/// A connection with its buffers.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Whose it is, for logs.
    pub(crate) peer: Peer,
    /// For counting.
    hub: Arc<Hub>,
    input: BytesMut,
    /// What is to be sent; answers are appended to it.
    pub(crate) output: Vec<u8>,
    time_max: Duration,
    /// When the request began, and by when it has to be there.
    begin: Instant,
    deadline: Instant,
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
            output: Vec::new(),
            begin: Instant::now(),
            deadline: Instant::now(),
        }
    }

    /// Sends what there is to be sent and waits for the first byte of the next request. For how long does
    /// not matter; nothing is lost when it is given up.
    pub(crate) async fn command(&mut self) -> Result<u8, Hangup> {
        if self.input.is_empty() {
            self.flush().await?;
            self.input = BytesMut::new();
            self.output = Vec::new();
            self.stream.readable().await?;
            self.fill(FIRST_READ_BYTES).await?;
        }
        self.begin = Instant::now();
        self.deadline = self.begin + self.time_max;
        if self.input.is_empty() {
            return Err(Hangup::Done);
        }
        Ok(self.input.get_u8())
    }

    /// How long ago the request's first byte was taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
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

    /// Sends what there is, if that is much.
    pub(crate) async fn relieve(&mut self) -> Result<(), Hangup> {
        match self.output.len() < WRITE_BYTES {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Sends what there is.
    pub(crate) async fn flush(&mut self) -> Result<(), Hangup> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut sending = pin!(self.stream.write_all(&self.output));
        // Mostly it goes at once, and no clock is needed.
        let sent = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        match sent {
            Poll::Ready(sent) => sent?,
            Poll::Pending => match timeout(self.time_max, sending).await {
                Ok(sent) => sent?,
                Err(_) => return Err(Hangup::Late("taking an answer")),
            },
        }
        self.hub.metrics.bytes_out.add(self.output.len() as u64);
        self.output.clear();
        Ok(())
    }

    async fn need(&mut self, length: usize) -> Result<(), Hangup> {
        while self.input.len() < length {
            let deadline = self.deadline;
            match timeout_at(deadline, self.fill(READ_BYTES.max(length))).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Hangup::Late("a request")),
            }
        }
        Ok(())
    }

    async fn fill(&mut self, length: usize) -> io::Result<usize> {
        self.input
            .reserve(length.saturating_sub(self.input.len()).max(1));
        let read = self.stream.read_buf(&mut self.input).await?;
        self.hub.metrics.bytes_in.add(read as u64);
        Ok(read)
    }
}
