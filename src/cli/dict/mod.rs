//! `durum dict`: dictionaries.

mod args;
mod define;
mod exchange;
mod migrate;
mod show;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::SystemTime;

use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{
    At, Dictionaries, Dictionary, Healed, Index, IndexType, Query, RevisionId, Value, Write, json,
};
use serde_json::json;

use super::context::Context;
use super::failure::{DONE, Failure, Outcome};
pub(crate) use args::DictArgs;
use args::{
    AllArgs, ChangesArgs, DictCommand, GetArgs, HealArgs, MarkerArgs, OneArgs, PlaceArgs, PutArgs,
    SelectArgs,
};
use show::Lines;

const READ: &str = "read the arguments";

pub(crate) fn run(context: &Context, args: &DictArgs) -> Outcome {
    match &args.what {
        DictCommand::Define(args) => define::run(context, args),
        DictCommand::Classes(args) => classes(context, args),
        DictCommand::Put(args) => put(context, args),
        DictCommand::Get(args) => get(context, args),
        DictCommand::History(args) => history(context, args),
        DictCommand::Select(args) => select(context, args),
        DictCommand::All(args) => all(context, args),
        DictCommand::Delete(args) => delete(context, args),
        DictCommand::Changes(args) => changes(context, args),
        DictCommand::Marker(args) => marker(context, args),
        DictCommand::Heal(args) => heal(context, args),
        DictCommand::Export(args) => exchange::export(context, args),
        DictCommand::Import(args) => exchange::import(context, args),
        DictCommand::Migrate(args) => migrate::run(context, args),
    }
}

impl DictArgs {
    /// Whether the result is a stream on standard output, so that a failure in its midst is told beside it.
    pub(crate) fn streams(&self) -> bool {
        use DictCommand::{All, Changes, Export, History, Select};
        matches!(
            self.what,
            All(_) | Changes(_) | Export(_) | History(_) | Select(_)
        )
    }
}

/// Arguments of which the first, the URL, can be left out.
fn split<const N: usize>(what: &[String]) -> Result<(Option<&str>, [&str; N])> {
    let (url, rest) = match what {
        [url, rest @ ..] if rest.len() == N => (Some(url.as_str()), rest),
        rest => (None, rest),
    };
    if let (None, Some(first)) = (url, rest.first())
        && first.contains(':')
    {
        return Err(Error::new(ErrorKind::Usage, READ)
            .because(format!(
                "`{first}` is a URL, and something is missing behind it"
            ))
            .hint("`durum dict help` says what belongs where."));
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match <[&str; N]>::try_from(rest) {
        Ok(rest) => Ok((url, rest)),
        Err(_) => Err(Error::new(ErrorKind::Usage, READ)
            .because("there are too few of them, or too many")
            .hint("`durum dict help` says what belongs where.")),
    }
}

/// A URL and a class, of which either can be left out. What has a colon is a URL, which no class has.
fn place(what: &[String]) -> Result<(Option<&str>, Option<&str>)> {
    match what {
        [] => Ok((None, None)),
        [one] if one.contains(':') => Ok((Some(one), None)),
        [one] => Ok((None, Some(one))),
        _ => split(what).map(|(url, [class])| (url, Some(class))),
    }
}

fn classes(context: &Context, args: &PlaceArgs) -> Outcome {
    let (url, class) = place(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let classes = match class {
        Some(class) => vec![home.class(class)?],
        None => home.classes()?,
    };
    context.print(&json!({ "classes": classes }), || {
        classes.iter().map(show::class).collect()
    })?;
    Ok(DONE)
}

fn put(context: &Context, args: &PutArgs) -> Outcome {
    let (url, [class, key, fields]) = split(&args.what)?;
    let mut text = fields.to_owned();
    if fields == "-" {
        text.clear();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Error::io(error, "read standard input"))?;
    }
    let fields = serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::Usage, READ)
            .because(format!("the fields are not JSON: {error}"))
            .hint("They are a JSON object, as '{\"name\": \"Ada\"}'.")
    })?;
    let after = args
        .after
        .iter()
        .map(|id| id.parse())
        .collect::<Result<Vec<RevisionId>>>()?;
    let write = Write {
        key: key.to_owned(),
        after: Some(after).filter(|after| !after.is_empty()),
        fields: Some(json::to_fields(&fields)?),
    };
    let home = context.dictionaries(url, false)?;
    let revisions = home.write(class, vec![write])?;
    print_revision(context, revisions.first().copied())
}

