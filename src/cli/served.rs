//! How `durum serve` runs: what the configuration says, and what the arguments say instead.

use durum_core::config::{ServerLimits, ServerSettings};
use durum_core::{Error, ErrorKind, Result};
use durum_server::tls::{Identity, TlsSettings};
use durum_server::{Address, Limits, Settings};

use super::args::{ServeArgs, TlsArgs};

const DOING: &str = "read the configuration";

/// All settings of the server.
pub(crate) fn settings(server: &ServerSettings, args: &ServeArgs) -> Result<Settings> {
    Ok(Settings {
        listen: addresses(&server.listen, &args.listen)?,
        allow_quit: server.allow_quit || args.allow_quit,
        read_only: args.read_only,
        metrics: address(server.metrics.as_ref(), args.metrics.as_ref())?,
        tls: tls(server, &args.tls)?,
        limits: limits(&server.limits),
    })
}

/// Those of the server of reads, if there is to be one.
pub(crate) fn reads(
    server: &ServerSettings,
    args: &ServeArgs,
    settings: &Settings,
) -> Result<Option<Settings>> {
    let listen = addresses(&server.read_listen, &args.read_listen)?;
    let metrics = address(server.read_metrics.as_ref(), args.read_metrics.as_ref())?;
    if listen.is_empty() {
        return match metrics {
            None => Ok(None),
            Some(_) => Err(Error::new(ErrorKind::Usage, DOING)
                .because("there is an address for metrics of reads, and none for reads")
                .hint("Set `read_listen`, or leave `read_metrics` out.")),
        };
    }
    Ok(Some(Settings {
        listen,
        metrics,
        ..settings.clone()
    }))
}

fn addresses(configured: &[String], given: &[String]) -> Result<Vec<Address>> {
    let said = match given.is_empty() {
        true => configured,
        false => given,
    };
    said.iter().map(|address| address.parse()).collect()
}

fn address(configured: Option<&String>, given: Option<&String>) -> Result<Option<Address>> {
    let said = given.or(configured);
    said.map(|address| address.parse()).transpose()
}

/// What there is to know of TLS; this is what SIGHUP has read anew.
pub(crate) fn tls(server: &ServerSettings, args: &TlsArgs) -> Result<Option<TlsSettings>> {
    let certificate = args.tls_cert.as_ref().or(server.tls_cert.as_ref());
    let key = args.tls_key.as_ref().or(server.tls_key.as_ref());
    let client_ca = args.client_ca.as_ref().or(server.client_ca.as_ref());
    let required = match args.require_tls {
        true => Some(true),
        false => server.require_tls,
    };
    let wrong =
        |why: &str, hint: &str| Err(Error::new(ErrorKind::Usage, DOING).because(why).hint(hint));
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            return wrong(
                "`tls_cert` has no key",
                "Set `tls_key` to its file as well.",
            );
        }
        (None, Some(_)) => {
            return wrong(
                "`tls_key` has no certificate",
                "Set `tls_cert` to its file as well.",
            );
        }
        (None, None) if client_ca.is_some() || server.clients.is_some() => {
            return wrong(
                "clients prove who they are within TLS, and there is no certificate for that",
                "Set `tls_cert` and `tls_key`, too; `durum cert` makes both.",
            );
        }
        (None, None) if required.unwrap_or(false) => {
            return wrong(
                "TLS is required, and there is no certificate for it",
                "Set `tls_cert` and `tls_key`; `durum cert` makes both.",
            );
        }
        (None, None) => return Ok(None),
    };
    if client_ca.is_none() && server.clients.is_some() {
        return wrong(
            "`[server.clients]` lists clients by their certificates, and no authority signs these",
            "Set `client_ca` to the certificate of the authority, or remove the list.",
        );
    }
    Ok(Some(TlsSettings {
        identity: Identity::new(certificate, key),
        client_ca: client_ca.cloned(),
        clients: server.clients.clone(),
        required: required.unwrap_or(client_ca.is_some()),
    }))
}

fn limits(said: &ServerLimits) -> Limits {
    let usual = Limits::default();
    Limits {
        connections_max: said.connections_max.unwrap_or(usual.connections_max),
        request_bytes_max: said.request_bytes_max.unwrap_or(usual.request_bytes_max),
        request_objects_max: said
            .request_objects_max
            .unwrap_or(usual.request_objects_max),
        request_time_max: said.request_time_max.unwrap_or(usual.request_time_max),
        commit_patience: said.commit_patience.unwrap_or(usual.commit_patience),
        shutdown_time_max: said.shutdown_time_max.unwrap_or(usual.shutdown_time_max),
        changes_max: said.changes_max.unwrap_or(usual.changes_max),
        filling_silence_max: said
            .filling_silence_max
            .unwrap_or(usual.filling_silence_max),
    }
}
