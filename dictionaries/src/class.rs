//! Classes: what holds for all dictionaries of one sort.

use std::collections::BTreeSet;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::home::Marker;
use crate::value::Value;

/// The longest name of a class or an index, in bytes.
pub const NAME_BYTES_MAX: usize = 48;

/// The longest name of a field, in bytes.
pub const FIELD_BYTES_MAX: usize = 255;

/// The longest primary key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// How many indexes a class has at most.
pub const INDEXES_MAX: usize = 32;

/// What holds for all dictionaries under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name: ASCII letters, digits, `-`, `_` and `.`, beginning with a letter.
    pub name: String,
    /// On how many nodes each dictionary lies. An embedded home has one copy of all, and keeps the number for when it moves.
    #[serde(default = "one")]
    pub copies: u32,
    /// How much of the past is kept.
    #[serde(default)]
    pub history: History,
    /// By what dictionaries are found besides their keys.
    #[serde(default)]
    pub indexes: Vec<Index>,
    /// What becomes of concurrent revisions.
    #[serde(default)]
    pub merge: Merge,
    /// What is done where too few nodes can be reached. An embedded home has no nodes, and keeps it for when it moves.
    #[serde(default)]
    pub offline: Offline,
    /// Where a migration fills the class, how far that is. Until it is done nobody else can use the class. [`Dictionaries::define`](crate::Dictionaries::define)
    /// takes no notice of it.
    #[serde(default)]
    pub filling: Option<Filling>,
}

/// How far a migration into a class is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filling {
    /// Where the dictionaries come from.
    pub source: String,
    /// Where the source's changes ended when it began, if they are followed.
    pub since: Option<Marker>,
    /// The last key up to which all dictionaries are there; empty before the first.
    pub done_to: String,
    /// How many dictionaries these are.
    pub done: u64,
}

/// What is done where too few nodes can be reached, by programs that have a copy: see [`Dictionaries::with_copy`](crate::Dictionaries::with_copy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offline {
    /// It is an error.
    #[default]
    Refuse,
    /// Reads are answered from the copy, which says how old it is.
    Read,
    /// Writes are kept, too, and delivered as soon as that is possible.
    Write,
}

/// How much of the past of a dictionary is kept. What was not superseded always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// All revisions, for ever.
    #[default]
    All,
    /// As many revisions, the newest ones.
    Revisions(u32),
    /// What is younger than as many seconds. Of what was deleted before that nothing is left.
    Seconds(u64),
}

impl History {
    /// For a history that is limited by age, that age.
    pub fn age(self) -> Option<Duration> {
        match self {
            History::Seconds(seconds) => Some(Duration::from_secs(seconds)),
            History::All | History::Revisions(_) => None,
        }
    }
}

/// What becomes of concurrent revisions: those of which neither has seen the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// Field by field: what only one has changed is as that one has it, and of two changes the later one holds. A deletion
    /// holds if it is later than all changes that it has not seen.
    #[default]
    Fields,
    /// The latest revision holds as a whole.
    Latest,
    /// They are left as they are until a later one, that has seen them, supersedes them.
    Leave,
    /// The application's function of this name: see [`Merger`](crate::Merger).
    Function(String),
}

/// By what dictionaries are found besides their keys: the values of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The field; that of the same name where none is given.
    #[serde(default)]
    pub field: String,
    /// The values' type.
    #[serde(rename = "type")]
    pub of: IndexType,
    /// Whether the field is a list, by each of whose values the dictionary is found.
    #[serde(default)]
    pub many: bool,
}

/// The type of an index's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexType {
    /// False before true.
    Bool,
    /// Integers.
    Int,
    /// Floats, and integers as the nearest float; NaN is behind all others.
    Float,
    /// Strings by their UTF-8 bytes, which is the order of code points.
    String,
    /// Bytes.
    Bytes,
}

fn one() -> u32 {
    1
}

impl Class {
    /// A class of one copy, with all history and without indexes.
    pub fn new(name: impl Into<String>) -> Class {
        Class {
            name: name.into(),
            copies: 1,
            history: History::All,
            indexes: Vec::new(),
            merge: Merge::Fields,
            offline: Offline::Refuse,
            filling: None,
        }
    }

    /// How much of the past is kept at the moment: all, while the class is being filled, so that what was brought can be compared.
    pub(crate) fn kept_history(&self) -> History {
        match self.filling {
            Some(_) => History::All,
            None => self.history,
        }
    }

