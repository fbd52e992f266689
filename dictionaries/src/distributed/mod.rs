//! The home on clusters of Garage: copies on nodes each of which can fail.
//!
//! A class lies in the cluster that keeps as many copies as it wants, and a dictionary in one of the class's partitions, by the hash of its key. Items are written once; [`form`] has their names. Garage's batches are not atomic: what a crash leaves of a write is
//! found and mended by [`heal`].

mod catalogue;
mod codec;
mod form;
mod heal;
mod pages;
mod shard;
#[cfg(test)]
mod torn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use durum_garage::{Cluster, Range};
use tokio::runtime::{Builder, Runtime};

use crate::class::{Class, History};
use crate::clock::{Clock, RevisionId};
use crate::error::{self, unknown};
use crate::home::{Absorbed, At, Change, Dictionary, Healed, Home, Marker, Stream, Write};
use crate::merge::{self, Merger};
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;
use catalogue::{Catalogue, Opened};
use shard::{PAGE, Place};

/// For how long the end waits for what tidies up after writes; what is left then is healed.
const END_WAIT: Duration = Duration::from_secs(2);

/// No request takes as long, and clocks that are set by the network differ by less.
const GRACE: Duration = Duration::from_secs(60);

/// How many keys are looked up in one request.
const AT_ONCE: usize = 64;

/// Dictionaries on clusters of Garage.
#[derive(Debug)]
pub(crate) struct Distributed {
    shared: Arc<Shared>,
    /// `None` only while it ends.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    catalogue: Catalogue,
    merger: Merger,
    clock: Clock,
    /// For how long after a write healing takes what is missing of it to be on its way.
    grace: Duration,
}

/// A write that failed, and the revisions that it was to write; it can have written them.
pub(crate) struct Cut {
    pub(crate) error: Error,
    pub(crate) made: Vec<(String, Revision)>,
}

impl From<Error> for Box<Cut> {
    fn from(error: Error) -> Box<Cut> {
        Box::new(Cut {
            error,
            made: Vec::new(),
        })
    }
}

/// The revisions of one key that nothing supersedes, while revisions are written.
struct Current {
    place: Place,
    heads: Vec<Revision>,
    /// Superseded ones that are still to be taken away.
    left: Vec<Revision>,
}

impl Current {
    fn new(place: Place) -> Current {
        Current {
            place,
            heads: Vec::new(),
            left: Vec::new(),
        }
    }
}

impl Distributed {
    pub(crate) fn new(
        cluster: Cluster,
        namespace: &str,
        merger: Merger,
        clock: Clock,
    ) -> Result<Distributed> {
        Distributed::with_grace(cluster, namespace, merger, clock, GRACE)
    }

    fn with_grace(
        cluster: Cluster,
        namespace: &str,
        merger: Merger,
        clock: Clock,
        grace: Duration,
    ) -> Result<Distributed> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("durum-garage")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Error::io(error, "start threads for a cluster"))?;
        Ok(Distributed {
            shared: Arc::new(Shared {
                catalogue: Catalogue::new(cluster, namespace)?,
                merger,
                clock,
                grace,
            }),
            runtime: Some(runtime),
        })
    }

    fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.block_on(work)
    }

    fn block_on<T, E: From<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => {
                let error = Error::new(ErrorKind::Other, "use a cluster");
                Err(error.because("it is being closed").into())
            }
        }
    }

    /// Writes, or says which revisions it was to write.
    pub(crate) fn write_or_cut(
        &self,
        class: &str,
        writes: Vec<Write>,
    ) -> Result<Vec<RevisionId>, Box<Cut>> {
        self.block_on(async {
            let class = self.shared.catalogue.open(class).await?;
            self.shared.write(&class, writes).await
        })
    }

    fn handle(&self) -> Result<tokio::runtime::Handle> {
        self.runtime
            .as_ref()
            .map(|runtime| runtime.handle().clone())
            .ok_or_else(|| {
                Error::new(ErrorKind::Other, "use a cluster").because("it is being closed")
            })
    }
}

impl Drop for Distributed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_WAIT);
        }
    }
}

impl Shared {
    /// The heads of keys, each once.
    async fn current(
        &self,
        class: &Opened,
        keys: impl Iterator<Item = &str>,
    ) -> Result<BTreeMap<String, Current>> {
        let mut current = BTreeMap::new();
        let mut places = Vec::new();
        for key in keys {
            if !current.contains_key(key) {
                let place = Place::new(class, key)?;
                places.push((key.to_owned(), place.clone()));
                current.insert(key.to_owned(), Current::new(place));
            }
        }
        for part in places.chunks(AT_ONCE) {
            let ranges: Vec<Range> = part.iter().map(|(_, place)| place.newest()).collect();
            let pages = shard::read_ranges(&class.items, &ranges).await?;
            for ((key, _), page) in part.iter().zip(pages) {
                let (heads, left) = shard::heads_and_superseded(class, &page.items).await?;
                if let Some(current) = current.get_mut(key) {
                    (current.heads, current.left) = (heads, left);
                }
            }
        }
        Ok(current)
    }

