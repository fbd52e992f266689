//! The in-memory engine as if it were persistent, with writes that fail on request.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use durum_core::engine::{
    Backend, Capabilities, Durability, Engine, EngineSnapshot, EngineStats, Op, OptionSpec,
    Options, Reclaimed,
};
use durum_core::{Error, ErrorKind, Result};
use durum_memory::MemoryBackend;

/// Every `open` gives the same data.
#[derive(Debug)]
pub(crate) struct Kept {
    engine: Box<dyn Engine>,
    pub(crate) writes: AtomicUsize,
    /// After how many more writes one fails, and whether that one is applied all the same.
    pub(crate) fault: Mutex<Option<(usize, bool)>>,
}

#[derive(Clone, Debug)]
pub(crate) struct KeptBackend(pub Arc<Kept>);

impl KeptBackend {
    pub(crate) fn new() -> KeptBackend {
        let engine = MemoryBackend.open(Path::new(""), &Options::default());
        KeptBackend(Arc::new(Kept {
            engine: engine.unwrap(),
            writes: AtomicUsize::new(0),
            fault: Mutex::new(None),
        }))
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
        self.0.engine.snapshot()
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        assert!(ops.is_sorted_by(|left, right| left.row() < right.row()));
        let mut fault = self.0.fault.lock().unwrap();
        let failed = || Err(Error::new(ErrorKind::Io, "apply").because("on purpose"));
        match fault.as_mut() {
            Some((0, false)) => return failed(),
            Some((0, true)) => {
                self.0.engine.apply(ops, Durability::Relaxed)?;
                *fault = Some((0, false));
                return failed();
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.0.engine.apply(ops, Durability::Relaxed)?;
        self.0.writes.fetch_add(1, Ordering::SeqCst);
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
