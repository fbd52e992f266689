//! Revisions of dictionaries.

use std::collections::BTreeMap;

use durum_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::class::{Class, check_field};
use crate::clock::{Clock, RevisionId};
use crate::value::{DEPTH_MAX, Fields, Value};

/// How many fields a dictionary has at most.
pub const FIELDS_MAX: usize = 4096;

/// How many bytes a dictionary takes at most, by [`Value::weight`].
pub const DICTIONARY_BYTES_MAX: usize = 64 << 20;

/// How many revisions one supersedes at most.
pub const PARENTS_MAX: usize = 1024;

/// One state of a dictionary. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Its name, by which revisions are in order of time.
    pub id: RevisionId,
    /// What it supersedes, ascending.
    #[serde(default)]
    pub parents: Vec<RevisionId>,
    /// The last one in its past that somebody wrote: itself, but for one that merges others.
    pub written: RevisionId,
    /// The last deletion in its past. The dictionary is deleted where that is what was last written.
    #[serde(default)]
    pub cleared: Option<RevisionId>,
    /// What the dictionary holds.
    #[serde(default)]
    pub fields: Fields,
    /// For each field, and each that was taken out since it was last deleted, the revision that did that, but for those fields that
    /// this one has written. By these fields are merged.
    #[serde(default)]
    pub stamps: BTreeMap<String, RevisionId>,
}

impl Revision {
    /// Whether the dictionary is deleted.
    pub fn is_deleted(&self) -> bool {
        self.cleared == Some(self.written)
    }

    /// Which revision gave a field the value that it has, or took it out.
    pub fn stamp(&self, field: &str) -> Option<RevisionId> {
        let stamp = self.stamps.get(field).copied();
        stamp.or_else(|| self.fields.contains_key(field).then_some(self.id))
    }

    /// A new one after `parents`, which gives the dictionary these fields, or deletes it.
    ///
    /// # Errors
    /// `Usage` for what no dictionary can hold.
    pub(crate) fn after(
        clock: &Clock,
        parents: &[Revision],
        fields: Option<Fields>,
    ) -> Result<Revision> {
        // Of more, the others stay concurrent until the next one.
        let parents = parents.get(..PARENTS_MAX).unwrap_or(parents);
        let mut ids: Vec<RevisionId> = parents.iter().map(|parent| parent.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let id = clock.next(&ids);
        let before = crate::merge::by_fields(parents);
        let Some(fields) = fields else {
            let deletion = Revision {
                id,
                parents: ids,
                written: id,
                cleared: Some(id),
                fields: Fields::new(),
                stamps: BTreeMap::new(),
            };
            deletion.check()?;
            return Ok(deletion);
        };
        let mut stamps = BTreeMap::new();
        for (name, stamp) in before.stamps {
            let same = fields.get(&name) == before.fields.get(&name);
            // One that was taken out long ago keeps the stamp of that, and one that is taken out now is stamped for it.
            match (same, fields.contains_key(&name)) {
                (true, _) => stamps.insert(name, stamp),
                (false, false) => stamps.insert(name, id),
                (false, true) => None,
            };
        }
        crate::merge::forget_some(&mut stamps, &fields);
        let revision = Revision {
            id,
            parents: ids,
            written: id,
            cleared: before.cleared,
            fields,
            stamps,
        };
        revision.check()?;
        Ok(revision)
    }

    /// # Errors
    /// `Usage` for what no revision can be.
    pub fn check(&self) -> Result<()> {
        let refused = |why: String| Error::new(ErrorKind::Usage, "write a dictionary").because(why);
        let ascends = self.parents.is_sorted_by(|one, two| one < two);
        let is_after = self.parents.last().is_none_or(|last| *last < self.id);
        let past = self
            .stamps
            .values()
            .chain(&self.cleared)
            .chain([&self.written]);
        if !ascends || !is_after || past.clone().any(|stamp| *stamp > self.id) {
            return Err(refused(format!(
                "the revision {} is not after what it is said to follow",
                self.id
            )));
        }
        // All others are earlier.
        if !self.id.is_of_this_era() {
            return Err(refused(format!(
                "the revision {} is of a time after the year 9999: a clock is wrong",
                self.id
            )));
        }
        if self.cleared > Some(self.written) || (self.is_deleted() && !self.fields.is_empty()) {
            return Err(refused(format!(
                "the revision {} deletes what it holds",
                self.id
            )));
        }
        if self.parents.len() > PARENTS_MAX
            || self.stamps.len() > 2 * FIELDS_MAX
            || self.fields.len() > FIELDS_MAX
        {
            return Err(refused(format!(
                "a dictionary has {FIELDS_MAX} fields at most"
            )));
        }
        for name in self.fields.keys().chain(self.stamps.keys()) {
            check_field(name)?;
        }
        if let Some((name, _)) = self
            .fields
            .iter()
            .find(|(_, value)| !value.is_within(DEPTH_MAX))
        {
            return Err(refused(format!(
                "the field `{name}` is nested more than {DEPTH_MAX} deep"
            )));
        }
        let weight: usize = self.fields.values().map(Value::weight).sum();
        if weight > DICTIONARY_BYTES_MAX {
            return Err(refused(format!(
                "it takes {weight} bytes, and a dictionary at most {DICTIONARY_BYTES_MAX}"
            ))
            .with_kind(ErrorKind::TooLarge));
        }
        Ok(())
    }

    /// # Errors
    /// `Usage` where an index of the class cannot find it.
    pub(crate) fn check_indexes(&self, class: &Class) -> Result<()> {
        for index in &class.indexes {
            if let Some(value) = self.fields.get(index.field()) {
                index.check(value)?;
            }
        }
        Ok(())
    }

    /// The SHA-256 of the revision with its name: equal where two are.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.id.to_bytes());
        hash.update(self.content_hash());
        hash.finalize().into()
    }

