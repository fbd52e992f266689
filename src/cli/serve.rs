//! `durum serve`.

use std::sync::Arc;

use durum_core::store::LocalStore;
use durum_core::{Error, ErrorKind, Result};
use durum_server::{Address, Server, Settings};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::ServeArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};

pub(crate) fn run(context: &Context, args: &ServeArgs) -> Outcome {
    let (store, server) = context.served(args.url.as_deref())?;
    let listen = match args.listen.is_empty() {
        true => &server.listen,
        false => &args.listen,
    };
    let settings = Settings {
        listen: listen
            .iter()
            .map(|address| address.parse::<Address>())
            .collect::<Result<_>>()?,
        allow_quit: server.allow_quit || args.allow_quit,
        read_only: args.read_only,
        ..Settings::default()
    };
    let url = store.url();
    let opened = match context.registry.open(&store) {
        Err(error) if error.kind() == ErrorKind::NotFound && !args.read_only => {
            context.registry.create(&store)
        }
        opened => opened,
    };
    let store: Arc<LocalStore> = Arc::new(opened?);
    let server = Server::bind(store, settings)?;
    stop_on_signals(&server)?;
    let addresses: Vec<String> = server.addresses().iter().map(Address::to_string).collect();
    context.print(&json!({ "url": url, "listen": addresses }), || {
        format!("Serving {url} at {}.\n", addresses.join(" and "))
    })?;
    server.run()?;
    Ok(DONE)
}

/// The first signal has the server finish what it has begun; the second ends the process at once.
fn stop_on_signals(server: &Server) -> Result<()> {
    let stopper = server.stopper();
    let listen = || {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let thread = std::thread::Builder::new().name("durum-signals".to_owned());
        thread.spawn(move || {
            let mut again = false;
            for signal in signals.forever() {
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
