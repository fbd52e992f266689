//! `durum tour`: the main job in one command, on a real database.
//!
//! It calls the functions that the commands call, on stores that it leaves behind for exploring.

mod compare;
mod contents;
mod garbage;
mod home;
mod journey;
mod narrator;
mod next;

use std::time::Instant;

use durum_core::config::StoreSettings;
use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::args::TourArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::{memory, output};
use home::Home;
use narrator::Narrator;

/// A slice of Debian's package graph, written by the original Durus; see `samples/README.md`.
const SAMPLE: &[u8] = include_bytes!("../../../samples/debian.durus");

pub(crate) fn run(context: &Context, args: &TourArgs) -> Outcome {
    let begin = Instant::now();
    context.check_config()?;
    let engine = default_engine(&context.registry)?;
    let home = Home::claim(&args.dir)?;
    let narrator = Narrator::new(context.json());
    narrator.say("A tour of Durum, an object store on the engine of your choice.\n")?;

    let legs = journey::import(context, &narrator, &home, engine)?;
    let contents = contents::show(context, &narrator, &home.store(engine))?;
    let legs = journey::onward(context, &narrator, &home, engine, legs)?;
    let garbage = garbage::collect(context, &narrator, &home.store(engine))?;
    let rows = compare::compare(context, &narrator, &home)?;
    let next = next::show(&narrator, &home, engine)?;

    let time = begin.elapsed();
    narrator.say(&format!("\nThe tour took {}.\n", output::duration(time)))?;
    let digests: serde_json::Map<String, serde_json::Value> = legs
        .iter()
        .map(|leg| (leg.name.clone(), leg.digest.to_string().into()))
        .collect();
    let object = json!({
        "dir": home.path().display().to_string(),
        "store": home.store(engine).url(),
        "objects": contents.objects,
        "references": contents.references,
        "bytes": contents.bytes,
        "digest": legs.first().map(|leg| leg.digest.to_string()),
        "digests": digests,
        "legs": legs.iter().map(journey::Leg::object).collect::<Vec<_>>(),
        "collected": garbage.collected,
        "bytes_freed": garbage.bytes_freed,
        "rows": rows,
        "next": next,
        "seconds": output::seconds(time),
        "peak_memory": memory::peak(),
    });
    home.keep();
    context.print(&object, String::new)?;
    Ok(DONE)
}

/// The engine of a store that names none, or else the first that keeps anything.
fn default_engine(registry: &Registry) -> Result<&'static str> {
    let engines = persistent(registry);
    let usual = StoreSettings::default().backend;
    let found = engines
        .iter()
        .find(|name| **name == usual)
        .or(engines.first());
    found.copied().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "begin the tour")
            .because("no engine that keeps anything is compiled in")
    })
}

/// The engines that keep what they are given.
fn persistent(registry: &Registry) -> Vec<&'static str> {
    let offered = registry.iter().map(|backend| backend.capabilities());
    offered
        .filter(|offered| offered.persistent)
        .map(|offered| offered.name)
        .collect()
}
