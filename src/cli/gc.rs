//! `durum gc`.

use std::time::Instant;

use durum_core::engine::Engine;
use durum_core::store::{LocalStore, Store as _};
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::args::GcArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;

/// What one call gives back at most: commits of others wait for no longer than that takes.
const SLICE_BYTES: u64 = 16 << 20;
/// Calls in a row that give nothing back, after which no more is expected.
const IDLE_CALLS_MAX: u32 = 1000;

pub(crate) fn run(context: &Context, args: &GcArgs) -> Outcome {
    let begin = Instant::now();
    let store = context.open(args.url.as_deref())?;
    let progress = context.progress();
    progress.begin("gc", None);
    let collected = store.collect()?;
    let bytes_freed = give_back(&store, args.compact)?;
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
pub(crate) fn give_back(store: &LocalStore, compact: bool) -> Result<u64> {
    let capabilities = store.engine();
    let mut bytes = 0;
    if capabilities.reclaim {
        bytes += reclaim(store)?;
    }
    if compact || (capabilities.compaction && !capabilities.reclaim) {
        bytes += store.while_quiet(rewrite)?;
    }
    Ok(bytes)
}

fn reclaim(store: &LocalStore) -> Result<u64> {
    let mut bytes = 0;
    let mut idle = 0;
    while idle < IDLE_CALLS_MAX {
        let step = store.while_quiet(|engine| engine.reclaim(SLICE_BYTES))?;
        bytes += step.bytes;
        idle = if step.bytes == 0 { idle + 1 } else { 0 };
        if !step.more {
            break;
        }
    }
    Ok(bytes)
}

fn rewrite(engine: &dyn Engine) -> Result<u64> {
    match engine.compact() {
        Some(compact) => compact.compact(),
        None => Err(Error::new(ErrorKind::Unsupported, "compact the store")
            .because("its engine has no compaction")
            .hint("Leave `--compact` out; `durum engines` says what each engine offers.")),
    }
}
