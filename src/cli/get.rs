//! `durum get`.

use durum_core::record::Object;
use durum_core::store::SnapshotExt as _;
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, Oid, Result};
use durum_objects::inspect::{Bounds, Inspector, Typed};
use serde_json::{Map, Value, json};

use super::args::GetArgs;
use super::context::Context;
use super::failure::{DONE, Failure, Outcome};
use super::output;

/// References that are listed for people; the rest is counted.
const REFS_SHOWN_MAX: usize = 24;
/// Where the values of [`output::pairs`] begin here.
const VALUE_INDENT: &str = "       ";
/// What people see of a value.
const VALUE_SHOWN_MAX: Bounds = Bounds {
    parts: 1000,
    text: 4000,
};

pub(crate) fn run(context: &Context, args: &GetArgs) -> Outcome {
    let (url, oid) = parse(&args.what)?;
    let store = context.open_source(url)?;
    let snapshot = store.snapshot()?;
    let Some(object) = snapshot.load(oid)? else {
        return Err(absent(oid));
    };
    if args.data && !context.json() {
        output::bytes(&object.data)?;
        return Ok(DONE);
    }
    let inspector = Inspector::new(&*snapshot)?;
    let typed = inspector.show(&object).typed;
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
    if let (Some(typed), Value::Object(keys)) = (&typed, &mut value) {
        keys.extend(typed_keys(typed));
    }
    context.print(&value, || text(&object, typed, inspector.problem()))?;
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
pub(crate) fn absent(oid: Oid) -> Failure {
    let error = Error::new(ErrorKind::NotFound, "get the object")
        .because("there is no such object in this store")
        .with_oid(oid);
    Failure::Error { error, code: 1 }
}

/// What `--json` says of a typed object.
pub(crate) fn typed_keys(typed: &Typed) -> Map<String, Value> {
    let kind = typed.kind.as_ref();
    let mut keys = Map::new();
    keys.insert("type".to_owned(), json!(kind.map(|kind| &kind.name)));
    let version = kind.map(|kind| kind.version);
    keys.insert("type_version".to_owned(), json!(version));
    match &typed.value {
        Ok(value) => keys.insert("value".to_owned(), json!(value)),
        Err(problem) => keys.insert("value_error".to_owned(), json!(problem)),
    };
    keys
}

fn text(object: &Object, typed: Option<Typed>, problem: Option<&str>) -> String {
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
    let mut pairs = vec![
        ("oid", object.oid.to_string()),
        ("tid", object.tid.to_string()),
        ("refs", listed),
        ("size", format_size(object.data.len() as u64)),
    ];
    if let Some(typed) = typed {
        pairs.push(("type", type_name(&typed, problem)));
        pairs.push(match typed.value {
            Ok(mut value) => {
                value.cut(VALUE_SHOWN_MAX);
                ("value", value.lines(VALUE_INDENT))
            }
            Err(problem) => ("value", format!("not readable: {problem}")),
        });
    }
    output::pairs(&pairs)
}

fn type_name(typed: &Typed, problem: Option<&str>) -> String {
    match (&typed.kind, problem) {
        (Some(kind), _) => kind.to_string(),
        (None, Some(problem)) => format!("number {}; {problem}", typed.number),
        (None, None) => format!(
            "number {}, which is not in the table of types",
            typed.number
        ),
    }
}
