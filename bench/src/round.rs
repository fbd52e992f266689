//! One round of all workloads on one engine: a store and, beside it, the engine alone. Which of the two comes
//! first changes from round to round.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use durum_core::Result;
use durum_core::config::StoreSettings;
use durum_core::engine::{Capabilities, Registry};
use durum_core::store::Store as _;

use crate::Settings;
use crate::clock::{Took, Whose};
use crate::files::{disk_bytes, forget, remove};
use crate::measure::{self, Draw, Sample, Way};
use crate::objects::Objects;
use crate::process::Processes;
use crate::row::{Measured, StoreRow};
use crate::subject::{RawSubject, StoreSubject, Subject, best};
use crate::workload::Workload;

/// A round on one engine.
pub(crate) struct Round<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) settings: &'a Settings,
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) objects: Objects,
    /// Where the databases are.
    pub(crate) dir: &'a Path,
    pub(crate) number: u64,
    pub(crate) found: BTreeMap<Workload, Measured>,
    pub(crate) sizes: StoreRow,
    subjects: Subjects,
}

/// What is open.
#[derive(Default)]
struct Subjects {
    store: Option<StoreSubject>,
    raw: Option<RawSubject>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        (registry, settings, capabilities): (&'a Registry, &'a Settings, &'a Capabilities),
        (objects, dir, number): (Objects, &'a Path, u64),
    ) -> Round<'a> {
        let sizes = StoreRow {
            engine: capabilities.name.to_owned(),
            objects: objects.count,
            ..StoreRow::default()
        };
        Round {
            registry,
            settings,
            capabilities,
            objects,
            dir,
            number,
            found: BTreeMap::new(),
            sizes,
            subjects: Subjects::default(),
        }
    }

    /// Measures everything that was asked for, and leaves nothing.
    pub(crate) fn run(&mut self) -> Result<()> {
        self.import()?;
        for workload in Workload::ALL {
            if workload != Workload::Delete && self.wants(workload) {
                self.measure(workload)?;
            }
        }
        self.sizes.disk_changed = self.disk_bytes()?;
        if self.capabilities.persistent {
            self.with_processes()?;
            self.openings()?;
        }
        if self.wants(Workload::Delete) {
            self.measure(Workload::Delete)?;
            self.give_back()?;
        }
        self.subjects = Subjects::default();
        remove(&self.store_path())?;
        remove(&self.raw_path())
    }

    fn wants(&self, workload: Workload) -> bool {
        self.settings.workloads.contains(&workload)
    }

    fn store_path(&self) -> PathBuf {
        self.dir.join(self.capabilities.name)
    }

    fn raw_path(&self) -> PathBuf {
        self.dir.join(format!("{}-alone", self.capabilities.name))
    }

    fn store_settings(&self) -> StoreSettings {
        let mut settings = StoreSettings::new(self.capabilities.name, self.store_path());
        settings.durability = Some(best(self.capabilities));
        settings
    }

    fn has_raw(&self) -> bool {
        self.settings.raw && durum_raw::engines().contains(&self.capabilities.name)
    }

    fn seed(&self) -> u64 {
        self.settings.seed.wrapping_add(self.number)
    }

