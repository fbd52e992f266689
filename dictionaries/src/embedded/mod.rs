//! The home on typed objects: exact and immediate, on any engine, or through the storage server.

mod define;
mod group;
mod heal;
mod layout;
mod log;
#[cfg(feature = "garage")]
mod outbox;
mod past;
mod read;
mod write;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::{ErrorKind, Result};
use durum_objects::{Database, Ref, Transaction};

use crate::class::Class;
use crate::clock::{Clock, RevisionId};
use crate::error;
use crate::home::{Absorbed, At, Change, Dictionary, Healed, Home, Marker, Stream, Write};
use crate::merge::Merger;
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;
use group::{Group, Request};
use layout::{Catalogue, ClassRoot, ROOT};
use read::{All, Changes, History, Pages, Selected};

/// Dictionaries in a database.
#[derive(Debug)]
pub(crate) struct Embedded {
    database: Database,
    merger: Merger,
    clock: Clock,
    admits_unfinished: AtomicBool,
    writers: Group,
}

impl Embedded {
    pub(crate) fn new(database: Database, merger: Merger, clock: Clock) -> Embedded {
        Embedded {
            database,
            merger,
            clock,
            admits_unfinished: AtomicBool::new(false),
            writers: Group::default(),
        }
    }

    /// In one transaction; where one of them cannot be written, each in one of its own.
    fn write_together(&self, requests: &[Request]) -> Vec<Result<Vec<RevisionId>>> {
        let mut refused = false;
        let written = self.database.transact(|tx| {
            let written: Result<Vec<_>> = requests
                .iter()
                .map(|request| self.write_in(tx, request))
                .collect();
            refused = written.is_err();
            written
        });
        match written {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => vec![Err(error)],
            // Nothing is written, so that it can be written again.
            Err(_) if refused => {
                let alone = |request| self.database.transact(|tx| self.write_in(tx, request));
                requests.iter().map(alone).collect()
            }
            Err(error) => requests.iter().map(|_| Err(error.duplicate())).collect(),
        }
    }

    fn write_in(&self, tx: &Transaction, request: &Request) -> Result<Vec<RevisionId>> {
        let root = &*self.open_whole(tx, &request.class)?;
        let one = |each: &Write| write::write(tx, root, &self.clock, each);
        request.writes.iter().map(one).collect()
    }

    /// Runs in a transaction, with a class.
    fn change<R>(
        &self,
        class: &str,
        mut work: impl FnMut(&Transaction, &ClassRoot) -> Result<R>,
    ) -> Result<R> {
        self.database
            .transact(|tx| work(tx, &*self.open_whole(tx, class)?))
    }

    /// Runs in a view, with a class.
    fn look<R>(
        &self,
        class: &str,
        mut work: impl FnMut(&Transaction, &ClassRoot) -> Result<R>,
    ) -> Result<R> {
        self.database
            .read(|tx| work(tx, &*self.open_whole(tx, class)?))
    }

    fn open_whole(&self, tx: &Transaction, class: &str) -> Result<Arc<ClassRoot>> {
        let root = open(tx, class)?;
        if !self.admits_unfinished.load(Ordering::Acquire) {
            root.class.must_be_whole()?;
        }
        Ok(root)
    }

    fn pages<P: read::Page>(&self, class: &str, page: P) -> Result<Stream<P::Item>> {
        self.look(class, |_, _| Ok(()))?;
        Ok(Box::new(Pages::new(self.database.clone(), class, page)))
    }
}

/// A class, as a transaction sees it.
fn open(tx: &Transaction, name: &str) -> Result<Arc<ClassRoot>> {
    let catalogue = tx.root::<Catalogue>(ROOT)?;
    let found = match catalogue {
        Some(catalogue) => tx.get(catalogue)?.classes.get(tx, name)?,
        None => None,
    };
    let found = found.ok_or_else(|| error::undefined(name))?;
    tx.get(found)
}

