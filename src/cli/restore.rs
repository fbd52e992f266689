//! `durum restore`.

use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Result, Tid};
use durum_migrate::backup::{self, Input, Restored, Summary, choose};
use serde_json::{Value, json};

use super::args::RestoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::{memory, output};

/// The name of standard input.
const STDIN: &str = "-";

pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Outcome {
    context.check_config()?;
    if args.list {
        return list(context, &args.what);
    }
    let begin = Instant::now();
    let at = args.at.map(Tid);
    let (files, url) = match args.what.split_last() {
        Some((url, files)) if !args.check && !files.is_empty() => (files, Some(url)),
        _ if !args.check => return Err(no_url().into()),
        _ => (args.what.as_slice(), None),
    };
    let destination = match url {
        Some(url) => Some((url, context.registry.parse_store(url)?)),
        None => None,
    };
    let inputs = inputs(files)?;
    let progress = context.progress();
    let restored = match &destination {
        Some((_, settings)) => backup::restore(&context.registry, inputs, at, settings, &progress),
        None => backup::check(inputs, at, &progress),
    };
    drop(progress);
    let restored = restored?;
    let time = begin.elapsed();
    let object = json!({
        "objects": restored.digest.objects(),
        "bytes": restored.bytes,
        "digest": restored.digest.to_string(),
        "tid": restored.tid.0,
        "backups": restored.backups,
        "proven": restored.proven,
        "dangling": restored.dangling,
        "store_id": restored.new_store_id.map(|id| id.to_string()),
        "from_store_id": restored.store_id.to_string(),
        "seconds": output::seconds(time),
        "peak_memory": memory::peak(),
    });
    context.print(&object, || text(url, &restored, time))?;
    Ok(DONE)
}

fn no_url() -> Error {
    Error::new(ErrorKind::Usage, "read the arguments")
        .because("the store to build is missing")
        .hint("Write `durum restore FILE... URL`.")
}

fn inputs(files: &[String]) -> Result<Vec<Input>> {
    if files.len() > 1 && files.iter().any(|file| file == STDIN) {
        return Err(Error::new(ErrorKind::Usage, "read the arguments")
            .because("standard input can only be a backup alone")
            .hint("Put the backups into files."));
    }
    let open = |file: &String| match file == STDIN {
        true => Ok(Input::stream("standard input", std::io::stdin())),
        false => Input::open(Path::new(file)),
    };
    files.iter().map(open).collect()
}

/// `durum restore --list`: what the backups are, and up to where they can be restored together.
fn list(context: &Context, files: &[String]) -> Outcome {
    let mut summaries = Vec::new();
    for file in files {
        if file == STDIN {
            return Err(Error::new(ErrorKind::Usage, "list the backups")
                .because("standard input cannot be read from its end")
                .hint("Use `--check`, or a file.")
                .into());
        }
        summaries.push((file, Summary::read(Path::new(file))?));
    }
    let headers: Vec<_> = summaries.iter().map(|(_, it)| it.header).collect();
    let problem = choose(&headers, None).err().map(|error| error.to_string());
    let rows: Vec<Value> = summaries
        .iter()
        .map(|(file, summary)| {
            let mut row = super::backup::object(summary);
            if let Value::Object(keys) = &mut row {
                keys.insert("file".to_owned(), file.as_str().into());
            }
            row
        })
        .collect();
    let object = json!({ "backups": rows, "problem": problem });
    context.print(&object, || {
        let mut out = String::new();
        for (file, summary) in &summaries {
            out.push_str(&row(file, summary));
        }
        if let Some(problem) = &problem {
            out.push_str(&format!("Together they make no store: {problem}\n"));
        }
        out
    })?;
    Ok(DONE)
}

fn row(file: &str, summary: &Summary) -> String {
    let Summary { header, totals, .. } = summary;
    let span = match header.from {
        None => format!("commit {}", header.tid),
        Some(from) => format!("commits {from} to {}", header.tid),
    };
    let deleted = match totals.deleted {
        0 => String::new(),
        deleted => format!(", {}", output::count(deleted, "deletion")),
    };
    format!(
        "{file}: {} of the store {}, {span}: {}{deleted}, {} of data in {}\n",
        header.kind(),
        header.store_id,
        output::count(totals.digest.objects(), "object"),
        format_size(totals.bytes),
        format_size(summary.file_bytes),
    )
}

fn text(url: Option<&String>, restored: &Restored, time: Duration) -> String {
    let what = format!(
        "{} with {} of data, the state after commit {}",
        output::count(restored.digest.objects(), "object"),
        format_size(restored.bytes),
        restored.tid
    );
    let from = output::count(restored.backups as u64, "backup");
    let time = output::duration(time);
    let mut out = match url {
        Some(url) => format!("Restored {what}, from {from} to {url} in {time}.\n"),
        None => format!("Read {what}, from {from} in {time}.\n"),
    };
    let proven = match restored.proven {
        true => ", which is that of the original",
        false => "",
    };
    out.push_str(&format!("The digest is {}{proven}.\n", restored.digest));
    if restored.dangling > 0 {
        let dangling = output::count(restored.dangling, "reference");
        out.push_str(&format!(
            "Restored as they are: {dangling} to objects that do not exist.\n"
        ));
    }
    out
}
