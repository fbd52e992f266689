//! The front: TLS 1.3 with client certificates before Garage's interfaces for clients, which have none.
//!
//! It passes HTTP on as it is: the header [`ROUTE`] says to which interface of which cluster, and is not part of
//! the signature. Administration cannot be reached through it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use durum_garage::{ABSENT, NODES_SERVICE, ROUTE};
use durum_server::tls::explain;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// A handshake that is not done by then is not finished.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection over which nothing is asked for so long ends. Clients keep theirs for less.
const IDLE_TIME_MAX: Duration = Duration::from_secs(90);
/// So many connections are served at a time; others wait.
const CONNECTIONS_MAX: usize = 4096;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Where requests go, by the value of [`ROUTE`].
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) sockets: HashMap<String, PathBuf>,
    /// The addresses of all nodes' fronts.
    pub(crate) nodes: RwLock<Vec<String>>,
}

/// A socket that is bound.
pub(crate) struct Front {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    routes: Arc<Routes>,
}

impl Front {
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        routes: Arc<Routes>,
    ) -> Result<Front> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
            let why = format!("{address}: {error}");
            let error = Error::io(error, "listen for clients").because(why);
            match in_use {
                true => error.with_kind(ErrorKind::InUse),
                false => error,
            }
        })?;
        Ok(Front {
            listener,
            acceptor: tls.into(),
            routes,
        })
    }

    /// Serves until it is told to stop. Requests that have begun are finished, for as long as the runtime lives.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stops| *stops) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No more files, for example: others have to be closed first.
                    warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, routes) = (self.acceptor.clone(), self.routes.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                if let Err(why) = connection(stream, acceptor, routes, stop).await {
                    warn!(%peer, why, "a client was refused");
                }
                drop(place);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    routes: Arc<Routes>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let stream = match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            debug!("a client hung up in its TLS handshake");
            return Ok(());
        }
        Ok(Err(error)) => return Err(explain(&error)),
        Err(_) => return Err("its TLS handshake takes too long".to_owned()),
    };
    let backends = Arc::new(Backends::default());
    let service = service_fn(move |request| {
        let (routes, backends) = (routes.clone(), backends.clone());
        async move { Ok::<Answer, Infallible>(answer(request, &routes, &backends).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let stops = async {
        // What it gives is a lock, which must not be held for long.
        let _ = stop.wait_for(|stops| *stops).await;
    };
    let served = tokio::select! {
        served = serving.as_mut() => Some(served),
        () = stops => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        // Clients that ask two nodes hang up on the slower one.
        debug!(%error, "a connection has ended");
    }
    Ok(())
}

/// The connections to Garage of one client's connection, over which there is one request at a time.
#[derive(Default)]
struct Backends(Mutex<HashMap<PathBuf, SendRequest<Incoming>>>);

async fn answer(request: Request<Incoming>, routes: &Routes, backends: &Backends) -> Answer {
    let route = request.headers().get(ROUTE);
    let route = route.and_then(|value| value.to_str().ok()).unwrap_or("");
    if route == NODES_SERVICE {
        let nodes = routes.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let body = serde_json::json!({ "nodes": *nodes });
        return told(StatusCode::OK, body.to_string());
    }
    let Some(socket) = routes.sockets.get(route).cloned() else {
        let why = format!(
            "this front has no service `{}`: the header {ROUTE} is `k2v/3`, for example",
            route.escape_debug()
        );
        return wrong(StatusCode::NOT_IMPLEMENTED, "NoSuchService", &why);
    };
    if request.method() == Method::CONNECT {
        let why = "this is no proxy";
        return wrong(StatusCode::METHOD_NOT_ALLOWED, "InvalidRequest", why);
    }
    match pass_on(request, socket, backends).await {
        Ok(response) => response.map(http_body_util::BodyExt::boxed),
        Err((code, why)) => wrong(StatusCode::BAD_GATEWAY, code, &why),
    }
}

async fn pass_on(
    mut request: Request<Incoming>,
    socket: PathBuf,
    backends: &Backends,
) -> Result<Response<Incoming>, (&'static str, String)> {
    let headers = request.headers_mut();
    headers.remove(ROUTE);
    // They are about the connection and not about the request.
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    let mut backends = backends.0.lock().await;
    let kept = backends.remove(&socket).filter(|it| !it.is_closed());
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(&socket).await.map_err(|why| (ABSENT, why))?,
    };
    if sender.ready().await.is_err() {
        sender = connect(&socket).await.map_err(|why| (ABSENT, why))?;
    }
    let response = sender.send_request(request).await;
    let mut response = response.map_err(|error| {
        let why = format!("Garage does not answer: {error}");
        ("GarageLost", why)
    })?;
    response.headers_mut().remove(CONNECTION);
    backends.insert(socket, sender);
    Ok(response)
}

async fn connect(socket: &PathBuf) -> Result<SendRequest<Incoming>, String> {
    let not_there = |error: &dyn std::fmt::Display| format!("Garage does not run: {error}");
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| not_there(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| not_there(&error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn wrong(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "code": code, "message": message });
    told(status, body.to_string())
}

fn told(status: StatusCode, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl Routes {
    /// Of the cluster with most copies, whose list of nodes counts.
    pub(crate) fn most_copies(&self) -> u32 {
        let copies = |route: &String| route.rsplit('/').next()?.parse().ok();
        self.sockets.keys().filter_map(copies).max().unwrap_or(0)
    }
}
