//! `durum dict define`.

use durum_core::units::parse_duration;
use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{Class, Dictionaries, History, Index, Merge, Offline};
use serde_json::json;

use super::args::DefineArgs;
use super::{READ, show, split};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};

pub(super) fn run(context: &Context, args: &DefineArgs) -> Outcome {
    let (url, [name]) = split(&args.what)?;
    // Whatever is wrong with the arguments is found before a store is made.
    changed(Class::new(name), args, false)?.check()?;
    let home = context.dictionaries(url, true)?;
    let class = define(&home, name, args)?;
    context.print(&json!({ "class": class }), || show::class(&class))?;
    Ok(DONE)
}

fn define(home: &Dictionaries, name: &str, args: &DefineArgs) -> Result<Class> {
    let before = match home.class(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Class::new(name),
        class => class?,
    };
    home.define(changed(before, args, true)?)?;
    home.class(name)
}

fn changed(mut class: Class, args: &DefineArgs, drop: bool) -> Result<Class> {
    if let Some(copies) = args.copies {
        class.copies = copies;
    }
    if let Some(history) = &args.history {
        class.history = self::history(history)?;
    }
    if let Some(merge) = &args.merge {
        class.merge = self::merge(merge)?;
    }
    if let Some(offline) = &args.offline {
        class.offline = match offline.as_str() {
            "refuse" => Offline::Refuse,
            "read" => Offline::Read,
            "write" => Offline::Write,
            _ => {
                return Err(refused(format!("`{offline}` cannot be done offline"))
                    .hint("There are `refuse`, `read`, and `write`, which reads, too."));
            }
        };
    }
    for name in args.drop_index.iter().filter(|_| drop) {
        class.find_index(name)?;
        class.indexes.retain(|index| index.name != *name);
    }
    for text in &args.index {
        let index = self::index(text)?;
        match class
            .indexes
            .iter_mut()
            .find(|other| other.name == index.name)
        {
            Some(other) => *other = index,
            None => class.indexes.push(index),
        }
    }
    Ok(class)
}

fn history(text: &str) -> Result<History> {
    if text == "all" {
        return Ok(History::All);
    }
    if let Ok(count) = text.parse() {
        return Ok(History::Revisions(count));
    }
    let time = parse_duration(text).map_err(|_| {
        refused(format!("`{text}` is no history"))
            .hint("Write `all`, a number of revisions, or a time such as `30d`.")
    })?;
    match time.as_secs() {
        0 => Err(
            refused("a history of less than a second keeps nothing".to_owned())
                .hint("Write `1` for the newest revision only."),
        ),
        seconds => Ok(History::Seconds(seconds)),
    }
}

fn merge(text: &str) -> Result<Merge> {
    match text.split_once(':') {
        None if text == "fields" => Ok(Merge::Fields),
        None if text == "latest" => Ok(Merge::Latest),
        None if text == "leave" => Ok(Merge::Leave),
        Some(("function", name)) => Ok(Merge::Function(name.to_owned())),
        _ => Err(refused(format!("`{text}` is no rule for merging"))
            .hint("There are `fields`, `latest`, `leave`, and `function:NAME` for one of the application's own.")),
    }
}

fn index(text: &str) -> Result<Index> {
    let mut parts = text.split(':');
    let (name, of, many, more) = (parts.next(), parts.next(), parts.next(), parts.next());
    let of = of.and_then(|of| show::TYPES.iter().find(|(name, _)| *name == of));
    let (Some(name), Some((_, of)), None | Some("many"), None) = (name, of, many, more) else {
        let names = show::TYPES.map(|(name, _)| name).join(", ");
        return Err(refused(format!("`{text}` is no index"))
            .hint(format!("Write NAME:TYPE or NAME=FIELD:TYPE, with `:many` behind it for lists; types are {names}.")));
    };
    let (name, field) = name.split_once('=').unwrap_or((name, name));
    Ok(Index {
        field: field.to_owned(),
        many: many.is_some(),
        ..Index::new(name, *of)
    })
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Usage, READ).because(why)
}
