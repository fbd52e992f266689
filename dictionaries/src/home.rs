//! What a home of dictionaries does: where they lie, and how they are found there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use durum_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::clock::RevisionId;
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;
use crate::value::Fields;

/// Results that come one after the other, in memory that does not grow with their number. After an error it ends.
pub type Stream<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// What is to be written under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The primary key.
    pub key: String,
    /// What the writer has seen. `None`: whatever is the newest when it is written. A revision after one that was superseded meanwhile is
    /// concurrent with what did that.
    pub after: Option<Vec<RevisionId>>,
    /// The fields that the dictionary has from now on; `None` deletes it.
    pub fields: Option<Fields>,
}

/// A dictionary as it is, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    /// Its primary key.
    pub key: String,
    /// What it holds, and since when.
    pub revision: Revision,
    /// Others that were written without knowledge of it, and it without theirs, and that are not merged yet: in order of time.
    pub concurrent: Vec<RevisionId>,
    /// Where it is from a copy, because too few nodes could be reached: as of when that has all that there was.
    pub as_of: Option<SystemTime>,
}

impl Dictionary {
    /// What it holds.
    pub fn fields(&self) -> &Fields {
        &self.revision.fields
    }

    /// The time since it was written, by this machine's clock; nothing for one from a clock that is ahead.
    pub fn age(&self) -> Duration {
        let since = SystemTime::now().duration_since(self.revision.id.time());
        since.unwrap_or_default()
    }

    /// All that a revision which supersedes it comes after.
    pub fn seen(&self) -> Vec<RevisionId> {
        let mut seen = self.concurrent.clone();
        seen.push(self.revision.id);
        seen
    }
}

/// As of when a dictionary is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The last revision up to this time, to the millisecond.
    Time(SystemTime),
    /// This revision.
    Revision(RevisionId),
}

/// How far somebody has read the changes of a class. It is of one home, and means nothing to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marker(String);

impl Marker {
    pub(crate) fn new(text: String) -> Marker {
        Marker(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Marker {
    type Err = Error;

    /// Whether it is one shows where it is used.
    fn from_str(text: &str) -> Result<Marker> {
        Ok(Marker(text.to_owned()))
    }
}

/// A revision that came to a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The dictionary's key.
    pub key: String,
    /// The revision.
    pub revision: Revision,
    /// Where to go on after it.
    pub marker: Marker,
}

/// What became of revisions from another home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absorbed {
    /// Those that are new here.
    pub added: u64,
    /// Those that were here already, or that the history has left behind and that change nothing any more.
    pub known: u64,
}

/// What healing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// Dictionaries whose concurrent revisions were merged.
    pub merged: u64,
    /// Dictionaries whose concurrent revisions are left: the class wants it so, or has a function that is not here.
    pub left: u64,
    /// Revisions that the history no longer keeps.
    pub pruned: u64,
    /// Indexes that were finished or mended.
    pub indexed: u64,
}

/// Where dictionaries lie.
pub(crate) trait Home: Send + Sync + fmt::Debug {
    fn define(&self, class: Class) -> Result<()>;

    /// From now on this handle uses classes that are being filled as all others.
    fn admit_unfinished(&self);

    fn classes(&self) -> Result<Vec<Class>>;

    fn class(&self, name: &str) -> Result<Class>;

    /// All or nothing, where the home can.
    fn write(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>>;

    /// Takes revisions that were made elsewhere as they are.
    fn absorb(&self, class: &str, revisions: Vec<(String, Revision)>) -> Result<Absorbed>;

    /// The newest one, deleted or not.
    fn newest(&self, class: &str, key: &str) -> Result<Option<Dictionary>>;

    fn get_at(&self, class: &str, key: &str, at: At) -> Result<Option<Revision>>;

    /// All that is kept, newest first.
    fn history(&self, class: &str, key: &str) -> Result<Stream<Revision>>;

    /// In the order of the values, and of the keys for each; each dictionary once, by its least value that is meant.
    fn select(&self, class: &str, index: &str, query: &Query) -> Result<Stream<Dictionary>>;

    /// In the order of the keys, from one on; deleted ones on request.
    fn all(&self, class: &str, from: &str, deleted: bool) -> Result<Stream<Dictionary>>;

    fn changes(&self, class: &str, since: Option<&Marker>) -> Result<Stream<Change>>;

    /// Where the changes end now.
    fn marker(&self, class: &str) -> Result<Marker>;

    fn heal(&self, class: &str, pace: &mut Pace) -> Result<Healed>;
}

/// A home that several share.
pub(crate) type SharedHome = Arc<dyn Home>;
