//! `durum engines`.

use durum_core::engine::{Backend, OptionSpec};
use durum_core::units::format_size;
use serde_json::{Value, json};

use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;

pub(crate) fn run(context: &Context) -> Outcome {
    let engines: Vec<Value> = context
        .registry
        .iter()
        .map(|backend| object(&**backend))
        .collect();
    context.print(&json!({ "engines": engines }), || {
        let texts: Vec<String> = context
            .registry
            .iter()
            .map(|backend| text(&**backend))
            .collect();
        texts.join("\n")
    })?;
    Ok(DONE)
}

fn object(backend: &dyn Backend) -> Value {
    let offered = backend.capabilities();
    let option = |spec: &OptionSpec| {
        json!({
            "name": spec.name,
            "default": spec.default,
            "help": spec.help,
            "values": spec.kind.describe(),
        })
    };
    json!({
        "name": offered.name,
        "version": offered.version,
        "snapshots": offered.snapshots,
        "durability": offered.durability,
        "compaction": offered.compaction,
        "reclaim": offered.reclaim,
        "persistent": offered.persistent,
        "value_bytes_max": offered.value_bytes_max,
        "options": backend.options().iter().map(option).collect::<Vec<_>>(),
    })
}

fn text(backend: &dyn Backend) -> String {
    let offered = backend.capabilities();
    let yes = |offers: bool| if offers { "yes" } else { "no" }.to_owned();
    let levels: Vec<&str> = offered
        .durability
        .iter()
        .map(|level| level.name())
        .collect();
    let snapshots = if offered.snapshots {
        "the engine's own"
    } else {
        "kept by Durum"
    };
    let mut pairs = vec![
        ("  version", offered.version),
        ("  durability", levels.join(", ")),
        ("  snapshots", snapshots.to_owned()),
        ("  compaction", yes(offered.compaction)),
        ("  gives space back", yes(offered.reclaim)),
        ("  persistent", yes(offered.persistent)),
        ("  largest record", largest(offered.value_bytes_max)),
    ];
    for spec in backend.options() {
        let about = format!("{} = {}: {}", spec.name, spec.default, spec.help);
        pairs.push(("  option", about));
    }
    format!("{}\n{}", offered.name, output::pairs(&pairs))
}

fn largest(bytes: u64) -> String {
    // Beyond this it is only the type of the number that sets a limit.
    const UNLIMITED: u64 = 1 << 60;
    if bytes >= UNLIMITED {
        "unlimited".to_owned()
    } else {
        format_size(bytes)
    }
}
