//! `durum cert`: an authority and certificates, for an installation that has none.

mod args;
mod authority;
mod files;

use std::fs;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use super::context::Context;
use super::failure::{DONE, Outcome, of_destination};
use super::output::hex;
pub(crate) use args::CertArgs;
use args::{CertCaArgs, CertClientArgs, CertCommand, CertServerArgs};
use authority::{Authority, date, dress, params, validity};
use files::Files;

const DOING: &str = "make a certificate";
/// X.509 has no room for more.
const NAME_MAX: usize = 64;

pub(crate) fn run(context: &Context, args: &CertArgs) -> Outcome {
    context.check_config()?;
    match &args.what {
        CertCommand::Ca(args) => ca(context, args),
        CertCommand::Server(args) => server(context, args),
        CertCommand::Client(args) => client(context, args),
    }
}

fn ca(context: &Context, args: &CertCaArgs) -> Outcome {
    let key = KeyPair::generate().map_err(impossible)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        // Part of a random key is random.
        None => format!(
            "Durum CA {}",
            hex(key.public_key_raw().last_chunk::<4>().unwrap_or(&[0; 4]))
        ),
    };
    check_length("the authority", &name)?;
    let mut params = params(&name, validity(args.valid)?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    fs::create_dir_all(&args.dir)
        .during(DOING, &args.dir)
        .map_err(of_destination)?;
    let files = Files::of(&args.dir, "ca");
    let hint = "An authority is not replaced, for every certificate would have to be: make another one in \
                another directory, or certificates with this one.";
    files.must_be_absent(hint).map_err(of_destination)?;
    let certificate = params.self_signed(&key).map_err(impossible)?;
    files
        .write(&certificate.pem(), &key)
        .map_err(of_destination)?;
    let expires = date(&params);
    let Files { certificate, key } = files;
    let object =
        json!({ "certificate": certificate, "key": key, "name": name, "expires": expires });
    context.print(&object, || {
        format!(
            "Made the authority `{name}`, valid until {expires}.\n  {}  for the server and every client\n  \
             {}  keep it secret and safe: whoever has it can be anyone\n",
            certificate.display(),
            key.display()
        )
    })?;
    Ok(DONE)
}

fn server(context: &Context, args: &CertServerArgs) -> Outcome {
    let authority = Authority::read(&args.dir)?;
    let hosts = args.name.clone();
    let first = hosts.first().map_or("", String::as_str);
    let mut params = CertificateParams::new(hosts.clone()).map_err(|error| {
        Error::new(ErrorKind::Usage, DOING).because(format!(
            "the names {hosts:?} are not all names of hosts or IP numbers: {error}"
        ))
    })?;
    if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
        return Err(Error::new(ErrorKind::Usage, DOING)
            .because(format!(
                "`{bad}` is neither the name of a host nor an IP number"
            ))
            .hint("Write it as clients do to connect, without a port.")
            .into());
    }
    // What counts are the alternative names; a long one does not fit here.
    let shown = if first.len() <= NAME_MAX {
        first
    } else {
        "durum"
    };
    dress(&mut params, shown, authority.validity(args.how.valid)?);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let files = Files::of(&args.dir, "server");
    let expires = authority
        .sign(&params, &files, &args.how)
        .map_err(of_destination)?;
    let Files { certificate, key } = files;
    let object = json!({ "certificate": certificate, "key": key, "ca": authority.path, "names": hosts,
                         "expires": expires });
    context.print(&object, || {
        format!(
            "Made the server's certificate for {}, valid until {expires}. In durum.toml:\n\n  [server]\n  \
             tls_cert = \"{}\"\n  tls_key = \"{}\"\n",
            hosts.join(", "),
            certificate.display(),
            key.display()
        )
    })?;
    Ok(DONE)
}

fn client(context: &Context, args: &CertClientArgs) -> Outcome {
    let name = &args.name;
    check_length("the client", name)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-_@".contains(letter);
    if !name.chars().all(fits) {
        return Err(Error::new(ErrorKind::Usage, DOING)
            .because(format!("`{name}` is not a name for a client"))
            .hint("Write letters, digits, and any of `.-_@`.")
            .into());
    }
    let authority = Authority::read(&args.dir)?;
    let mut params = params(name, authority.validity(args.how.valid)?);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let files = Files::of(&args.dir, &format!("client-{name}"));
    let expires = authority
        .sign(&params, &files, &args.how)
        .map_err(of_destination)?;
    let Files { certificate, key } = files;
    let object = json!({ "certificate": certificate, "key": key, "ca": authority.path, "name": name,
                         "expires": expires });
    context.print(&object, || {
        format!(
            "Made the certificate of the client `{name}`, valid until {expires}. It needs these:\n  {}\n  \
             {}\n  {}\nIn the server's durum.toml:\n\n  [server]\n  client_ca = \"{}\"\n  \
             [server.clients]\n  \"{name}\" = \"read-write\"   # or \"read-only\"\n",
            certificate.display(),
            key.display(),
            authority.path.display(),
            authority.path.display()
        )
    })?;
    Ok(DONE)
}

/// Whether a client could connect to it.
fn is_host(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

fn check_length(what: &str, name: &str) -> Result<()> {
    match name.trim().is_empty() || name.chars().count() > NAME_MAX {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::Usage, DOING).because(format!(
            "the name of {what} has to have from 1 to {NAME_MAX} letters"
        ))),
    }
}

fn impossible(error: rcgen::Error) -> Error {
    Error::new(ErrorKind::Other, DOING)
        .because(error.to_string())
        .caused_by(error)
}
