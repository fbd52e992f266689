//! A database: a store of typed objects, and their cache.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use durum_core::engine::Durability;
use durum_core::store::{SessionKind, Store};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId, StoreId};

use crate::cache::Cache;
use crate::options::Options;
use crate::reference::{MARK_MAX, Mark};
use crate::transaction::Transaction;
use crate::types::Types;

/// OIDs that are taken from the store at once.
const OIDS_AT_ONCE: u32 = 256;

/// A store of typed objects. It can be cloned and used by many threads at once.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Options,
    pub(crate) durability: Durability,
    pub(crate) cache: Cache,
    pub(crate) types: Types,
    pub(crate) mark: Mark,
    session: Mutex<Session>,
    _marked: Marked,
}

/// Whose the OIDs are that new objects get.
#[derive(Debug, Default)]
struct Session {
    /// Begun when something is written first: who may only read gets none.
    id: Option<SessionId>,
    oids: VecDeque<Oid>,
}

/// A mark that nobody else has while this lives.
#[derive(Debug)]
struct Marked(Mark);

/// Marks are given out in turn, so that one which was given back is not used again soon.
static MARKS: LazyLock<Mutex<VecDeque<u16>>> =
    LazyLock::new(|| Mutex::new((1..=MARK_MAX).collect()));

impl Marked {
    fn take() -> Result<Marked> {
        let mark = MARKS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        match mark {
            Some(mark) => Ok(Marked(Mark(mark))),
            None => Err(Error::new(ErrorKind::Usage, "open a database")
                .because(format!("this process has {MARK_MAX} of them open"))
                .hint("Close some: a database can be shared by cloning it.")),
        }
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push_back(self.0.0);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What was committed and not linked is garbage from here on; where the store cannot say so now, it
        // finds that out when it is opened next.
        let session = self.session().id;
        if let Some(session) = session {
            let _ = self.store.end_session(session);
        }
    }
}

impl Session {
    fn begin(&mut self, store: &dyn Store) -> Result<SessionId> {
        let begun = match self.id {
            Some(id) => id,
            None => store.session(SessionKind::Client)?,
        };
        self.id = Some(begun);
        Ok(begun)
    }
}

impl Inner {
    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that commits are of.
    pub(crate) fn session_id(&self) -> Result<SessionId> {
        self.session().begin(&*self.store)
    }

    /// An OID for a new object.
    pub(crate) fn new_oid(&self) -> Result<Oid> {
        let mut session = self.session();
        if session.oids.is_empty() {
            let id = session.begin(&*self.store)?;
            session.oids = self.store.new_oids(id, OIDS_AT_ONCE)?.into();
        }
        session.oids.pop_front().ok_or_else(|| {
            Error::new(ErrorKind::Other, "make a new object")
                .because("the store handed out no OIDs")
        })
    }

    /// Forgets the OIDs that were handed out: a server that was restarted does not know them any more.
    pub(crate) fn forget_oids(&self) {
        self.session().oids.clear();
    }
}

impl Database {
    /// The typed objects of `store`. One without objects becomes a database.
    ///
    /// # Errors
    /// `Unreadable` where the store's objects are others; those of the store.
    pub fn new(store: Arc<dyn Store>) -> Result<Database> {
        Database::with_options(store, Options::default())
    }

    /// As [`Database::new`], with options.
    ///
    /// # Errors
    /// As [`Database::new`].
    pub fn with_options(store: Arc<dyn Store>, options: Options) -> Result<Database> {
        let marked = Marked::take()?;
        let durability = options.durability.unwrap_or_else(|| store.durability());
        let mut session = Session::default();
        let types = Types::open(&*store, marked.0, durability, || session.begin(&*store))?;
        Ok(Database {
            inner: Arc::new(Inner {
                cache: Cache::new(options.cache),
                store,
                options,
                durability,
                types,
                mark: marked.0,
                session: Mutex::new(session),
                _marked: marked,
            }),
        })
    }

    /// Begins a transaction, which sees the newest state.
    ///
    /// # Errors
    /// Those of the store.
    pub fn begin(&self) -> Result<Transaction> {
        Transaction::begin(Arc::clone(&self.inner), true)
    }

    /// Begins a transaction that only reads. It notes nothing of what it has read, so that it takes no memory
    /// however much that is.
    ///
    /// # Errors
    /// Those of the store.
    pub fn view(&self) -> Result<Transaction> {
        Transaction::begin(Arc::clone(&self.inner), false)
    }

    /// The store underneath.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The identity of the store underneath.
    pub fn id(&self) -> StoreId {
        self.inner.store.id()
    }

    /// The memory that the cache takes, in bytes, as it estimates that.
    pub fn cached(&self) -> u64 {
        self.inner.cache.bytes()
    }
}

#[cfg(feature = "open")]
mod open {
    use std::path::Path;
    use std::sync::Arc;

    use durum_core::config::{Config, Location};
    use durum_core::store::Store;
    use durum_core::{ErrorKind, Result};
    use durum_server::client::RemoteStore;

    use super::Database;

    impl Database {
        /// Opens the database that a URL names: a store, `lmdb:PATH` or the like, or one behind a storage
        /// server, `durus+tcp://HOST:PORT` or the like.
        ///
        /// # Errors
        /// `Usage` for a bad URL; as the store's opening, and [`Database::new`].
        pub fn open(url: &str) -> Result<Database> {
            let registry = durum_backends::registry();
            let store: Arc<dyn Store> = match registry.parse(url)? {
                Location::Server(server) => Arc::new(RemoteStore::connect(&server)?),
                _ => Arc::new(registry.open(&registry.parse_store(url)?)?),
            };
            Database::new(store)
        }

        /// Creates the store that a URL names, and a database in it.
        ///
        /// # Errors
        /// `Usage` for a bad URL; as the store's creation.
        pub fn create(url: &str) -> Result<Database> {
            let registry = durum_backends::registry();
            Database::new(Arc::new(registry.create(&registry.parse_store(url)?)?))
        }

        /// Opens the database that a URL names; where there is no store yet, it is created.
        ///
        /// # Errors
        /// As [`Database::open`] and [`Database::create`].
        pub fn open_or_create(url: &str) -> Result<Database> {
            match Database::open(url) {
                Err(error) if error.kind() == ErrorKind::NotFound => match Database::create(url) {
                    // Another thread was faster.
                    Err(error) if error.kind() == ErrorKind::Exists => Database::open(url),
                    other => other,
                },
                other => other,
            }
        }

        /// Opens the store that a config file names, as [`Config::find`] looks for it.
        ///
        /// # Errors
        /// `Usage` for a bad file; as [`Database::open`].
        pub fn open_config(file: Option<&Path>) -> Result<Database> {
            let registry = durum_backends::registry();
            Database::new(Arc::new(registry.open(&Config::find(file)?.store)?))
        }
    }
}
