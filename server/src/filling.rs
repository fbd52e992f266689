//! Filling a store through the server: what a migration brings goes into a store that appears, in the place
//! of the empty one that was served, when it is complete.
//!
//! A thread of its own owns the unfinished store and writes to it. Where the connection of who fills it ends
//! before, what was written is left for an attempt that goes on with it, as by a migration in one process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durum_core::config::StoreSettings;
use durum_core::engine::Registry;
use durum_core::record::{Codec, Codecs, Record};
use durum_core::store::{ImportSummary, Importer, LocalStore, StagedStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};

use crate::hub::{Hub, Served};
use crate::metrics::Metrics;
use crate::protocol::bytes::Body;
use crate::protocol::import::Begun;
use crate::protocol::records::take_scanned;

/// Steps that may wait to be done.
const STEPS_MAX: usize = 4;

/// From where a store is opened, and made anew.
#[derive(Clone, Debug)]
pub struct Home {
    /// The engines.
    pub registry: Registry,
    /// Which one, where, and how.
    pub settings: StoreSettings,
}

impl Home {
    /// Whether its engine is a server.
    pub(crate) fn is_on_server(&self) -> bool {
        let backend = self.registry.get(&self.settings.backend);
        backend.is_ok_and(|backend| backend.remote().is_some())
    }

    /// Opens the store only to be read, while another process may write it.
    pub(crate) fn follow(&self) -> Result<LocalStore> {
        self.registry.follow(&self.settings)
    }

    /// Opens the store, or creates it where there is none; `None` where one is left that is to be filled.
    pub(crate) fn open(&self, read_only: bool) -> Result<Option<LocalStore>> {
        match self.registry.open(&self.settings) {
            Err(error) if error.kind() == ErrorKind::NotFound && !read_only => {}
            opened => return opened.map(Some),
        }
        match self.registry.resume(&self.settings) {
            Ok(Some((left, _))) => {
                left.leave();
                Ok(None)
            }
            // Whatever it is: it cannot be gone on with.
            Ok(None) => self.registry.create(&self.settings).map(Some),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.registry.create(&self.settings).map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

/// What is to be done with the unfinished store; each is answered.
pub(crate) enum Step {
    /// Begins to take objects: with the first note, and the memory for sorting references. How many are there
    /// already, and where the next may begin.
    Fill(Vec<u8>, usize, oneshot::Sender<Result<(u64, Oid)>>),
    /// Takes objects, and the note that goes with them. Whether anything has been written.
    Push(Vec<u8>, Vec<u8>, oneshot::Sender<Result<bool>>),
    /// Has everything written that was taken. Whether anything has been.
    Settle(oneshot::Sender<Result<bool>>),
    /// No more objects come.
    Finish(Finish, oneshot::Sender<Result<ImportSummary>>),
    /// Has the store appear.
    Publish(oneshot::Sender<Result<()>>),
    /// Has it removed.
    Discard(oneshot::Sender<Result<()>>),
}

impl Step {
    fn refuse(self) {
        match self {
            Step::Fill(_, _, reply) => drop(reply.send(Err(out_of_turn()))),
            Step::Push(_, _, reply) | Step::Settle(reply) => drop(reply.send(Err(out_of_turn()))),
            Step::Finish(_, reply) => drop(reply.send(Err(out_of_turn()))),
            Step::Publish(reply) | Step::Discard(reply) => drop(reply.send(Err(out_of_turn()))),
        }
    }
}

/// What is known at the end.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) tid: Tid,
    pub(crate) oids_from: Oid,
    /// The last note, on both sides of the number of references that lead nowhere.
    pub(crate) note: (Vec<u8>, Vec<u8>),
}

/// The side of who fills a store.
#[derive(Debug)]
pub(crate) struct Filling {
    steps: mpsc::Sender<Step>,
    reader: Reader,
}

/// The store to be read once it is complete, until it appears.
type Reader = Arc<Mutex<Option<Arc<Served>>>>;

impl Filling {
    /// Begins to fill a store; `resumes`: where there is one that was left, that. The server has no other now.
    ///
    /// `alone` is given back when the server has one again, or it is clear that it has none.
    pub(crate) async fn begin(
        hub: Arc<Hub>,
        home: Home,
        resumes: bool,
        alone: OwnedMutexGuard<()>,
    ) -> Result<(Filling, Begun)> {
        let (steps, received) = mpsc::channel(STEPS_MAX);
        let (begun, begins) = oneshot::channel();
        let reader = Reader::default();
        let shared = reader.clone();
        let back = (hub.clone(), home.clone());
        let fill = move || {
            let filler = Filler {
                hub: &hub,
                home: &home,
                reader: shared,
            };
            filler.run(resumes, received, begun);
            drop(alone);
        };
        let thread = std::thread::Builder::new().name("durum-filling".to_owned());
        if let Err(error) = thread.spawn(fill) {
            open_anew(&back.0, &back.1).await;
            return Err(Error::io(error, "fill the store"));
        }
        let begun = begins.await.map_err(|_| failed())??;
        Ok((Filling { steps, reader }, begun))
    }

    /// Has a step done, after those before it; `reply` says what becomes of it. Waits where there are enough
    /// of them already.
    pub(crate) async fn enqueue(&self, step: Step) -> Result<()> {
        self.steps.send(step).await.map_err(|_| failed())
    }

    /// The store to be read, once it is complete.
    pub(crate) fn reader(&self) -> Option<Arc<Served>> {
        lock(&self.reader).clone()
    }

    /// Gives the store up for reading.
    pub(crate) fn close_reader(&self) {
        if let Some(reader) = lock(&self.reader).take() {
            reader.retire(Vacant::Filling);
        }
    }
}

/// The thread's side.
struct Filler<'a> {
    hub: &'a Arc<Hub>,
    home: &'a Home,
    reader: Reader,
}

impl Filler<'_> {
    fn run(
        &self,
        resumes: bool,
        mut steps: mpsc::Receiver<Step>,
        begun: oneshot::Sender<Result<Begun>>,
    ) {
        let left = match self.begin(resumes) {
            Ok((staged, first)) => {
                let complete = first.objects > 0;
                let _ = begun.send(Ok(first));
                self.work(staged, complete, &mut steps)
            }
            Err(error) => {
                let _ = begun.send(Err(error));
                None
            }
        };
        lock(&self.reader).take();
        // After a failed write nobody knows what there is, unless it is read back: and that it is.
        let path = left.and_then(StagedStore::leave);
        if self.hub.served().is_err() {
            self.hub.open_anew(self.home);
        }
        if let Some(path) = path {
            tracing::info!(path = %path.display(), "an unfinished store is left, to be gone on with");
        }
    }

