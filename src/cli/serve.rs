//! `durum serve`.

use std::thread::{Builder, JoinHandle};

use durum_core::{Error, ErrorKind, Result};
use durum_server::{Address, Home, Passed, Reloader, Server, Settings, Stopper, Supervisor};
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
    let reads = served::reads(&server, args, &settings)?;
    let reads = reads.map(|settings| Reads::start(home.clone(), settings));
    let reads = reads.transpose()?;
    let server = match args.standby {
        true => Server::bind_home_when_free(home, settings, passed),
        false => Server::bind_home(home, settings, passed),
    };
    let server = server?.supervised(Supervisor::from_env());
    let reloaders = [
        Some(server.reloader()),
        reads.as_ref().map(|reads| reads.reloader.clone()),
    ];
    heed_signals(
        &server,
        reload(context, reloaders.into_iter().flatten().collect(), args),
    )?;
    let listen = names(&server.addresses());
    let metrics = names(&server.metrics_addresses());
    let read_listen = reads
        .as_ref()
        .map_or_else(Vec::new, |reads| names(&reads.addresses));
    let object =
        json!({ "url": url, "listen": listen, "read_listen": read_listen, "metrics": metrics });
    context.print(&object, || {
        let also = |what: &str, at: &[String]| match at.is_empty() {
            true => String::new(),
            false => format!(", {what} at {}", at.join(" and ")),
        };
        let (reads, metrics) = (also("reads", &read_listen), also("metrics", &metrics));
        format!(
            "Serving {url} at {}{reads}{metrics}.\n",
            listen.join(" and ")
        )
    })?;
    let served = server.run();
    let read = reads.map_or(Ok(()), Reads::stop);
    served.and(read)?;
    Ok(DONE)
}

/// The server of those who only read, on a thread of its own: it is there while the store is waited for, too.
struct Reads {
    addresses: Vec<Address>,
    stopper: Stopper,
    reloader: Reloader,
    thread: JoinHandle<Result<()>>,
}

impl Reads {
    fn start(home: Home, settings: Settings) -> Result<Reads> {
        let server = Server::bind_reads(home, settings)?;
        let (addresses, stopper, reloader) =
            (server.addresses(), server.stopper(), server.reloader());
        let thread = Builder::new().name("durum-reads".to_owned());
        let thread = thread.spawn(|| server.run());
        let thread = thread.map_err(|error| Error::io(error, "serve reads"))?;
        info!("reads are served at {}", names(&addresses).join(" and "));
        Ok(Reads {
            addresses,
            stopper,
            reloader,
            thread,
        })
    }

    fn stop(self) -> Result<()> {
        self.stopper.stop();
        self.thread.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Other, "serve reads").because("its thread has failed"))
        })
    }
}

/// What has the server read its certificates and its list of clients anew, as the configuration names them
/// by then.
fn reload(
    context: &Context,
    reloaders: Vec<Reloader>,
    args: &ServeArgs,
) -> impl Fn() -> Result<()> + Send + 'static {
    let (read, args) = (context.server_reader(), args.tls.clone());
    move || match served::tls(&read()?, &args)? {
        Some(tls) => reloaders
            .iter()
            .try_for_each(|reloader| reloader.reload(&tls)),
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
