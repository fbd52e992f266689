//! The interface, whatever the home.

use std::collections::BTreeMap;
use std::sync::Arc;

use durum_core::{Error, ErrorKind, Result};
use durum_objects::Database;

use crate::class::{Class, check_key};
use crate::clock::{Clock, RevisionId};
use crate::embedded::Embedded;
use crate::home::{Absorbed, At, Change, Dictionary, Healed, Marker, SharedHome, Stream, Write};
use crate::merge::Merger;
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;
use crate::value::Fields;

/// What URLs of clusters begin with.
#[cfg(all(feature = "garage", feature = "open"))]
const GARAGE_SCHEME: &str = "garage:";

/// How often an update is tried that others get in the way of.
const UPDATES_MAX: u32 = 100;

/// Dictionaries in classes, with all of their revisions. It can be cloned, and used by many threads at once.
///
/// ```
/// use durum_dictionaries::{Class, Dictionaries, Fields, IndexType, Query, Value};
///
/// let people = Dictionaries::create("memory:")?;
/// people.define(Class::new("person").index("born", IndexType::Int))?;
/// let ada = Fields::from([("name".into(), "Ada".into()), ("born".into(), 1815.into())]);
/// let first = people.put("person", "ada", ada)?;
/// people.update("person", "ada", |fields| {
///     fields.insert("name".into(), "Ada Lovelace".into());
/// })?;
/// let found = people.get("person", "ada")?.unwrap();
/// assert_eq!(found.fields()["name"], Value::from("Ada Lovelace"));
/// assert_eq!(people.history("person", "ada")?.count(), 2);
///
/// let born = Query::Range(
///     std::ops::Bound::Included(Value::Int(1800)),
///     std::ops::Bound::Excluded(Value::Int(1900)),
/// );
/// for dictionary in people.select("person", "born", &born)? {
///     assert_eq!(dictionary?.key, "ada");
/// }
/// # Ok::<(), durum_dictionaries::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dictionaries {
    home: SharedHome,
}

impl Dictionaries {
    /// Opens dictionaries by a URL: those of a store, as `lmdb:PATH` or `durus+tcp://HOST:PORT`, or on clusters of Garage, `garage:DIR` with the
    /// directory that `durum node invite --client` makes, and `garage:DIR?copy=lmdb:PATH` for a [copy](Dictionaries::with_copy) beside it.
    ///
    /// # Errors
    /// Those of [`Database::open`]; those of the cluster's settings.
    #[cfg(feature = "open")]
    pub fn open(url: &str) -> Result<Dictionaries> {
        Dictionaries::open_with(url, Merger::default())
    }

    /// As [`Dictionaries::open`], with the application's functions for merging.
    ///
    /// # Errors
    /// As [`Dictionaries::open`].
    #[cfg(feature = "open")]
    pub fn open_with(url: &str, merger: Merger) -> Result<Dictionaries> {
        #[cfg(feature = "garage")]
        if let Some(place) = url.strip_prefix(GARAGE_SCHEME) {
            return Dictionaries::open_cluster(place, merger);
        }
        Dictionaries::embedded(&Database::open(url)?, merger)
    }

    #[cfg(all(feature = "garage", feature = "open"))]
    fn open_cluster(place: &str, merger: Merger) -> Result<Dictionaries> {
        let (directory, copy) = match place.split_once('?') {
            None => (place, None),
            Some((directory, option)) => match option.split_once('=') {
                Some(("copy", url)) => (directory, Some(url)),
                _ => {
                    let error = Error::new(ErrorKind::Usage, "read the URL");
                    return Err(error
                        .because(format!("`{option}` is no option of a cluster"))
                        .hint("There is `copy=URL`, for a store that has a copy."));
                }
            },
        };
        let cluster = durum_garage::Cluster::open(directory)?;
        match copy {
            None => Dictionaries::distributed(cluster, crate::NAMESPACE, merger),
            Some(url) => {
                let database = Database::open_or_create(url)?;
                Dictionaries::with_copy(cluster, crate::NAMESPACE, merger, &database)
            }
        }
    }

