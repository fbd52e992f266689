//! Writing revisions into a class.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use durum_core::Result;
use durum_objects::Transaction;

use super::layout::{ClassRoot, Entry, FORM_BYTES_MAX, Form, Kept, Line, Shared};
use super::log;
use super::past::Past;
use crate::class::History;
use crate::clock::{Clock, RevisionId};
use crate::error::unknown;
use crate::home::Write;
use crate::merge;
use crate::order::{cut, forms};
use crate::revision::Revision;
use crate::value::Fields;

/// From this weight on a value is an object of its own.
const SHARED_FROM: usize = 1024;

/// How many revisions are looked through at once.
const LOOK: usize = 32;

/// Makes the revision that is to be written, and writes it.
pub(super) fn write(
    tx: &Transaction,
    root: &ClassRoot,
    clock: &Clock,
    write: &Write,
) -> Result<RevisionId> {
    let entry = match root.entries.get(tx, write.key.as_str())? {
        Some(entry) => Some(tx.get(entry)?),
        None => None,
    };
    let mut parents = Vec::new();
    match (&write.after, &entry) {
        (None, None) => {}
        (None, Some(entry)) => parents = heads(tx, entry)?,
        (Some(seen), entry) => {
            for id in seen {
                let found = entry.as_ref().map(|entry| find(tx, entry, *id));
                let found = found.transpose()?.flatten();
                parents.push(found.ok_or_else(|| unknown(&write.key, *id))?);
            }
        }
    }
    let revision = Revision::after(clock, &parents, write.fields.clone())?;
    revision.check_indexes(&root.class)?;
    let id = revision.id;
    add(tx, root, &write.key, revision)?;
    Ok(id)
}

/// Adds a revision, whether it was just made or comes from elsewhere; says whether it was not there yet.
pub(super) fn add(
    tx: &Transaction,
    root: &ClassRoot,
    key: &str,
    revision: Revision,
) -> Result<bool> {
    let id = revision.id;
    let Some(at) = root.entries.get(tx, key)? else {
        index(tx, root, key, None, Some(&revision))?;
        let entry = tx.new(Entry {
            newest: keep(tx, revision, None)?,
            heads: Vec::new(),
            past: Past::default(),
            pruned_to: None,
        })?;
        root.entries.insert(tx, key.to_owned(), entry)?;
        log::append(tx, root, key, id)?;
        return Ok(true);
    };
    let mut entry = Entry::clone(&*tx.get(at)?);
    if entry.newest.id == id
        || entry.past.find(tx, id)?.is_some()
        || is_left_behind(tx, &entry, &revision)?
    {
        return Ok(false);
    }
    let was_forked = !entry.heads.is_empty();
    let mut heads = entry.heads.clone();
    heads.push(entry.newest.id);
    heads.retain(|head| revision.parents.binary_search(head).is_err());
    if !heads.is_empty() && root.class.history != History::All {
        let passed = passed_over(tx, &entry, &heads, &revision)?;
        heads.retain(|head| !passed.contains(head));
    }
    if !is_superseded(tx, &entry, id)? {
        heads.push(id);
        heads.sort_unstable();
    }
    if id > entry.newest.id {
        let before = load(tx, &entry.newest)?;
        index(tx, root, key, Some(&before), Some(&revision))?;
        let newest = keep(tx, revision, Some(&entry.newest))?;
        let before = std::mem::replace(&mut entry.newest, newest);
        entry.past.insert(tx, before.id, tx.new(before)?)?;
    } else {
        let kept = keep(tx, revision, None)?;
        entry.past.insert(tx, id, tx.new(kept)?)?;
    }
    heads.retain(|head| *head != entry.newest.id);
    entry.heads = heads;
    if let History::Revisions(most) = root.class.kept_history() {
        keep_newest(tx, &mut entry, u64::from(most))?;
    }
    note_fork(tx, root, key, was_forked, &entry)?;
    tx.set(at, entry)?;
    log::append(tx, root, key, id)?;
    Ok(true)
}

/// Keeps the list of keys with concurrent revisions.
pub(super) fn note_fork(
    tx: &Transaction,
    root: &ClassRoot,
    key: &str,
    was_forked: bool,
    entry: &Entry,
) -> Result<()> {
    match (was_forked, !entry.heads.is_empty()) {
        (false, true) => root.forked.insert(tx, key.to_owned()).map(drop),
        (true, false) => root.forked.remove(tx, key).map(drop),
        _ => Ok(()),
    }
}

/// Whether something that is there supersedes a revision that comes late. What supersedes it is later.
fn is_superseded(tx: &Transaction, entry: &Entry, id: RevisionId) -> Result<bool> {
    if id > entry.newest.id {
        return Ok(false);
    }
    if entry.newest.parents.binary_search(&id).is_ok() {
        return Ok(true);
    }
    let mut high = Bound::Unbounded;
    loop {
        let found = entry.past.back_from(tx, high, LOOK)?;
        for (other, kept) in &found {
            if *other < id {
                return Ok(false);
            }
            if tx.get(*kept)?.parents.binary_search(&id).is_ok() {
                return Ok(true);
            }
        }
        match found.last() {
            Some((last, _)) => high = Bound::Excluded(*last),
            None => return Ok(false),
        }
    }
}

