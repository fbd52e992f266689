//! `durum serve`.

use durum_core::{Error, ErrorKind, Result};
use durum_server::{Address, Home, Passed, Server, Supervisor};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info};

use super::args::ServeArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::served;

pub(crate) fn run(context: &Context, args: &ServeArgs) -> Outcome {
    let passed = Passed::take()?;
    let (store, server) = context.served(args.url.as_deref())?;
    let settings = served::settings(&server, args)?;
    let url = store.url();
    let home = Home {
        registry: context.registry.clone(),
        settings: store,
    };
    let server = match args.standby {
        true => Server::bind_home_when_free(home, settings, passed),
        false => Server::bind_home(home, settings, passed),
    };
    let server = server?.supervised(Supervisor::from_env());
    heed_signals(&server, reload(context, &server, args))?;
    let listen = names(&server.addresses());
    let metrics = names(&server.metrics_addresses());
    let object = json!({ "url": url, "listen": listen, "metrics": metrics });
    context.print(&object, || match metrics.is_empty() {
        true => format!("Serving {url} at {}.\n", listen.join(" and ")),
        false => format!(
            "Serving {url} at {}, metrics at {}.\n",
            listen.join(" and "),
            metrics.join(" and ")
        ),
    })?;
    server.run()?;
    Ok(DONE)
}

/// What has the server read its certificates and its list of clients anew, as the configuration names them
/// by then.
fn reload(
    context: &Context,
    server: &Server,
    args: &ServeArgs,
) -> impl Fn() -> Result<()> + Send + 'static {
    let (read, reloader, args) = (context.server_reader(), server.reloader(), args.tls.clone());
    move || match served::tls(&read()?, &args)? {
        Some(tls) => reloader.reload(&tls),
        None => Err(Error::new(ErrorKind::Usage, "read certificates")
            .because("the configuration names none")
            .hint("A server that is to speak TLS no more has to be started anew.")),
    }
}

fn names(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(Address::to_string).collect()
}

/// The first signal has the server finish what it has begun; the second ends the process at once. SIGHUP is
/// another matter.
fn heed_signals(server: &Server, reload: impl Fn() -> Result<()> + Send + 'static) -> Result<()> {
    let stopper = server.stopper();
    let listen = || {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let thread = std::thread::Builder::new().name("durum-signals".to_owned());
        thread.spawn(move || {
            let mut again = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    match reload() {
                        Ok(()) => info!("certificates and clients were read anew"),
                        Err(error) => error!(%error, "certificates and clients stay as they were"),
                    }
                    continue;
                }
                if again {
                    // It does not come back from that.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                again = true;
                stopper.stop();
            }
        })
    };
    listen().map_err(|error| Error::io(error, "listen to signals"))?;
    Ok(())
}