    /// Does the same with the store and with the engine alone.
    fn both(
        &mut self,
        workload: Workload,
        store: impl FnOnce(&mut Round<'a>) -> Result<Sample>,
        raw: impl FnOnce(&mut Round<'a>) -> Result<Sample>,
    ) -> Result<()> {
        let has_raw = self.has_raw();
        let (store, raw) = in_turn(
            self.number,
            &mut *self,
            |round| store(round),
            |round| has_raw.then(|| raw(round)).transpose(),
        )?;
        let measured = Measured { store, raw };
        self.found.insert(workload, measured);
        Ok(())
    }

    fn import(&mut self) -> Result<()> {
        let count = self.objects.count;
        self.both(
            Workload::Import,
            |round| {
                let settings = round.store_settings();
                let (store, took) = StoreSubject::load(round.registry, &settings, round.objects)?;
                round.sizes.live_bytes = store.store.stats()?.live_bytes;
                round.subjects.store = Some(store);
                Ok(Sample::of(count, took))
            },
            |round| {
                let (name, path) = (round.capabilities.name, round.raw_path());
                let (raw, took) = RawSubject::load(name, &path, round.objects)?;
                round.sizes.raw_disk_loaded = Some(disk_bytes(&path)?);
                round.subjects.raw = Some(raw);
                Ok(Sample::of(count, took))
            },
        )?;
        self.sizes.disk_loaded = self.disk_bytes()?;
        Ok(())
    }

    fn disk_bytes(&self) -> Result<Option<u64>> {
        match self.capabilities.persistent {
            true => disk_bytes(&self.store_path()).map(Some),
            false => Ok(None),
        }
    }

    /// Measures what is done to open databases.
    fn measure(&mut self, workload: Workload) -> Result<()> {
        let (settings, objects, seed) = (self.settings, self.objects, self.seed());
        let measure = move |subject: &dyn Subject| -> Result<Option<Sample>> {
            let loads = |draw, way| {
                measure::loads(subject, (objects, draw, way), settings.load_time, seed).map(Some)
            };
            let by_all = |draw| {
                measure::loads_by_all(subject, (objects, draw), settings.load_time, seed).map(Some)
            };
            if let Some(committers) = workload.committers() {
                let time = settings.commit_time;
                return measure::commits(subject, objects, committers, time, seed).map(Some);
            }
            match workload {
                Workload::Scan => measure::scan(subject, objects).map(Some),
                Workload::Load => loads(Draw::All, Way::Borrowed),
                Workload::LoadSequential => loads(Draw::Sequence, Way::Borrowed),
                Workload::LoadHot => loads(Draw::Hot, Way::Borrowed),
                Workload::LoadHotOwned => loads(Draw::Hot, Way::Owned),
                Workload::LoadAlone => loads(Draw::All, Way::Alone),
                Workload::LoadThreads => by_all(Draw::All),
                Workload::LoadSequentialThreads => by_all(Draw::Sequence),
                Workload::Update => {
                    measure::updates(subject, objects, settings.load_time, seed).map(Some)
                }
                Workload::Delete => measure::deletes(subject, objects).map(Some),
                _ => Ok(None),
            }
        };
        let subjects = std::mem::take(&mut self.subjects);
        let of = |subject: Option<&dyn Subject>| match subject {
            Some(subject) => measure(subject),
            None => Ok(None),
        };
        let (store, raw) = in_turn(
            self.number,
            &subjects,
            |subjects| of(subjects.store.as_ref().map(|store| store as _)),
            |subjects| of(subjects.raw.as_ref().map(|raw| raw as _)),
        )?;
        self.subjects = subjects;
        if let Some(store) = store {
            self.found.insert(workload, Measured { store, raw });
        }
        Ok(())
    }

    /// What other processes do to the closed store.
    fn with_processes(&mut self) -> Result<()> {
        let Some(program) = self.settings.program.as_deref() else {
            return Ok(());
        };
        self.subjects = Subjects::default();
        let processes = Processes {
            program,
            dir: self.dir,
            settings: self.settings,
        };
        let (name, path) = (self.capabilities.name, self.store_path());
        let url = |engine: &str, path: &Path| {
            let mut url = OsString::from(format!("{engine}:"));
            url.push(path);
            url
        };
        let (out, back) = (self.dir.join("out"), self.dir.join("back"));
        if self.registry.names().contains(&"file") && self.wants(Workload::MigrateOut) {
            let store = processes.migrate(&url(name, &path), &url("file", &out))?;
            let measured = Measured { store, raw: None };
            self.found.insert(Workload::MigrateOut, measured);
            if self.wants(Workload::MigrateIn) {
                let store = processes.migrate(&url("file", &out), &url(name, &back))?;
                let measured = Measured { store, raw: None };
                self.found.insert(Workload::MigrateIn, measured);
            }
            remove(&out)?;
            remove(&back)?;
        }
        if self.settings.memory {
            let taken = processes.memory(name, &back, self.objects, false)?;
            self.sizes.peak_memory = taken.peak;
            self.sizes.peak_anonymous = taken.anonymous;
            remove(&back)?;
            if self.has_raw() {
                let taken = processes.memory(name, &back, self.objects, true)?;
                self.sizes.raw_peak_memory = taken.peak;
                self.sizes.raw_peak_anonymous = taken.anonymous;
                remove(&back)?;
            }
        }
        if self.wants(Workload::OpenKilled) {
            processes.kill(name, &path, self.objects)?;
            let store = self.open_store()?;
            let measured = Measured { store, raw: None };
            self.found.insert(Workload::OpenKilled, measured);
        }
        Ok(())
    }

    /// Opens what was closed, and loads what is in no cache.
    fn openings(&mut self) -> Result<()> {
        self.subjects = Subjects::default();
        if self.wants(Workload::Open) {
            self.both(Workload::Open, Round::open_store, Round::open_raw)?;
        }
        if self.wants(Workload::LoadCold) {
            let (time, objects, seed) = (self.settings.load_time, self.objects, self.seed());
            self.both(
                Workload::LoadCold,
                |round| {
                    round.subjects.store = None;
                    forget(&round.store_path())?;
                    let store = round.open_store_anew()?;
                    let cold = measure::cold_loads(&mut *store.reader()?, objects, time, seed)?;
                    round.subjects.store = Some(store);
                    Ok(cold)
                },
                |round| {
                    round.subjects.raw = None;
                    forget(&round.raw_path())?;
                    let raw = round.open_raw_anew()?;
                    let cold = measure::cold_loads(&mut *raw.reader()?, objects, time, seed)?;
                    round.subjects.raw = Some(raw);
                    Ok(cold)
                },
            )?;
        }
        if self.subjects.store.is_none() {
            self.subjects.store = Some(self.open_store_anew()?);
        }
        if self.has_raw() && self.subjects.raw.is_none() {
            self.subjects.raw = Some(self.open_raw_anew()?);
        }
        Ok(())
    }

    fn open_store_anew(&self) -> Result<StoreSubject> {
        StoreSubject::open(self.registry, &self.store_settings(), self.objects)
    }

    fn open_raw_anew(&self) -> Result<RawSubject> {
        RawSubject::open(self.capabilities.name, &self.raw_path(), self.objects)
    }

    fn open_store(&mut self) -> Result<Sample> {
        opening(|| self.open_store_anew().map(drop))
    }

    fn open_raw(&mut self) -> Result<Sample> {
        opening(|| self.open_raw_anew().map(drop))
    }

    /// Notes what is left on the disk, and has the engine give back what it can.
    fn give_back(&mut self) -> Result<()> {
        self.sizes.disk_collected = self.disk_bytes()?;
        let Some(subject) = &self.subjects.store else {
            return Ok(());
        };
        let store = &subject.store;
        self.sizes.live_bytes_left = store.stats()?.live_bytes;
        if self.capabilities.reclaim {
            store.reclaim_all(&mut |_| ())?;
            self.sizes.disk_reclaimed = self.disk_bytes()?;
        }
        if self.capabilities.compaction {
            store.compact(&mut |_, _| ())?;
            self.sizes.disk_compacted = self.disk_bytes()?;
        }
        Ok(())
    }
}

/// Does the one first in even rounds, and the other in odd ones.
fn in_turn<T, S, R>(
    round: u64,
    with: T,
    store: impl FnOnce(&mut T) -> Result<S>,
    raw: impl FnOnce(&mut T) -> Result<R>,
) -> Result<(S, R)> {
    let mut with = with;
    match round % 2 {
        0 => {
            let store = store(&mut with)?;
            Ok((store, raw(&mut with)?))
        }
        _ => {
            let raw = raw(&mut with)?;
            Ok((store(&mut with)?, raw))
        }
    }
}

/// How long an opening takes; not the closing.
fn opening(open: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let mut took = Took::default();
    took.add(Whose::Process, open)?;
    let mut sample = Sample::of(1, took);
    sample.latencies.add(took.time);
    Ok(sample)
}
