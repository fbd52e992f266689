//! A home on nodes with a copy in a store beside the program: where too few nodes can be reached it answers reads from the copy, and
//! keeps writes in an outbox until they can be delivered, for classes that want that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use durum_core::{Error, ErrorKind, Result};

use crate::class::{Class, Offline};
use crate::clock::RevisionId;
use crate::distributed::{Cut, Distributed};
use crate::embedded::Embedded;
use crate::home::{Absorbed, At, Change, Dictionary, Healed, Home, Marker, Stream, Write};
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;

/// How many revisions are taken over, or delivered, at once.
const BATCH: usize = 256;

/// How often the copy is brought up to date, unless somebody asks for it.
const FOLLOW: Duration = Duration::from_secs(5);

/// Nodes, and a copy.
#[derive(Debug)]
pub(crate) struct WithCopy {
    shared: Arc<Shared>,
    /// Dropping it ends the thread that follows.
    stop: Option<Sender<()>>,
    follower: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    nodes: Distributed,
    copy: Embedded,
    /// Whether there is something in the outbox.
    waiting: AtomicBool,
    /// One at a time delivers, or follows.
    syncing: Mutex<()>,
}

/// Whether an error says that nodes cannot be reached, or too few of them.
fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::NoQuorum)
}

impl WithCopy {
    pub(crate) fn new(nodes: Distributed, copy: Embedded) -> Result<WithCopy> {
        let waiting = AtomicBool::new(!copy.outbox(1)?.is_empty());
        let shared = Arc::new(Shared {
            nodes,
            copy,
            waiting,
            syncing: Mutex::new(()),
        });
        let (stop, stopped) = channel();
        let weak = Arc::downgrade(&shared);
        let follower = std::thread::Builder::new()
            .name("durum-copy".to_owned())
            .spawn(move || follow(&weak, &stopped))
            .map_err(|error| Error::io(error, "start a thread for a copy"))?;
        Ok(WithCopy {
            shared,
            stop: Some(stop),
            follower: Some(follower),
        })
    }
}

impl Drop for WithCopy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(follower) = self.follower.take() {
            // It has nothing to say that it has not logged.
            let _ended = follower.join();
        }
    }
}

/// Brings the copy up to date now and then.
fn follow(shared: &Weak<Shared>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(FOLLOW) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match shared.sync() {
            Err(error) if is_away(&error) => tracing::debug!(%error, "the copy waits for nodes"),
            Err(error) => tracing::warn!(%error, "the copy is not brought up to date"),
            Ok(()) => {}
        }
    }
}

impl Shared {
    /// What a class wants where too few nodes can be reached; by the copy, which knows it then, too.
    fn offline(&self, class: &str) -> Offline {
        self.copy
            .class(class)
            .map_or(Offline::Refuse, |class| class.offline)
    }

    /// Runs on the nodes, or else on the copy where the class wants that.
    fn read<T>(
        &self,
        class: &str,
        on_nodes: impl FnOnce(&Distributed) -> Result<T>,
        on_copy: impl FnOnce(&Embedded) -> Result<T>,
    ) -> Result<T> {
        self.deliver_waiting();
        match on_nodes(&self.nodes) {
            Err(error) if is_away(&error) && self.offline(class) != Offline::Refuse => {
                on_copy(&self.copy)
            }
            result => result,
        }
    }

    /// The same for a stream. Once it has begun it goes on where it is.
    fn stream<T: Send + 'static>(
        &self,
        class: &str,
        on_nodes: impl FnOnce(&Distributed) -> Result<Stream<T>>,
        on_copy: impl FnOnce(&Embedded) -> Result<Stream<T>>,
    ) -> Result<Stream<T>> {
        let begun = |nodes: &Distributed| {
            let mut stream = on_nodes(nodes)?;
            let first = stream.next().transpose()?;
            let stream: Stream<T> = Box::new(first.map(Ok).into_iter().chain(stream));
            Ok(stream)
        };
        self.read(class, begun, on_copy)
    }

    /// Says of dictionaries from the copy that they are.
    fn mark(&self, class: &str, mut found: Dictionary) -> Result<Dictionary> {
        let followed = self.copy.followed(class)?;
        found.as_of = Some(followed.map_or(SystemTime::UNIX_EPOCH, |(_, time)| time));
        Ok(found)
    }

    fn mark_all(&self, class: &str, found: Stream<Dictionary>) -> Result<Stream<Dictionary>> {
        let followed = self.copy.followed(class)?;
        let time = followed.map_or(SystemTime::UNIX_EPOCH, |(_, time)| time);
        Ok(Box::new(found.map(move |found| {
            found.map(|found| Dictionary {
                as_of: Some(time),
                ..found
            })
        })))
    }

    /// Delivers what waits in the outbox, as far as that is possible now.
    fn deliver_waiting(&self) {
        if !self.waiting.load(Ordering::Acquire) {
            return;
        }
        // Somebody who does it already is not waited for.
        let Ok(_syncing) = self.syncing.try_lock() else {
            return;
        };
        if let Err(error) = self.deliver() {
            tracing::debug!(%error, "the outbox waits");
        }
    }

    fn deliver(&self) -> Result<()> {
        loop {
            let waiting = self.copy.outbox(BATCH)?;
            let Some((class, _, _)) = waiting.first() else {
                self.waiting.store(false, Ordering::Release);
                return Ok(());
            };
            let of_class = waiting.iter().filter(|(other, _, _)| other == class);
            let (mut revisions, mut ids) = (Vec::new(), Vec::new());
            for (_, id, key) in of_class {
                let revision = self.copy.get_at(class, key, At::Revision(*id))?;
                revisions.extend(revision.map(|revision| (key.clone(), revision)));
                ids.push(*id);
            }
            self.nodes.absorb(class, revisions)?;
            self.copy.delivered(class, &ids)?;
        }
    }

    /// Delivers, and takes over what came to the nodes.
    fn sync(&self) -> Result<()> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting.load(Ordering::Acquire) {
            self.deliver()?;
        }
        for class in self.nodes.classes()? {
            // One that is being filled is nobody's yet.
            if class.offline != Offline::Refuse && class.filling.is_none() {
                self.take_over(&class)?;
            }
        }
        Ok(())
    }

    fn take_over(&self, class: &Class) -> Result<()> {
        self.copy.define(class.clone())?;
        let followed = self.copy.followed(&class.name)?;
        let mut marker = followed.map(|(marker, _)| marker);
        let begun = SystemTime::now();
        let mut batch = Vec::new();
        for change in self.nodes.changes(&class.name, marker.as_ref())? {
            let change = change?;
            marker = Some(change.marker);
            batch.push((change.key, change.revision));
            if batch.len() == BATCH {
                self.copy.absorb(&class.name, std::mem::take(&mut batch))?;
            }
        }
        self.copy.absorb(&class.name, batch)?;
        let marker = match marker {
            Some(marker) => marker,
            None => self.nodes.marker(&class.name)?,
        };
        self.copy.follow(&class.name, &marker, begun)?;
        self.copy.heal(&class.name, &mut Pace::new(None)).map(drop)
    }

    /// Keeps what could not be written until it can be delivered.
    fn keep(&self, class: &str, cut: Cut, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        if !is_away(&cut.error) || self.offline(class) != Offline::Write {
            return Err(cut.error);
        }
        let ids = match cut.made.is_empty() {
            true => self.copy.write_out(class, writes)?,
            // Some of these can be on the nodes already.
            false => self.copy.absorb_out(class, cut.made)?,
        };
        self.waiting.store(true, Ordering::Release);
        Ok(ids)
    }
}