    /// # Errors
    /// `InUse` while the class is being filled.
    pub(crate) fn must_be_whole(&self) -> Result<()> {
        let Some(filling) = &self.filling else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InUse, "use a class")
            .because(format!(
                "the class `{}` is being filled from {}, and not whole yet",
                self.name, filling.source
            ))
            .hint(
                "Wait for that; one that was cut off goes on with `durum dict migrate --resume`.",
            ))
    }

    /// The same with as many copies.
    #[must_use]
    pub fn copies(mut self, copies: u32) -> Class {
        self.copies = copies;
        self
    }

    /// The same with this history.
    #[must_use]
    pub fn history(mut self, history: History) -> Class {
        self.history = history;
        self
    }

    /// The same with another index, of the field that has its name.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, of: IndexType) -> Class {
        self.indexes.push(Index::new(name, of));
        self
    }

    /// The same with another index, by each value of the list that the field of its name holds.
    #[must_use]
    pub fn index_many(mut self, name: impl Into<String>, of: IndexType) -> Class {
        self.indexes.push(Index {
            many: true,
            ..Index::new(name, of)
        });
        self
    }

    /// The same with this rule for concurrent revisions.
    #[must_use]
    pub fn merge(mut self, merge: Merge) -> Class {
        self.merge = merge;
        self
    }

    /// The same with this rule for when too few nodes can be reached.
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Class {
        self.offline = offline;
        self
    }

    /// The index of this name.
    ///
    /// # Errors
    /// `Usage`, naming those that there are, where there is none.
    pub fn find_index(&self, name: &str) -> Result<&Index> {
        let found = self.indexes.iter().find(|index| index.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self
                .indexes
                .iter()
                .map(|index| index.name.as_str())
                .collect();
            let error = Error::new(ErrorKind::Usage, "select dictionaries")
                .because(format!("the class `{}` has no index `{name}`", self.name));
            match names.is_empty() {
                true => error.hint("It has none at all: define the class anew with one."),
                false => error.hint(format!("It has {}.", names.join(", "))),
            }
        })
    }

    /// # Errors
    /// `Usage` for a class that cannot be.
    pub fn check(&self) -> Result<()> {
        check_name("class", &self.name)?;
        let within = |what: &str, fits: bool| match fits {
            true => Ok(()),
            false => Err(unfit(&self.name, what.to_owned())),
        };
        within(
            "it has between 1 and 16 copies",
            (1..=16).contains(&self.copies),
        )?;
        within(
            "at least the newest revision is kept",
            self.history != History::Revisions(0),
        )?;
        within(
            "it has 32 indexes at most",
            self.indexes.len() <= INDEXES_MAX,
        )?;
        if let Merge::Function(name) = &self.merge {
            check_name("merge function", name)?;
        }
        let mut names = BTreeSet::new();
        for index in &self.indexes {
            check_name("index", &index.name)?;
            check_field(index.field())?;
            if !names.insert(&index.name) {
                let what = format!("the index `{}` is there twice", index.name);
                return Err(unfit(&self.name, what));
            }
        }
        Ok(())
    }
}

impl Index {
    /// An index by the one value of the field of the same name.
    pub fn new(name: impl Into<String>, of: IndexType) -> Index {
        Index {
            name: name.into(),
            field: String::new(),
            of,
            many: false,
        }
    }

    /// The field whose values it has.
    pub fn field(&self) -> &str {
        match self.field.is_empty() {
            true => &self.name,
            false => &self.field,
        }
    }

    /// # Errors
    /// `Usage` where it cannot find a dictionary by this value of its field. `Null` is no value.
    pub fn check(&self, value: &Value) -> Result<()> {
        let fits = match (value, self.many) {
            (Value::Null, _) => true,
            (Value::List(values), true) => values.iter().all(|value| self.of.takes(value)),
            (value, false) => self.of.takes(value),
            (_, true) => false,
        };
        match fits {
            true => Ok(()),
            false => {
                let list = if self.many { "a list, each of " } else { "" };
                let because = format!(
                    "the field `{}` is {}, and by the index `{}` it is {list}{}",
                    self.field(),
                    value.sort(),
                    self.name,
                    self.of.name()
                );
                Err(Error::new(ErrorKind::Usage, "write a dictionary").because(because))
            }
        }
    }
}

impl IndexType {
    /// Whether values like this one are in such an index.
    pub fn takes(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (IndexType::Bool, Value::Bool(_))
                | (IndexType::Int, Value::Int(_))
                | (IndexType::Float, Value::Float(_) | Value::Int(_))
                | (IndexType::String, Value::String(_))
                | (IndexType::Bytes, Value::Bytes(_))
        )
    }

    /// What its values are, for messages.
    pub fn name(self) -> &'static str {
        match self {
            IndexType::Bool => "a boolean",
            IndexType::Int => "an integer",
            IndexType::Float => "a float",
            IndexType::String => "a string",
            IndexType::Bytes => "bytes",
        }
    }
}

/// # Errors
/// `Usage` for what cannot be a primary key.
pub fn check_key(key: &str) -> Result<()> {
    match (1..=KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(()),
        false => Err(
            Error::new(ErrorKind::Usage, "use a primary key").because(format!(
                "it has {} bytes, and must have between 1 and {KEY_BYTES_MAX}",
                key.len()
            )),
        ),
    }
}

/// # Errors
/// `Usage` for what cannot be the name of a field.
pub(crate) fn check_field(name: &str) -> Result<()> {
    match (1..=FIELD_BYTES_MAX).contains(&name.len()) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, "use a field").because(format!(
            "its name has {} bytes, and must have between 1 and {FIELD_BYTES_MAX}",
            name.len()
        ))),
    }
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = name.len() <= NAME_BYTES_MAX
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_alphabetic());
    match fits {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, "define a class")
            .because(format!("`{name}` cannot be the name of a {what}"))
            .hint(format!(
                "Names begin with a letter and have up to {NAME_BYTES_MAX} ASCII letters, digits, `-`, `_` and `.`."
            ))),
    }
}

fn unfit(class: &str, what: String) -> Error {
    Error::new(ErrorKind::Usage, "define a class").because(format!("`{class}`: {what}"))
}
