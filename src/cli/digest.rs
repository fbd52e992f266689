//! `durum digest`.

use serde_json::json;

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let store = context.open_source(args.url.as_deref())?;
    let progress = context.progress();
    let digest = store.digest(&progress)?;
    drop(progress);
    let object = json!({ "objects": digest.objects(), "digest": digest.to_string() });
    context.print(&object, || {
        format!("{digest}  {}\n", output::count(digest.objects(), "object"))
    })?;
    Ok(DONE)
}
