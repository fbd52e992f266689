//! Transactions: a fixed state of all objects, and changes to copies of some.

mod commit;
mod encode;
mod read;
mod savepoint;
mod write;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use durum_core::store::{CommitId, Snapshot};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use rustc_hash::FxHashMap;

pub use savepoint::Savepoint;
pub use write::Mut;

use crate::database::{Database, Inner};
use crate::kind::{Kind, Value};
use crate::reference::Mark;

/// A fixed state of a database, with changes of one's own.
///
/// Objects are read in the state that was the newest when the transaction began, whatever others commit
/// meanwhile, with the changes of the transaction itself. [`Transaction::commit`] makes these visible to others,
/// all or none: none where another transaction has changed an object that this one has read or changed, unless the
/// changes can be [merged](crate::Persistent::merge). After [`Transaction::commit`] and
/// [`Transaction::abort`] it sees the newest state, and can be used again.
///
/// It can be sent to another thread, but not be used by two at once. It is not tied to the thread by locks, and
/// keeps nobody else from anything.
pub struct Transaction {
    db: Arc<Inner>,
    /// Taken when it is first needed.
    snapshot: OnceCell<Box<dyn Snapshot>>,
    tracking: bool,
    state: RefCell<State>,
    /// Whether something could not be read for what others have done meanwhile.
    disturbed: Cell<bool>,
    /// Whether something could not be undone.
    broken: Cell<bool>,
    /// The number of the last savepoint.
    savepoint_now: Cell<u64>,
    /// The identity of a commit of which it is not known whether it was performed.
    unsure: Option<CommitId>,
}

/// What the transaction did.
#[derive(Default)]
struct State {
    /// The version of each object that was read.
    reads: FxHashMap<Oid, Read>,
    /// New objects, and those of which there is a copy to change.
    copies: FxHashMap<Oid, Copy>,
    /// What containers note of what they have read of an object, in place of having read all of it.
    observed: FxHashMap<Oid, Box<dyn Any + Send>>,
    /// For each savepoint what was there of the objects that were changed since; the last one's at the end.
    saved: Vec<Saved>,
}

/// What was there of objects when a savepoint was made.
struct Saved {
    number: u64,
    copies: FxHashMap<Oid, Option<Copy>>,
}

#[derive(Clone, Copy)]
struct Read {
    tid: Tid,
    kind: &'static Kind,
}

impl State {
    /// An error where an object is just being changed.
    fn check_lent(&self) -> Result<()> {
        let mut copies = self.copies.iter();
        match copies.find(|(_, copy)| copy.value.is_none()) {
            Some((oid, _)) => Err(read::lent(*oid)),
            None => Ok(()),
        }
    }
}

/// An object as this transaction has made it.
#[derive(Clone)]
struct Copy {
    kind: &'static Kind,
    /// Absent while it is lent to who changes it.
    value: Option<Value>,
    /// The commit that wrote what it was made from; none for a new object.
    base: Option<Tid>,
    changed: bool,
    /// Whether it is of an earlier transaction, which did not store it.
    left: bool,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        out.debug_struct("Transaction")
            .field("tid", &self.snapshot.get().map(|snapshot| snapshot.tid()))
            .field("read", &state.reads.len())
            .field("copies", &state.copies.len())
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn begin(db: Arc<Inner>, tracking: bool) -> Result<Transaction> {
        let tx = Transaction {
            db,
            snapshot: OnceCell::new(),
            tracking,
            state: RefCell::default(),
            disturbed: Cell::new(false),
            broken: Cell::new(false),
            savepoint_now: Cell::new(0),
            unsure: None,
        };
        tx.snapshot()?;
        Ok(tx)
    }

    /// The database that it is of.
    pub fn database(&self) -> Database {
        Database {
            inner: Arc::clone(&self.db),
        }
    }

    /// The last commit whose changes it sees.
    ///
    /// # Errors
    /// Those of the store.
    pub fn tid(&self) -> Result<Tid> {
        Ok(self.snapshot()?.tid())
    }

    /// Undoes all changes since the last commit, and goes on with the newest state. Objects that were made and
    /// not stored stay usable here until the next transaction has ended, too: they are stored once an object that is
    /// stored refers to them.
    pub fn abort(&mut self) {
        self.forget();
    }

    pub(crate) fn mark(&self) -> Mark {
        self.db.mark
    }

    /// Whether anything is different from the snapshot, or may be: what is just being changed is.
    pub(crate) fn has_changes(&self) -> bool {
        let state = self.state.borrow();
        let mut copies = state.copies.values();
        copies.any(|copy| copy.changed || copy.value.is_none())
    }

    /// Whether what is fetched ahead would be kept.
    pub(crate) fn keeps(&self) -> bool {
        self.db.options.cache > 0
    }

    pub(crate) fn was_disturbed(&self) -> bool {
        self.disturbed.get()
    }

    pub(crate) fn snapshot(&self) -> Result<&dyn Snapshot> {
        if self.snapshot.get().is_none() {
            let snapshot = self.db.cache.snapshot(&*self.db.store)?;
            let _ = self.snapshot.set(snapshot);
        }
        match self.snapshot.get() {
            Some(snapshot) => Ok(&**snapshot),
            None => Err(Error::new(ErrorKind::Other, "begin a transaction")),
        }
    }

    /// Ends with the present state: only objects that are nowhere stored are kept.
    fn forget(&mut self) {
        self.snapshot = OnceCell::new();
        self.disturbed.set(false);
        self.broken.set(false);
        self.unsure = None;
        let state = self.state.get_mut();
        state.reads.clear();
        state.observed.clear();
        state.saved.clear();
        state.copies.retain(|_, copy| {
            let kept = copy.base.is_none() && copy.value.is_some() && !copy.left;
            copy.left = true;
            kept
        });
    }

    /// Notes whether a newer state would help.
    fn watched<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::TooOld
        {
            self.disturbed.set(true);
        }
        result
    }
}