    /// As [`Dictionaries::open`], in a store that is made by it.
    ///
    /// # Errors
    /// Those of [`Database::create`].
    #[cfg(feature = "open")]
    pub fn create(url: &str) -> Result<Dictionaries> {
        Dictionaries::embedded(&Database::create(url)?, Merger::default())
    }

    /// As [`Dictionaries::open`], in a store that is made where there is none.
    ///
    /// # Errors
    /// Those of [`Database::open_or_create`].
    #[cfg(feature = "open")]
    pub fn open_or_create(url: &str) -> Result<Dictionaries> {
        #[cfg(feature = "garage")]
        if url.starts_with(GARAGE_SCHEME) {
            return Dictionaries::open(url);
        }
        Dictionaries::embedded(&Database::open_or_create(url)?, Merger::default())
    }

    /// Dictionaries beside other objects in a database, with the application's functions for merging.
    ///
    /// # Errors
    /// `Io` where the system has no random numbers.
    pub fn embedded(database: &Database, merger: Merger) -> Result<Dictionaries> {
        Dictionaries::embedded_with(database, merger, Clock::new()?)
    }

    /// Dictionaries on clusters of Garage, with the application's functions for merging. Those of different namespaces have nothing to do with each
    /// other; see [`NAMESPACE`](crate::NAMESPACE).
    ///
    /// # Errors
    /// `Usage` for a namespace that cannot be; `Io` where the system has no random numbers, or no threads.
    #[cfg(feature = "garage")]
    pub fn distributed(
        cluster: durum_garage::Cluster,
        namespace: &str,
        merger: Merger,
    ) -> Result<Dictionaries> {
        let home = crate::distributed::Distributed::new(cluster, namespace, merger, Clock::new()?)?;
        Ok(Dictionaries {
            home: Arc::new(home),
        })
    }

    /// As [`Dictionaries::distributed`], with a copy in a database beside the program of the classes that want one: where too few nodes can be reached
    /// it answers reads, and says how old it is, and it keeps writes until they can be delivered. See [`Offline`](crate::Offline). It follows
    /// the nodes every few seconds; [`Dictionaries::heal`] has it follow at once.
    ///
    /// # Errors
    /// As [`Dictionaries::distributed`]; those of the database.
    #[cfg(feature = "garage")]
    pub fn with_copy(
        cluster: durum_garage::Cluster,
        namespace: &str,
        merger: Merger,
        database: &Database,
    ) -> Result<Dictionaries> {
        let copy = Embedded::new(database.clone(), merger.clone(), Clock::new()?);
        let nodes =
            crate::distributed::Distributed::new(cluster, namespace, merger, Clock::new()?)?;
        let home = crate::copy::WithCopy::new(nodes, copy)?;
        Ok(Dictionaries {
            home: Arc::new(home),
        })
    }

    /// As [`Dictionaries::embedded`], as the writer with this clock. No two writers may have the same number.
    ///
    /// # Errors
    /// None, so far.
    pub fn embedded_with(
        database: &Database,
        merger: Merger,
        clock: Clock,
    ) -> Result<Dictionaries> {
        Ok(Dictionaries {
            home: Arc::new(Embedded::new(database.clone(), merger, clock)),
        })
    }

    /// Defines a class, or defines one anew. Its dictionaries stay; indexes that it did not have are made of them before this returns,
    /// and those that it no longer has go.
    ///
    /// # Errors
    /// `Usage` for a class that cannot be; those of the home.
    pub fn define(&self, mut class: Class) -> Result<()> {
        class.filling = None;
        self.define_as(class)
    }

    fn define_as(&self, mut class: Class) -> Result<()> {
        for index in &mut class.indexes {
            index.field = index.field().to_owned();
        }
        class.check()?;
        self.home.define(class)
    }

    /// Lets this handle and its clones use classes that are being [filled](Class::filling), which others cannot.
    pub fn admit_unfinished(&self) {
        self.home.admit_unfinished();
    }

