//! Merging concurrent revisions.
//!
//! By default fields are last-writer-wins registers (Shapiro and others, "A comprehensive study of Convergent and Commutative Replicated Data
//! Types", 2011): each knows the revision that wrote it, and the latest holds. For two revisions this is the three-way merge from their
//! common parent, where of two changes the later holds, without the parent being needed, which may have gone with the history. A deletion
//! is a write of the whole: it holds where it is later than all writes that have not seen it; else the dictionary lives with all that it had.
//!
//! A revision that merges others has a name that follows from these and from what it holds. So writers that merge the same revisions
//! by themselves make the same revision, and merging ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::class::Merge;
use crate::clock::RevisionId;
use crate::revision::{PARENTS_MAX, Revision};
use crate::value::Fields;

/// The revisions that an application's function is to merge.
#[derive(Debug)]
pub struct Concurrent<'a> {
    /// The class.
    pub class: &'a str,
    /// The dictionary's key.
    pub key: &'a str,
    /// The last revision that all of them descend from, where the history still has it.
    pub base: Option<&'a Revision>,
    /// Those to be merged, in order of time.
    pub heads: &'a [Revision],
}

/// An application's function that merges concurrent revisions: gives the fields that hold, or `None` for a deletion.
///
/// It must give the same for the same revisions, at any time and on any machine, or homes do not come to the same state.
pub type MergeFunction = dyn Fn(&Concurrent<'_>) -> Option<Fields> + Send + Sync;

/// The application's functions, by name.
#[derive(Clone, Default)]
pub struct Merger {
    functions: BTreeMap<String, Arc<MergeFunction>>,
}

impl Merger {
    /// The same with another function, for classes with [`Merge::Function`] of its name.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&Concurrent<'_>) -> Option<Fields> + Send + Sync + 'static,
    ) -> Merger {
        self.functions.insert(name.into(), Arc::new(function));
        self
    }

    /// The revision that merges these, which are in order of time; none where the rule leaves them as they are, or its function
    /// is not here. `base` is only asked for by a function.
    pub(crate) fn merge<E>(
        &self,
        rule: &Merge,
        (class, key): (&str, &str),
        heads: &[Revision],
        base: impl FnOnce() -> Result<Option<Revision>, E>,
    ) -> Result<Option<Revision>, E> {
        // Of more, the others are merged the next time.
        let heads = heads.get(..PARENTS_MAX).unwrap_or(heads);
        Ok(match rule {
            Merge::Leave => None,
            Merge::Fields => Some(named(heads, |_| by_fields(heads))),
            Merge::Latest => {
                let latest = heads.iter().max_by_key(|head| (head.written, head.id));
                let fields = latest.filter(|latest| !latest.is_deleted());
                let fields = fields.map(|latest| latest.fields.clone());
                Some(written_by_function(heads, fields))
            }
            Merge::Function(name) => {
                let Some(function) = self.functions.get(name) else {
                    return Ok(None);
                };
                let base = base()?;
                let fields = function(&Concurrent {
                    class,
                    key,
                    base: base.as_ref(),
                    heads,
                });
                Some(written_by_function(heads, fields))
            }
        })
    }
}

impl fmt::Debug for Merger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.functions.keys()).finish()
    }
}

/// How many fields that were taken out are remembered.
const TAKEN_OUT_MAX: usize = 1024;

/// Forgets the oldest of too many fields that were taken out. One of these comes back only if it was written by somebody who
/// has not seen any of that many removals.
pub(crate) fn forget_some(stamps: &mut BTreeMap<String, RevisionId>, fields: &Fields) {
    let mut gone: Vec<_> = stamps
        .iter()
        .filter(|(name, _)| !fields.contains_key(*name))
        .map(|(name, stamp)| (*stamp, name.clone()))
        .collect();
    if let Some(surplus) = gone.len().checked_sub(TAKEN_OUT_MAX) {
        gone.sort_unstable();
        for (_, name) in gone.iter().take(surplus) {
            stamps.remove(name);
        }
    }
}

/// What a dictionary holds, with all stamps.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) written: RevisionId,
    pub(crate) cleared: Option<RevisionId>,
    pub(crate) fields: Fields,
    pub(crate) stamps: BTreeMap<String, RevisionId>,
}

impl State {
    fn of(revision: Option<&Revision>) -> State {
        let Some(revision) = revision else {
            return State::default();
        };
        let own = revision
            .fields
            .keys()
            .filter(|name| !revision.stamps.contains_key(*name));
        let own = own.map(|name| (name.clone(), revision.id));
        State {
            written: revision.written,
            cleared: revision.cleared,
            stamps: revision.stamps.clone().into_iter().chain(own).collect(),
            fields: revision.fields.clone(),
        }
    }
}

