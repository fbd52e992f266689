//! `durum bench load`: a part of `durum bench migrate`.

use durum_bench::migrate::{LoadSettings, load};
use serde_json::json;

use super::args::BenchLoadArgs;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::{memory, output};

pub(crate) fn run(context: &Context, args: &BenchLoadArgs) -> Outcome {
    context.check_config()?;
    let loaded = load(&context.registry, &args.path, &settings(args))?;
    let object = json!({
        "objects": args.objects,
        "stored_bytes": loaded.stored_bytes,
        "seconds": loaded.seconds,
        "cpu_seconds": loaded.cpu_seconds,
        "digest": loaded.digest,
        "peak_memory": memory::peak(),
    });
    context.print(&object, || {
        format!(
            "Loaded {} in {:.3} s.\n",
            output::count(args.objects, "object"),
            loaded.seconds
        )
    })?;
    Ok(DONE)
}

pub(super) fn settings(args: &BenchLoadArgs) -> LoadSettings {
    LoadSettings {
        engine: args.engine.clone(),
        raw: args.raw,
        objects: args.objects,
        size: args.size,
        seed: args.seed,
    }
}
