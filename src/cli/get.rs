//! `durum get`.

use durum_core::record::Object;
use durum_core::store::SnapshotExt as _;
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Oid, Result};
use serde_json::{Value, json};

use super::args::GetArgs;
use super::context::Context;
use super::failure::{DONE, Failure, Outcome};
use super::output;

/// References that are listed for people; the rest is counted.
const REFS_SHOWN_MAX: usize = 24;

pub(crate) fn run(context: &Context, args: &GetArgs) -> Outcome {
    let (url, oid) = parse(&args.what)?;
    let store = context.open_source(url)?;
    let Some(object) = store.snapshot()?.load(oid)? else {
        return Err(absent(oid));
    };
    if args.data && !context.json() {
        output::bytes(&object.data)?;
        return Ok(DONE);
    }
    let mut value = json!({
        "oid": object.oid.0,
        "tid": object.tid.0,
        "refs": object.refs.iter().map(|oid| oid.0).collect::<Vec<u64>>(),
        "size": object.data.len(),
    });
    if args.data
        && let Value::Object(keys) = &mut value
    {
        keys.insert("data_hex".to_owned(), output::hex(&object.data).into());
    }
    context.print(&value, || text(&object))?;
    Ok(DONE)
}

fn parse(what: &[String]) -> Result<(Option<&str>, Oid)> {
    match what {
        [oid] => Ok((None, oid.parse()?)),
        [url, oid] => Ok((Some(url), oid.parse()?)),
        _ => Err(Error::new(ErrorKind::Usage, "read the arguments")
            .because("an OID is missing")
            .hint("Write `durum get [URL] OID`.")),
    }
}

/// An object that does not exist is no missing source: the exit code is 1.
fn absent(oid: Oid) -> Failure {
    let error = Error::new(ErrorKind::NotFound, "get the object")
        .because("there is no such object in this store")
        .with_oid(oid);
    Failure::Error { error, code: 1 }
}

fn text(object: &Object) -> String {
    let mut refs: Vec<String> = object
        .refs
        .iter()
        .take(REFS_SHOWN_MAX)
        .map(ToString::to_string)
        .collect();
    if object.refs.len() > REFS_SHOWN_MAX {
        refs.push(format!("and {} more", object.refs.len() - REFS_SHOWN_MAX));
    }
    let listed = if refs.is_empty() {
        "none".to_owned()
    } else {
        refs.join(", ")
    };
    output::pairs(&[
        ("oid", object.oid.to_string()),
        ("tid", object.tid.to_string()),
        ("refs", listed),
        ("size", format_size(object.data.len() as u64)),
    ])
}
