//! `durum stat`.

use durum_core::store::Store as _;
use durum_core::units::format_size;
use serde_json::json;

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let store = context.open_source(args.url.as_deref())?;
    let stats = store.stats()?;
    let engine = store.engine();
    let object = json!({
        "objects": stats.objects,
        "tid": stats.tid.0,
        "live_bytes": stats.live_bytes,
        "disk_bytes": stats.engine.disk_bytes,
        "reclaimable_bytes": stats.engine.reclaimable_bytes,
        "garbage_pending": stats.garbage_pending,
        "engine": engine.name,
        "engine_version": engine.version,
        "store_id": store.id().to_string(),
        "next_oid": stats.high_water.0,
        "durability": store.durability(),
    });
    context.print(&object, || {
        output::pairs(&[
            ("objects", output::number(stats.objects)),
            ("last commit", output::number(stats.tid.0)),
            ("live data", format_size(stats.live_bytes)),
            ("on disk", format_size(stats.engine.disk_bytes)),
            ("reclaimable", format_size(stats.engine.reclaimable_bytes)),
            (
                "queued garbage",
                output::count(stats.garbage_pending, "object"),
            ),
            ("engine", format!("{} ({})", engine.name, engine.version)),
            ("durability", store.durability().name().to_owned()),
            ("store id", store.id().to_string()),
        ])
    })?;
    Ok(DONE)
}
