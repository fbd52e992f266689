//! How dictionaries are shown.

use std::time::Duration;

use durum_dictionaries::{
    Change, Class, Dictionary, Healed, History, IndexType, Merge, Offline, Revision, json,
};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;

/// How often those who follow changes look for more.
pub(super) const FOLLOW_POLL: Duration = Duration::from_millis(200);

/// A result of many parts, which is printed while it comes: a line for each, or with `--json` one object with a list of them.
pub(super) struct Lines {
    json: bool,
    count: u64,
}

impl Lines {
    pub(super) fn begin(context: &Context, name: &str) -> Result<Lines, Failure> {
        let json = context.json();
        if json {
            output::text(&format!("{{\"{name}\":["))?;
        }
        Ok(Lines { json, count: 0 })
    }

    pub(super) fn add(
        &mut self,
        object: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let comma = if self.count > 0 { "," } else { "" };
        self.count += 1;
        match self.json {
            true => output::text(&format!("{comma}{object}")),
            false => output::text(&text()),
        }
    }

    /// Ends it, and says how many they were.
    pub(super) fn end(self) -> Result<u64, Failure> {
        if self.json {
            output::text("]}\n")?;
        }
        Ok(self.count)
    }
}

pub(super) fn dictionary(found: &Dictionary) -> Value {
    let mut object = revision(&found.revision);
    if let Value::Object(keys) = &mut object {
        keys.insert("key".to_owned(), found.key.clone().into());
        keys.insert("concurrent".to_owned(), json!(found.concurrent));
        let as_of = found
            .as_of
            .map(|time| humantime::format_rfc3339_millis(time).to_string());
        keys.insert("as_of".to_owned(), json!(as_of));
    }
    object
}

pub(super) fn revision(revision: &Revision) -> Value {
    let time = humantime::format_rfc3339_millis(revision.id.time());
    json!({
        "revision": revision.id,
        "time": time.to_string(),
        "parents": revision.parents,
        "deleted": revision.is_deleted(),
        "fields": json::from_fields(&revision.fields),
    })
}

pub(super) fn change(change: &Change) -> Value {
    let mut object = revision(&change.revision);
    if let Value::Object(keys) = &mut object {
        keys.insert("key".to_owned(), change.key.clone().into());
        keys.insert("marker".to_owned(), json!(change.marker));
    }
    object
}

/// A dictionary with all that is to be known of it.
pub(super) fn in_full(found: &Dictionary) -> String {
    let time = humantime::format_rfc3339_millis(found.revision.id.time());
    let mut pairs = vec![
        ("key", found.key.clone()),
        ("revision", found.revision.id.to_string()),
        ("time", time.to_string()),
    ];
    if !found.concurrent.is_empty() {
        let ids: Vec<String> = found.concurrent.iter().map(ToString::to_string).collect();
        pairs.push(("concurrent with", ids.join(" ")));
    }
    if let Some(as_of) = found.as_of {
        let as_of = humantime::format_rfc3339_millis(as_of);
        pairs.push(("from a copy of", as_of.to_string()));
    }
    match found.revision.is_deleted() {
        true => pairs.push(("deleted", "yes".to_owned())),
        false => pairs.push(("fields", fields(&found.revision))),
    }
    output::pairs(&pairs)
}

fn fields(revision: &Revision) -> String {
    json::from_fields(&revision.fields).to_string()
}

/// A dictionary on a line.
pub(super) fn line(key: &str, revision: &Revision) -> String {
    let state = match revision.is_deleted() {
        true => "deleted".to_owned(),
        false => fields(revision),
    };
    format!("{}  {}  {state}\n", revision.id, key.escape_debug())
}

pub(super) fn change_line(change: &Change) -> String {
    format!("{}  {}", change.marker, line(&change.key, &change.revision))
}

pub(super) fn healed(class: &str, healed: &Healed) -> String {
    let Healed {
        merged,
        left,
        pruned,
        indexed,
    } = healed;
    let mut text = format!(
        "{class}: {} merged, {} pruned, {} finished",
        output::count(*merged, "dictionary").replace("dictionarys", "dictionaries"),
        output::count(*pruned, "revision"),
        output::count(*indexed, "index").replace("indexs", "indexes"),
    );
    if *left > 0 {
        text.push_str(&format!("; {left} left concurrent, as the class has it"));
    }
    text + "\n"
}

/// A class as it is defined on the command line.
pub(super) fn class(class: &Class) -> String {
    let mut text = format!("{} --copies {}", class.name, class.copies);
    match class.history {
        History::All => text.push_str(" --history all"),
        History::Revisions(count) => text.push_str(&format!(" --history {count}")),
        History::Seconds(seconds) => text.push_str(&format!(" --history {seconds}s")),
    }
    match &class.merge {
        Merge::Fields => text.push_str(" --merge fields"),
        Merge::Latest => text.push_str(" --merge latest"),
        Merge::Leave => text.push_str(" --merge leave"),
        Merge::Function(name) => text.push_str(&format!(" --merge function:{name}")),
    }
    match class.offline {
        Offline::Refuse => {}
        Offline::Read => text.push_str(" --offline read"),
        Offline::Write => text.push_str(" --offline write"),
    }
    for index in &class.indexes {
        let field = match index.field() == index.name {
            true => String::new(),
            false => format!("={}", index.field()),
        };
        let many = if index.many { ":many" } else { "" };
        text.push_str(&format!(
            " --index {}{field}:{}{many}",
            index.name,
            type_name(index.of)
        ));
    }
    text + "\n"
}

/// The types as they are named on the command line.
pub(super) const TYPES: [(&str, IndexType); 5] = [
    ("bool", IndexType::Bool),
    ("int", IndexType::Int),
    ("float", IndexType::Float),
    ("string", IndexType::String),
    ("bytes", IndexType::Bytes),
];

fn type_name(of: IndexType) -> &'static str {
    let found = TYPES.iter().find(|(_, other)| *other == of);
    found.map_or("", |(name, _)| name)
}
