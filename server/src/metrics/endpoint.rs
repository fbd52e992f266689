//! Metrics and health over HTTP, on an address of their own.
//!
//! `/metrics` is for Prometheus. `/health` answers 200 while the store can be read and, unless the server is
//! read-only, written; else 503 with the reason. Whoever can reach the address may ask.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use durum_core::store::Store as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::exposition;
use crate::hub::Hub;
use crate::listener::Listener;
use crate::stream::Stream;

/// Connections at once: those of some scrapers and of who looks by hand. More wait.
const CONNECTIONS_MAX: usize = 16;
/// Scrapes that may wait for the disk at once.
const SCRAPES_MAX: usize = 2;
/// A request's head in bytes, its fields included.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// From accepting a connection to the end of its request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// From accepting a connection to its end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);
/// After a connection that could not be accepted the next try comes then.
const PAUSE: Duration = Duration::from_millis(100);

/// What requests share.
#[derive(Clone, Debug)]
struct Endpoint {
    hub: Arc<Hub>,
    scrapes: Arc<Semaphore>,
}

/// Answers requests for as long as it is polled.
pub(crate) async fn serve(listener: Listener, hub: Arc<Hub>) {
    let endpoint = Endpoint {
        hub,
        scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let endpoint = endpoint.clone();
                connections.spawn(async move {
                    match timeout(CONNECTION_TIME_MAX, endpoint.converse(stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            debug!(client = %peer, %error, "a request for metrics failed");
                        }
                        Err(_) => debug!(client = %peer, "a request for metrics took too long"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(address = %listener.address(), %error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Endpoint {
    /// One request: a scraper that comes every few seconds can connect each time.
    async fn converse(&self, stream: Stream) -> hyper::Result<()> {
        let answer = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.answer(&request).await)
        });
        http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES_MAX)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .serve_connection(TokioIo::new(stream), answer)
            .await
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered",
            );
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/health" => match self.trouble() {
                None => plain(StatusCode::OK, "ok"),
                Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /health"),
        }
    }

    async fn metrics(&self) -> Response<String> {
        let Ok(place) = self.scrapes.clone().try_acquire_owned() else {
            let why = "those who have asked before still wait for the store";
            return plain(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        let hub = self.hub.clone();
        // The engine may ask the disk for its sizes.
        let text = tokio::task::spawn_blocking(move || {
            let text = exposition::text(&hub);
            drop(place);
            text
        });
        match text.await {
            Ok(Ok(text)) => response(StatusCode::OK, exposition::MEDIA_TYPE, text),
            _ => {
                let why = "the metrics could not be written down";
                plain(StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        }
    }

    /// Why clients cannot be served as they should be.
    fn trouble(&self) -> Option<String> {
        if *self.hub.shutdown.borrow() {
            return Some("the server ends".to_owned());
        }
        let served = match self.hub.served() {
            Ok(served) => served,
            Err(error) => return Some(error.to_string()),
        };
        if let Some(reason) = served.store.health().poisoned {
            return Some(format!(
                "the store refuses writes until the server is started anew: {reason}"
            ));
        }
        let unreadable = served.store.snapshot().err();
        unreadable.map(|error| format!("the store cannot be read: {error}"))
    }
}

fn plain(status: StatusCode, line: &str) -> Response<String> {
    response(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

fn response(status: StatusCode, media_type: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
