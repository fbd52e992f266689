//! `durum digest`.

use durum_core::Result;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store as _};
use serde_json::json;

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;
use super::progress::Progress;

/// Progress is told after this many objects.
const STEP: u64 = 256;

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let store = context.open_source(args.url.as_deref())?;
    let progress = context.progress();
    let digest = of(&store, &progress)?;
    drop(progress);
    let object = json!({ "objects": digest.objects(), "digest": digest.to_string() });
    context.print(&object, || {
        format!("{digest}  {}\n", output::count(digest.objects(), "object"))
    })?;
    Ok(DONE)
}

/// As [`Digest::of`], with progress.
fn of(store: &LocalStore, progress: &Progress) -> Result<Digest> {
    progress.begin("digest", Some(store.stats()?.objects));
    let snapshot = store.snapshot()?;
    Digest::of_with(&*snapshot, &mut |objects| {
        if objects.is_multiple_of(STEP) {
            progress.advance(STEP, 0);
        }
    })
}