fn delete(context: &Context, args: &OneArgs) -> Outcome {
    let (url, [class, key]) = split(&args.what)?;
    let home = context.dictionaries(url, false)?;
    match home.delete(class, key)? {
        Some(revision) => print_revision(context, Some(revision)),
        None => Err(absent(class, key)),
    }
}

fn print_revision(context: &Context, revision: Option<RevisionId>) -> Outcome {
    let text = || revision.map_or_else(String::new, |revision| format!("{revision}\n"));
    context.print(&json!({ "revision": revision }), text)?;
    Ok(DONE)
}

/// A dictionary that does not exist is no missing source: the exit code is 1.
fn absent(class: &str, key: &str) -> Failure {
    let error = Error::new(ErrorKind::NotFound, "get the dictionary")
        .because(format!("the class `{class}` has no `{key}`"));
    Failure::Error { error, code: 1 }
}

fn get(context: &Context, args: &GetArgs) -> Outcome {
    let (url, [class, key]) = split(&args.what)?;
    let at = args.at.as_deref().map(moment).transpose()?;
    let home = context.dictionaries(url, false)?;
    let found = match at {
        None => home.get(class, key)?,
        Some(at) => home.get_at(class, key, at)?.map(|revision| Dictionary {
            key: key.to_owned(),
            revision,
            concurrent: Vec::new(),
            as_of: None,
        }),
    };
    let Some(found) = found else {
        return Err(absent(class, key));
    };
    context.print(&show::dictionary(&found), || show::in_full(&found))?;
    Ok(DONE)
}

/// A time, or the name of a revision.
fn moment(text: &str) -> Result<At> {
    if let Ok(revision) = text.parse() {
        return Ok(At::Revision(revision));
    }
    let time = humantime::parse_rfc3339_weak(text).ok();
    // A clock that is behind would show less than there is now.
    let time = time.or_else(|| (text == "now").then(SystemTime::now));
    time.map(At::Time).ok_or_else(|| {
        Error::new(ErrorKind::Usage, READ)
            .because(format!("`{text}` is neither a time nor a revision"))
            .hint("Times are like 2026-11-23T12:00:00Z, revisions like 019a3f0c51e2-0000-9f86d081884c7d65.")
    })
}

