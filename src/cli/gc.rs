//! `durum gc`.

use std::time::Instant;

use durum_core::Result;
use durum_core::store::{LocalStore, Store as _};
use durum_core::units::format_size;
use serde_json::json;

use super::args::GcArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;
use super::progress::Progress;

pub(crate) fn run(context: &Context, args: &GcArgs) -> Outcome {
    let begin = Instant::now();
    let store = context.open(args.url.as_deref())?;
    let progress = context.progress();
    let collected = store.collect(&progress)?;
    let bytes_freed = store.give_back(args.compact, &progress)?;
    drop(progress);
    let time = begin.elapsed();
    let object = json!({
        "collected": collected.objects,
        "bytes_freed": bytes_freed,
        "seconds": output::seconds(time),
        "collected_bytes": collected.bytes,
    });
    context.print(&object, || {
        format!(
            "Collected {} of {} and gave {} back to the system, in {}.\n",
            output::count(collected.objects, "object"),
            format_size(collected.bytes),
            format_size(bytes_freed),
            output::duration(time),
        )
    })?;
    Ok(DONE)
}

/// Gives the engine's unused space back to the system; returns the bytes.
pub(crate) fn give_back(store: &LocalStore, compact: bool, progress: &Progress) -> Result<u64> {
    let capabilities = store.engine();
    let mut bytes = 0;
    if capabilities.reclaim {
        bytes += reclaim(store, progress)?;
    }
    if compact || (capabilities.compaction && !capabilities.reclaim) {
        progress.begin_bytes("compact");
        bytes += store.compact(&mut |done, total| progress.reach(done, total))?;
    }
    Ok(bytes)
}

fn reclaim(store: &LocalStore, progress: &Progress) -> Result<u64> {
    let expected = store.stats()?.engine.reclaimable_bytes;
    progress.begin_bytes("reclaim");
    store.reclaim_all(&mut |bytes| progress.reach(bytes.min(expected), expected))
}
