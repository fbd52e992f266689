//! `durum migrate`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use durum_core::config::Location;
use durum_core::record::Codec;
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind};
use durum_migrate::zodb::LeftOut;
use durum_migrate::{MigrateOptions, OnError, Outcome as Migrated, Phases, Verify};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::{MigrateArgs, OnErrorArg, VerifyArg};
use super::context::Context;
use super::failure::{DONE, Failure, NO_ROOM, Outcome, REJECTS, of_source};
use super::{memory, output};

pub(crate) fn run(context: &Context, args: &MigrateArgs) -> Outcome {
    let begin = Instant::now();
    context.check_config()?;
    let source = context.registry.parse(&args.source)?;
    let mut destination = context.registry.parse(&args.destination)?;
    if let Some(codec) = args.codec {
        recompress(&mut destination, codec)?;
    }
    let options = options(args)?;
    if args.dry_run {
        return dry_run(context, (&source, &destination), &options);
    }
    stop_on_signals(&options.stop)?;
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
        "resumed": migrated.resumed,
        "peak_memory": memory::peak(),
        "phases": phases(&migrated.phases),
        "torn_bytes": migrated.torn_bytes,
        "dangling": migrated.dangling,
        "rejects": migrated.rejects,
        "weak_references": migrated.left_out.weak,
        "cross_database_references": migrated.left_out.cross_database,
        "blobs": migrated.left_out.blobs,
        "rounds": migrated.rounds,
        "followed": migrated.followed,
    });
    context.print(&object, || text(&destination, &migrated, args, time))?;
    Ok(if migrated.rejects > 0 { REJECTS } else { DONE })
}

/// Has signals set the flag. The second one ends the process at once, as it would without us.
pub(super) fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), Error> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()))
            .map_err(|error| Error::io(error, "listen to signals"))?;
    }
    Ok(())
}

/// Seconds by part, which together are about all of the time.
fn phases(phases: &Phases) -> Value {
    json!({
        "open": output::seconds(phases.open),
        "walk": output::seconds(phases.walk),
        "copy": output::seconds(phases.copy),
        "link": output::seconds(phases.link),
        "verify": output::seconds(phases.verify),
        "follow": output::seconds(phases.follow),
        "publish": output::seconds(phases.publish),
    })
}

fn options(args: &MigrateArgs) -> Result<MigrateOptions, Error> {
    let defaults = MigrateOptions::default();
    let on_error = match (args.on_error, &args.rejects) {
        (OnErrorArg::Skip, dir) => OnError::Skip(dir.clone()),
        (OnErrorArg::Stop, None) => OnError::Stop,
        (OnErrorArg::Stop, Some(_)) => {
            return Err(Error::new(ErrorKind::Usage, "migrate")
                .because("`--rejects` needs `--on-error skip`"));
        }
    };
    Ok(MigrateOptions {
        verify: verify(args.verify),
        on_error,
        memory_bytes: memory_bytes(args.memory)?,
        threads: args.threads.map_or(defaults.threads, usize::from),
        rate: args.rate,
        time_max: args.max_duration,
        resume: args.resume,
        follow: args.follow,
        reachable_only: args.reachable_only,
        ..defaults
    })
}

/// # Errors
/// `Usage` for less memory than is of use.
pub(super) fn memory_bytes(asked: u64) -> Result<usize, Error> {
    let least = MigrateOptions::MEMORY_BYTES_MIN as u64;
    if asked < least {
        let least = format_size(least);
        return Err(Error::new(ErrorKind::Usage, "migrate")
            .because(format!("`--memory` has to be {least} at least")));
    }
    Ok(usize::try_from(asked).unwrap_or(usize::MAX))
}

fn recompress(destination: &mut Location, codec: Codec) -> Result<(), Error> {
    match destination {
        Location::Store(settings) => settings.compression = codec,
        _ if codec == Codec::None => {}
        _ => {
            return Err(Error::new(ErrorKind::Usage, "migrate")
                .because(format!("{destination} cannot be compressed")));
        }
    }
    Ok(())
}

fn dry_run(
    context: &Context,
    (source, destination): (&Location, &Location),
    options: &MigrateOptions,
) -> Outcome {
    let plan = durum_migrate::plan(&context.registry, source, destination, options)
        .map_err(|error| failure(error, source))?;
    let object = json!({
        "objects": plan.objects,
        "bytes": plan.bytes,
        "needed_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
        "room": plan.has_room(),
        "done": plan.done,
    });
    context.print(&object, || {
        let mut out = format!(
            "{} with {} would be copied from {source} to {destination}.\n",
            output::count(plan.objects, "object"),
            format_size(plan.bytes),
        );
        if plan.done > 0 {
            let done = output::count(plan.done, "object");
            out.push_str(&format!("{done} of these are there already.\n"));
        }
        let needed = format_size(plan.needed_bytes);
        let room = match plan.free_bytes {
            Some(free) => format!(
                "it takes about {needed}, and {} are free",
                format_size(free)
            ),
            None => format!("it takes about {needed}"),
        };
        let verdict = if plan.has_room() {
            "There is room"
        } else {
            "There is no room"
        };
        out.push_str(&format!("{verdict}: {room}. Nothing was changed.\n"));
        out
    })?;
    Ok(if plan.has_room() { DONE } else { NO_ROOM })
}

pub(super) fn verify(how: VerifyArg) -> Verify {
    match how {
        VerifyArg::None => Verify::None,
        VerifyArg::Count => Verify::Count,
        VerifyArg::Digest => Verify::Digest,
        VerifyArg::Full => Verify::Full,
    }
}

/// The destination's errors have their exit codes already; a source that cannot be locked for want of
/// permission is told by its path.
fn failure(error: Error, source: &Location) -> Failure {
    let path: Option<&Path> = match source {
        Location::Store(settings) => Some(&settings.path),
        Location::DurusFile { path, .. } | Location::ZodbFile { path } => Some(path),
        Location::Server(_) => None,
    };
    if error.kind() == ErrorKind::ReadOnly && error.path().is_some() && error.path() == path {
        return of_source(error);
    }
    error.into()
}

fn text(destination: &Location, migrated: &Migrated, args: &MigrateArgs, time: Duration) -> String {
    let mut out = format!(
        "Copied {} with {} of data to {destination} in {}.\n",
        output::count(migrated.objects, "object"),
        format_size(migrated.bytes),
        output::duration(time),
    );
    if let Some(digest) = migrated.digest {
        out.push_str(&format!("Both have the digest {digest}.\n"));
    }
    if args.verify == VerifyArg::Full {
        out.push_str("Compared object by object: both sides are equal.\n");
    }
    if migrated.rounds > 0 {
        let (objects, rounds) = (migrated.followed, migrated.rounds);
        out.push_str(&format!(
            "Followed: {} were brought over or deleted in {} after the copy. Nobody writes to the source \
             now.\n",
            output::count(objects, "object"),
            output::count(rounds, "round"),
        ));
    }
    if migrated.resumed {
        out.push_str("It went on from where an earlier run had stopped.\n");
    }
    if migrated.rejects > 0 {
        let rejects = output::count(migrated.rejects, "object");
        out.push_str(&format!("Left out: {rejects} that could not be read.\n"));
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
