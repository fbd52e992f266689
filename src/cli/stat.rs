//! `durum stat`.

use durum_core::Tid;
use durum_core::engine::Capabilities;
use durum_core::store::Pending;
use durum_core::units::format_size;
use serde_json::json;

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let store = context.open_source(args.url.as_deref())?;
    let stats = store.stats()?;
    let pending = store.pending()?;
    let engine = store.engine();
    let object = json!({
        "objects": stats.objects,
        "tid": stats.tid.0,
        "live_bytes": stats.live_bytes,
        "disk_bytes": stats.engine.disk_bytes,
        "reclaimable_bytes": stats.engine.reclaimable_bytes,
        "garbage_pending": stats.garbage_pending,
        "orphans": pending.orphans,
        "oldest_orphan_tid": pending.oldest.map(|tid| tid.0),
        "condemned": pending.condemned,
        "ended_sessions": pending.ended_sessions,
        "space_returned_by": returned_by(engine),
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
            ("given back by", returned_by(engine).to_owned()),
            ("queued", queued(&pending, stats.tid)),
            (
                "floating",
                format!(
                    "{} condemned, {} of ended sessions to be released",
                    output::count(pending.condemned, "object"),
                    output::count(pending.ended_sessions, "pin list"),
                ),
            ),
            ("engine", format!("{} ({})", engine.name, engine.version)),
            ("durability", store.durability().name().to_owned()),
            ("store id", store.id().to_string()),
        ])
    })?;
    Ok(DONE)
}

/// What gives space that is not used any more back to the system.
fn returned_by(engine: &Capabilities) -> &'static str {
    match (engine.reclaim, engine.compaction) {
        (true, _) => "durum gc",
        (false, true) => "durum gc --compact",
        (false, false) => "nothing",
    }
}

/// The queue of the collector, and for how long its oldest entry has waited.
fn queued(pending: &Pending, last: Tid) -> String {
    let orphans = output::count(pending.orphans, "object");
    match pending.oldest {
        Some(oldest) => format!(
            "{orphans} to be looked at, the oldest for {}",
            output::count(last.0.saturating_sub(oldest.0), "commit")
        ),
        None => orphans,
    }
}