/// Whether a revision from where the history is pruned already changes nothing. It can be one that was pruned itself, so that those after it that
/// would tell are gone; merging tells as well, for what a revision has seen is older than itself.
fn is_left_behind(tx: &Transaction, entry: &Entry, revision: &Revision) -> Result<bool> {
    if entry.pruned_to < Some(revision.id) {
        return Ok(false);
    }
    Ok(merge::is_seen(&heads(tx, entry)?, revision))
}

/// Which heads a revision supersedes by others between them that are not here: where it was written they were pruned before they came.
fn passed_over(
    tx: &Transaction,
    entry: &Entry,
    heads: &[RevisionId],
    revision: &Revision,
) -> Result<Vec<RevisionId>> {
    let mut passed = Vec::new();
    for parent in &revision.parents {
        if entry.newest.id != *parent && entry.past.find(tx, *parent)?.is_none() {
            for id in heads.iter().filter(|id| **id < *parent) {
                let head = find(tx, entry, *id)?;
                if head.is_some_and(|head| merge::is_seen(std::slice::from_ref(revision), &head)) {
                    passed.push(*id);
                }
            }
        }
    }
    Ok(passed)
}

/// Prunes all but the newest revisions, and what nothing supersedes.
fn keep_newest(tx: &Transaction, entry: &mut Entry, most: u64) -> Result<()> {
    let surplus = (entry.past.count + 1).saturating_sub(most);
    if surplus == 0 {
        return Ok(());
    }
    // Heads are few, and passed over.
    let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
    let first = entry
        .past
        .first(tx, surplus.saturating_add(entry.heads.len()))?;
    let ids = first.into_iter().map(|(id, _)| id);
    let surplus: Vec<_> = ids
        .filter(|id| !entry.heads.contains(id))
        .take(surplus)
        .collect();
    for id in surplus {
        prune(tx, entry, id)?;
    }
    Ok(())
}

/// Takes a revision out of the past.
pub(super) fn prune(tx: &Transaction, entry: &mut Entry, id: RevisionId) -> Result<bool> {
    entry.pruned_to = entry.pruned_to.max(Some(id));
    entry.past.remove(tx, id)
}

/// The revisions that nothing supersedes, in order of time.
pub(super) fn heads(tx: &Transaction, entry: &Entry) -> Result<Vec<Revision>> {
    let mut heads = Vec::with_capacity(entry.heads.len() + 1);
    for id in &entry.heads {
        heads.extend(find(tx, entry, *id)?);
    }
    heads.push(load(tx, &entry.newest)?);
    Ok(heads)
}

/// A revision of a dictionary.
pub(super) fn find(tx: &Transaction, entry: &Entry, id: RevisionId) -> Result<Option<Revision>> {
    if entry.newest.id == id {
        return load(tx, &entry.newest).map(Some);
    }
    match entry.past.find(tx, id)? {
        Some(kept) => load(tx, &*tx.get(kept)?).map(Some),
        None => Ok(None),
    }
}

/// A revision with its large values.
pub(super) fn load(tx: &Transaction, kept: &Kept) -> Result<Revision> {
    let mut fields = kept.fields.clone();
    for (name, shared) in &kept.shared {
        fields.insert(name.clone(), tx.get(*shared)?.value.clone());
    }
    Ok(Revision {
        id: kept.id,
        parents: kept.parents.clone(),
        written: kept.written.unwrap_or(kept.id),
        cleared: kept.cleared,
        fields,
        stamps: kept.stamps.clone(),
    })
}

/// A revision as it is stored; large values that `before` has from the same revision are shared with it.
fn keep(tx: &Transaction, revision: Revision, before: Option<&Kept>) -> Result<Kept> {
    let mut kept = Kept {
        id: revision.id,
        parents: revision.parents,
        written: Some(revision.written).filter(|written| *written != revision.id),
        cleared: revision.cleared,
        fields: Fields::new(),
        shared: BTreeMap::new(),
        stamps: revision.stamps,
    };
    for (name, value) in revision.fields {
        if value.weight() < SHARED_FROM {
            kept.fields.insert(name, value);
            continue;
        }
        let stamp = kept.stamps.get(&name).copied();
        let same = before.filter(|before| {
            stamp.is_some_and(|stamp| {
                before.stamps.get(&name).copied().unwrap_or(before.id) == stamp
            })
        });
        let shared = match same.and_then(|before| before.shared.get(&name)) {
            Some(shared) => *shared,
            None => tx.new(Shared { value })?,
        };
        kept.shared.insert(name, shared);
    }
    Ok(kept)
}

/// Brings the indexes from one newest revision to the next.
pub(super) fn index(
    tx: &Transaction,
    root: &ClassRoot,
    key: &str,
    before: Option<&Revision>,
    after: Option<&Revision>,
) -> Result<()> {
    for place in &root.indexes {
        let lines = |revision: Option<&Revision>| -> BTreeSet<Vec<u8>> {
            let forms = revision.map(|revision| forms(&place.index, &revision.fields));
            let forms = forms.unwrap_or_default();
            forms
                .iter()
                .map(|form| cut(form, FORM_BYTES_MAX).to_vec())
                .collect()
        };
        let line = |form: &Vec<u8>| Line {
            form: Form(form.clone()),
            key: key.to_owned(),
        };
        let (before, after) = (lines(before), lines(after));
        for form in before.difference(&after) {
            place.lines.remove(tx, &line(form))?;
        }
        for form in after.difference(&before) {
            place.lines.insert(tx, line(form))?;
        }
    }
    Ok(())
}
