//! A home of dictionaries, and a round of measurements in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use durum_garage::Cluster;

use super::nodes::{self, Nodes};
use super::part::{DictDone, DictPart, Place, Step};
use super::row::{DictStore, Measured};
use super::workload::DictWorkload;
use super::{DOING, DictSettings};
use crate::files::{disk_bytes, remove};
use crate::migrate::child::{self, Taken};

const SCHEME: &str = "garage:";
/// A time by the clock of this machine, to the millisecond, is surely between what was written before and after it.
const APART: Duration = Duration::from_millis(20);
/// Dictionaries in a batch for nodes, at most: Garage syncs each item, and requests that take longer than 20 s fail.
const NODES_BATCH_MAX: usize = 50;

/// Where dictionaries are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// A store of this engine.
    Engine(&'static str),
    /// As many nodes that are started for it.
    Nodes(u32),
    /// Nodes that run already.
    Cluster {
        /// How they are reached.
        url: String,
        /// How many copies they keep.
        copies: u32,
    },
}

impl Home {
    /// Nodes that run already.
    ///
    /// # Errors
    /// `Usage` for another URL, and those of the client's directory.
    pub(super) fn cluster(url: &str) -> Result<Home> {
        let Some(dir) = url.strip_prefix(SCHEME).filter(|dir| !dir.contains('?')) else {
            return Err(Error::new(ErrorKind::Usage, DOING)
                .because(format!("`{url}` is not `{SCHEME}DIR`"))
                .hint("Make DIR with `durum node invite --client`."));
        };
        // Processes are started elsewhere.
        let dir = std::path::absolute(dir).during(DOING, Path::new(dir))?;
        let copies = Cluster::open(&dir)?.copies();
        Ok(Home::Cluster {
            url: format!("{SCHEME}{}", dir.display()),
            copies: copies.last().copied().unwrap_or(1),
        })
    }

    /// Its name in tables and JSON.
    pub(super) fn name(&self) -> String {
        match self {
            Home::Engine(engine) => (*engine).to_owned(),
            Home::Nodes(1) => "1 node".to_owned(),
            Home::Nodes(count) => format!("{count} nodes"),
            Home::Cluster { url, .. } => url.clone(),
        }
    }
}

/// A round of measurements in one home.
pub(super) struct Round<'a> {
    settings: &'a DictSettings,
    home: &'a Home,
    dir: &'a Path,
    /// Of this round alone, since nodes may have another's.
    class: String,
    put_at: u64,
}

impl<'a> Round<'a> {
    /// In a directory that is made, and removed.
    pub(super) fn new(settings: &'a DictSettings, home: &'a Home, dir: &'a Path) -> Round<'a> {
        Round {
            settings,
            home,
            dir,
            class: format!("bench-{}", milliseconds()),
            put_at: 0,
        }
    }

    pub(super) fn run(mut self, tell: &dyn Fn(&str)) -> Result<(Vec<Measured>, DictStore)> {
        remove(self.dir)?;
        std::fs::create_dir(self.dir).during(DOING, self.dir)?;
        let mut store = DictStore {
            home: self.home.name(),
            dicts: self.settings.dicts,
            ..DictStore::default()
        };
        tell("begins");
        let nodes = match self.home {
            Home::Nodes(count) => {
                let (program, garage) = (&self.settings.program, self.settings.garage.as_deref());
                Some(Nodes::start(self.dir, *count, program, garage)?)
            }
            _ => None,
        };
        let place = self.place(nodes.as_ref());
        self.step(&place, Step::Define)?;
        let mut measured = Vec::new();
        for workload in DictWorkload::ALL {
            tell(workload.name());
            let (done, taken) = self.step(&place, Step::Measure(workload))?;
            measured.push(Measured {
                workload,
                home: self.home.name(),
                done,
                taken,
            });
            if workload == DictWorkload::PutAtOnce {
                store.disk_put = self.disk()?;
                std::thread::sleep(APART);
                self.put_at = milliseconds();
                std::thread::sleep(APART);
            }
        }
        store.disk_end = self.disk()?;
        if matches!(self.home, Home::Cluster { .. }) {
            tell("clears");
            self.step(&place, Step::Clear)?;
        }
        store.nodes = nodes.as_ref().map(Nodes::memory).unwrap_or_default();
        drop(nodes);
        remove(self.dir)?;
        Ok((measured, store))
    }

    fn place(&self, nodes: Option<&Nodes>) -> Place {
        match (self.home, nodes) {
            (Home::Engine(engine), _) => Place::Store {
                engine: (*engine).to_owned(),
                path: self.data(),
            },
            (Home::Cluster { url, .. }, _) => Place::Nodes(url.clone()),
            (Home::Nodes(_), nodes) => Place::Nodes(nodes.map(Nodes::url).unwrap_or_default()),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What is on the disk, where it is on this one's.
    fn disk(&self) -> Result<Option<u64>> {
        match self.home {
            Home::Engine(_) => disk_bytes(&self.data()).map(Some),
            // Garage may take a file away while it is looked at.
            Home::Nodes(_) => Ok(disk_bytes(self.dir).or_else(|_| disk_bytes(self.dir)).ok()),
            Home::Cluster { .. } => Ok(None),
        }
    }

    fn step(&self, place: &Place, step: Step) -> Result<(DictDone, Taken)> {
        let settings = self.settings;
        let part = DictPart {
            step,
            place: place.clone(),
            class: self.class.clone(),
            copies: match self.home {
                Home::Engine(_) => 1,
                Home::Nodes(count) => nodes::copies(*count),
                Home::Cluster { copies, .. } => *copies,
            },
            dicts: settings.dicts,
            size: settings.size,
            batch: match self.home {
                Home::Engine(_) => settings.batch,
                _ => settings.batch.min(NODES_BATCH_MAX),
            },
            writers: settings.writers,
            cache: settings.cache,
            seed: settings.seed,
            put_at: self.put_at,
        };
        let part = serde_json::to_string(&part).unwrap_or_default();
        let arguments = ["bench", "dict-part", &part].map(OsStr::new);
        let (said, taken) = child::run(&settings.program, self.dir, &arguments)?;
        let done = serde_json::from_value(said)
            .map_err(|error| Error::new(ErrorKind::Other, DOING).because(error.to_string()))?;
        Ok((done, taken))
    }
}

/// The time, since 1970.
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clusters_run_already() {
        for wrong in ["lmdb:here", "garage:/nowhere?copy=lmdb:here"] {
            let error = Home::cluster(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        }
        assert!(Home::cluster("garage:/nowhere").is_err());
        assert_eq!(Home::Nodes(3).name(), "3 nodes");
    }
}