impl Home for Embedded {
    fn define(&self, class: Class) -> Result<()> {
        match self.look(&class.name, |_, _| Ok(())) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        define::define(&self.database, &class)?;
        define::build(&self.database, &class.name).map(drop)
    }

    fn admit_unfinished(&self) {
        self.admits_unfinished.store(true, Ordering::Release);
    }

    fn classes(&self) -> Result<Vec<Class>> {
        self.database.read(|tx| {
            let Some(catalogue) = tx.root::<Catalogue>(ROOT)? else {
                return Ok(Vec::new());
            };
            let catalogue = tx.get(catalogue)?;
            let class = |root: Result<Ref<ClassRoot>>| Ok(tx.get(root?)?.class.clone());
            catalogue.classes.values(tx)?.map(class).collect()
        })
    }

    fn class(&self, name: &str) -> Result<Class> {
        self.database.read(|tx| Ok(open(tx, name)?.class.clone()))
    }

    fn write(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        let request = Request {
            class: class.to_owned(),
            writes,
        };
        self.writers
            .submit(request, |requests| self.write_together(requests))
    }

    fn absorb(&self, class: &str, revisions: Vec<(String, Revision)>) -> Result<Absorbed> {
        self.change(class, |tx, root| {
            let mut absorbed = Absorbed::default();
            for (key, revision) in &revisions {
                match write::add(tx, root, key, revision.clone())? {
                    true => absorbed.added += 1,
                    false => absorbed.known += 1,
                }
            }
            Ok(absorbed)
        })
    }

    fn newest(&self, class: &str, key: &str) -> Result<Option<Dictionary>> {
        self.look(class, |tx, root| {
            let Some(entry) = root.entries.get(tx, key)? else {
                return Ok(None);
            };
            read::dictionary(tx, key, &*tx.get(entry)?).map(Some)
        })
    }

    fn get_at(&self, class: &str, key: &str, at: At) -> Result<Option<Revision>> {
        self.look(class, |tx, root| {
            let Some(entry) = root.entries.get(tx, key)? else {
                return Ok(None);
            };
            let entry = tx.get(entry)?;
            let last = match at {
                At::Revision(id) => return write::find(tx, &entry, id),
                At::Time(time) => RevisionId::last_of(time),
            };
            if entry.newest.id <= last {
                return write::load(tx, &entry.newest).map(Some);
            }
            let found = entry.past.back_from(tx, Bound::Included(last), 1)?;
            let found = found
                .first()
                .map(|(_, kept)| write::load(tx, &*tx.get(*kept)?));
            found.transpose()
        })
    }

    fn history(&self, class: &str, key: &str) -> Result<Stream<Revision>> {
        self.pages(class, History::new(key))
    }

    fn select(&self, class: &str, index: &str, query: &Query) -> Result<Stream<Dictionary>> {
        let index = self.look(class, |_, root| {
            let index = root.class.find_index(index)?;
            let place = root
                .indexes
                .iter()
                .find(|place| place.index.name == index.name);
            if place.is_none_or(|place| place.built_to.is_some()) {
                return Err(error::unfinished(&root.class.name, &index.name));
            }
            Ok(index.clone())
        })?;
        let span = query.span(&index)?;
        self.pages(class, Selected::new(index, span))
    }

    fn all(&self, class: &str, from: &str, deleted: bool) -> Result<Stream<Dictionary>> {
        self.pages(class, All::new(from, deleted))
    }

    fn changes(&self, class: &str, since: Option<&Marker>) -> Result<Stream<Change>> {
        let from = since.map_or(Ok(0), log::position)?;
        self.look(class, |tx, root| read::check_log(tx, root, from))?;
        self.pages(class, Changes::new(from))
    }

    fn marker(&self, class: &str) -> Result<Marker> {
        self.look(class, |tx, root| Ok(log::marker(tx.get(root.tail)?.end())))
    }

    fn heal(&self, class: &str, pace: &mut Pace) -> Result<Healed> {
        self.look(class, |_, _| Ok(()))?;
        heal::heal(&self.database, &self.merger, class, pace)
    }
}
