//! Migrations into the database and out of it, beside copies by the raw client.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use durum_core::{Error, ErrorKind, Result};

use super::target::Target;
use super::{DOING, DatabaseSettings};
use crate::clock::{Took, Whose};
use crate::files::{disk_bytes, remove};
use crate::migrate::child::{self, Taken};
use crate::migrate::load::load_rows;
use crate::migrate::objects::Objects;
use crate::migrate::row::{Measured, MigrateRow, Raw};
use crate::migrate::suite::{number, phases, seconds, text};
use crate::subject::look_at;

/// The engine on the other side.
const OTHER: &str = "lmdb";

/// Migrations of the same objects there and back.
pub(super) struct Migrations<'a> {
    pub(super) target: &'a Target,
    pub(super) settings: &'a DatabaseSettings,
    /// For stores and temporary files.
    pub(super) dir: &'a Path,
    pub(super) progress: &'a dyn Fn(&str),
}

impl Migrations<'_> {
    /// There and back, in each round. Nothing is left of either.
    pub(super) fn run(&self) -> Result<Vec<MigrateRow>> {
        let count = self.settings.migrated;
        (self.progress)(&format!("{count} objects to migrate are made"));
        let origin = self.dir.join("origin");
        let numbers = [
            count,
            u64::from(DatabaseSettings::MIGRATED_SIZE),
            self.settings.seed,
        ];
        let [objects, size, seed] = numbers.map(|number| OsString::from(number.to_string()));
        let arguments: [&OsStr; 10] = [
            "bench".as_ref(),
            "load".as_ref(),
            OTHER.as_ref(),
            origin.as_os_str(),
            "--objects".as_ref(),
            &objects,
            "--size".as_ref(),
            &size,
            "--seed".as_ref(),
            &seed,
        ];
        let (made, _) = child::run(&self.settings.program, self.dir, &arguments)?;
        let digest = text(&made, "digest");
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for round in 0..self.settings.rounds.max(1) {
            let (one, other) = self.round(round, &origin, digest.as_deref())?;
            there.push(one);
            back.push(other);
        }
        let bytes = disk_bytes(&origin)?;
        remove(&origin)?;
        let backend = self.target.store("", None).backend;
        let row = |source: &str, destination: &str, source_disk_bytes, rounds: &[Measured]| {
            let mut row = MigrateRow {
                source: source.to_owned(),
                destination: destination.to_owned(),
                objects: count,
                source_disk_bytes,
                ..MigrateRow::default()
            };
            row.take(rounds);
            row
        };
        let there = row(OTHER, &backend, bytes, &there);
        let back = row(&backend, OTHER, there.disk_bytes, &back);
        Ok(vec![there, back])
    }

    fn round(
        &self,
        round: usize,
        origin: &Path,
        digest: Option<&str>,
    ) -> Result<(Measured, Measured)> {
        let (copied_in, copied_out) = match self.settings.raw {
            true => self.copies(round)?,
            false => (None, None),
        };
        let schema = self.target.schema(&format!("migrated_{round}"));
        let (url, path) = (self.target.url(&schema), self.dir.join("back"));
        let of_lmdb = |path: &Path| {
            let mut url = OsString::from(format!("{OTHER}:"));
            url.push(path);
            url
        };
        let mut there = self.migrate(&of_lmdb(origin), url.as_ref(), digest, copied_in)?;
        there.disk_bytes = self.target.connect(None)?.schema_bytes(&schema)?;
        let mut back = self.migrate(url.as_ref(), &of_lmdb(&path), digest, copied_out)?;
        back.disk_bytes = disk_bytes(&path)?;
        self.target.remove(&schema)?;
        remove(&path)?;
        Ok((there, back))
    }

    /// One migration in a process of its own.
    fn migrate(
        &self,
        from: &OsStr,
        to: &OsStr,
        digest: Option<&str>,
        raw: Option<Raw>,
    ) -> Result<Measured> {
        let (shown, count) = (to.to_string_lossy(), self.settings.migrated);
        (self.progress)(&format!("{count} objects migrate to {shown}"));
        let arguments = [
            "migrate".as_ref(),
            from,
            to,
            "--verify".as_ref(),
            "digest".as_ref(),
        ];
        let (migrated, taken) = child::run(&self.settings.program, self.dir, &arguments)?;
        let found = text(&migrated, "digest");
        if number(&migrated, "objects") != Some(count) || found.as_deref() != digest {
            return Err(Error::new(ErrorKind::Mismatch, DOING).because(format!(
                "to {shown}, other objects were migrated: {migrated}"
            )));
        }
        Ok(Measured {
            bytes: number(&migrated, "bytes").unwrap_or_default(),
            seconds: seconds(&migrated)?,
            phases: phases(&migrated),
            digest: found,
            taken: Taken {
                // What the process says itself misses nothing.
                peak: number(&migrated, "peak_memory").or(taken.peak),
                ..taken
            },
            disk_bytes: 0,
            raw,
        })
    }

    /// A `COPY` of the same records into a table, and one of all of them back.
    fn copies(&self, round: usize) -> Result<(Option<Raw>, Option<Raw>)> {
        (self.progress)("the same records are copied by the raw client");
        let schema = self.target.schema(&format!("copied_{round}"));
        let objects = Objects {
            count: self.settings.migrated,
            size: DatabaseSettings::MIGRATED_SIZE as usize,
            seed: self.settings.seed,
        };
        let loaded = load_rows(objects, || {
            let connection = self.target.connect(None)?;
            connection.create(&schema)?;
            connection.load(&schema)
        })?;
        let table = self.target.connect(None)?.table(&schema)?;
        let disk_bytes = table.connection().schema_bytes(&schema)?;
        let raw = |seconds, processor| Raw {
            seconds,
            taken: Taken {
                cpu_seconds: Some(processor),
                ..Taken::default()
            },
            disk_bytes,
        };
        let (mut took, mut count) = (Took::default(), 0);
        let mut visit = |_, bytes: &[u8]| {
            look_at(bytes);
            count += 1;
        };
        took.add(Whose::Process, || table.scan(&mut visit))?;
        drop(table);
        self.target.remove(&schema)?;
        if count != objects.count {
            return Err(Error::new(ErrorKind::Mismatch, DOING).because(format!(
                "{} rows were copied and {count} were found",
                objects.count
            )));
        }
        let (seconds, processor) = (took.time.as_secs_f64(), took.processor.as_secs_f64());
        Ok((
            Some(raw(loaded.seconds, loaded.cpu_seconds)),
            Some(raw(seconds, processor)),
        ))
    }
}
