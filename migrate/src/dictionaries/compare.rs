//! Comparing a class of two homes, revision by revision.

use std::cmp::Ordering;

use durum_core::Result;
use durum_core::digest::Digest;
use durum_dictionaries::{Dictionaries, Dictionary, History, Revision, Stream};
use sha2::{Digest as _, Sha256};

use super::copy::{is_alone, weight};
use super::parallel::{self, Parcel};
use super::{Sides, Task};
use crate::options::Verify;
use crate::pipeline::Difference;

/// What a comparison has found.
#[derive(Default)]
pub(super) struct Found {
    /// Of the source.
    pub(super) dictionaries: u64,
    /// Of the source, and where nothing differs of both.
    pub(super) digest: Option<Digest>,
    /// Dictionaries that are not the same.
    pub(super) differences: u64,
}

/// A dictionary of one side, or of both.
type Pair = (Option<Dictionary>, Option<Dictionary>);

/// What was found of a parcel.
#[derive(Default)]
struct Part {
    dictionaries: u64,
    bytes: u64,
    digest: Digest,
    different: Vec<(Difference, String)>,
}

/// Compares both sides: their keys where they are to be counted only, else all revisions.
pub(super) fn both(task: &Task<'_>) -> Result<Found> {
    let sides = &task.sides;
    let class = sides.target.name.as_str();
    task.progress.begin("verify", None);
    let pairs = Pairs {
        one: sides.source.home.all_newest(class, "")?,
        other: sides.destination.home.all_newest(class, "")?,
        next: None,
        next_other: None,
    };
    let weight = |(one, other): &Pair| {
        let of = |found: &Dictionary| weight(&found.key, &found.revision);
        one.as_ref().map_or(0, of) + other.as_ref().map_or(0, of)
    };
    let work = |parcel: Parcel<Pair>| {
        let mut part = Part::default();
        for (one, other) in parcel.items {
            sides.watch.check()?;
            one_pair(sides, one, other, &mut part)?;
        }
        Ok(part)
    };
    let (mut found, mut digest) = (Found::default(), Digest::default());
    parallel::run(
        pairs,
        weight,
        sides.options.in_flight_bytes(),
        work,
        |part| {
            found.dictionaries += part.dictionaries;
            found.differences += part.different.len() as u64;
            digest += part.digest;
            for (difference, key) in &part.different {
                if sides.options.verify == Verify::Full {
                    task.progress.key_differs(*difference, class, key);
                }
            }
            task.progress.advance(part.dictionaries, part.bytes);
            sides.watch.check()
        },
    )?;
    found.digest = sides.options.digests().then_some(digest);
    Ok(found)
}

fn one_pair(
    sides: &Sides<'_>,
    one: Option<Dictionary>,
    other: Option<Dictionary>,
    part: &mut Part,
) -> Result<()> {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (Some(one), None) => {
            part.dictionaries += 1;
            part.different.push((Difference::Missing, one.key));
            return Ok(());
        }
        (None, Some(other)) => {
            part.different.push((Difference::Added, other.key));
            return Ok(());
        }
        (None, None) => return Ok(()),
    };
    part.dictionaries += 1;
    part.bytes += weight(&one.key, &one.revision) as u64;
    if !sides.options.digests() {
        return Ok(());
    }
    let (class, key) = (sides.target.name.as_str(), one.key.clone());
    let same_heads = one.revision.id == other.revision.id && one.concurrent == other.concurrent;
    let ours = revisions(sides.source.home, class, one)?;
    let theirs = revisions(sides.destination.home, class, other)?;
    // While the class is filled nothing is pruned here, and at the source something can be.
    let more_is_fine = sides.target.history != History::All;
    if !same_heads
        || !same_revisions(ours, theirs, more_is_fine, |revision| {
            add(&mut part.digest, &key, revision)
        })?
    {
        part.different.push((Difference::Changed, key));
    }
    Ok(())
}

/// Whether two histories, newest first, are the same; where more is fine, superseded revisions that only the other one has
/// do not count.
fn same_revisions(
    ours: Stream<Revision>,
    mut theirs: Stream<Revision>,
    more_is_fine: bool,
    mut add: impl FnMut(&Revision),
) -> Result<bool> {
    for revision in ours {
        let revision = revision?;
        let mut other = theirs.next().transpose()?;
        while more_is_fine && other.as_ref().is_some_and(|other| other.id > revision.id) {
            other = theirs.next().transpose()?;
        }
        if other.as_ref() != Some(&revision) {
            return Ok(false);
        }
        add(&revision);
    }
    Ok(more_is_fine || theirs.next().transpose()?.is_none())
}

/// All revisions of a dictionary, newest first.
fn revisions(home: &Dictionaries, class: &str, dictionary: Dictionary) -> Result<Stream<Revision>> {
    match is_alone(&dictionary) {
        true => Ok(Box::new(std::iter::once(Ok(dictionary.revision)))),
        false => home.history(class, &dictionary.key),
    }
}

fn add(digest: &mut Digest, key: &str, revision: &Revision) {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(revision.digest());
    *digest += Digest::from_bytes(1, hash.finalize().into());
}

/// Two streams in the order of their keys, side by side.
struct Pairs {
    one: Stream<Dictionary>,
    other: Stream<Dictionary>,
    next: Option<Dictionary>,
    next_other: Option<Dictionary>,
}

impl Pairs {
    fn pair(&mut self) -> Result<Option<Pair>> {
        if self.next.is_none() {
            self.next = self.one.next().transpose()?;
        }
        if self.next_other.is_none() {
            self.next_other = self.other.next().transpose()?;
        }
        let order = match (&self.next, &self.next_other) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.key.cmp(&other.key),
        };
        Ok(Some(match order {
            Ordering::Less => (self.next.take(), None),
            Ordering::Equal => (self.next.take(), self.next_other.take()),
            Ordering::Greater => (None, self.next_other.take()),
        }))
    }
}

impl Iterator for Pairs {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        self.pair().transpose()
    }
}
