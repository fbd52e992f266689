//! The objects that dictionaries are stored as.
//!
//! ```text
//! root "durum.dictionaries" -> Catalogue -> classes: name -> ClassRoot
//! ClassRoot -> entries: key -> Entry -> the newest revision, and the Past: revision -> Kept
//!           -> indexes: each a set of (value, key) of the newest revisions
//!           -> forked: the keys that have concurrent revisions
//!           -> log: position -> Chunk, and its Tail, which transactions append to at once
//! ```

use std::collections::BTreeMap;
use std::fmt;

use durum_objects::{BTree, Persistent, Ref, Set};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::past::Past;
use crate::class::{Class, Index};
use crate::clock::RevisionId;
use crate::value::{Fields, Value};

/// The name at the root.
pub(super) const ROOT: &str = "durum.dictionaries";

/// How many bytes of a value an index has.
pub(super) const FORM_BYTES_MAX: usize = 200;

/// All classes.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Catalogue")]
pub(super) struct Catalogue {
    pub(super) classes: BTree<String, Ref<ClassRoot>>,
}

/// A class, and where what is in it lies.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Class")]
pub(super) struct ClassRoot {
    pub(super) class: Class,
    pub(super) entries: BTree<String, Ref<Entry>>,
    pub(super) forked: Set<String>,
    pub(super) indexes: Vec<IndexRoot>,
    pub(super) chunks: BTree<u64, Ref<Chunk>>,
    pub(super) tail: Ref<Tail>,
    /// Changes before this position are not all there any more.
    pub(super) log_begins: u64,
    /// Where the log ended when what is no longer kept was last taken out of it.
    pub(super) log_swept: u64,
}

/// An index.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct IndexRoot {
    pub(super) index: Index,
    pub(super) lines: Set<Line>,
    /// Up to which key it has dictionaries that were there before it; none when it has all.
    pub(super) built_to: Option<String>,
}

/// A line of an index: a value's form, and the key of a dictionary that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) form: Form,
    pub(super) key: String,
}

/// Bytes, which are stored as such.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form(pub(super) Vec<u8>);

/// A dictionary.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Entry")]
pub(super) struct Entry {
    /// The latest revision, which nothing that is here supersedes: what supersedes a revision is later.
    pub(super) newest: Kept,
    /// The others that nothing supersedes, ascending; they lie in the past.
    pub(super) heads: Vec<RevisionId>,
    pub(super) past: Past,
    /// The latest of those that the history has left behind.
    pub(super) pruned_to: Option<RevisionId>,
}

/// A revision as it is stored.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Revision")]
pub(super) struct Kept {
    pub(super) id: RevisionId,
    pub(super) parents: Vec<RevisionId>,
    /// None where it is the revision itself.
    pub(super) written: Option<RevisionId>,
    pub(super) cleared: Option<RevisionId>,
    pub(super) fields: Fields,
    /// Large values, which revisions that have the same share.
    pub(super) shared: BTreeMap<String, Ref<Shared>>,
    pub(super) stamps: BTreeMap<String, RevisionId>,
}

/// A large value.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Value")]
pub(super) struct Shared {
    pub(super) value: Value,
}

/// A part of the log of changes that is not appended to any more.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Changes")]
pub(super) struct Chunk {
    /// Each with its distance from the chunk's own position.
    pub(super) changes: Vec<(u32, Logged)>,
}

/// The end of the log of changes.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.LastChanges", merge = Tail::append_both)]
pub(super) struct Tail {
    /// The position of the first.
    pub(super) first: u64,
    pub(super) changes: Vec<Logged>,
}

/// A change in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Logged {
    pub(super) key: String,
    pub(super) id: RevisionId,
}

impl Tail {
    /// What two transactions have appended at once is in the order in which they commit.
    fn append_both(base: &Tail, mine: &Tail, theirs: &Tail) -> Option<Tail> {
        // Who has made a chunk of it has decided what is in that.
        let appended = match mine.first == base.first {
            true => mine.changes.strip_prefix(base.changes.as_slice())?,
            false => return None,
        };
        if theirs.first < base.first {
            return None;
        }
        let mut merged = theirs.clone();
        merged.changes.extend_from_slice(appended);
        Some(merged)
    }

    /// The position behind the last.
    pub(super) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Form, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Form;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Form, E> {
                Ok(Form(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Form, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = access.next_element()? {
                    bytes.push(byte);
                }
                Ok(Form(bytes))
            }
        }

        deserializer.deserialize_bytes(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(first: u64, keys: &[&str]) -> Tail {
        let logged = |key: &&str| Logged {
            key: (*key).to_owned(),
            id: RevisionId::MIN,
        };
        Tail {
            first,
            changes: keys.iter().map(logged).collect(),
        }
    }

    #[test]
    fn appended_changes_follow_each_other_and_nothing_else_is_merged() {
        let base = tail(3, &["a"]);
        let keys = |tail: Tail| {
            tail.changes
                .into_iter()
                .map(|change| change.key)
                .collect::<Vec<_>>()
        };
        let merged =
            Tail::append_both(&base, &tail(3, &["a", "b"]), &tail(3, &["a", "c", "d"])).unwrap();
        assert_eq!((merged.first, merged.end()), (3, 7));
        assert_eq!(keys(merged), ["a", "c", "d", "b"]);
        let after_chunk =
            Tail::append_both(&base, &tail(3, &["a", "b"]), &tail(5, &["e"])).unwrap();
        assert_eq!(
            (after_chunk.first, keys(after_chunk)),
            (5, vec!["e".to_owned(), "b".to_owned()])
        );
        assert!(Tail::append_both(&base, &tail(4, &[]), &tail(3, &["a", "c"])).is_none());
        assert!(Tail::append_both(&base, &tail(3, &["x"]), &base).is_none());
    }
}