    fn begin(&self, resumes: bool) -> Result<(StagedStore, Begun)> {
        let (registry, settings) = (&self.home.registry, &self.home.settings);
        let left = match resumes {
            true => match registry.resume(settings) {
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    tracing::warn!(reason = %error, "what was left is not intact: it begins anew");
                    None
                }
                left => left?,
            },
            false => None,
        };
        let (staged, note) = match left {
            Some((staged, note)) => (staged, Some(note)),
            None => (registry.stage(settings)?, None),
        };
        match self.look_at(&staged, note) {
            Ok(begun) => Ok((staged, begun)),
            Err(error) => {
                staged.leave();
                Err(error)
            }
        }
    }

    fn look_at(&self, staged: &StagedStore, note: Option<Vec<u8>>) -> Result<Begun> {
        let objects = staged.store().stats()?.objects;
        // One that is complete is only to be looked at, and to appear.
        if objects > 0 {
            self.let_read(staged)?;
        }
        Ok(Begun {
            codec: staged.store().codec(),
            objects,
            part_bytes_max: self.hub.settings.limits.request_bytes_max,
            note,
        })
    }

    /// Does what it is told; the store, where it is to be left. Only one that is complete may appear.
    fn work(
        &self,
        staged: StagedStore,
        mut complete: bool,
        steps: &mut mpsc::Receiver<Step>,
    ) -> Option<StagedStore> {
        while let Some(step) = steps.blocking_recv() {
            match step {
                Step::Fill(note, memory, reply) if !complete => {
                    let finished = self.fill(&staged, (note, memory), reply, steps);
                    let Some(Finished { summary, reply }) = finished else {
                        return Some(staged);
                    };
                    let shown = summary.and_then(|summary| {
                        self.let_read(&staged)?;
                        Ok(summary)
                    });
                    complete = shown.is_ok();
                    let _ = reply.send(shown);
                    if !complete {
                        return Some(staged);
                    }
                }
                Step::Publish(reply) if complete => {
                    let appeared = self.publish(staged);
                    let _ = reply.send(appeared);
                    return None;
                }
                Step::Discard(reply) => {
                    lock(&self.reader).take();
                    drop(staged);
                    let _ = reply.send(Ok(()));
                    return None;
                }
                other => other.refuse(),
            }
        }
        Some(staged)
    }

    /// Takes objects to the end; `None` where that does not come.
    fn fill(
        &self,
        staged: &StagedStore,
        (note, memory): (Vec<u8>, usize),
        reply: oneshot::Sender<Result<(u64, Oid)>>,
        steps: &mut mpsc::Receiver<Step>,
    ) -> Option<Finished> {
        let importer = match staged.resumable_importer(note, memory, &|_| Ok(())) {
            Ok(importer) => importer,
            Err(error) => {
                let _ = reply.send(Err(error));
                return None;
            }
        };
        let next = importer.last().map_or(Oid::ROOT, Oid::next);
        let _ = reply.send(Ok((importer.objects(), next)));
        let mut taking = Taking {
            kept: importer.last().is_some(),
            importer,
            staged,
            metrics: &self.hub.metrics,
            none: Codecs::default(),
            failed: None,
        };
        while let Some(step) = steps.blocking_recv() {
            match step {
                Step::Push(note, records, reply) => {
                    let _ = reply.send(taking.push(note, &records));
                }
                Step::Settle(reply) => {
                    let _ = reply.send(taking.settle());
                }
                Step::Finish(finish, reply) => {
                    let summary = taking.finish(&finish);
                    return Some(Finished { summary, reply });
                }
                other => other.refuse(),
            }
        }
        // Nobody goes on with it now.
        let _ = taking.settle();
        None
    }

    /// Lets the complete store be read.
    fn let_read(&self, staged: &StagedStore) -> Result<()> {
        let served = self.hub.serve_of(staged.reader())?;
        *lock(&self.reader) = Some(Arc::new(served));
        Ok(())
    }

    fn publish(&self, staged: StagedStore) -> Result<()> {
        let store = staged.publish()?;
        self.hub.serve(store)
    }
}

