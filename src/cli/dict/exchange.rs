//! `durum dict export` and `durum dict import`: classes and revisions as JSON lines.
//!
//! A line is one of
//! - `{"class": {...}}`: the definition of a class;
//! - `{"class": "NAME", "key": "KEY", "revision": {...}}`: a revision, with all that makes it what it is;
//! - `{"class": "NAME", "key": "KEY", "fields": {...}}`: what a dictionary holds from now on, of whoever has no revisions.

use std::io::BufRead as _;

use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{Class, Dictionaries, Fields, Revision, RevisionId, Write, json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::args::{ImportArgs, PlaceArgs};
use super::place;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;

const IMPORT: &str = "import dictionaries";

/// How many lines, and bytes of them, are written at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// A revision in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exported {
    id: RevisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<RevisionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<RevisionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cleared: Option<RevisionId>,
    fields: Value,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    stamps: std::collections::BTreeMap<String, RevisionId>,
}

pub(super) fn export(context: &Context, args: &PlaceArgs) -> Outcome {
    let (url, class) = place(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let classes = match class {
        Some(class) => vec![home.class(class)?],
        None => home.classes()?,
    };
    for class in &classes {
        output::text(&format!("{}\n", json!({ "class": class })))?;
    }
    for class in &classes {
        for found in home.all_newest(&class.name, "")? {
            let key = found?.key;
            // The oldest first, so that each comes after what it supersedes. Names are small, and the history of one
            // dictionary is not held with what is in it.
            let history = home.history(&class.name, &key)?;
            let mut ids = history
                .map(|revision| revision.map(|revision| revision.id))
                .collect::<Result<Vec<_>>>()?;
            ids.reverse();
            for id in ids {
                let at = durum_dictionaries::At::Revision(id);
                if let Some(revision) = home.get_at(&class.name, &key, at)? {
                    let line =
                        json!({ "class": class.name, "key": key, "revision": exported(revision) });
                    output::text(&format!("{line}\n"))?;
                }
            }
        }
    }
    Ok(DONE)
}

fn exported(revision: Revision) -> Exported {
    Exported {
        id: revision.id,
        parents: revision.parents,
        written: Some(revision.written).filter(|written| *written != revision.id),
        cleared: revision.cleared,
        fields: json::from_fields(&revision.fields),
        stamps: revision.stamps,
    }
}

fn imported(exported: Exported) -> Result<Revision> {
    Ok(Revision {
        id: exported.id,
        parents: exported.parents,
        written: exported.written.unwrap_or(exported.id),
        cleared: exported.cleared,
        fields: json::to_fields(&exported.fields)?,
        stamps: exported.stamps,
    })
}

/// A line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    class: Value,
    key: Option<String>,
    revision: Option<Exported>,
    fields: Option<Value>,
}

/// What of one class waits to be written.
enum Waiting {
    Revisions(Vec<(String, Revision)>),
    Fields(Vec<Write>),
}

/// Takes lines in.
struct Import<'a> {
    home: &'a Dictionaries,
    class: String,
    waiting: Waiting,
    bytes: usize,
    classes: u64,
    added: u64,
    known: u64,
}

pub(super) fn import(context: &Context, args: &ImportArgs) -> Outcome {
    let home = context.dictionaries(args.url.as_deref(), true)?;
    let mut import = Import {
        home: &home,
        class: String::new(),
        waiting: Waiting::Fields(Vec::new()),
        bytes: 0,
        classes: 0,
        added: 0,
        known: 0,
    };
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line.map_err(|error| Error::io(error, "read standard input"))?;
        if line.trim().is_empty() {
            continue;
        }
        import.line(&line).map_err(|error| at_line(error, number))?;
    }
    import.flush()?;
    let Import {
        classes,
        added,
        known,
        ..
    } = import;
    let object = json!({ "classes": classes, "added": added, "known": known });
    context.print(&object, || {
        format!(
            "{} defined, {} taken, {} here already\n",
            output::count(classes, "class").replace("classs", "classes"),
            output::count(added, "revision"),
            output::number(known)
        )
    })?;
    Ok(DONE)
}

/// What came before a line that cannot be taken is there, and is passed over when the import is repeated.
fn at_line(error: Error, number: u64) -> Error {
    let why = format!("up to line {number}: {error}");
    Error::new(error.kind(), IMPORT).because(why)
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, IMPORT).because(why)
}

impl Import<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let parsed: Line =
            serde_json::from_str(line).map_err(|error| refused(error.to_string()))?;
        match (parsed.class, parsed.key, parsed.revision, parsed.fields) {
            (class @ Value::Object(_), None, None, None) => {
                let class: Class =
                    serde_json::from_value(class).map_err(|error| refused(error.to_string()))?;
                self.flush()?;
                self.home.define(class)?;
                self.classes += 1;
                Ok(())
            }
            (Value::String(class), Some(key), Some(revision), None) => {
                let revision = imported(revision)?;
                if self.class != class || !matches!(self.waiting, Waiting::Revisions(_)) {
                    self.begin(class, Waiting::Revisions(Vec::new()))?;
                }
                if let Waiting::Revisions(waiting) = &mut self.waiting {
                    waiting.push((key, revision));
                }
                self.added_up(line.len())
            }
            (Value::String(class), Some(key), None, Some(fields)) => {
                let fields: Fields = json::to_fields(&fields)?;
                if self.class != class || !matches!(self.waiting, Waiting::Fields(_)) {
                    self.begin(class, Waiting::Fields(Vec::new()))?;
                }
                if let Waiting::Fields(waiting) = &mut self.waiting {
                    waiting.push(Write {
                        key,
                        after: None,
                        fields: Some(fields),
                    });
                }
                self.added_up(line.len())
            }
            _ => Err(refused(
                "it is neither a class, nor a revision, nor a dictionary",
            )),
        }
    }

    fn begin(&mut self, class: String, waiting: Waiting) -> Result<()> {
        self.flush()?;
        self.class = class;
        self.waiting = waiting;
        Ok(())
    }

    fn added_up(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        let count = match &self.waiting {
            Waiting::Revisions(waiting) => waiting.len(),
            Waiting::Fields(waiting) => waiting.len(),
        };
        match count >= BATCH || self.bytes >= BATCH_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        match &mut self.waiting {
            Waiting::Revisions(waiting) if !waiting.is_empty() => {
                let absorbed = self.home.absorb(&self.class, std::mem::take(waiting))?;
                self.added += absorbed.added;
                self.known += absorbed.known;
            }
            Waiting::Fields(waiting) if !waiting.is_empty() => {
                let written = self.home.write(&self.class, std::mem::take(waiting))?;
                self.added += written.len() as u64;
            }
            _ => {}
        }
        Ok(())
    }
}