fn history(context: &Context, args: &OneArgs) -> Outcome {
    let (url, [class, key]) = split(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let mut lines = Lines::begin(context, "revisions")?;
    for revision in home.history(class, key)? {
        let revision = revision?;
        lines.add(&show::revision(&revision), || show::line(key, &revision))?;
    }
    match lines.end()? {
        0 => Err(absent(class, key)),
        _ => Ok(DONE),
    }
}

fn select(context: &Context, args: &SelectArgs) -> Outcome {
    let (url, [class, index]) = split(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let class = home.class(class)?;
    let query = query(class.find_index(index)?, args)?;
    show_all(
        context,
        home.select(&class.name, index, &query)?,
        args.limit,
    )
}

fn query(index: &Index, args: &SelectArgs) -> Result<Query> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let value = |text: &String| value(index, text);
    if let Some(text) = &args.equals {
        return Ok(Query::Equals(value(text)?));
    }
    if let Some(text) = &args.prefix {
        return Ok(Query::Prefix(value(text)?));
    }
    let bound = |included: &Option<String>, excluded: &Option<String>| {
        Ok(match (included, excluded) {
            (Some(text), _) => Included(value(text)?),
            (None, Some(text)) => Excluded(value(text)?),
            (None, None) => Unbounded,
        })
    };
    Ok(Query::Range(
        bound(&args.from, &args.above)?,
        bound(&args.to, &args.below)?,
    ))
}

/// A value of an index as it is written on the command line: strings as they are, bytes in base64, others as in JSON.
fn value(index: &Index, text: &str) -> Result<Value> {
    let json = match index.of {
        IndexType::String => return Ok(Value::String(text.to_owned())),
        IndexType::Bytes => json!({ "$bytes": text }),
        IndexType::Float if ["NaN", "inf", "-inf"].contains(&text) => json!({ "$float": text }),
        IndexType::Bool | IndexType::Int | IndexType::Float => {
            serde_json::from_str(text).map_err(|_| {
                Error::new(ErrorKind::Usage, READ).because(format!(
                    "the index `{}` is by {}, and `{text}` is none",
                    index.name,
                    index.of.name()
                ))
            })?
        }
    };
    json::to_value(&json)
}

fn all(context: &Context, args: &AllArgs) -> Outcome {
    let (url, [class]) = split(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let found = home.all_newest(class, &args.from)?;
    let deleted = args.deleted;
    let is_meant = move |found: &Result<Dictionary>| {
        deleted
            || found
                .as_ref()
                .map_or(true, |found| !found.revision.is_deleted())
    };
    show_all(context, found.filter(is_meant), args.limit)
}

fn show_all(
    context: &Context,
    found: impl Iterator<Item = Result<Dictionary>>,
    limit: Option<usize>,
) -> Outcome {
    let mut lines = Lines::begin(context, "dictionaries")?;
    for found in found.take(limit.unwrap_or(usize::MAX)) {
        let found = found?;
        lines.add(&show::dictionary(&found), || {
            show::line(&found.key, &found.revision)
        })?;
    }
    lines.end()?;
    Ok(DONE)
}

fn changes(context: &Context, args: &ChangesArgs) -> Outcome {
    let (url, [class]) = split(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let mut marker = args.since.as_deref().map(str::parse).transpose()?;
    let mut lines = Lines::begin(context, "changes")?;
    loop {
        for change in home.changes(class, marker.as_ref())? {
            let change = change?;
            lines.add(&show::change(&change), || show::change_line(&change))?;
            marker = Some(change.marker);
        }
        if !args.follow {
            lines.end()?;
            return Ok(DONE);
        }
        std::thread::sleep(show::FOLLOW_POLL);
    }
}

fn marker(context: &Context, args: &MarkerArgs) -> Outcome {
    let (url, [class]) = split(&args.what)?;
    let marker = context.dictionaries(url, false)?.marker(class)?;
    context.print(&json!({ "marker": marker }), || format!("{marker}\n"))?;
    Ok(DONE)
}

fn heal(context: &Context, args: &HealArgs) -> Outcome {
    let (url, class) = place(&args.what)?;
    let home = context.dictionaries(url, false)?;
    let Some(pause) = args.every else {
        let healed = home.heal_slowly(class, args.rate)?;
        print_healed(context, &healed)?;
        return Ok(DONE);
    };
    loop {
        match home.heal_slowly(class, args.rate) {
            Ok(healed) => print_healed(context, &healed)?,
            // Nodes come back, and a class that is being filled is whole one day.
            Err(error) if error.retry() || error.kind() == ErrorKind::InUse => {
                tracing::warn!(%error, "it is tried again");
            }
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause);
    }
}

fn print_healed(context: &Context, healed: &BTreeMap<String, Healed>) -> Result<(), Failure> {
    context.print(&json!({ "classes": healed }), || {
        healed
            .iter()
            .map(|(class, healed)| show::healed(class, healed))
            .collect()
    })
}

/// Whether a URL is of nodes, and not of a store.
fn is_on_nodes(url: &str) -> bool {
    url.starts_with("garage:")
}

impl Context {
    /// The dictionaries of the store that `url` names, or else the configuration, which is made where that is to be and it is absent.
    fn dictionaries(&self, url: Option<&str>, create: bool) -> Result<Dictionaries, Failure> {
        if let Some(url) = url.filter(|url| is_on_nodes(url)) {
            self.check_config()?;
            return Ok(Dictionaries::open(url)?);
        }
        let database = self.database(url, create)?;
        Ok(Dictionaries::embedded(
            &database,
            durum_dictionaries::Merger::default(),
        )?)
    }
}
