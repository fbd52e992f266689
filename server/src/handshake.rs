//! The beginning of a connection: whether it is encrypted, and what its client may do.
//!
//! No command of Durus's protocol begins as TLS does, and so both are spoken on one port: the first byte is
//! looked at and left where it is. A client that has sent nothing has no buffers yet.

use std::net::IpAddr;

use durum_core::config::Rights;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::address::Address;
use crate::hangup::Hangup;
use crate::hub::Hub;
use crate::listener::Peer;
use crate::records::Records;
use crate::stream::Stream;
use crate::tls::{ServerTls, TlsSettings, explain};

/// The first byte of TLS: a record that belongs to a handshake.
const HANDSHAKE: u8 = 0x16;

/// Finds out how a client speaks, and who it is where it has to say so. Unix-domain sockets are not
/// encrypted: who may connect to one is a matter of the file's permissions.
pub(crate) async fn welcome(
    stream: Stream,
    peer: &Peer,
    hub: &Hub,
) -> Result<(Stream, Rights), Hangup> {
    let Stream::Tcp(stream) = stream else {
        return Ok((stream, Rights::ReadWrite));
    };
    let mut shutdown = hub.shutdown.subscribe();
    let mut first = [0];
    let ends = async {
        let _ = shutdown.wait_for(|ends| *ends).await;
    };
    tokio::select! {
        biased;
        peeked = stream.peek(&mut first) => if peeked? == 0 {
            return Err(Hangup::Done);
        },
        () = ends => return Err(Hangup::Shutdown),
    }
    let tls = hub.tls();
    match (first, tls) {
        ([HANDSHAKE], Some(tls)) => Box::pin(encrypt(stream, peer, hub, &tls)).await,
        ([HANDSHAKE], None) => Err(Hangup::Refused(
            "it speaks TLS, and this server has no certificate".into(),
        )),
        (_, Some(tls)) if tls.required => Err(Hangup::Refused(
            "it does not speak TLS, which this server demands".into(),
        )),
        _ => Ok((Stream::Tcp(stream), Rights::ReadWrite)),
    }
}

async fn encrypt(
    stream: TcpStream,
    peer: &Peer,
    hub: &Hub,
    tls: &ServerTls,
) -> Result<(Stream, Rights), Hangup> {
    let deadline = Instant::now() + hub.settings.limits.request_time_max;
    let mut shutdown = hub.shutdown.subscribe();
    let ends = async {
        let _ = shutdown.wait_for(|ends| *ends).await;
    };
    let shaking_hands = TlsAcceptor::from(tls.config()).accept(Records::new(stream));
    let stream = tokio::select! {
        biased;
        done = timeout_at(deadline, shaking_hands) => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Hangup::Refused(explain(&error))),
            Err(_) => return Err(Hangup::Late("its TLS handshake")),
        },
        () = ends => return Err(Hangup::Shutdown),
    };
    let (_, connection) = stream.get_ref();
    let client = tls.client(connection).map_err(Hangup::Refused)?;
    if let Some(name) = &client.name {
        info!(client = %peer, ?name, rights = client.rights.name(), "known by its certificate");
    }
    Ok((Stream::Tls(Box::new(stream)), client.rights))
}

/// Says where data goes over a network for everybody to read, or clients that nobody knows can come in.
pub(crate) fn warn_of_strangers<'a>(
    addresses: impl IntoIterator<Item = &'a Address>,
    tls: Option<&TlsSettings>,
) {
    if tls.is_some_and(|tls| tls.required) {
        return;
    }
    if tls.is_some_and(|tls| tls.client_ca.is_some()) {
        warn!(
            "clients that do not speak TLS need no certificate: without `require_tls = false` they are refused"
        );
    }
    for address in addresses {
        let Address::Tcp { host, .. } = address else {
            continue;
        };
        let local = host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        if !local {
            warn!(
                %address,
                "others than this machine can connect without TLS, read everything on its way and write: \
                 set `require_tls` with `tls_cert` and `tls_key` (`durum cert` makes them), or listen at 127.0.0.1"
            );
        }
    }
}
