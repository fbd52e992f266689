//! `durum backup`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Result, StoreId, Tid};
use durum_migrate::backup::{Backup, Header, OutputFile, Summary};
use serde_json::{Value, json};

use super::args::BackupArgs;
use super::context::Context;
use super::failure::{DONE, Failure, Outcome, of_destination};
use super::{memory, output};

/// What is being done, for errors.
const STDOUT: &str = "write to standard output";

pub(crate) fn run(context: &Context, args: &BackupArgs) -> Outcome {
    let begin = Instant::now();
    if context.streams() && io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Usage, "write the backup")
            .because("standard output is a terminal")
            .hint("Name a file, or send it into a program or a file of the shell.")
            .into());
    }
    let since = args.since.as_deref().map(Since::parse).transpose()?;
    let store = context.open_source(Some(&args.url))?;
    if let Some(since) = &since {
        since.check(store.id())?;
    }
    // Trying again does not help: the code is not that of other things that are too old.
    let backup =
        Backup::begin(&*store, since.map(|since| since.tid)).map_err(|error| {
            match error.kind() {
                ErrorKind::TooOld => Failure::Error { error, code: 1 },
                _ => error.into(),
            }
        })?;
    let progress = context.progress();
    let summary = if context.streams() {
        let stdout = stdout()?;
        let summary = backup.write(args.verify, &mut BufWriter::new(&stdout), &progress)?;
        sync_if_file(&stdout)?;
        summary
    } else {
        let mut out = OutputFile::create(&args.file, args.force).map_err(of_destination)?;
        let summary = backup
            .write(args.verify, &mut out, &progress)
            .map_err(|error| at_file(error, &args.file))?;
        out.complete().map_err(of_destination)?;
        summary
    };
    drop(progress);
    let time = begin.elapsed();
    let mut object = object(&summary);
    if let Value::Object(keys) = &mut object {
        keys.insert("seconds".to_owned(), output::seconds(time).into());
        keys.insert("peak_memory".to_owned(), memory::peak().into());
    }
    context.print(&object, || text(&args.file, &summary, time))?;
    Ok(DONE)
}

/// Where an increment begins.
#[derive(Clone, Copy, Debug)]
struct Since {
    tid: Tid,
    /// The store of the backup that it follows, if it was given as one.
    store_id: Option<StoreId>,
}

impl Since {
    /// A number is a commit; `./7` is a file.
    fn parse(text: &str) -> Result<Since> {
        if let Ok(tid) = text.parse() {
            return Ok(Since {
                tid: Tid(tid),
                store_id: None,
            });
        }
        let Header { tid, store_id, .. } = Summary::read(Path::new(text))?.header;
        Ok(Since {
            tid,
            store_id: Some(store_id),
        })
    }

    fn check(&self, store: StoreId) -> Result<()> {
        match self.store_id {
            Some(other) if other != store => Err(Error::new(ErrorKind::Usage, "make an increment")
                .because(format!(
                    "the backup is of the store {other}, and this one is {store}"
                ))
                .hint("A store that was restored is a new one: begin with a full backup.")),
            _ => Ok(()),
        }
    }
}

/// Names the file in errors of writing it, which know no path.
fn at_file(error: Error, file: &Path) -> Error {
    match error.kind() {
        ErrorKind::Full | ErrorKind::Io => error.with_path(file),
        _ => error,
    }
}

/// Standard output without the buffer that looks for lines.
fn stdout() -> Result<File> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned();
    descriptor
        .map(File::from)
        .map_err(|error| Error::io(error, STDOUT))
}

/// Makes the stream durable where standard output is a file.
fn sync_if_file(stdout: &File) -> Result<()> {
    match stdout.metadata() {
        Ok(metadata) if metadata.is_file() => {
            stdout.sync_all().map_err(|error| Error::io(error, STDOUT))
        }
        _ => Ok(()),
    }
}

/// What a backup is, for JSON.
pub(crate) fn object(summary: &Summary) -> Value {
    let Summary { header, totals, .. } = summary;
    json!({
        "kind": header.kind(),
        "store_id": header.store_id.to_string(),
        "from_tid": header.from.map(|tid| tid.0),
        "tid": header.tid.0,
        "objects": totals.digest.objects(),
        "deleted": totals.deleted,
        "bytes": totals.bytes,
        "digest": totals.digest.to_string(),
        "store_objects": totals.store_digest.map(|digest| digest.objects()),
        "store_digest": totals.store_digest.map(|digest| digest.to_string()),
        "file_bytes": summary.file_bytes,
    })
}

fn text(file: &Path, summary: &Summary, time: Duration) -> String {
    let Summary { header, totals, .. } = summary;
    let name = match file.as_os_str() == "-" {
        true => "standard output".to_owned(),
        false => file.display().to_string(),
    };
    let mut out = format!(
        "Backed up {} with {} of data to {name} ({}) in {}.\n",
        output::count(totals.digest.objects(), "object"),
        format_size(totals.bytes),
        format_size(summary.file_bytes),
        output::duration(time),
    );
    match header.from {
        None => out.push_str(&format!("It is the state after commit {}", header.tid)),
        Some(from) => out.push_str(&format!(
            "It holds what came after commit {from}, up to commit {}, {} included",
            header.tid,
            output::count(totals.deleted, "deletion"),
        )),
    }
    if let Some(digest) = totals.store_digest {
        out.push_str(&format!("; the digest of the store is {digest}"));
    }
    out.push_str(".\n");
    out
}