/// What an import came to, and who wants to know.
struct Finished {
    summary: Result<ImportSummary>,
    reply: oneshot::Sender<Result<ImportSummary>>,
}

/// Taking objects.
struct Taking<'a> {
    importer: Importer<'a>,
    staged: &'a StagedStore,
    metrics: &'a Metrics,
    kept: bool,
    none: Codecs,
    /// Why nothing more is taken: parts that come after one that failed must not be written.
    failed: Option<Error>,
}

impl Taking<'_> {
    fn push(&mut self, note: Vec<u8>, records: &[u8]) -> Result<bool> {
        self.check()?;
        let taken = self.take(note, records);
        self.failed = taken.as_ref().err().map(Error::duplicate);
        taken
    }

    fn check(&self) -> Result<()> {
        self.failed
            .as_ref()
            .map_or(Ok(()), |error| Err(error.duplicate()))
    }

    fn take(&mut self, note: Vec<u8>, records: &[u8]) -> Result<bool> {
        let length_max = self.staged.store().engine().value_bytes_max;
        let mut body = Body::new(records);
        while !body.is_empty() {
            let (oid, stored) = take_scanned(&mut body).ok_or_else(malformed)?;
            let record = Record::parse(oid, stored)?;
            let refs: Vec<Oid> = record.refs().collect();
            let payload = record.payload();
            // A dictionary is its store's own.
            if payload.codec() == Codec::ZstdDict {
                return Err(malformed());
            }
            // What it says may be far more than it has.
            if payload.data_length() > length_max {
                return Err(Error::new(ErrorKind::TooLarge, "fill the store")
                    .with_oid(oid)
                    .because(format!(
                        "it takes {} bytes, the engine {length_max}",
                        payload.data_length()
                    )));
            }
            self.importer
                .push(oid, record.tid, &refs, payload, &self.none)?;
            self.metrics.filled.add(1);
            self.metrics.filled_bytes.add(stored.len() as u64);
        }
        let written = self.importer.checkpoint(note)?;
        self.keep(written)
    }

    fn settle(&mut self) -> Result<bool> {
        self.check()?;
        let written = self.importer.settle()?;
        self.keep(written)
    }

    /// Sees to it that the store is not removed that something was written to.
    fn keep(&mut self, written: bool) -> Result<bool> {
        if written && !self.kept {
            // Once only: a sync that is tried again after a failure says nothing of what came before.
            self.kept = true;
            let kept = self.staged.keep();
            kept.map_err(|error| self.importer.explain(error))?;
        }
        Ok(written)
    }

    fn finish(self, finish: &Finish) -> Result<ImportSummary> {
        self.check()?;
        let note = |summary: &ImportSummary| {
            let dangling = summary.dangling.to_string();
            let (head, tail) = &finish.note;
            Some([head.as_slice(), dangling.as_bytes(), tail].concat())
        };
        self.importer
            .finish_watched(finish.tid, finish.oids_from, &note, &|| {}, &|_| Ok(()))
    }
}

