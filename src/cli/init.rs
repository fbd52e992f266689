//! `durum init`.

use durum_core::store::Store as _;
use durum_core::{Error, ErrorKind};
use serde_json::json;

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome, of_destination};

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let settings = context.settings(args.url.as_deref())?;
    let capabilities = context.registry.get(&settings.backend)?.capabilities();
    if !capabilities.persistent {
        return Err(Error::new(ErrorKind::Unsupported, "create the store")
            .with_engine(capabilities.name)
            .because("this engine keeps nothing beyond the end of the program")
            .hint("Choose another one; `durum engines` lists them.")
            .into());
    }
    let store = context.registry.create(&settings).map_err(of_destination)?;
    let (url, id) = (settings.url(), store.id().to_string());
    drop(store);
    let object = json!({ "url": url, "store_id": id, "engine": capabilities.name });
    context.print(&object, || format!("Created the store {url} (id {id}).\n"))?;
    Ok(DONE)
}