    async fn write(&self, class: &Opened, writes: Vec<Write>) -> Result<Vec<RevisionId>, Box<Cut>> {
        let mut current = self
            .current(class, writes.iter().map(|write| write.key.as_str()))
            .await?;
        let (mut ids, mut parts, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
        let mut made: BTreeMap<RevisionId, (String, Revision)> = BTreeMap::new();
        for write in writes {
            let Some(Current { place, heads, left }) = current.get_mut(&write.key) else {
                continue;
            };
            let parents = match &write.after {
                None => heads.clone(),
                Some(seen) => {
                    let mut parents = Vec::new();
                    for id in seen {
                        let known = heads
                            .iter()
                            .find(|head| head.id == *id)
                            .or_else(|| made.get(id).map(|(_, revision)| revision))
                            .cloned();
                        let known = match known {
                            Some(known) => Some(known),
                            None => shard::find(class, place, *id).await?,
                        };
                        parents.push(known.ok_or_else(|| unknown(&write.key, *id))?);
                    }
                    parents
                }
            };
            let revision = Revision::after(&self.clock, &parents, write.fields)?;
            revision.check_indexes(&class.defined.class)?;
            ids.push(revision.id);
            parts.push(shard::parts(class, place, &revision, true)?);
            let gone = parents.into_iter().chain(left.drain(..));
            superseded.extend(gone.map(|gone| (place.clone(), gone)));
            heads.retain(|head| revision.parents.binary_search(&head.id).is_err());
            heads.push(revision.clone());
            made.insert(revision.id, (write.key, revision));
        }
        if let Err(error) = shard::write(class, parts).await {
            let made = made.into_values().collect();
            return Err(Box::new(Cut { error, made }));
        }
        tidy_later(class, superseded);
        Ok(ids)
    }

    async fn absorb(
        &self,
        class: &Opened,
        mut revisions: Vec<(String, Revision)>,
    ) -> Result<Absorbed> {
        revisions.sort_by_key(|(_, revision)| revision.id);
        revisions.dedup();
        let mut current = self
            .current(class, revisions.iter().map(|(key, _)| key.as_str()))
            .await?;
        let mut absorbed = Absorbed::default();
        let (mut parts, mut superseded) = (Vec::new(), Vec::new());
        let is_bounded = class.defined.class.kept_history() != History::All;
        for (key, revision) in revisions {
            let Some(Current { place, heads, left }) = current.get_mut(&key) else {
                continue;
            };
            let is_known = heads.iter().any(|head| head.id == revision.id)
                || shard::find(class, place, revision.id).await?.is_some()
                || (is_bounded && is_left_behind(class, place, heads, &revision).await?);
            if is_known {
                absorbed.known += 1;
                continue;
            }
            absorbed.added += 1;
            let newest = heads.iter().map(|head| head.id).max();
            let is_superseded = newest > Some(revision.id)
                && (heads
                    .iter()
                    .any(|head| head.parents.binary_search(&revision.id).is_ok())
                    || shard::is_superseded(class, place, revision.id).await?);
            parts.push(shard::parts(class, place, &revision, !is_superseded)?);
            let passed = match class.defined.class.history {
                History::All => None,
                _ => last_missing_parent(class, place, heads, &revision).await?,
            };
            let (gone, mut kept): (Vec<_>, Vec<_>) = heads.drain(..).partition(|head| {
                revision.parents.binary_search(&head.id).is_ok()
                    || (Some(head.id) < passed
                        && merge::is_seen(std::slice::from_ref(&revision), head))
            });
            let gone = gone.into_iter().chain(left.drain(..));
            superseded.extend(gone.map(|head| (place.clone(), head)));
            if !is_superseded {
                kept.push(revision);
                kept.sort_by_key(|head| head.id);
            }
            *heads = kept;
        }
        shard::write(class, parts).await?;
        tidy_later(class, superseded);
        Ok(absorbed)
    }
}

/// Whether a revision from before all that the history has changes nothing. See `embedded::write`.
async fn is_left_behind(
    class: &Opened,
    place: &Place,
    heads: &[Revision],
    revision: &Revision,
) -> Result<bool> {
    if heads.is_empty() || !merge::is_seen(heads, revision) {
        return Ok(false);
    }
    let oldest = shard::oldest(class, place).await?;
    Ok(oldest.is_some_and(|oldest| revision.id < oldest))
}

/// The last parent that is not here, where there are heads that are no parents: it can have superseded them. See `embedded::write`.
async fn last_missing_parent(
    class: &Opened,
    place: &Place,
    heads: &[Revision],
    revision: &Revision,
) -> Result<Option<RevisionId>> {
    let is_parent = |head: &Revision| revision.parents.binary_search(&head.id).is_ok();
    if heads.iter().all(is_parent) {
        return Ok(None);
    }
    for parent in revision.parents.iter().rev() {
        let is_head = heads.iter().any(|head| head.id == *parent);
        if !is_head && shard::find(class, place, *parent).await?.is_none() {
            return Ok(Some(*parent));
        }
    }
    Ok(None)
}

/// Takes away by what superseded revisions were found, while the writer goes on. Where it fails readers see what supersedes them all the same.
fn tidy_later(class: &Opened, superseded: Vec<(Place, Revision)>) {
    if superseded.is_empty() {
        return;
    }
    let class = class.clone();
    tokio::spawn(async move {
        if let Err(error) = shard::tidy(&class, &superseded).await {
            tracing::debug!(%error, "what is superseded is left for healing");
        }
    });
}

/// The newest of the heads, with the names of the others.
fn dictionary(key: String, mut heads: Vec<Revision>) -> Option<Dictionary> {
    heads.sort_by_key(|head| head.id);
    let revision = heads.pop()?;
    Some(Dictionary {
        key,
        revision,
        concurrent: heads.into_iter().map(|head| head.id).collect(),
        as_of: None,
    })
}

impl Home for Distributed {
    fn define(&self, class: Class) -> Result<()> {
        let shared = &self.shared;
        self.run(async {
            let opened = shared.catalogue.define(&shared.clock, class).await?;
            heal::build(shared, &opened).await.map(drop)
        })
    }