/// Why there is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vacant {
    /// It is being filled.
    Filling,
    /// It was begun to be filled, and is to be gone on with.
    Left,
    /// It could not be opened again.
    Failed,
    /// It is only to be read, and is not there yet, or has to be opened anew.
    Awaited,
}

impl Vacant {
    /// What is said to who wants to use the store.
    pub(crate) fn error(self) -> Error {
        let error = Error::new(ErrorKind::InUse, "use the store of the server");
        match self {
            Vacant::Filling => error
                .because("a migration is filling it")
                .hint("Try again when that is done."),
            Vacant::Left => error
                .because("a migration that was to fill it was cut off")
                .hint("Go on with it: the same `durum migrate` with `--resume`. Or begin anew: without."),
            Vacant::Failed => error
                .because("it could not be opened again after a migration was cut off")
                .hint("The server's log says why."),
            Vacant::Awaited => error
                .because("it cannot be read yet")
                .hint("Try again; the server's log says what it waits for."),
        }
    }
}

/// Waits until a store is to be let go of; what those are told who use it.
pub(crate) async fn retired(retirement: &mut watch::Receiver<Option<Vacant>>) -> Error {
    let why = match retirement.wait_for(Option::is_some).await {
        Ok(why) => *why,
        Err(_) => None,
    };
    match why {
        Some(why) => why.error(),
        // There is nobody any more who could say so.
        None => std::future::pending().await,
    }
}

async fn open_anew(hub: &Arc<Hub>, home: &Home) {
    let (hub, home) = (hub.clone(), home.clone());
    let _ = tokio::task::spawn_blocking(move || hub.open_anew(&home)).await;
}

fn lock(reader: &Reader) -> std::sync::MutexGuard<'_, Option<Arc<Served>>> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn failed() -> Error {
    Error::new(ErrorKind::Other, "fill the store")
        .because("that has ended; the server's log says more")
}

fn out_of_turn() -> Error {
    Error::new(ErrorKind::Usage, "fill the store").because("this is not the time for that")
}

fn malformed() -> Error {
    Error::new(ErrorKind::Usage, "fill the store").because("what was sent is malformed")
}

/// Takes the store that is served away, if it is empty and nobody uses it.
pub(crate) async fn clear(hub: &Arc<Hub>, home: &Home) -> Result<()> {
    let Some(served) = hub.take_away()? else {
        return Ok(());
    };
    let busy = || {
        Error::new(ErrorKind::InUse, "fill the store")
            .because("others use it")
            .hint("Try again when they are done.")
    };
    // Those who use it are told to let go of it. Whoever does not goes on with it, and so do others.
    let served = match alone(served).await {
        Ok(served) => served,
        Err(served) => {
            hub.give_back(served);
            return Err(busy());
        }
    };
    let store = match alone(served.store).await {
        Ok(store) => store,
        Err(store) => {
            hub.serve_shared(store)?;
            return Err(busy());
        }
    };
    match tokio::task::spawn_blocking(move || store.remove_empty()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err((error, back))) => {
            match back {
                Some(store) => hub.serve(store)?,
                None => open_anew(hub, home).await,
            }
            Err(error)
        }
        Err(_) => {
            open_anew(hub, home).await;
            Err(failed())
        }
    }
}

/// What is shared, once nobody else has it; as it is, where that takes too long.
async fn alone<T>(mut shared: Arc<T>) -> Result<T, Arc<T>> {
    const WAIT: Duration = Duration::from_millis(5);
    const TRIES: u32 = 2000;
    for _ in 0..TRIES {
        match Arc::try_unwrap(shared) {
            Ok(alone) => return Ok(alone),
            Err(still) => shared = still,
        }
        tokio::time::sleep(WAIT).await;
    }
    Err(shared)
}
