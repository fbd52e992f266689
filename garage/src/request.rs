//! Requests: signed once, sent to as many nodes as it takes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use http_body_util::Full;
use hyper::Request;

use crate::sigv4::{self, Credentials, HOST, REGION, Service, Unsigned};

/// The header by which a front routes: `k2v/3`. It is not signed, and Garage does not know it.
pub const ROUTE: &str = "x-durum-service";

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) doing: &'static str,
    pub(crate) service: Service,
    pub(crate) method: &'static str,
    /// Percent-encoded.
    pub(crate) path: String,
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Headers that are not signed.
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: Bytes,
    /// The longest answer, or `None` for one that is streamed.
    pub(crate) limit: Option<usize>,
    /// For how long the server is asked to wait before it answers.
    pub(crate) waits: Option<Duration>,
    /// It must not be done at two nodes at once.
    pub(crate) alone: bool,
}

/// What is sent.
pub(crate) struct Signed {
    pub(crate) doing: &'static str,
    pub(crate) service: Service,
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) body_len: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) waits: Option<Duration>,
    pub(crate) alone: bool,
}

impl Signed {
    pub(crate) fn new(ask: Ask<'_>, copies: u32, credentials: &Credentials) -> Result<Signed> {
        let date = sigv4::date(SystemTime::now());
        let hash = sigv4::sha256(&ask.body);
        let unsigned = Unsigned {
            method: ask.method,
            path: &ask.path,
            query: ask.query,
            headers: &[
                ("host", HOST),
                ("x-amz-content-sha256", &hash),
                ("x-amz-date", &date),
            ],
            body_sha256: &hash,
        };
        let service = ask.service.name();
        let authorization = sigv4::authorization(&unsigned, credentials, REGION, service, &date);
        let query = sigv4::query(ask.query);
        let uri = match query.is_empty() {
            true => ask.path.clone(),
            false => format!("{}?{query}", ask.path),
        };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(uri)
            .header("host", HOST)
            .header("x-amz-content-sha256", &hash)
            .header("x-amz-date", &date)
            .header("authorization", authorization)
            .header(ROUTE, format!("{service}/{copies}"));
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        let body_len = ask.body.len();
        let request = request.body(Full::new(ask.body)).map_err(|error| {
            Error::new(ErrorKind::Usage, ask.doing)
                .because(error.to_string())
                .caused_by(error)
        })?;
        Ok(Signed {
            doing: ask.doing,
            service: ask.service,
            request,
            body_len,
            limit: ask.limit,
            waits: ask.waits,
            alone: ask.alone,
        })
    }
}