    fn admit_unfinished(&self) {
        self.shared.catalogue.admit_unfinished();
    }

    fn classes(&self) -> Result<Vec<Class>> {
        self.run(self.shared.catalogue.all())
    }

    fn class(&self, name: &str) -> Result<Class> {
        self.run(async {
            Ok(self
                .shared
                .catalogue
                .read(name)
                .await?
                .defined
                .class
                .clone())
        })
    }

    fn write(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        self.write_or_cut(class, writes).map_err(|cut| cut.error)
    }

    fn absorb(&self, class: &str, revisions: Vec<(String, Revision)>) -> Result<Absorbed> {
        self.run(async {
            let class = self.shared.catalogue.open(class).await?;
            self.shared.absorb(&class, revisions).await
        })
    }

    fn newest(&self, class: &str, key: &str) -> Result<Option<Dictionary>> {
        self.run(async {
            let class = self.shared.catalogue.open(class).await?;
            let heads = shard::heads(&class, &Place::new(&class, key)?).await?;
            Ok(dictionary(key.to_owned(), heads))
        })
    }

    fn get_at(&self, class: &str, key: &str, at: At) -> Result<Option<Revision>> {
        self.run(async {
            let class = self.shared.catalogue.open(class).await?;
            let place = Place::new(&class, key)?;
            let last = match at {
                At::Revision(id) => return shard::find(&class, &place, id).await,
                At::Time(time) => RevisionId::last_of(time),
            };
            let range = Range {
                start: Some(format!("{}{last}", form::history(&place.key))),
                limit: Some(1),
                reverse: true,
                ..place.history()
            };
            let page = class.items.read_range(&range).await?;
            match page.items.first() {
                Some(item) => shard::revision(&class, item).await,
                None => Ok(None),
            }
        })
    }

    fn history(&self, class: &str, key: &str) -> Result<Stream<Revision>> {
        let class = self.run(self.shared.catalogue.open(class))?;
        let place = Place::new(&class, key)?;
        let range = Range {
            limit: Some(PAGE),
            reverse: true,
            // See `shard::heads`.
            tombstones: class.defined.class.history != History::All,
            ..place.history()
        };
        Ok(Box::new(pages::Revisions::new(
            self.handle()?,
            class,
            range,
        )))
    }

    fn select(&self, class: &str, index: &str, query: &Query) -> Result<Stream<Dictionary>> {
        let class = self.run(self.shared.catalogue.open(class))?;
        let found = class.defined.class.find_index(index)?.clone();
        let span = query.span(&found)?;
        if class.defined.building.contains(&found.name) {
            return Err(error::unfinished(&class.defined.class.name, &found.name));
        }
        Ok(Box::new(pages::Selected::new(
            self.handle()?,
            class,
            found,
            span,
        )))
    }

    fn all(&self, class: &str, from: &str, deleted: bool) -> Result<Stream<Dictionary>> {
        let class = self.run(self.shared.catalogue.open(class))?;
        Ok(Box::new(pages::All::new(
            self.handle()?,
            class,
            from,
            deleted,
        )?))
    }

    fn changes(&self, class: &str, since: Option<&Marker>) -> Result<Stream<Change>> {
        let changes = self.run(async {
            let class = self.shared.catalogue.open(class).await?;
            pages::changes(&class, since).await
        })?;
        Ok(Box::new(changes.into_iter().map(Ok)))
    }

    fn marker(&self, class: &str) -> Result<Marker> {
        self.run(async {
            let class = self.shared.catalogue.open(class).await?;
            pages::marker(&class).await
        })
    }

    fn heal(&self, class: &str, pace: &mut Pace) -> Result<Healed> {
        self.run(async {
            let class = self.shared.catalogue.read_whole(class).await?;
            heal::heal(&self.shared, &class, pace).await
        })
    }
}
