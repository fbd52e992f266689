//! What the cases run on: a backend with a directory, an open engine with a model beside it, batches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::conformance::home::engine_options;
use crate::conformance::{Home, TemporaryDirectory};
use crate::engine::Table;
use crate::engine::{Backend, Capabilities, Durability, Engine, EngineSnapshot, Key, Op};
use crate::error::{ErrorKind, Result};

/// The rows that an engine should hold.
pub type Model = BTreeMap<(Table, Key), Vec<u8>>;

/// How often a batch is applied again after room was made for it.
const ROOM_TRIES_MAX: usize = 40;

/// Enough for copies on write and half-full pages; less than any number of cycles of a case.
const SPACE_FACTOR_MAX: u64 = 4;

/// A backend, its options and a place for one case.
#[derive(Debug)]
pub struct Fixture {
    backend: Box<dyn Backend>,
    options: Vec<(&'static str, &'static str)>,
    home: Box<dyn Home>,
    space_factor_max: u64,
}

impl Fixture {
    /// A fixture with a new directory.
    pub fn new(
        backend: impl Backend + 'static,
        options: &[(&'static str, &'static str)],
    ) -> Fixture {
        let home = TemporaryDirectory::new();
        std::fs::create_dir(home.path()).expect("the engine's directory");
        Fixture {
            backend: Box::new(backend),
            options: options.to_vec(),
            home: Box::new(home),
            space_factor_max: SPACE_FACTOR_MAX,
        }
    }

    /// Has the engine lie somewhere else.
    #[must_use]
    pub fn at(mut self, home: impl Home + 'static) -> Fixture {
        self.home = Box::new(home);
        self
    }

    /// Allows files this many times the size of what they ever held at once, for an engine that is
    /// known to be slow in using deleted space again.
    #[must_use]
    pub fn with_space_factor_max(mut self, factor: u64) -> Fixture {
        self.space_factor_max = factor;
        self
    }

    /// How many times the size of what was ever stored at once the files may grow to.
    pub fn space_factor_max(&self) -> u64 {
        self.space_factor_max
    }

    /// The backend.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// What the backend declares.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// The engine's directory.
    pub fn dir(&self) -> PathBuf {
        self.home.path()
    }

    /// Opens the engine with the fixture's options.
    pub fn try_open(&self) -> Result<Box<dyn Engine>> {
        let options = engine_options(&*self.backend, &self.options, &*self.home)?;
        let Some(places) = self.backend.remote() else {
            return self.backend.open(&self.dir(), &options);
        };
        let place = match places.open(&self.dir(), &options) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                places.create(&self.dir(), &options)?.publish()?
            }
            place => place?,
        };
        place.open_engine()
    }

    /// Whether the engine keeps its data in files that the cases can get at.
    pub fn has_files(&self) -> bool {
        self.capabilities().persistent && self.backend.remote().is_none()
    }

    /// Opens the engine, with an empty model beside it.
    pub fn open(&self) -> Subject<'_> {
        Subject {
            fixture: self,
            engine: Some(self.try_open().expect("the engine opens")),
            model: Model::new(),
        }
    }

    /// The weakest level that the engine offers: what cases use that are about something else.
    pub fn weakest(&self) -> Durability {
        self.capabilities().durability[0]
    }

    /// The engine's files, the largest first.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if !self.has_files() {
            return files;
        }
        list_files(&self.dir(), &mut files);
        files.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
        files
    }
}

fn list_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Changes that belong together; sorted, and at most one for a row, by construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The new value of each row, or `None` to delete it.
    pub changes: BTreeMap<(Table, Key), Option<Vec<u8>>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a row to store.
    #[must_use]
    pub fn put(mut self, table: Table, key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Batch {
        self.changes.insert((table, key.into()), Some(value.into()));
        self
    }

    /// Adds a row to delete.
    #[must_use]
    pub fn delete(mut self, table: Table, key: impl Into<Key>) -> Batch {
        self.changes.insert((table, key.into()), None);
        self
    }

    /// The operations, as an engine takes them.
    pub fn ops(&self) -> Vec<Op<'_>> {
        self.changes
            .iter()
            .map(|(&(table, key), value)| match value {
                Some(value) => Op::Put { table, key, value },
                None => Op::Delete { table, key },
            })
            .collect()
    }

    /// Applies it to a model.
    pub fn apply_to(&self, model: &mut Model) {
        for (row, value) in &self.changes {
            match value {
                Some(value) => model.insert(*row, value.clone()),
                None => model.remove(row),
            };
        }
    }

    fn bytes(&self) -> u64 {
        let values = self.changes.values().flatten();
        values.map(|value| value.len() as u64 + 64).sum()
    }
}

