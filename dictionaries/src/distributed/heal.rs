//! The reconciler: it finds what crashes have left of writes, merges what is concurrent, and prunes what is old.
//!
//! It walks a class once, with the histories beside the newest revisions; what it writes and deletes is what any other
//! reconciler at the same time would, so that several do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use durum_core::ErrorKind::{Damaged, TooLarge, Usage};
use durum_core::{Error, ErrorKind, Result};
use durum_garage::{Insert, Item, Range};

use super::Shared;
use super::catalogue::{Defined, KEPT, Opened};
use super::form::{self, FORM_BYTES_MAX};
use super::pages::{Merged, key_of, strange};
use super::shard::{self, PAGE, Place};
use crate::class::History;
use crate::clock::RevisionId;
use crate::home::Healed;
use crate::merge::is_seen;
use crate::order::{cut, forms};
use crate::pace::Pace;
use crate::revision::Revision;

/// How many dictionaries are looked up, or items deleted, in one request.
const AT_ONCE: usize = 64;

/// How many lines are looked up in one request.
const LINES_AT_ONCE: usize = 256;

pub(super) async fn heal(shared: &Shared, class: &Opened, pace: &mut Pace) -> Result<Healed> {
    let mut healed = Healed {
        indexed: build(shared, class).await?,
        ..Healed::default()
    };
    // A class whose indexes were just finished was defined anew by that.
    let class = shared.catalogue.read(&class.defined.class.name).await?;
    let mut histories = Merged::exact(&class, "h ");
    let mut newest = Merged::exact(&class, "n ");
    let mut lines = Lines::default();
    let settled = settled(shared);
    loop {
        let (old, new) = (peeked(&mut histories).await?, peeked(&mut newest).await?);
        let Some(name) = old.iter().chain(&new).min().cloned() else {
            break;
        };
        let mut key = Key::new(&class, settled);
        let mut read = Ok(());
        if old.as_ref() == Some(&name) {
            read = key.read_history(&mut histories, &name).await;
        }
        if new.as_ref() == Some(&name)
            && let Some((place, items)) = newest.next_key().await?
        {
            key.place = place;
            read = read.and(key.read_heads(&items).await);
        }
        let result = match read {
            Ok(()) => key.heal(shared, &mut healed, &mut lines).await,
            Err(error) => Err(error),
        };
        match result {
            // One that is damaged, or too large when it is merged, does not keep the others from being healed.
            Err(error) if matches!(error.kind(), Damaged | TooLarge | Usage) => {
                tracing::warn!(class = class.defined.class.name, key = name, %error, "a dictionary is not healed");
                healed.left += 1;
            }
            result => result?,
        }
        tokio::time::sleep(pace.due(1)).await;
    }
    lines.write(&class).await?;
    healed.indexed += mend_lines(&class, settled, pace).await?;
    Ok(healed)
}

