//! A socket that carries TLS, and where in a record it is.
//!
//! A client that has sent half a record has sent half a request, and has a limited time for the rest. What
//! decrypts does not tell, and may have read that half together with what came before.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a record before its contents: a type, a version, and in the last two the length.
const HEAD_BYTES: usize = 5;

/// A socket that carries TLS.
#[derive(Debug)]
pub(crate) struct Records {
    socket: TcpStream,
    place: Place,
}

/// Where in a record a stream of bytes is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Bytes of a head that have come.
    head: usize,
    /// What the last bytes of the head say.
    length: u16,
    /// Bytes of the contents that have not come.
    rest: usize,
}

impl Records {
    pub(crate) fn new(socket: TcpStream) -> Records {
        Records {
            socket,
            place: Place::default(),
        }
    }

    /// Waits until something has come, or the other side has closed.
    pub(crate) async fn readable(&self) -> Result<()> {
        // Not `TcpStream::readable`, which can be wrong.
        self.socket.peek(&mut [0]).await.map(drop)
    }

    /// Whether a part of a record has been read.
    pub(crate) fn is_inside(&self) -> bool {
        self.place.is_inside()
    }
}

impl Place {
    fn is_inside(self) -> bool {
        self.head > 0 || self.rest > 0
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, others)) = bytes.split_first() else {
                return;
            };
            bytes = others;
            self.length = self.length << 8 | u16::from(*byte);
            self.head += 1;
            if self.head == HEAD_BYTES {
                (self.head, self.rest) = (0, usize::from(self.length));
            }
        }
    }
}

impl AsyncRead for Records {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        this.place.advance(new);
        polled
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut, they are between records exactly where one ends.
    #[test]
    fn the_ends_of_records_are_found() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for length in [0u16, 1, 5, 0, 300, 0xFFFF, 2] {
            bytes.extend([0x17, 3, 3]);
            bytes.extend(length.to_be_bytes());
            bytes.resize(bytes.len() + usize::from(length), 0x17);
            ends.push(bytes.len());
        }
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut place = Place::default();
            let mut read = 0;
            for part in bytes.chunks(step) {
                place.advance(part);
                read += part.len();
                assert_eq!(place.is_inside(), !ends.contains(&read), "{step}: {read}");
            }
        }
    }
}