impl Home for WithCopy {
    fn define(&self, class: Class) -> Result<()> {
        self.shared.nodes.define(class.clone())?;
        match class.offline {
            Offline::Refuse => Ok(()),
            Offline::Read | Offline::Write => self.shared.copy.define(class),
        }
    }

    fn admit_unfinished(&self) {
        self.shared.nodes.admit_unfinished();
    }

    fn classes(&self) -> Result<Vec<Class>> {
        match self.shared.nodes.classes() {
            Err(error) if is_away(&error) => self.shared.copy.classes(),
            classes => classes,
        }
    }

    fn class(&self, name: &str) -> Result<Class> {
        self.shared
            .read(name, |nodes| nodes.class(name), |copy| copy.class(name))
    }

    fn write(&self, class: &str, writes: Vec<Write>) -> Result<Vec<RevisionId>> {
        self.shared.deliver_waiting();
        match self.shared.nodes.write_or_cut(class, writes.clone()) {
            Ok(ids) => Ok(ids),
            Err(cut) => self.shared.keep(class, *cut, writes),
        }
    }

    fn absorb(&self, class: &str, revisions: Vec<(String, Revision)>) -> Result<Absorbed> {
        self.shared.deliver_waiting();
        self.shared.nodes.absorb(class, revisions)
    }

    fn newest(&self, class: &str, key: &str) -> Result<Option<Dictionary>> {
        let on_copy = |copy: &Embedded| {
            let found = copy.newest(class, key)?;
            found
                .map(|found| self.shared.mark(class, found))
                .transpose()
        };
        self.shared
            .read(class, |nodes| nodes.newest(class, key), on_copy)
    }

    fn get_at(&self, class: &str, key: &str, at: At) -> Result<Option<Revision>> {
        let on_nodes = |nodes: &Distributed| nodes.get_at(class, key, at);
        self.shared
            .read(class, on_nodes, |copy| copy.get_at(class, key, at))
    }

    fn history(&self, class: &str, key: &str) -> Result<Stream<Revision>> {
        let on_nodes = |nodes: &Distributed| nodes.history(class, key);
        self.shared
            .stream(class, on_nodes, |copy| copy.history(class, key))
    }

    fn select(&self, class: &str, index: &str, query: &Query) -> Result<Stream<Dictionary>> {
        let on_nodes = |nodes: &Distributed| nodes.select(class, index, query);
        self.shared.stream(class, on_nodes, |copy| {
            self.shared
                .mark_all(class, copy.select(class, index, query)?)
        })
    }

    fn all(&self, class: &str, from: &str, deleted: bool) -> Result<Stream<Dictionary>> {
        let on_nodes = |nodes: &Distributed| nodes.all(class, from, deleted);
        self.shared.stream(class, on_nodes, |copy| {
            self.shared.mark_all(class, copy.all(class, from, deleted)?)
        })
    }

    /// Markers of the copy would mean nothing to the nodes.
    fn changes(&self, class: &str, since: Option<&Marker>) -> Result<Stream<Change>> {
        self.shared.nodes.changes(class, since)
    }

    fn marker(&self, class: &str) -> Result<Marker> {
        self.shared.nodes.marker(class)
    }

    fn heal(&self, class: &str, pace: &mut Pace) -> Result<Healed> {
        self.shared.sync()?;
        self.shared.nodes.heal(class, pace)
    }
}
