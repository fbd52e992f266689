//! `durum cert`: an authority and certificates, for an installation that has none.

mod args;

use durum_server::tls::issue::{Authority, Files, How, check_client, make_authority};
use serde_json::json;

use super::context::Context;
use super::failure::{DONE, Outcome, of_destination};
pub(crate) use args::CertArgs;
use args::{CertCaArgs, CertClientArgs, CertCommand, CertHow, CertServerArgs};

pub(crate) fn run(context: &Context, args: &CertArgs) -> Outcome {
    context.check_config()?;
    match &args.what {
        CertCommand::Ca(args) => ca(context, args),
        CertCommand::Server(args) => server(context, args),
        CertCommand::Client(args) => client(context, args),
    }
}

impl CertHow {
    fn how(&self) -> How {
        How {
            valid: self.valid,
            replace: self.replace,
        }
    }
}

fn ca(context: &Context, args: &CertCaArgs) -> Outcome {
    let made = make_authority(&args.dir, args.name.as_deref(), args.valid);
    let made = made.map_err(of_destination)?;
    let (Files { certificate, key }, name, expires) = (made.files, made.name, made.expires);
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
    let files = Files::of(&args.dir, "server");
    let made = authority.make_server(files, &hosts, args.how.how());
    let made = made.map_err(of_destination)?;
    let (Files { certificate, key }, expires) = (made.files, made.expires);
    let object = json!({ "certificate": certificate, "key": key, "ca": authority.path(), "names": hosts,
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
    check_client(name)?;
    let authority = Authority::read(&args.dir)?;
    let files = Files::of(&args.dir, &format!("client-{name}"));
    let made = authority.make_client(files, name, args.how.how());
    let made = made.map_err(of_destination)?;
    let (Files { certificate, key }, expires) = (made.files, made.expires);
    let ca = authority.path();
    let object = json!({ "certificate": certificate, "key": key, "ca": ca, "name": name,
                         "expires": expires });
    context.print(&object, || {
        format!(
            "Made the certificate of the client `{name}`, valid until {expires}. It needs these:\n  {}\n  \
             {}\n  {}\nIn the server's durum.toml:\n\n  [server]\n  client_ca = \"{}\"\n  \
             [server.clients]\n  \"{name}\" = \"read-write\"   # or \"read-only\"\n",
            certificate.display(),
            key.display(),
            ca.display(),
            ca.display()
        )
    })?;
    Ok(DONE)
}
