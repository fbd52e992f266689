//! Connections to one address, kept for the next request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use durum_core::Result;
use durum_server::Address;
use durum_server::tls::server_name;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fault::Fault;

/// A connection that has not come about by then does not.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Servers and address translators end connections that are idle for longer.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// So many idle connections are kept.
const IDLE_MAX: usize = 64;

type Sender = SendRequest<Full<Bytes>>;

/// An address, and the idle connections to it.
pub(crate) struct Target {
    address: Address,
    tls: Option<Tls>,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

/// How a connection is encrypted.
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(crate) fn new(config: Arc<ClientConfig>, host: &str) -> Result<Tls> {
        Ok(Tls {
            connector: config.into(),
            name: server_name(host)?,
        })
    }
}

impl Target {
    pub(crate) fn new(address: Address, tls: Option<Tls>) -> Target {
        Target {
            address,
            tls,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and waits for the head of the answer. On a kept connection that turns out to be dead it
    /// is sent again on a new one: all our requests may be repeated.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Lease), Fault> {
        while let Some(mut sender) = self.kept() {
            if sender.ready().await.is_err() {
                continue;
            }
            if let Ok(response) = sender.send_request(request.clone()).await {
                return Ok((response, self.lease(sender)));
            }
            // One that died of it says that the others are dead as well.
            self.lock().clear();
        }
        let mut sender = self.connect().await?;
        match sender.send_request(request.clone()).await {
            Ok(response) => Ok((response, self.lease(sender))),
            Err(error) => Err(Fault::Lost(chain(&error))),
        }
    }

    fn lease(self: &Arc<Self>, sender: Sender) -> Lease {
        Lease {
            target: self.clone(),
            sender,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.lock();
        while let Some((sender, since)) = idle.pop() {
            if !sender.is_closed() && since.elapsed() < IDLE_TIME_MAX {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, Fault> {
        let opening = async {
            let stream = self.open().await?;
            let io = TokioIo::new(stream);
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            // Its failure is what the request fails with.
            tokio::spawn(async move { drop(connection.await) });
            Ok::<Sender, io::Error>(sender)
        };
        match timeout(CONNECT_TIME_MAX, opening).await {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(Fault::Connect(chain(&error))),
            Err(_) => Err(Fault::Connect(format!(
                "nothing within {} s",
                CONNECT_TIME_MAX.as_secs()
            ))),
        }
    }

    async fn open(&self) -> io::Result<Stream> {
        let tcp = match &self.address {
            Address::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Address::Abstract(_) => {
                return Err(io::Error::other("no node listens at abstract sockets"));
            }
            Address::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).await?,
        };
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Stream::Tcp(tcp)),
            Some(tls) => {
                let stream = tls.connector.connect(tls.name.clone(), tcp).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

/// A connection that is in use, as long as the body of the answer is being read.
pub(crate) struct Lease {
    target: Arc<Target>,
    sender: Sender,
}

impl Lease {
    /// The answer was read to its end: the connection can be used again.
    pub(crate) fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.target.lock();
        if idle.len() < IDLE_MAX {
            idle.push((self.sender, Instant::now()));
        }
    }
}

/// An error with all that has caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, data),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, data),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