    /// As [`Dictionaries::define`], with how far the class is [filled](Class::filling): for who migrates into it.
    ///
    /// # Errors
    /// As [`Dictionaries::define`].
    pub fn define_filling(&self, class: Class) -> Result<()> {
        self.admit_unfinished();
        self.define_as(class)
    }

    /// All classes, by name.
    ///
    /// # Errors
    /// Those of the home.
    pub fn classes(&self) -> Result<Vec<Class>> {
        self.home.classes()
    }

    /// A class.
    ///
    /// # Errors
    /// `NotFound` where it is not defined.
    pub fn class(&self, name: &str) -> Result<Class> {
        self.home.class(name)
    }

    /// Gives the dictionary of a key these fields, and makes it where there is none. Returns its new revision.
    ///
    /// # Errors
    /// `NotFound` for a class that is not defined; `Usage` for a key or fields that cannot be, and for a value that an index of
    /// its field cannot have; those of the home.
    pub fn put(&self, class: &str, key: &str, fields: Fields) -> Result<RevisionId> {
        self.write_one(class, key, None, Some(fields))
    }

    /// As [`Dictionaries::put`], by one who has seen these revisions and no later ones. If there are others, both are
    /// concurrent, and are merged by the rule of the class.
    ///
    /// # Errors
    /// As [`Dictionaries::put`]; `NotFound` for a revision that is not there.
    pub fn put_after(
        &self,
        class: &str,
        key: &str,
        seen: &[RevisionId],
        fields: Fields,
    ) -> Result<RevisionId> {
        self.write_one(class, key, Some(seen.to_vec()), Some(fields))
    }