/// Up to which revision writes have ended, by any clock that is not wrong by more than that. What is cut off of later ones can still come.
fn settled(shared: &Shared) -> RevisionId {
    let limit = SystemTime::now().checked_sub(shared.grace);
    RevisionId::last_of(limit.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The escaped key that comes next.
async fn peeked(items: &mut Merged) -> Result<Option<String>> {
    let next = items.peek().await?;
    next.map(|item| key_of(item).map(str::to_owned)).transpose()
}

/// Lines that indexes should have, to be looked up many at once.
#[derive(Default)]
struct Lines {
    waiting: Vec<(String, String)>,
}

impl Lines {
    /// Those of a revision that nothing supersedes.
    async fn add(&mut self, class: &Opened, place: &Place, head: &Revision) -> Result<()> {
        let lines = place.lines(class, head).into_iter();
        self.waiting
            .extend(lines.map(|line| (place.shard.clone(), line)));
        match self.waiting.len() >= LINES_AT_ONCE {
            true => self.write(class).await,
            false => Ok(()),
        }
    }

    /// Writes those that are missing.
    async fn write(&mut self, class: &Opened) -> Result<()> {
        let lines = std::mem::take(&mut self.waiting);
        let ranges: Vec<Range> = lines
            .iter()
            .map(|(shard, line)| Range::single(shard, line))
            .collect();
        let pages = shard::read_ranges(&class.items, &ranges).await?;
        let is_there = |items: &[Item]| items.first().is_some_and(|item| item.value().is_some());
        let missing = lines
            .iter()
            .zip(&pages)
            .filter(|(_, page)| !is_there(&page.items));
        let missing: Vec<Insert> = missing
            .map(|((shard, line), _)| Insert::new(shard, line, ""))
            .collect();
        class.items.insert(&missing).await
    }
}

/// A dictionary that is being healed.
struct Key<'a> {
    class: &'a Opened,
    place: Place,
    /// What of its history there is, and what each supersedes.
    revisions: BTreeMap<RevisionId, Vec<RevisionId>>,
    heads: Vec<Revision>,
    /// What was superseded, as the newest revisions say that are no longer: its superseder can be pruned.
    gone: BTreeSet<RevisionId>,
    settled: RevisionId,
}

impl<'a> Key<'a> {
    fn new(class: &'a Opened, settled: RevisionId) -> Key<'a> {
        Key {
            class,
            place: Place::escaped("", ""),
            revisions: BTreeMap::new(),
            heads: Vec::new(),
            gone: BTreeSet::new(),
            settled,
        }
    }

    /// Reads the history that comes next. Where an item is damaged the others of it are passed, too.
    async fn read_history(&mut self, histories: &mut Merged, key: &str) -> Result<()> {
        let mut result = Ok(());
        while let Some(next) = histories.peek().await?
            && key_of(next)? == key
            && let Some((shard, item)) = histories.next().await?
        {
            self.place = Place::escaped(&shard, key);
            result = result.and(self.note(&item));
        }
        result
    }

    fn note(&mut self, item: &Item) -> Result<()> {
        if let Some(value) = item.value() {
            let decoded = super::codec::decode(value).map_err(|why| {
                Error::damaged("heal a class", format!("the item `{}`: {why}", item.sort))
            })?;
            let revision = decoded.revision;
            self.revisions.insert(revision.id, revision.parents);
        }
        Ok(())
    }

    async fn read_heads(&mut self, items: &[Item]) -> Result<()> {
        for item in items {
            match shard::revision(self.class, item).await? {
                Some(head) => self.heads.push(head),
                None => self.gone.extend(form::parse(&item.sort).map(|(_, id)| id)),
            }
        }
        Ok(())
    }

    /// Whether there is one newest revision, which is in the history, of which all others are superseded.
    fn is_in_order(&self) -> bool {
        let superseded: BTreeSet<&RevisionId> = self.revisions.values().flatten().collect();
        let [head] = self.heads.as_slice() else {
            return false;
        };
        let mut others = self.revisions.keys().filter(|id| **id != head.id);
        self.revisions.contains_key(&head.id)
            && !superseded.contains(&head.id)
            && others.all(|id| superseded.contains(id))
    }

    /// Reads it again. What was read in passing can be of different times; here the newest revisions are read first, so that
    /// the history, which comes first when it is written, has all that they follow.
    async fn read_again(&mut self) -> Result<()> {
        self.revisions.clear();
        self.heads.clear();
        self.gone.clear();
        for (range, is_history) in [(self.place.newest(), false), (self.place.history(), true)] {
            let mut range = Range {
                tombstones: true,
                limit: Some(PAGE),
                ..range
            };
            loop {
                let page = self.class.items.read_range(&range).await?;
                match is_history {
                    true => page.items.iter().try_for_each(|item| self.note(item))?,
                    false => self.read_heads(&page.items).await?,
                }
                match page.next {
                    Some(next) => range.start = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn heal(mut self, shared: &Shared, healed: &mut Healed, lines: &mut Lines) -> Result<()> {
        if !self.is_in_order() {
            self.read_again().await?;
            self.mend().await?;
        }
        if self.heads.len() > 1 {
            self.merge(shared, healed).await?;
        }
        self.prune(healed).await?;
        for head in self.heads.iter().filter(|head| head.id <= self.settled) {
            lines.add(self.class, &self.place, head).await?;
        }
        Ok(())
    }

    /// Brings the history and the newest revisions to what they would be if nothing had been cut off.
    async fn mend(&mut self) -> Result<()> {
        let mut parts = Vec::new();
        for head in &self.heads {
            if !self.revisions.contains_key(&head.id) {
                if head.id > self.settled {
                    self.revisions.insert(head.id, head.parents.clone());
                    continue;
                }
                parts.push(shard::parts(self.class, &self.place, head, true)?);
                self.revisions.insert(head.id, head.parents.clone());
            }
        }
        let superseded: BTreeSet<RevisionId> = self.revisions.values().flatten().copied().collect();
        let missing = self.revisions.range(..=self.settled).map(|(id, _)| id);
        let missing = missing.filter(|id| !superseded.contains(*id) && !self.gone.contains(*id));
        let missing: Vec<_> = missing
            .filter(|id| self.heads.iter().all(|head| head.id != **id))
            .copied()
            .collect();
        for id in missing {
            if let Some(head) = shard::find(self.class, &self.place, id).await? {
                // What has superseded it can be pruned.
                let is_bounded = self.class.defined.class.history != History::All;
                if is_bounded && !self.heads.is_empty() && is_seen(&self.heads, &head) {
                    continue;
                }
                parts.push(shard::parts(self.class, &self.place, &head, true)?);
                self.heads.push(head);
            }
        }
        shard::write(self.class, parts).await?;
        let (gone, heads): (Vec<_>, Vec<_>) = std::mem::take(&mut self.heads)
            .into_iter()
            .partition(|head| superseded.contains(&head.id));
        self.heads = heads;
        self.heads.sort_by_key(|head| head.id);
        let gone: Vec<_> = gone
            .into_iter()
            .map(|head| (self.place.clone(), head))
            .collect();
        shard::tidy(self.class, &gone).await
    }

    async fn merge(&mut self, shared: &Shared, healed: &mut Healed) -> Result<()> {
        let class = &self.class.defined.class;
        let key = super::pages::plain(&self.place.key)?;
        let base = match crate::merge::common(&self.revisions, &self.heads) {
            Some(base) => shard::find(self.class, &self.place, base).await?,
            None => None,
        };
        let names = (class.name.as_str(), key.as_str());
        let merged = shared
            .merger
            .merge(&class.merge, names, &self.heads, || Ok::<_, Error>(base))?;
        let Some(merged) = merged else {
            healed.left += 1;
            return Ok(());
        };
        merged.check()?;
        shard::write(
            self.class,
            vec![shard::parts(self.class, &self.place, &merged, true)?],
        )
        .await?;
        healed.merged += 1;
        self.revisions.insert(merged.id, merged.parents.clone());
        let gone = std::mem::replace(&mut self.heads, vec![merged]);
        let gone: Vec<_> = gone
            .into_iter()
            .map(|head| (self.place.clone(), head))
            .collect();
        shard::tidy(self.class, &gone).await
    }

    /// Deletes what the history no longer keeps.
    async fn prune(&self, healed: &mut Healed) -> Result<()> {
        let is_head = |id: &RevisionId| self.heads.iter().any(|head| head.id == *id);
        let history = self.class.defined.class.history;
        let mut gone: Vec<RevisionId> = match history {
            History::All => return Ok(()),
            History::Revisions(most) => {
                let surplus = self.revisions.len().saturating_sub(most as usize);
                self.revisions
                    .keys()
                    .filter(|id| !is_head(id))
                    .take(surplus)
                    .copied()
                    .collect()
            }
            History::Seconds(_) => {
                let Some(limit) = history
                    .age()
                    .and_then(|age| SystemTime::now().checked_sub(age))
                else {
                    return Ok(());
                };
                // The last one from before is what the dictionary was at that time.
                let limit = RevisionId::first_of(limit);
                let Some((last, _)) = self.revisions.range(..limit).next_back() else {
                    return Ok(());
                };
                self.revisions
                    .range(..last)
                    .map(|(id, _)| *id)
                    .filter(|id| !is_head(id))
                    .collect()
            }
        };
        if let (Some(age), [head]) = (history.age(), self.heads.as_slice())
            && head.is_deleted()
            && SystemTime::now()
                .checked_sub(age)
                .is_some_and(|limit| head.id < RevisionId::first_of(limit))
        {
            gone.push(head.id);
            shard::tidy(self.class, &[(self.place.clone(), head.clone())]).await?;
        }
        for ids in gone.chunks(AT_ONCE) {
            let ranges: Vec<Range> = ids.iter().map(|id| self.place.revision(*id)).collect();
            self.class.items.delete(&ranges).await?;
        }
        healed.pruned += gone.len() as u64;
        Ok(())
    }
}

/// Deletes lines of indexes that no newest revision has; says how many indexes had such.
async fn mend_lines(class: &Opened, settled: RevisionId, pace: &mut Pace) -> Result<u64> {
    let mut mended = 0;
    for index in &class.defined.class.indexes {
        let mut lines = Merged::new(class, &form::index(&index.name), None, None);
        let mut wrong = false;
        loop {
            let mut some = Vec::new();
            while some.len() < AT_ONCE
                && let Some((shard, item)) = lines.next().await?
            {
                let line = form::parse_line(&item.sort).ok_or_else(|| strange(&item.sort))?;
                some.push((Place::escaped(&shard, &line.key), item.sort, line));
            }
            if some.is_empty() {
                break;
            }
            let ranges: Vec<Range> = some.iter().map(|(place, ..)| place.newest()).collect();
            let pages = shard::read_ranges(&class.items, &ranges).await?;
            let mut gone = Vec::new();
            for ((place, sort, line), page) in some.iter().zip(pages) {
                let heads = shard::heads_of(class, &page.items).await?;
                let has = |head: &Revision| {
                    let mut forms = forms(index, &head.fields).into_iter();
                    head.id == line.id && forms.any(|form| cut(&form, FORM_BYTES_MAX) == line.form)
                };
                if line.id <= settled && !heads.iter().any(has) {
                    gone.push(Range::single(&place.shard, sort));
                }
            }
            wrong |= !gone.is_empty();
            class.items.delete(&gone).await?;
            tokio::time::sleep(pace.due(some.len() as u64)).await;
        }
        mended += u64::from(wrong);
    }
    Ok(mended)
}

/// Builds the indexes that are not finished; says how many were not.
pub(super) async fn build(shared: &Shared, class: &Opened) -> Result<u64> {
    if class.defined.building.is_empty() {
        return Ok(0);
    }
    // Until then others can write by the definition that they have read before.
    tokio::time::sleep(KEPT + KEPT / 4).await;
    let mut newest = Merged::new(class, "n ", None, None);
    let mut lines = Lines::default();
    while let Some((place, items)) = newest.next_key().await? {
        for head in shard::heads_of(class, &items).await? {
            lines.add(class, &place, &head).await?;
        }
    }
    lines.write(class).await?;
    let current = shared.catalogue.read(&class.defined.class.name).await?;
    let finished = Defined {
        building: Vec::new(),
        ..Defined::clone(&class.defined)
    };
    if *current.defined == finished {
        // Somebody else has built it at the same time.
        return Ok(class.defined.building.len() as u64);
    }
    // Who defined it anew meanwhile builds it anew.
    if current.defined != class.defined {
        return Err(Error::new(ErrorKind::Conflict, "make an index")
            .because("the class was defined anew meanwhile")
            .hint("Try again."));
    }
    shared.catalogue.built(&shared.clock, class).await?;
    Ok(class.defined.building.len() as u64)
}
