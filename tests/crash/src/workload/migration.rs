//! A migration between two engines, which is resumed after whatever stopped it.
//!
//! The source lies outside of the watched root, so that no fault meets it, and is the same for all runs
//! of a suite: a migration that is resumed insists on that.

use std::fs::File;
use std::path::{Path, PathBuf};

use durum_core::config::{Location, StoreSettings};
use durum_core::digest::Digest;
use durum_core::engine::{Durability, Registry};
use durum_core::record::{Codecs, Payload};
use durum_core::store::Store as _;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use durum_migrate::{MigrateOptions, Verify, migrate};

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
    source: StoreSettings,
    destination: StoreSettings,
}

impl Migration {
    /// The migration that a subject `migrate-FROM-TO` names.
    pub(super) fn of(job: &Job) -> Option<Migration> {
        let (from, to) = job.subject.strip_prefix("migrate-")?.split_once('-')?;
        let home = std::env::var_os(SOURCE).expect("a directory for the source");
        let path = Path::new(&home).join(from);
        let settings = |engine, path: PathBuf| {
            let mut settings = StoreSettings::new(engine, path).without_collection();
            if engine == "lmdb" {
                // Otherwise all of it would be one batch.
                let option = ("bulk_size".to_owned(), "256KiB".to_owned());
                settings.options.extend([option]);
            }
            settings
        };
        Some(Migration {
            registry: durum_backends::registry(),
            source: settings(from, path),
            destination: settings(to, store_path(&job.root)),
        })
    }

    /// Makes the source, unless an earlier process has.
    fn prepare(&self, job: &Job) -> Result<()> {
        if self.source.path.exists() {
            return Ok(());
        }
        let staged = self.registry.stage(&self.source)?;
        let mut random = fastrand::Rng::with_seed(job.seed);
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
            // One thread each, so that runs with the same seed do the same.
            threads: 1,
            verify: Verify::Digest,
            ..MigrateOptions::default()
        };
        let [source, destination] =
            [&self.source, &self.destination].map(|settings| Location::Store(settings.clone()));
        migrate(&self.registry, &source, &destination, &options, &()).map(drop)
    }

    /// The source is open in one process at a time, and several images may be checked at once.
    fn alone(&self) -> File {
        let file = File::create(self.source.path.with_extension("alone")).expect("a lock file");
        file.lock().expect("a lock");
        file
    }

    pub(super) fn run(&self, job: &Job, acks: &mut Acks) -> std::io::Result<Ending> {
        let _alone = self.alone();
        self.prepare(job).expect("a source");
        let done = match super::is_present(&job.root) {
            true => Ok(()),
            false => self.go_on(),
        };
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
        self.prepare(job).expect("a source");
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
        let (source, found) = (digest(&self.source), digest(&self.destination));
        match (source.map_err(text)?, found.map_err(text)?) {
            (source, found) if source == found => {}
            (source, found) => return Err(format!("the digest is {found}, not {source}")),
        }
        let store = self.registry.open(&self.destination).map_err(text)?;
        let report = durum_core::check::check(&store, false).map_err(text)?;
        match report.errors.first() {
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