/// Applies `batch` as the store does: an engine that asks for room is given it.
pub fn apply(engine: &dyn Engine, batch: &Batch, durability: Durability) -> Result<Durability> {
    let ops = batch.ops();
    for _ in 0..ROOM_TRIES_MAX {
        match engine.apply(&ops, durability) {
            Err(error) if error.kind() == ErrorKind::NeedsRoom => {
                engine.make_room(batch.bytes())?;
            }
            result => return result,
        }
    }
    panic!("the engine asks for room again and again");
}

/// Compacts as the store does, where the engine can; returns the bytes given back.
pub fn compact(engine: &dyn Engine) -> Option<Result<u64>> {
    let compact = engine.compact()?;
    let rewritten = compact.rewrite(&mut |done, total| assert!(done <= total));
    Some(rewritten.and_then(|()| compact.swap()))
}

/// An open engine and the rows that it should hold.
#[derive(Debug)]
pub struct Subject<'a> {
    fixture: &'a Fixture,
    engine: Option<Box<dyn Engine>>,
    /// The rows that the engine should hold.
    pub model: Model,
}

impl Subject<'_> {
    /// The engine.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_deref().expect("the engine is open")
    }

    /// A view of the engine's data.
    pub fn snapshot(&self) -> Box<dyn EngineSnapshot> {
        self.engine().snapshot().expect("a snapshot")
    }

    /// Applies `batch` to engine and model, at the engine's weakest level.
    pub fn apply(&mut self, batch: Batch) {
        self.apply_at(batch, self.fixture.weakest());
    }

    /// Applies `batch` to engine and model.
    pub fn apply_at(&mut self, batch: Batch, durability: Durability) {
        let achieved = apply(self.engine(), &batch, durability).expect("the batch is applied");
        assert_eq!(achieved, durability);
        batch.apply_to(&mut self.model);
    }

    /// Compares all tables with the model, by cursors and by point reads.
    pub fn check(&self) {
        let snapshot = self.snapshot();
        for table in Table::ALL {
            assert_rows(snapshot.as_ref(), table, Key::MIN, &self.model);
        }
        for (&(table, key), expected) in &self.model {
            assert_eq!(
                value(snapshot.as_ref(), table, key).as_deref().map(Short),
                Some(Short(expected)),
                "{table:?} {key:?}"
            );
        }
    }

    /// Closes the engine and opens it again. One that is not persistent is empty then.
    pub fn reopen(&mut self) {
        self.engine().sync().expect("sync");
        self.engine = None;
        self.engine = Some(self.fixture.try_open().expect("the engine opens again"));
        if !self.fixture.capabilities().persistent {
            self.model.clear();
        }
    }

    /// Compares all tables, reopens the engine, and compares again.
    pub fn finish(mut self) {
        self.check();
        self.reopen();
        self.check();
    }

    /// Syncs and closes the engine.
    pub fn close(self) -> Model {
        self.engine().sync().expect("sync");
        self.model
    }
}

/// Reads one row.
pub fn value(snapshot: &dyn EngineSnapshot, table: Table, key: impl Into<Key>) -> Option<Vec<u8>> {
    let mut found = None;
    let visited = snapshot
        .get(table, key.into(), &mut |bytes| found = Some(bytes.to_vec()))
        .expect("a point read");
    assert_eq!(visited, found.is_some());
    found
}

/// Asserts that a cursor from `from` yields exactly the model's rows, and stays at the end.
pub(super) fn assert_rows(snapshot: &dyn EngineSnapshot, table: Table, from: Key, model: &Model) {
    let mut cursor = snapshot.cursor(table, from).expect("a cursor");
    let last = (table, Key::pair(u64::MAX, u64::MAX));
    for (&(_, key), value) in model.range((table, from)..=last) {
        let row = cursor.next().expect("a row");
        assert_eq!(
            row.map(|(key, value)| (key, Short(value))),
            Some((key, Short(value))),
            "{table:?} from {from:?}"
        );
    }
    for _ in 0..2 {
        let row = cursor.next().expect("the end");
        assert_eq!(
            row.map(|(key, value)| (key, Short(value))),
            None,
            "{table:?}"
        );
    }
}

/// Bytes that a failed assertion prints the beginning of only.
#[derive(PartialEq, Eq)]
pub(super) struct Short<'a>(pub(super) &'a [u8]);

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.0[..self.0.len().min(24)];
        write!(out, "{} bytes {shown:?}", self.0.len())
    }
}
