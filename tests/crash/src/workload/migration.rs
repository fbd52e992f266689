//! A migration between two engines, which is resumed after whatever stopped it.
//!
//! The source lies outside of the watched root, so that no fault meets it, and is the same for all runs
//! of a suite: a migration that is resumed insists on that. Or it is a file of ZODB that grows while it is
//! followed, and has grown when the migration is resumed.

use std::fs::File;
use std::path::{Path, PathBuf};

use durum_core::check::{FindingKind, check};
use durum_core::config::{Location, StoreSettings};
use durum_core::digest::Digest;
use durum_core::engine::{Durability, Registry};
use durum_core::record::{Codecs, Payload};
use durum_core::store::Store as _;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use durum_migrate::{MigrateOptions, Verify, migrate};

use super::live_file::LiveFile;
use super::{Ending, Job, store_path};
use crate::acks::Acks;

/// Objects of a source, and the bytes of each at most: some batches.
const OBJECTS: u64 = 60;
const DATA_BYTES_MAX: usize = 48 << 10;

/// Names the directory of the source.
pub(crate) const SOURCE: &str = "DURUM_CRASH_SOURCE";

/// A migration from one engine to another, as the subject of a job.
pub(super) struct Migration {
    registry: Registry,
    source: Origin,
    destination: StoreSettings,
}

enum Origin {
    Store(StoreSettings),
    Live(LiveFile),
}

impl Migration {
    /// The migration that a subject `migrate-FROM-TO` or `follow-TO` names.
    pub(super) fn of(job: &Job) -> Option<Migration> {
        let migrated = job.subject.strip_prefix("migrate-");
        let (from, to) = match migrated {
            Some(pair) => pair.split_once('-')?,
            None => ("live", job.subject.strip_prefix("follow-")?),
        };
        let home = std::env::var_os(SOURCE).expect("a directory for the source");
        let path = Path::new(&home).join(from);
        let settings = |engine, path: PathBuf| {
            let mut settings = StoreSettings::new(engine, path).without_collection();
            if ["fjall", "lmdb", "redb", "rocksdb"].contains(&engine) {
                // Otherwise all of it would be one batch.
                let option = ("bulk_size".to_owned(), "256KiB".to_owned());
                settings.options.extend([option]);
            }
            settings
        };
        Some(Migration {
            registry: durum_backends::registry(),
            destination: settings(to, store_path(&job.root)),
            source: match migrated {
                Some(_) => Origin::Store(settings(from, path)),
                None => Origin::Live(LiveFile::new(path, job.seed)),
            },
        })
    }

    /// Makes the source, unless an earlier process has. Of one that grows, all is there but for a `first`
    /// run.
    fn prepare(&self, job: &Job, first: bool) -> Result<()> {
        match &self.source {
            Origin::Store(settings) => self.make(settings, job.seed),
            Origin::Live(file) if first => file.begin(),
            Origin::Live(file) => file.end(),
        }
    }

    fn make(&self, settings: &StoreSettings, seed: u64) -> Result<()> {
        if settings.path.exists() {
            return Ok(());
        }
        let staged = self.registry.stage(settings)?;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut importer = staged.importer()?;
        let codecs = Codecs::default();
        for oid in 0..OBJECTS {
            let mut refs: Vec<Oid> = (0..3).map(|_| Oid(random.u64(..OBJECTS))).collect();
            durum_core::record::normalize_refs(Oid(oid), &mut refs);
            let data = vec![random.u8(..); random.usize(..DATA_BYTES_MAX)];
            importer.push(
                Oid(oid),
                Tid(oid + 1),
                &refs,
                Payload::plain(&data),
                &codecs,
            )?;
        }
        importer.finish(Tid(1), Oid::ROOT)?;
        staged.publish().map(drop)
    }

