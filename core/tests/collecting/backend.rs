//! The in-memory engine as if it were persistent, with something to be done along with its calls.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durum_core::engine::{
    Backend, Capabilities, Cursor, Durability, Engine, EngineSnapshot, EngineStats, Key, Op,
    OptionSpec, Options, Reclaimed, Table,
};
use durum_core::{Error, ErrorKind, Result};
use durum_memory::MemoryBackend;

type Hook = Box<dyn FnOnce() + Send>;

/// Every `open` gives the same data.
pub(crate) struct Kept {
    engine: Box<dyn Engine>,
    /// Done when the next view of the engine has been opened, which shows what was before.
    after_view: Mutex<Option<Hook>>,
    /// Of which table one read fails.
    read_fault: Mutex<Option<Table>>,
    write_fault: Mutex<Option<ErrorKind>>,
    /// Whether it has snapshots.
    isolated: bool,
    writing: Mutex<()>,
    slow: Mutex<Duration>,
    /// Bytes of all objects that were read one by one.
    bytes_read: AtomicU64,
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    fn pass_read(&self, table: Table) -> Result<()> {
        let mut fault = self.read_fault.lock().unwrap();
        if *fault != Some(table) {
            return Ok(());
        }
        *fault = None;
        Err(Error::new(ErrorKind::Io, "read").because("on purpose"))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct KeptBackend(Arc<Kept>);

impl KeptBackend {
    pub(crate) fn new() -> KeptBackend {
        KeptBackend::with(false)
    }

    pub(crate) fn with(isolated: bool) -> KeptBackend {
        let engine = MemoryBackend.open(Path::new(""), &Options::default());
        KeptBackend(Arc::new(Kept {
            engine: engine.unwrap(),
            after_view: Mutex::new(None),
            read_fault: Mutex::new(None),
            write_fault: Mutex::new(None),
            isolated,
            writing: Mutex::new(()),
            slow: Mutex::new(Duration::ZERO),
            bytes_read: AtomicU64::new(0),
        }))
    }

    pub(crate) fn after_next_view(&self, work: impl FnOnce() + Send + 'static) {
        *self.0.after_view.lock().unwrap() = Some(Box::new(work));
    }

    pub(crate) fn fail_read(&self, table: Table) {
        *self.0.read_fault.lock().unwrap() = Some(table);
    }

    pub(crate) fn fail_write(&self, kind: ErrorKind) {
        *self.0.write_fault.lock().unwrap() = Some(kind);
    }

    pub(crate) fn pass_write(&self) {
        *self.0.write_fault.lock().unwrap() = None;
    }

    /// Has each write take so long, so that commits gather meanwhile.
    pub(crate) fn slow_down(&self, time: Duration) {
        *self.0.slow.lock().unwrap() = time;
    }

    pub(crate) fn write_is_to_fail(&self) -> bool {
        self.0.write_fault.lock().unwrap().is_some()
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }
}

impl Backend for KeptBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::ALL.to_vec(),
            persistent: true,
            snapshots: self.0.isolated,
            ..MemoryBackend.capabilities()
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, _dir: &Path, _options: &Options) -> Result<Box<dyn Engine>> {
        Ok(Box::new(Opened(self.0.clone())))
    }
}

#[derive(Debug)]
struct Opened(Arc<Kept>);

impl Engine for Opened {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        let mut snapshot = self.0.engine.snapshot()?;
        let work = self.0.after_view.lock().unwrap().take();
        if self.0.isolated || work.is_some() {
            let _whole = self.0.writing.lock().unwrap();
            snapshot = Box::new(Frozen::of(&*snapshot)?);
        }
        if let Some(work) = work {
            work();
        }
        Ok(Box::new(Watched(snapshot, self.0.clone())))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        if let Some(kind) = self.0.write_fault.lock().unwrap().take() {
            return Err(Error::new(kind, "apply").because("on purpose"));
        }
        std::thread::sleep(*self.0.slow.lock().unwrap());
        let _whole = self.0.writing.lock().unwrap();
        self.0.engine.apply(ops, Durability::Relaxed)?;
        Ok(durability)
    }

    fn sync(&self) -> Result<Durability> {
        Ok(Durability::Power)
    }

    fn make_room(&self, _bytes: u64) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        self.0.engine.stats()
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.0.engine.reclaim(bytes_max)
    }
}

struct Watched(Box<dyn EngineSnapshot>, Arc<Kept>);

impl EngineSnapshot for Watched {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.1.pass_read(table)?;
        self.0.get(table, key, &mut |bytes| {
            if table == Table::Objects {
                let length = bytes.len() as u64;
                self.1.bytes_read.fetch_add(length, Ordering::Relaxed);
            }
            visit(bytes);
        })
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        self.1.pass_read(table)?;
        self.0.cursor(table, from)
    }
}

/// All rows of an engine as they were.
struct Frozen(BTreeMap<(Table, Key), Vec<u8>>);

impl Frozen {
    fn of(view: &dyn EngineSnapshot) -> Result<Frozen> {
        let mut rows = BTreeMap::new();
        for table in Table::ALL {
            let mut cursor = view.cursor(table, Key::MIN)?;
            while let Some((key, value)) = cursor.next()? {
                rows.insert((table, key), value.to_vec());
            }
        }
        Ok(Frozen(rows))
    }
}

impl EngineSnapshot for Frozen {
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let row = self.0.get(&(table, key));
        if let Some(value) = row {
            visit(value);
        }
        Ok(row.is_some())
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
        let rows = self.0.range((table, from)..);
        Ok(Box::new(FrozenCursor(table, rows)))
    }
}

struct FrozenCursor<'a>(Table, Range<'a, (Table, Key), Vec<u8>>);

impl Cursor for FrozenCursor<'_> {
    fn next(&mut self) -> Result<Option<(Key, &[u8])>> {
        let next = self.1.next().filter(|((table, _), _)| *table == self.0);
        Ok(next.map(|((_, key), value)| (*key, value.as_slice())))
    }
}
