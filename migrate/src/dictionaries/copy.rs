//! Reading dictionaries with their histories, and taking them over.

use std::sync::{Mutex, PoisonError};

use durum_core::Result;
use durum_dictionaries::{At, Dictionary, Marker, Revision, RevisionId};

use super::parallel::{self, Parcel};
use super::{BATCH, BATCH_BYTES, Sides, Task};

/// A history up to so many bytes is read at once; of a longer one first the names.
const HISTORY_BYTES: usize = 4 << 20;

/// What was done of a class.
#[derive(Default)]
pub(super) struct Part {
    pub(super) dictionaries: u64,
    pub(super) added: u64,
    pub(super) bytes: u64,
    /// Up to here all dictionaries are there.
    pub(super) last_key: Option<String>,
}

/// What came to the source since a marker.
#[derive(Default)]
pub(super) struct Round {
    pub(super) revisions: u64,
    pub(super) added: u64,
    pub(super) bytes: u64,
}

/// Copies all dictionaries behind a key; `done` is told of each part in the order of the keys.
pub(super) fn all(
    task: &Task<'_>,
    after: &str,
    mut done: impl FnMut(Part) -> Result<()>,
) -> Result<()> {
    let sides = &task.sides;
    let class = sides.target.name.as_str();
    let stream = sides.source.home.all_newest(class, after)?;
    // The key itself is there.
    let stream = stream.filter(|found| !matches!(found, Ok(found) if found.key == after));
    let turn = Mutex::new(());
    let work = |parcel: Parcel<Dictionary>| {
        let mut part = Part {
            dictionaries: parcel.items.len() as u64,
            last_key: parcel.items.last().map(|last| last.key.clone()),
            ..Part::default()
        };
        let mut taking = Taking::new(sides, &turn);
        for dictionary in parcel.items {
            sides.watch.check()?;
            history(sides, dictionary, &mut taking)?;
        }
        taking.flush()?;
        (part.added, part.bytes) = (taking.added, taking.bytes);
        Ok(part)
    };
    let weight = |found: &Dictionary| weight(&found.key, &found.revision);
    let in_flight = sides.options.in_flight_bytes();
    parallel::run(stream, weight, in_flight, work, |part| {
        sides.watch.check()?;
        let bytes = usize::try_from(part.bytes).unwrap_or(usize::MAX);
        task.rate
            .borrow_mut()
            .wait(bytes, &|| sides.watch.reason().is_some());
        done(part)
    })
}

/// Copies what came to the source since a marker, which is moved on.
pub(super) fn changes(task: &Task<'_>, since: &mut Marker) -> Result<Round> {
    let (sides, turn) = (&task.sides, Mutex::new(()));
    let mut round = Round::default();
    let mut taking = Taking::new(sides, &turn);
    for change in sides.source.home.changes(&sides.target.name, Some(since))? {
        let change = change?;
        round.revisions += 1;
        sides.watch.advance(task.progress, 1)?;
        *since = change.marker;
        taking.add(&change.key, change.revision)?;
    }
    taking.flush()?;
    (round.added, round.bytes) = (taking.added, taking.bytes);
    Ok(round)
}

/// The bytes of a revision's values, about.
pub(super) fn weight(key: &str, revision: &Revision) -> usize {
    let field = |(name, value): (&String, &durum_dictionaries::Value)| name.len() + value.weight();
    let names = (revision.parents.len() + revision.stamps.len() + 2) * size_of::<RevisionId>();
    key.len() + names + revision.fields.iter().map(field).sum::<usize>()
}

/// Whether a dictionary has had no other revision: what is superseded is in the past of one that is not.
pub(super) fn is_alone(dictionary: &Dictionary) -> bool {
    dictionary.concurrent.is_empty() && dictionary.revision.parents.is_empty()
}

/// Takes over the history of a dictionary, the oldest revision first, so that each comes after what it supersedes.
fn history(sides: &Sides<'_>, dictionary: Dictionary, taking: &mut Taking<'_, '_>) -> Result<()> {
    let key = dictionary.key.as_str();
    if is_alone(&dictionary) {
        return taking.add(key, dictionary.revision);
    }
    let (source, class) = (sides.source.home, sides.target.name.as_str());
    let (mut newest, mut older, mut bytes) = (Vec::new(), Vec::new(), 0);
    for revision in source.history(class, key)? {
        let revision = revision?;
        bytes += weight(key, &revision);
        match bytes <= HISTORY_BYTES {
            true => newest.push(revision),
            false => older.push(revision.id),
        }
    }
    for id in older.into_iter().rev() {
        // One that is gone was pruned meanwhile.
        if let Some(revision) = source.get_at(class, key, At::Revision(id))? {
            taking.add(key, revision)?;
        }
    }
    for revision in newest.into_iter().rev() {
        taking.add(key, revision)?;
    }
    Ok(())
}

/// Revisions that wait to be written together.
struct Taking<'a, 'b> {
    sides: &'a Sides<'b>,
    turn: &'a Mutex<()>,
    waiting: Vec<(String, Revision)>,
    waiting_bytes: usize,
    added: u64,
    bytes: u64,
}

impl<'a, 'b> Taking<'a, 'b> {
    fn new(sides: &'a Sides<'b>, turn: &'a Mutex<()>) -> Taking<'a, 'b> {
        Taking {
            sides,
            turn,
            waiting: Vec::new(),
            waiting_bytes: 0,
            added: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, key: &str, revision: Revision) -> Result<()> {
        self.waiting_bytes += weight(key, &revision);
        self.waiting.push((key.to_owned(), revision));
        match self.waiting.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let destination = &self.sides.destination;
        let turn = || self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Writers that get in each other's way would have to begin again.
        let _turn = (!destination.is_on_nodes).then(turn);
        let waiting = std::mem::take(&mut self.waiting);
        let absorbed = destination.home.absorb(&self.sides.target.name, waiting)?;
        self.added += absorbed.added;
        self.bytes += std::mem::take(&mut self.waiting_bytes) as u64;
        Ok(())
    }
}
