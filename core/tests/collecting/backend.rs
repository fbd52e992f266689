//! The in-memory engine as if it were persistent, with something to be done along with its calls.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

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
    /// With what so many reads fail.
    read_faults: Mutex<(u32, ErrorKind)>,
    write_fault: Mutex<Option<ErrorKind>>,
    /// Bytes of all objects that were read one by one.
    bytes_read: AtomicU64,
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct KeptBackend(Arc<Kept>);

impl KeptBackend {
    pub(crate) fn new() -> KeptBackend {
        let engine = MemoryBackend.open(Path::new(""), &Options::default());
        KeptBackend(Arc::new(Kept {
            engine: engine.unwrap(),
            after_view: Mutex::new(None),
            read_faults: Mutex::new((0, ErrorKind::Io)),
            write_fault: Mutex::new(None),
            bytes_read: AtomicU64::new(0),
        }))
    }

    pub(crate) fn after_next_view(&self, work: impl FnOnce() + Send + 'static) {
        *self.0.after_view.lock().unwrap() = Some(Box::new(work));
    }

    pub(crate) fn fail_reads(&self, count: u32, kind: ErrorKind) {
        *self.0.read_faults.lock().unwrap() = (count, kind);
    }

    pub(crate) fn fail_write(&self, kind: ErrorKind) {
        *self.0.write_fault.lock().unwrap() = Some(kind);
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
        if let Some(work) = work {
            snapshot = Box::new(Frozen::of(&*snapshot)?);
            work();
        }
        Ok(Box::new(Watched(snapshot, self.0.clone())))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        if let Some(kind) = self.0.write_fault.lock().unwrap().take() {
            return Err(Error::new(kind, "apply").because("on purpose"));
        }
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
        let mut faults = self.1.read_faults.lock().unwrap();
        if faults.0 > 0 && table == Table::Referrers {
            faults.0 -= 1;
            return Err(Error::new(faults.1, "read").because("on purpose"));
        }
        drop(faults);
        self.0.get(table, key, &mut |bytes| {
            if table == Table::Objects {
                let length = bytes.len() as u64;
                self.1.bytes_read.fetch_add(length, Ordering::Relaxed);
            }
            visit(bytes);
        })
    }

    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>> {
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
