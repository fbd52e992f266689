//! `durum migrate`.

use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::config::Location;
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind};
use durum_migrate::zodb::LeftOut;
use durum_migrate::{MigrateOptions, Outcome as Migrated, Verify};
use serde_json::json;

use super::args::{MigrateArgs, VerifyArg};
use super::context::Context;
use super::failure::{DONE, Failure, Outcome, of_source};
use super::{memory, output};

pub(crate) fn run(context: &Context, args: &MigrateArgs) -> Outcome {
    let begin = Instant::now();
    context.check_config()?;
    let source = context.registry.parse(&args.source)?;
    let destination = context.registry.parse(&args.destination)?;
    let options = MigrateOptions {
        verify: verify(args.verify),
        ..MigrateOptions::default()
    };
    let progress = context.progress();
    let migrated = durum_migrate::migrate(
        &context.registry,
        &source,
        &destination,
        &options,
        &progress,
    );
    drop(progress);
    let migrated = migrated.map_err(|error| failure(error, &source))?;
    let time = begin.elapsed();
    let object = json!({
        "objects": migrated.objects,
        "bytes": migrated.bytes,
        "seconds": output::seconds(time),
        "digest": migrated.digest.map(|digest| digest.to_string()),
        "resumed": false,
        "peak_memory": memory::peak(),
        "torn_bytes": migrated.torn_bytes,
        "dangling": migrated.dangling,
        "weak_references": migrated.left_out.weak,
        "cross_database_references": migrated.left_out.cross_database,
        "blobs": migrated.left_out.blobs,
    });
    context.print(&object, || text(&destination, &migrated, time))?;
    Ok(DONE)
}

fn verify(how: VerifyArg) -> Verify {
    match how {
        VerifyArg::None => Verify::None,
        VerifyArg::Count => Verify::Count,
        VerifyArg::Digest => Verify::Digest,
    }
}

/// The destination's errors have their exit codes already; a source that cannot be locked for want of
/// permission is told by its path.
fn failure(error: Error, source: &Location) -> Failure {
    let path: Option<&Path> = match source {
        Location::Store(settings) => Some(&settings.path),
        Location::DurusFile { path, .. } | Location::ZodbFile { path } => Some(path),
        Location::Server { .. } => None,
    };
    if error.kind() == ErrorKind::ReadOnly && error.path().is_some() && error.path() == path {
        return of_source(error);
    }
    error.into()
}

fn text(destination: &Location, migrated: &Migrated, time: Duration) -> String {
    let mut out = format!(
        "Copied {} with {} of data to {destination} in {}.\n",
        output::count(migrated.objects, "object"),
        format_size(migrated.bytes),
        output::duration(time),
    );
    if let Some(digest) = migrated.digest {
        out.push_str(&format!("Both have the digest {digest}.\n"));
    }
    if migrated.torn_bytes > 0 {
        let torn = format_size(migrated.torn_bytes);
        out.push_str(&format!(
            "Left out: {torn} of an unfinished transaction at the end.\n"
        ));
    }
    if migrated.dangling > 0 {
        let dangling = output::count(migrated.dangling, "reference");
        out.push_str(&format!(
            "Copied as they are: {dangling} to objects that do not exist.\n"
        ));
    }
    out.push_str(&left_out(migrated.left_out));
    out
}

/// What ZODB knows and a store does not.
fn left_out(left_out: LeftOut) -> String {
    let mut out = String::new();
    let mut say = |count, noun, what| {
        if count > 0 {
            let counted = output::count(count, noun);
            out.push_str(&format!("{what}: {counted}.\n"));
        }
    };
    say(
        left_out.weak,
        "weak reference",
        "In the data only, and keeping nothing alive",
    );
    say(
        left_out.cross_database,
        "reference",
        "In the data only, leading into other databases",
    );
    say(
        left_out.blobs,
        "blob",
        "Not copied, being files of their own",
    );
    out
}
