//! The catalogue: the classes of an installation, in its cluster with most copies.
//!
//! Each definition is an item of its own, `c NAME REVISION`, of which the last holds.
//!
//! All classes of a namespace lie in one bucket of each cluster, and a class in partitions that begin with its name. A bucket for each class would have
//! to be made when it is defined, and Garage makes two where two nodes are asked at once, of which one gets the name in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};
use durum_garage::{Cluster, Insert, K2v, Range, S3};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::form;
use crate::class::Class;
use crate::clock::{Clock, RevisionId};
use crate::error;

/// As part of the name of a bucket, which has 63 bytes at most.
const NAMESPACE_BYTES_MAX: usize = 32;

/// No class has a blank in its name, so that it has no partition of this name.
const PARTITION: &str = "classes";

/// Over how many partitions a class is spread.
const SHARDS: u32 = 16;

/// For how long a definition that was read is taken to hold.
pub(super) const KEPT: Duration = Duration::from_secs(2);

/// A class, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Defined {
    pub(super) class: Class,
    pub(super) shards: u32,
    /// The indexes that do not have all dictionaries yet.
    #[serde(default)]
    pub(super) building: Vec<String>,
}

/// A class, with its bucket at hand.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) defined: Arc<Defined>,
    /// The definition's own.
    id: RevisionId,
    pub(super) items: K2v,
    pub(super) objects: S3,
}

/// The catalogue, with definitions that were read lately.
#[derive(Debug)]
pub(super) struct Catalogue {
    cluster: Cluster,
    /// What the names of all buckets begin with.
    namespace: String,
    kept: Mutex<BTreeMap<String, (Instant, Opened)>>,
    /// Whether classes that are being filled are used as others.
    admits_unfinished: AtomicBool,
}

impl Opened {
    /// The partition of a key. Garage spreads partitions over the nodes.
    pub(super) fn shard(&self, key: &str) -> String {
        let hash = Sha256::digest(key.as_bytes());
        let number = hash
            .first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first));
        self.shard_name(number % u64::from(self.defined.shards.max(1)))
    }

    /// All partitions.
    pub(super) fn shards(&self) -> Vec<String> {
        let shards = 0..u64::from(self.defined.shards.max(1));
        shards.map(|number| self.shard_name(number)).collect()
    }

    fn shard_name(&self, number: u64) -> String {
        format!("{} s{number:03}", self.defined.class.name)
    }
}

