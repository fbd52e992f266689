//! The sample's way through all engines, with the proof that nothing was lost on it.

use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::config::{DurusFormat, Location};
use durum_core::digest::Digest;
use durum_core::store::Store as _;
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, IoResultExt as _};
use durum_migrate::{MigrateOptions, migrate};
use serde_json::{Value, json};

use super::home::Home;
use super::narrator::Narrator;
use super::{SAMPLE, persistent};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Side, Table};

/// The part of a digest that fits into a table.
const DIGEST_SHOWN: usize = 16;

/// One copy from a place to the next.
#[derive(Debug)]
pub(super) struct Leg {
    /// The engine that it led to, or `durus`.
    pub(super) name: String,
    pub(super) digest: Digest,
    objects: u64,
    disk_bytes: u64,
    time: Duration,
}

impl Leg {
    pub(super) fn object(&self) -> Value {
        json!({
            "to": self.name,
            "objects": self.objects,
            "disk_bytes": self.disk_bytes,
            "seconds": output::seconds(self.time),
            "digest": self.digest.to_string(),
        })
    }
}

/// Writes the sample out and imports it.
pub(super) fn import(
    context: &Context,
    narrator: &Narrator,
    home: &Home,
    engine: &str,
) -> Result<Vec<Leg>, Failure> {
    let file = home.path().join("debian.durus");
    std::fs::write(&file, SAMPLE).during("write the sample", &file)?;
    narrator.heading("1. A real database comes in")?;
    narrator.say(&format!(
        "{} was written by the original Durus: a slice of Debian's package graph,\n\
         packages and what they need, their maintainers, and systems with packages installed.\n",
        file.display()
    ))?;
    let from = Location::DurusFile {
        path: file,
        format: DurusFormat::default(),
    };
    let leg = copy(context, &from, &Location::Store(home.store(engine)), engine)?;
    narrator.say(&format!(
        "Imported {} into {} in {}.\nTheir digest is {}.\n",
        output::count(leg.objects, "object"),
        home.store(engine).url(),
        output::duration(leg.time),
        leg.digest
    ))?;
    Ok(vec![leg])
}

/// Takes the objects from the first engine through all others and back into a Durus file.
pub(super) fn onward(
    context: &Context,
    narrator: &Narrator,
    home: &Home,
    first: &str,
    mut legs: Vec<Leg>,
) -> Result<Vec<Leg>, Failure> {
    let others: Vec<&str> = persistent(&context.registry)
        .into_iter()
        .filter(|name| *name != first)
        .collect();
    narrator.heading("3. From engine to engine, and back to Durus")?;
    narrator.say(&format!(
        "durus -> {first} -> {}durus; each copy is read back and compared before it appears.\n\n",
        others
            .iter()
            .map(|name| format!("{name} -> "))
            .collect::<String>()
    ))?;
    let mut from = Location::Store(home.store(first));
    for engine in others {
        let to = Location::Store(home.store(engine));
        legs.push(copy(context, &from, &to, engine)?);
        from = to;
    }
    let path = home.path().join("back.durus");
    let to = Location::DurusFile {
        path,
        format: DurusFormat::default(),
    };
    legs.push(copy(context, &from, &to, "durus")?);
    narrator.say(&table(&legs))?;
    prove(narrator, &legs)?;
    Ok(legs)
}

fn copy(context: &Context, from: &Location, to: &Location, name: &str) -> Result<Leg, Failure> {
    let begin = Instant::now();
    let progress = context.progress();
    let done = migrate(
        &context.registry,
        from,
        to,
        &MigrateOptions::default(),
        &progress,
    )?;
    drop(progress);
    let time = begin.elapsed();
    let disk_bytes = match to {
        Location::Store(settings) => {
            context
                .registry
                .open(&settings.clone().without_collection())?
                .stats()?
                .engine
                .disk_bytes
        }
        Location::DurusFile { path, .. } | Location::ZodbFile { path } => size(path)?,
        Location::Server(_) => 0,
    };
    let digest = done.digest.unwrap_or_default();
    Ok(Leg {
        name: name.to_owned(),
        digest,
        objects: done.objects,
        disk_bytes,
        time,
    })
}

fn size(path: &Path) -> Result<u64, Failure> {
    Ok(std::fs::metadata(path)
        .during("look at the copy", path)?
        .len())
}

fn table(legs: &[Leg]) -> String {
    let mut table = Table::new(&[
        ("to", Side::Left),
        ("objects", Side::Right),
        ("time", Side::Right),
        ("on disk", Side::Right),
        ("digest", Side::Left),
    ]);
    for leg in legs {
        let digest: String = leg.digest.to_string().chars().take(DIGEST_SHOWN).collect();
        table.row([
            leg.name.clone(),
            output::number(leg.objects),
            output::duration(leg.time),
            format_size(leg.disk_bytes),
            format!("{digest}..."),
        ]);
    }
    table.render("  ")
}

/// Each copy was compared with its source; here all are compared with each other.
fn prove(narrator: &Narrator, legs: &[Leg]) -> Result<(), Failure> {
    let first = legs.first().map(|leg| leg.digest);
    match legs.iter().find(|leg| Some(leg.digest) != first) {
        None => narrator.say(&format!(
            "\nAll {} digests are equal: every object, byte and reference arrived.\n",
            legs.len()
        )),
        Some(leg) => Err(Error::new(ErrorKind::Mismatch, "finish the tour")
            .because(format!(
                "the copy on {} has another digest than the first",
                leg.name
            ))
            .into()),
    }
}
