//! `durum dict migrate`.

use std::time::Instant;

use durum_core::units::format_size;
use durum_core::{Error, ErrorKind};
use durum_migrate::MigrateOptions;
use durum_migrate::dictionaries::{Moved, Place, Selection, migrate_dictionaries};
use serde_json::{Value, json};

use super::args::MigrateDictArgs;
use super::is_on_nodes;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, Outcome, of_destination, of_source};
use crate::cli::{memory, migrate, output};

pub(super) fn run(context: &Context, args: &MigrateDictArgs) -> Outcome {
    let begin = Instant::now();
    if args.source == args.destination {
        return Err(Error::new(ErrorKind::Usage, "migrate dictionaries")
            .because("the source and the destination are the same")
            .into());
    }
    let options = MigrateOptions {
        verify: migrate::verify(args.verify),
        memory_bytes: migrate::memory_bytes(args.memory)?,
        rate: args.rate,
        time_max: args.max_duration,
        resume: args.resume,
        follow: args.follow,
        ..MigrateOptions::default()
    };
    let destination_failed = |failure| match failure {
        Failure::Error { error, .. } => of_destination(error),
        other => other,
    };
    let source_failed = |failure| match failure {
        Failure::Error { error, .. } => of_source(error),
        other => other,
    };
    let source = context.dictionaries(Some(&args.source), false);
    let source = source.map_err(source_failed)?;
    let destination = context.dictionaries(Some(&args.destination), true);
    let destination = destination.map_err(destination_failed)?;
    migrate::stop_on_signals(&options.stop)?;
    let selection = Selection {
        classes: args.class.clone(),
        copies: args.copies,
    };
    let progress = context.progress();
    let moved = migrate_dictionaries(
        Place {
            home: &source,
            url: &args.source,
            is_on_nodes: is_on_nodes(&args.source),
        },
        Place {
            home: &destination,
            url: &args.destination,
            is_on_nodes: is_on_nodes(&args.destination),
        },
        &selection,
        &options,
        &progress,
    );
    drop(progress);
    let moved = moved?;
    let sum = |of: fn(&Moved) -> u64| moved.iter().map(of).sum::<u64>();
    let object = json!({
        "classes": moved.iter().map(class).collect::<Vec<Value>>(),
        "dictionaries": sum(|it| it.dictionaries),
        "revisions": sum(|it| it.added),
        "bytes": sum(|it| it.bytes),
        "resumed": moved.iter().any(|it| it.resumed),
        "seconds": output::seconds(begin.elapsed()),
        "peak_memory": memory::peak(),
    });
    context.print(&object, || {
        let mut out: String = moved.iter().map(text).collect();
        let time = output::duration(begin.elapsed());
        out.push_str(&format!("All is at {} after {time}.\n", args.destination));
        out
    })?;
    Ok(DONE)
}

fn class(moved: &Moved) -> Value {
    json!({
        "class": moved.class,
        "dictionaries": moved.dictionaries,
        "revisions": moved.added,
        "followed": moved.followed,
        "bytes": moved.bytes,
        "digest": moved.digest.map(|digest| digest.to_string()),
        "resumed": moved.resumed,
    })
}

fn text(moved: &Moved) -> String {
    let mut out = format!(
        "{}: {} dictionaries, {} taken over with {}{}.\n",
        moved.class,
        output::number(moved.dictionaries),
        output::count(moved.added, "revision"),
        format_size(moved.bytes),
        if moved.resumed { ", resumed" } else { "" },
    );
    if let Some(digest) = moved.digest {
        out.push_str(&format!("  Both have the digest {digest}.\n"));
    }
    out
}