    /// Migrates what is not there yet.
    fn go_on(&self) -> Result<()> {
        let options = MigrateOptions {
            resume: true,
            // One thread each, so that runs with the same seed do nearly the same: batches are written by a
            // thread of their own.
            threads: 1,
            verify: Verify::Digest,
            follow: matches!(self.source, Origin::Live(_)),
            ..MigrateOptions::default()
        };
        let to = Location::Store(self.destination.clone());
        match &self.source {
            Origin::Store(settings) => {
                let from = Location::Store(settings.clone());
                migrate(&self.registry, &from, &to, &options, &()).map(drop)
            }
            Origin::Live(file) => {
                let from = self.registry.parse(&file.url())?;
                migrate(&self.registry, &from, &to, &options, file).map(drop)
            }
        }
    }

    /// The source is open in one process at a time, and several images may be checked at once.
    fn alone(&self) -> File {
        let path = match &self.source {
            Origin::Store(settings) => &settings.path,
            Origin::Live(file) => file.path(),
        };
        let file = File::create(path.with_extension("alone")).expect("a lock file");
        file.lock().expect("a lock");
        file
    }

    pub(super) fn run(&self, job: &Job, acks: &mut Acks) -> std::io::Result<Ending> {
        let _alone = self.alone();
        // A run that goes on with what another left finds more than that did.
        let first = std::fs::read_dir(&job.root)?.next().is_none();
        self.prepare(job, first).expect("a source");
        let done = match super::is_present(&job.root) {
            true => Ok(()),
            false => self.go_on(),
        };
        if let Origin::Live(file) = &self.source {
            // Before another process may look at the file.
            file.let_go();
        }
        if let Err(error) = done {
            eprintln!("{error}");
            acks.failed(0, false)?;
            return Ok(Ending::Refused);
        }
        for commit in 1..=job.commits {
            acks.committed(commit, Durability::Power)?;
        }
        Ok(Ending::Done)
    }

    /// Whether the destination is whole, or nothing opens and the migration can be gone on with.
    pub(super) fn check(&self, job: &Job, low: u64) -> std::result::Result<(), String> {
        let _alone = self.alone();
        self.prepare(job, false).expect("a source");
        let text = |error: Error| error.to_string();
        if !super::is_present(&job.root) {
            if low > 0 {
                return Err("the migration was done, and the destination is not there".to_owned());
            }
            self.nothing_opens(&job.root)?;
            self.go_on().map_err(text)?;
        }
        let digest = |settings: &StoreSettings| -> Result<Digest> {
            Digest::of(&*self.registry.open(settings)?.snapshot()?)
        };
        let source = match &self.source {
            Origin::Store(settings) => digest(settings),
            Origin::Live(file) => file.digest(),
        };
        let found = digest(&self.destination);
        match (source.map_err(text)?, found.map_err(text)?) {
            (source, found) if source == found => {}
            (source, found) => return Err(format!("the digest is {found}, not {source}")),
        }
        let store = self.registry.open(&self.destination).map_err(text)?;
        let report = check(&store, false).map_err(text)?;
        // A file that grows refers to objects that it never has.
        let mut findings = report.errors.iter();
        match findings.find(|finding| finding.kind != FindingKind::Dangling) {
            None => Ok(()),
            Some(finding) => Err(format!("a finding: {finding:?}")),
        }
    }

    /// What is half-made does not open, under no name.
    fn nothing_opens(&self, root: &Path) -> std::result::Result<(), String> {
        for entry in std::fs::read_dir(root).expect("the root can be read") {
            let path = entry.expect("an entry").path();
            if path.join("identity").exists() {
                // Complete, and about to be renamed.
                continue;
            }
            let settings = StoreSettings {
                path: path.clone(),
                ..self.destination.clone()
            };
            match self.registry.open(&settings) {
                Err(error) if error.kind() == ErrorKind::Unreadable => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
                Ok(_) => return Err(format!("{} opens", path.display())),
            }
        }
        Ok(())
    }
}