    /// Changes the fields of a dictionary, or of an empty one where there is none; `change` can be called again where others write at the same
    /// time. What others write meanwhile is concurrent with it, and so
    /// is what is concurrent already with the revision that `change` is shown.
    ///
    /// # Errors
    /// As [`Dictionaries::put`].
    pub fn update(
        &self,
        class: &str,
        key: &str,
        mut change: impl FnMut(&mut Fields),
    ) -> Result<RevisionId> {
        check_key(key)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let newest = self.home.newest(class, key)?;
            let newest = newest.map(|newest| newest.revision);
            let seen: Vec<_> = newest.iter().map(|newest| newest.id).collect();
            let mut fields = newest.map(|newest| newest.fields).unwrap_or_default();
            change(&mut fields);
            match self.write_one(class, key, Some(seen), Some(fields)) {
                // What was seen has been superseded, and pruned, by others meanwhile: they get on.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < UPDATES_MAX => {}
                written => return written,
            }
        }
    }

    /// Deletes a dictionary: a revision as all others, after which there is none to be found. Deleting what is not there does nothing.
    ///
    /// # Errors
    /// As [`Dictionaries::put`].
    pub fn delete(&self, class: &str, key: &str) -> Result<Option<RevisionId>> {
        match self.get(class, key)? {
            Some(_) => self.write_one(class, key, None, None).map(Some),
            None => Ok(None),
        }
    }

    /// Writes many at once: all of them or none in an embedded home. Returns the new revisions in the same order.
    ///
    /// # Errors
    /// As [`Dictionaries::put`].
    pub fn write(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        for write in &writes {
            check_key(&write.key)?;
        }
        self.home.write(class, writes)
    }

    fn write_one(
        &self,
        class: &str,
        key: &str,
        after: Option<Vec<RevisionId>>,
        fields: Option<Fields>,
    ) -> Result<RevisionId> {
        let write = Write {
            key: key.to_owned(),
            after,
            fields,
        };
        let ids = self.write(class, vec![write])?;
        ids.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Other, "write a dictionary").because("the home did not name it")
        })
    }

    /// The dictionary of a key, if it is there and not deleted.
    ///
    /// # Errors
    /// `NotFound` for a class that is not defined; those of the home.
    pub fn get(&self, class: &str, key: &str) -> Result<Option<Dictionary>> {
        let newest = self.newest(class, key)?;
        Ok(newest.filter(|newest| !newest.revision.is_deleted()))
    }

    /// As [`Dictionaries::get`], with those that are deleted.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn newest(&self, class: &str, key: &str) -> Result<Option<Dictionary>> {
        self.home.newest(class, key)
    }

    /// A dictionary as it was at a time, or in a revision; a deleted one is there, too.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn get_at(&self, class: &str, key: &str, at: At) -> Result<Option<Revision>> {
        self.home.get_at(class, key, at)
    }

    /// All revisions of a dictionary that are kept, newest first.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn history(&self, class: &str, key: &str) -> Result<Stream<Revision>> {
        self.home.history(class, key)
    }

    /// The dictionaries that an index finds, in the order of the values; of one value, in the order of their keys. One with
    /// many values comes once, by the least of those that are meant.
    ///
    /// # Errors
    /// `Usage` for an index that the class does not have, and for values that it cannot have; as [`Dictionaries::get`].
    pub fn select(&self, class: &str, index: &str, query: &Query) -> Result<Stream<Dictionary>> {
        self.home.select(class, index, query)
    }

    /// All dictionaries of a class, in the order of their keys.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn all(&self, class: &str) -> Result<Stream<Dictionary>> {
        self.home.all(class, "", false)
    }

    /// As [`Dictionaries::all`], from one key on, with those that are deleted.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn all_newest(&self, class: &str, from: &str) -> Result<Stream<Dictionary>> {
        self.home.all(class, from, true)
    }

    /// The revisions that came to a class since a marker, or that are kept at all, in the order in which they came. It ends with the last
    /// one; ask again with its marker for what has come since.
    ///
    /// # Errors
    /// `TooOld` where they are no longer kept since then; `Usage` for a marker of another home; as [`Dictionaries::get`].
    pub fn changes(&self, class: &str, since: Option<&Marker>) -> Result<Stream<Change>> {
        self.home.changes(class, since)
    }

    /// Where the changes of a class end now. Who reads all dictionaries after asking for it, and then the changes since, misses nothing.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn marker(&self, class: &str) -> Result<Marker> {
        self.home.marker(class)
    }

    /// Takes revisions from another home as they are, with their keys: those that are here already are passed over, so that it can be
    /// repeated. Revisions that neither supersede what is here nor are superseded by it are concurrent.
    ///
    /// # Errors
    /// `Usage` for what no revision can be; as [`Dictionaries::put`].
    pub fn absorb(&self, class: &str, revisions: Vec<(String, Revision)>) -> Result<Absorbed> {
        for (key, revision) in &revisions {
            check_key(key)?;
            revision.check()?;
        }
        self.home.absorb(class, revisions)
    }

    /// Merges concurrent revisions, prunes what the history no longer keeps, and finishes what was interrupted, in all classes or one.
    ///
    /// # Errors
    /// As [`Dictionaries::get`].
    pub fn heal(&self, class: Option<&str>) -> Result<BTreeMap<String, Healed>> {
        self.heal_slowly(class, None)
    }

    /// As [`Dictionaries::heal`], with so many dictionaries, or lines of an index, a second at most: beside others that have work to do.
    ///
    /// # Errors
    /// As [`Dictionaries::heal`].
    pub fn heal_slowly(
        &self,
        class: Option<&str>,
        per_second: Option<u32>,
    ) -> Result<BTreeMap<String, Healed>> {
        let mut pace = Pace::new(per_second);
        let names = match class {
            Some(class) => vec![class.to_owned()],
            None => self
                .classes()?
                .into_iter()
                .map(|class| class.name)
                .collect(),
        };
        let (mut healed, mut failed) = (BTreeMap::new(), None);
        for name in names {
            match self.home.heal(&name, &mut pace) {
                Ok(one) => drop(healed.insert(name, one)),
                // The others are healed all the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(healed), Err)
    }
}