    /// The SHA-256 of all that the revision is but its name.
    pub(crate) fn content_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut ids = |ids: &mut dyn Iterator<Item = RevisionId>| {
            let ids: Vec<[u8; 16]> = ids.map(RevisionId::to_bytes).collect();
            hash.update((ids.len() as u64).to_be_bytes());
            hash.update(ids.concat());
        };
        ids(&mut self.parents.iter().copied());
        // A function's result is written by the merge itself, whose name is not known before.
        ids(&mut Some(self.written).filter(|id| *id != self.id).into_iter());
        ids(&mut self.cleared.filter(|id| *id != self.id).into_iter());
        ids(&mut self.stamps.values().copied());
        for name in self.stamps.keys() {
            feed_bytes(&mut hash, name.as_bytes());
        }
        feed_map(&mut hash, &self.fields);
        hash.finalize().into()
    }
}

fn feed_bytes(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn feed_map(hash: &mut Sha256, map: &BTreeMap<String, Value>) {
    hash.update((map.len() as u64).to_be_bytes());
    for (name, value) in map {
        feed_bytes(hash, name.as_bytes());
        feed(hash, value);
    }
}

fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update([0]),
        Value::Bool(value) => hash.update([1, u8::from(*value)]),
        Value::Int(value) => {
            hash.update([2]);
            hash.update(value.to_be_bytes());
        }
        Value::Float(value) => {
            hash.update([3]);
            hash.update(value.to_bits().to_be_bytes());
        }
        Value::String(text) => {
            hash.update([4]);
            feed_bytes(hash, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            hash.update([5]);
            feed_bytes(hash, bytes);
        }
        Value::List(values) => {
            hash.update([6]);
            hash.update((values.len() as u64).to_be_bytes());
            for value in values {
                feed(hash, value);
            }
        }
        Value::Map(values) => {
            hash.update([7]);
            feed_map(hash, values);
        }
    }
}
