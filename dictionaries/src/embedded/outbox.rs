//! What an embedded home keeps as the copy of another one: how far it has followed that, and what is still to be delivered there.

use std::time::{Duration, SystemTime};

use durum_core::Result;
use durum_objects::{BTree, Persistent, Ref, Transaction};
use serde::{Deserialize, Serialize};

use super::{Embedded, open, write};
use crate::clock::RevisionId;
use crate::home::{Marker, Write};
use crate::revision::Revision;

/// The name at the root.
const ROOT: &str = "durum.dictionaries.copy";

/// The state of a copy.
#[derive(Clone, Serialize, Deserialize, Persistent)]
#[persistent(name = "durum.dictionaries.Copy")]
struct Copy {
    /// What is to be delivered: class and revision, and the key. Revisions are in order of time, so that each
    /// comes after what it follows.
    outbox: BTree<(String, RevisionId), String>,
    /// For each class a marker, and when that was the end, in milliseconds since 1970.
    followed: BTree<String, (String, u64)>,
}

fn copy(tx: &Transaction) -> Result<Ref<Copy>> {
    if let Some(copy) = tx.root(ROOT)? {
        return Ok(copy);
    }
    let copy = tx.new(Copy {
        outbox: BTree::new(tx)?,
        followed: BTree::new(tx)?,
    })?;
    tx.set_root(ROOT, copy)?;
    Ok(copy)
}

impl Embedded {
    /// The first of what is to be delivered: class, revision, key.
    pub(crate) fn outbox(&self, most: usize) -> Result<Vec<(String, RevisionId, String)>> {
        self.database.read(|tx| {
            let Some(copy) = tx.root::<Copy>(ROOT)? else {
                return Ok(Vec::new());
            };
            let outbox = tx.get(copy)?.outbox;
            let waiting = outbox.iter(tx)?.take(most);
            let waiting = waiting.map(|entry| entry.map(|((class, id), key)| (class, id, key)));
            waiting.collect()
        })
    }

    /// Takes out of the outbox what was delivered.
    pub(crate) fn delivered(&self, class: &str, ids: &[RevisionId]) -> Result<()> {
        self.database.transact(|tx| {
            let outbox = tx.get(copy(tx)?)?.outbox;
            for id in ids {
                outbox.remove(tx, &(class.to_owned(), *id))?;
            }
            Ok(())
        })
    }

    /// Writes, and notes in the same transaction that it is to be delivered.
    pub(crate) fn write_out(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        self.change(class, |tx, root| {
            let outbox = tx.get(copy(tx)?)?.outbox;
            let mut ids = Vec::with_capacity(writes.len());
            for each in &writes {
                let id = write::write(tx, root, &self.clock, each)?;
                outbox.insert(tx, (class.to_owned(), id), each.key.clone())?;
                ids.push(id);
            }
            Ok(ids)
        })
    }

    /// The same for revisions that were made already.
    pub(crate) fn absorb_out(
        &self,
        class: &str,
        revisions: Vec<(String, Revision)>,
    ) -> Result<Vec<RevisionId>> {
        self.database.transact(|tx| {
            let root = open(tx, class)?;
            let outbox = tx.get(copy(tx)?)?.outbox;
            for (key, revision) in &revisions {
                write::add(tx, &root, key, revision.clone())?;
                outbox.insert(tx, (class.to_owned(), revision.id), key.clone())?;
            }
            Ok(revisions.iter().map(|(_, revision)| revision.id).collect())
        })
    }

    /// How far a class was followed, and when that was the end of it.
    pub(crate) fn followed(&self, class: &str) -> Result<Option<(Marker, SystemTime)>> {
        self.database.read(|tx| {
            let Some(copy) = tx.root::<Copy>(ROOT)? else {
                return Ok(None);
            };
            let followed = tx.get(copy)?.followed.get(tx, class)?;
            Ok(followed.map(|(marker, millis)| {
                let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
                (Marker::new(marker), time)
            }))
        })
    }

    /// Notes how far a class was followed.
    pub(crate) fn follow(&self, class: &str, marker: &Marker, time: SystemTime) -> Result<()> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis() as u64);
        self.database.transact(|tx| {
            let followed = tx.get(copy(tx)?)?.followed;
            let value = (marker.as_str().to_owned(), millis);
            followed.insert(tx, class.to_owned(), value).map(drop)
        })
    }
}
