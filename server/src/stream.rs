//! A connection's two directions, whatever kind of socket it is.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::direct::Direct;
use crate::records::Records;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Records>>),
    /// A thread waits in it; only for a short time, and then it becomes what it was.
    Direct(Direct),
    /// It could not be changed from one to another.
    Lost,
}

impl Stream {
    /// Whether it is TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Whether a thread waits in it.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Stream::Direct(_))
    }

    /// Whether a thread could wait in it.
    pub(crate) fn can_be_direct(&self) -> bool {
        matches!(self, Stream::Tcp(_) | Stream::Unix(_))
    }

    /// Has the thread wait in it that reads or writes, where it can.
    pub(crate) fn go_direct(&mut self) -> Result<()> {
        *self = match std::mem::replace(self, Stream::Lost) {
            Stream::Tcp(stream) => Stream::Direct(Direct::from_tcp(stream)?),
            Stream::Unix(stream) => Stream::Direct(Direct::from_unix(stream)?),
            other => other,
        };
        Ok(())
    }

    /// Has the network threads wait for it.
    pub(crate) fn leave_direct(&mut self) -> Result<()> {
        *self = match std::mem::replace(self, Stream::Lost) {
            Stream::Direct(direct) => direct.register()?,
            other => other,
        };
        Ok(())
    }

    /// Whether a part of a record of TLS has come.
    pub(crate) fn is_inside_record(&self) -> bool {
        match self {
            Stream::Tls(stream) => stream.get_ref().0.is_inside(),
            _ => false,
        }
    }

    /// Waits until there is something to read, or the other side has closed.
    pub(crate) async fn readable(&self) -> Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
            Stream::Tls(stream) => {
                let (records, connection) = stream.get_ref();
                // It does not want to read while something that it has read is left.
                match connection.wants_read() && !records.is_inside() {
                    true => records.readable().await,
                    false => Ok(()),
                }
            }
            // Reading finds out.
            Stream::Direct(_) | Stream::Lost => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = self.get_mut();
        if let Stream::Direct(direct) = this {
            if direct.read(buffer)? {
                return Poll::Ready(Ok(()));
            }
            this.leave_direct()?;
        }
        match this {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Direct(_) | Stream::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if let Stream::Direct(direct) = this {
            if let Some(written) = direct.write(data)? {
                return Poll::Ready(Ok(written));
            }
            this.leave_direct()?;
        }
        match this {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, data),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, data),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, data),
            Stream::Direct(_) | Stream::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            // Nothing is held back.
            Stream::Direct(_) | Stream::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            // Nothing is held back.
            Stream::Direct(_) | Stream::Lost => Poll::Ready(Ok(())),
        }
    }
}

fn lost() -> Error {
    ErrorKind::NotConnected.into()
}