impl Catalogue {
    pub(super) fn new(cluster: Cluster, namespace: &str) -> Result<Catalogue> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(1..=NAMESPACE_BYTES_MAX).contains(&namespace.len()) || !namespace.bytes().all(plain) {
            return Err(Error::new(ErrorKind::Usage, "use a cluster")
                .because(format!("`{namespace}` cannot be a namespace"))
                .hint(format!(
                    "It has up to {NAMESPACE_BYTES_MAX} lower-case letters and digits."
                )));
        }
        Ok(Catalogue {
            cluster,
            namespace: namespace.to_owned(),
            kept: Mutex::default(),
            admits_unfinished: AtomicBool::new(false),
        })
    }

    fn copies(&self) -> u32 {
        self.cluster.copies().last().copied().unwrap_or(1)
    }

    fn bucket(&self) -> String {
        format!("{}-dictionaries", self.namespace)
    }

    fn items(&self) -> Result<K2v> {
        self.cluster.k2v(self.copies(), &self.bucket())
    }

    pub(super) fn admit_unfinished(&self) {
        self.admits_unfinished.store(true, Ordering::Release);
    }

    /// # Errors
    /// `InUse` for a class that is being filled, but for who fills it.
    fn must_be_whole(&self, opened: Opened) -> Result<Opened> {
        if !self.admits_unfinished.load(Ordering::Acquire) {
            opened.defined.class.must_be_whole()?;
        }
        Ok(opened)
    }

    /// A class. One that was read within the last seconds is not read again, nor is one where the catalogue cannot be reached.
    pub(super) async fn open(&self, name: &str) -> Result<Opened> {
        let opened = self.open_any(name).await?;
        self.must_be_whole(opened)
    }

    async fn open_any(&self, name: &str) -> Result<Opened> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if let Some((read, opened)) = &kept
            && read.elapsed() < KEPT
        {
            return Ok(opened.clone());
        }
        match (self.read(name).await, kept) {
            (Err(error), Some((_, opened))) if error.retry() => Ok(opened),
            (result, _) => result,
        }
    }

    /// A class as it is defined now, if it is whole.
    pub(super) async fn read_whole(&self, name: &str) -> Result<Opened> {
        let opened = self.read(name).await?;
        self.must_be_whole(opened)
    }

    /// A class as it is defined now.
    pub(super) async fn read(&self, name: &str) -> Result<Opened> {
        let range = Range {
            reverse: true,
            limit: Some(1),
            ..Range::prefix(PARTITION, &format!("c {name} "))
        };
        let page = match self.items()?.read_range(&range).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            page => Some(page?),
        };
        let item = page.and_then(|page| page.items.into_iter().next());
        let item = item.ok_or_else(|| error::undefined(name))?;
        let value = item.value().map(|value| value.as_ref()).unwrap_or_default();
        let id = form::parse(&item.sort).map(|(_, id)| id);
        self.keep(id.unwrap_or_default(), decode(&item.sort, value)?)
    }

    fn keep(&self, id: RevisionId, defined: Defined) -> Result<Opened> {
        let (copies, name) = (defined.class.copies, defined.class.name.clone());
        let opened = Opened {
            items: self.cluster.k2v(copies, &self.bucket())?,
            objects: self.cluster.s3(copies, &self.bucket())?,
            id,
            defined: Arc::new(defined),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name, (Instant::now(), opened.clone()));
        Ok(opened)
    }

    /// All classes, by name.
    pub(super) async fn all(&self) -> Result<Vec<Class>> {
        let items = self.items()?;
        let mut classes = BTreeMap::new();
        let mut range = Range::prefix(PARTITION, "c ");
        loop {
            let page = match items.read_range(&range).await {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                page => page?,
            };
            for item in &page.items {
                if let Some(value) = item.value() {
                    // Later definitions come later.
                    let defined = decode(&item.sort, value)?;
                    classes.insert(defined.class.name.clone(), defined.class);
                }
            }
            match page.next {
                Some(next) => range.start = Some(next),
                None => break,
            }
        }
        Ok(classes.into_values().collect())
    }

    /// Writes a definition down; new indexes are still to be built.
    pub(super) async fn define(&self, clock: &Clock, class: Class) -> Result<Opened> {
        let there = self.cluster.copies();
        if !there.contains(&class.copies) {
            let there: Vec<String> = there.iter().map(u32::to_string).collect();
            return Err(Error::new(ErrorKind::Usage, "define a class")
                .because(format!("no cluster here keeps {} copies", class.copies))
                .hint(format!("Copies can be {}.", there.join(", "))));
        }
        let before = match self.read(&class.name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(self.must_be_whole(opened?)?),
        };
        let after = before.as_ref().map(|before| before.id);
        let passing = before
            .as_ref()
            .filter(|it| it.defined.class.filling.is_some());
        let passing = passing.map(|it| Range::single(PARTITION, &sort_of(&class.name, it.id)));
        let defined = match before.map(|before| before.defined) {
            None => {
                self.cluster
                    .create_bucket(self.copies(), &self.bucket())
                    .await?;
                Defined {
                    shards: SHARDS,
                    building: Vec::new(),
                    class,
                }
            }
            Some(before) if before.class.copies != class.copies => {
                return Err(Error::new(ErrorKind::Unsupported, "define a class")
                    .because(format!("the class `{}` has {} copies", class.name, before.class.copies))
                    .hint("Its dictionaries lie in the cluster that keeps so many: export them, and import them into another class."));
            }
            Some(before) => {
                let is_there = |name: &String| {
                    let find = |class: &Class| {
                        class
                            .indexes
                            .iter()
                            .find(|index| index.name == *name)
                            .cloned()
                    };
                    find(&before.class) == find(&class) && !before.building.contains(name)
                };
                let names = class.indexes.iter().map(|index| index.name.clone());
                Defined {
                    building: names.filter(|name| !is_there(name)).collect(),
                    class,
                    ..Defined::clone(&before)
                }
            }
        };
        self.cluster
            .create_bucket(defined.class.copies, &self.bucket())
            .await?;
        let opened = self.write(clock, after, defined).await?;
        // How far a migration was is of no interest any more, and said every few seconds.
        if let Some(passing) = passing {
            self.items()?.delete(&[passing]).await?;
        }
        Ok(opened)
    }

    /// Says that all indexes have all dictionaries.
    pub(super) async fn built(&self, clock: &Clock, opened: &Opened) -> Result<Opened> {
        let defined = Defined {
            building: Vec::new(),
            ..Defined::clone(&opened.defined)
        };
        self.write(clock, Some(opened.id), defined).await
    }

    async fn write(
        &self,
        clock: &Clock,
        after: Option<RevisionId>,
        defined: Defined,
    ) -> Result<Opened> {
        // Whatever this machine's clock says, it is after the one that it takes the place of.
        let after: Vec<RevisionId> = after.into_iter().collect();
        let id = clock.next(&after);
        let sort = sort_of(&defined.class.name, id);
        let value = serde_json::to_vec(&defined).map_err(|error| {
            Error::new(ErrorKind::Other, "define a class").because(error.to_string())
        })?;
        self.items()?
            .insert(&[Insert::new(PARTITION, &sort, value)])
            .await?;
        self.keep(id, defined)
    }
}

fn decode(sort: &str, value: &[u8]) -> Result<Defined> {
    serde_json::from_slice(value)
        .map_err(|error| Error::damaged("read the catalogue", format!("`{}`: {error}", sort)))
}

/// The sort key of a definition.
fn sort_of(class: &str, id: RevisionId) -> String {
    format!("c {class} {id}")
}