/// What these revisions hold together.
pub(crate) fn by_fields(heads: &[Revision]) -> State {
    let cleared = heads.iter().filter_map(|head| head.cleared).max();
    let alive = |head: &&Revision| !head.is_deleted() && Some(head.written) > cleared;
    let mut state = State {
        written: cleared.unwrap_or_default(),
        cleared,
        ..State::default()
    };
    for head in heads.iter().filter(alive) {
        let other = State::of(Some(head));
        state.written = state.written.max(other.written);
        let mut fields = other.fields;
        for (name, stamp) in other.stamps {
            if state.stamps.get(&name).is_some_and(|mine| *mine >= stamp) {
                continue;
            }
            match fields.remove(&name) {
                Some(value) => state.fields.insert(name.clone(), value),
                None => state.fields.remove(&name),
            };
            state.stamps.insert(name, stamp);
        }
    }
    forget_some(&mut state.stamps, &state.fields);
    state
}

/// Whether a revision changes nothing in what these hold together: what a revision has seen is older than itself, so that this is so for
/// all that these descend from.
pub(crate) fn is_seen(heads: &[Revision], revision: &Revision) -> bool {
    let before = by_fields(heads);
    let with_it: Vec<Revision> = heads.iter().chain([revision]).cloned().collect();
    let after = by_fields(&with_it);
    before.fields == after.fields
        && before.stamps == after.stamps
        && before.cleared == after.cleared
}

/// The last revision from which all of these descend, by what each supersedes, as far as that is known.
///
/// Revisions are visited from the latest to the earliest, and what a revision descends from is earlier than it: so all ways to one have
/// been walked when it is visited, and the first that lies on ways from all heads is the last one.
pub(crate) fn common(
    lineage: &BTreeMap<RevisionId, Vec<RevisionId>>,
    heads: &[Revision],
) -> Option<RevisionId> {
    let find = |id: RevisionId| Ok::<_, std::convert::Infallible>(lineage.get(&id).cloned());
    common_by(heads, find).unwrap_or_default()
}

/// As [`common`], where what a revision supersedes is looked up.
pub(crate) fn common_by<E>(
    heads: &[Revision],
    parents: impl Fn(RevisionId) -> Result<Option<Vec<RevisionId>>, E>,
) -> Result<Option<RevisionId>, E> {
    let mut ways: BTreeMap<RevisionId, BTreeSet<usize>> = BTreeMap::new();
    for (number, head) in heads.iter().enumerate() {
        ways.entry(head.id).or_default().insert(number);
    }
    while let Some((id, from)) = ways.pop_last() {
        let Some(parents) = parents(id)? else {
            continue;
        };
        if from.len() == heads.len() {
            return Ok(Some(id));
        }
        for parent in parents {
            ways.entry(parent).or_default().extend(&from);
        }
    }
    Ok(None)
}

/// A function's result, as if somebody had written it: what is as the fields' own stamps would have it keeps these.
fn written_by_function(heads: &[Revision], fields: Option<Fields>) -> Revision {
    let before = by_fields(heads);
    named(heads, |id| {
        let Some(fields) = fields else {
            return State {
                written: id,
                cleared: Some(id),
                ..State::default()
            };
        };
        let mut stamps = before.stamps;
        stamps.retain(|name, _| fields.get(name) == before.fields.get(name));
        for name in before
            .fields
            .keys()
            .filter(|name| !fields.contains_key(*name))
        {
            stamps.insert(name.clone(), id);
        }
        State {
            written: id,
            cleared: before.cleared,
            fields,
            stamps,
        }
    })
}

/// The revision after these which holds that, with the name that follows from it.
fn named(heads: &[Revision], state: impl FnOnce(RevisionId) -> State) -> Revision {
    let mut parents: Vec<RevisionId> = heads.iter().map(|head| head.id).collect();
    parents.sort_unstable();
    let tick = parents
        .last()
        .map_or(0, |last| last.tick())
        .saturating_add(1);
    // What it writes itself is told by this name, until it has its own.
    let unnamed = RevisionId::new(tick, 0);
    let state = state(unnamed);
    let mut revision = Revision {
        id: unnamed,
        parents,
        written: state.written,
        cleared: state.cleared,
        fields: state.fields,
        stamps: state.stamps,
    };
    let hash = revision.content_hash();
    let node = hash
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first));
    let id = RevisionId::new(tick, node);
    let rename = |stamp: &mut RevisionId| {
        if *stamp == unnamed {
            *stamp = id;
        }
    };
    rename(&mut revision.id);
    rename(&mut revision.written);
    revision.cleared.iter_mut().for_each(rename);
    revision.stamps.values_mut().for_each(rename);
    revision
}
