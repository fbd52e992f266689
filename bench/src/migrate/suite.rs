//! All migrations from one source.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::child::{self, Taken};
use super::row::{LoadRow, Measured, MigrateRow, Raw};
use super::{DOING, MigrateSettings};
use crate::files::{disk_bytes, remove};

/// The migrations from one engine.
pub(crate) struct Suite<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) settings: &'a MigrateSettings,
    pub(crate) engines: &'a [&'static str],
    pub(crate) source: &'static str,
    pub(crate) objects: u64,
    pub(crate) progress: &'a dyn Fn(&str),
}

/// The store that is migrated.
struct Origin {
    path: PathBuf,
    digest: Option<String>,
    stored_bytes: Option<u64>,
}

impl Suite<'_> {
    /// Makes the source and migrates it to every engine. Nothing is left of either.
    pub(crate) fn run(&self) -> Result<(LoadRow, Vec<MigrateRow>)> {
        let (origin, load) = self.make()?;
        let mut measured: Vec<Vec<Measured>> = self.engines.iter().map(|_| Vec::new()).collect();
        for round in 0..self.settings.rounds.max(1) {
            let mut order: Vec<_> = self.engines.iter().zip(&mut measured).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (destination, rounds) in order {
                rounds.push(self.measure(&origin, destination)?);
            }
        }
        remove(&origin.path)?;
        let rows = self.engines.iter().zip(&measured).map(|(name, rounds)| {
            let mut row = MigrateRow {
                source: self.source.to_owned(),
                destination: (*name).to_owned(),
                objects: self.objects,
                source_disk_bytes: load.disk_bytes,
                ..MigrateRow::default()
            };
            row.take(rounds);
            row
        });
        let rows = rows.collect();
        Ok((load, rows))
    }

    fn make(&self) -> Result<(Origin, LoadRow)> {
        let path = self.dir.join("source");
        self.tell("a source is made");
        let (made, taken) = self.load(self.source, &path, false)?;
        let load = LoadRow {
            engine: self.source.to_owned(),
            objects: self.objects,
            seconds: seconds(&made)?,
            peak_memory: taken.peak,
            peak_anonymous: taken.anonymous,
            disk_bytes: disk_bytes(&path)?,
        };
        let origin = Origin {
            path,
            digest: text(&made, "digest"),
            stored_bytes: number(&made, "stored_bytes"),
        };
        Ok((origin, load))
    }

    /// Loads the engine alone, then migrates to it.
    fn measure(&self, origin: &Origin, destination: &str) -> Result<Measured> {
        let path = self.dir.join("destination");
        let mut raw = None;
        if durum_raw::engines().contains(&destination) {
            self.tell(&format!("the load of {destination} alone"));
            let (loaded, taken) = self.load(destination, &path, true)?;
            if number(&loaded, "stored_bytes") != origin.stored_bytes {
                return Err(self.wrong(destination, "the raw load wrote other records", &loaded));
            }
            raw = Some(Raw {
                seconds: seconds(&loaded)?,
                // Without the time for making the objects, as it says itself.
                taken: Taken {
                    cpu_seconds: loaded.get("cpu_seconds").and_then(Value::as_f64),
                    ..taken
                },
                disk_bytes: disk_bytes(&path)?,
            });
            remove(&path)?;
        }
        self.tell(&format!("to {destination}"));
        let from = url(self.source, &origin.path);
        let to = url(destination, &path);
        let verify = OsStr::new(&self.settings.verify);
        let arguments = ["migrate".as_ref(), &*from, &to, "--verify".as_ref(), verify];
        let (migrated, taken) = child::run(&self.settings.program, self.dir, &arguments)?;
        let digest = text(&migrated, "digest");
        if number(&migrated, "objects") != Some(self.objects)
            || digest.is_some() && digest != origin.digest
        {
            return Err(self.wrong(destination, "other objects were migrated", &migrated));
        }
        let disk_bytes = disk_bytes(&path)?;
        remove(&path)?;
        Ok(Measured {
            bytes: number(&migrated, "bytes").unwrap_or_default(),
            seconds: seconds(&migrated)?,
            phases: phases(&migrated),
            digest,
            // What the process says itself misses nothing.
            taken: Taken {
                peak: number(&migrated, "peak_memory").or(taken.peak),
                ..taken
            },
            disk_bytes,
            raw,
        })
    }

    /// Fills an engine in a process of its own.
    fn load(&self, engine: &str, path: &Path, raw: bool) -> Result<(Value, Taken)> {
        let settings = self.settings;
        let numbers = [self.objects, u64::from(settings.size), settings.seed];
        let [objects, size, seed] = numbers.map(|number| OsString::from(number.to_string()));
        let mut arguments: Vec<&OsStr> = vec!["bench".as_ref(), "load".as_ref(), engine.as_ref()];
        arguments.extend([path.as_os_str(), "--objects".as_ref(), &objects]);
        arguments.extend(["--size".as_ref(), &*size, "--seed".as_ref(), &seed]);
        arguments.extend(raw.then_some(OsStr::new("--raw")));
        child::run(&settings.program, self.dir, &arguments)
    }

    fn tell(&self, what: &str) {
        let (objects, source) = (self.objects, self.source);
        (self.progress)(&format!("{objects} objects from {source}: {what}"));
    }

    fn wrong(&self, destination: &str, what: &str, said: &Value) -> Error {
        Error::new(ErrorKind::Mismatch, DOING)
            .with_engine(self.source)
            .because(format!("to {destination}, {what}: {said}"))
    }
}

fn url(engine: &str, path: &Path) -> OsString {
    let mut url = OsString::from(format!("{engine}:"));
    url.push(path);
    url
}

pub(crate) fn number(said: &Value, name: &str) -> Option<u64> {
    said.get(name)?.as_u64()
}

pub(crate) fn text(said: &Value, name: &str) -> Option<String> {
    said.get(name)?.as_str().map(str::to_owned)
}

pub(crate) fn seconds(said: &Value) -> Result<f64> {
    said.get("seconds").and_then(Value::as_f64).ok_or_else(|| {
        Error::new(ErrorKind::Other, DOING).because(format!("no time was told: {said}"))
    })
}

pub(crate) fn phases(said: &Value) -> BTreeMap<String, f64> {
    let parts = said.get("phases").and_then(Value::as_object);
    let parts = parts.into_iter().flatten();
    parts
        .filter_map(|(name, seconds)| Some((name.clone(), seconds.as_f64()?)))
        .collect()
}
