//! Reading a store that another process writes: for engines that are servers, where one process is the writer and
//! others may look.
//!
//! The views of such an engine, see [`RemotePlaces::follow`](crate::place::RemotePlaces::follow), stay as they are: a
//! snapshot of the store is one of them, with the state that it shows. Nothing that was read before is relied on, since
//! nobody tells of commits: whoever asks for a snapshot gets one that was opened afterwards, or one that shows the same
//! commit. Those who ask at the same time share it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::condemned::Condemned;
use super::dictionary;
use super::local::{LocalStore, Shared};
use super::meta::State;
use super::open::StoreOptions;
use super::queue::Queue;
use super::views::View;
use crate::collect::rows::JobState;
use crate::engine::{Backend, EngineSnapshot};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::id::Tid;
use crate::place::Place;

/// A view is shared no longer than this. A database cannot forget what was deleted since one was opened.
const SHARED_MAX: Duration = Duration::from_secs(60);

/// Views of older commits that are kept for snapshots; beyond, the oldest are given up.
const OLDER_MAX: usize = 32;

/// A view of an older commit is given up then.
const OLDER_AGE_MAX: Duration = Duration::from_secs(3600);

const READ: &str = "read from a snapshot";

/// What there is to a store that another process writes.
#[derive(Default)]
pub(super) struct Follow {
    /// Whoever asks while somebody looks is answered by the next look.
    asked: Queue<(), Arc<Followed>>,
    views: Mutex<Views>,
}

#[derive(Default)]
struct Views {
    current: Option<Arc<Followed>>,
    /// Those before it, as long as there are snapshots of them; the oldest first.
    older: VecDeque<Weak<Followed>>,
}

/// A view, and what it shows.
pub(super) struct Followed {
    pub(super) state: State,
    pub(super) condemned: Option<Arc<Condemned>>,
    opened: Instant,
    /// `None` once it is given up. Whoever reads from it has it for so long.
    view: Mutex<Option<View>>,
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, Option<View>> {
        let held = self.view.lock();
        held.unwrap_or_else(|poisoned| {
            // A read has panicked; nothing else is done with the view.
            let mut held = poisoned.into_inner();
            *held = None;
            self.view.clear_poison();
            held
        })
    }

    /// Runs `read` on the view.
    ///
    /// # Errors
    /// `TooOld` where it was given up, or its connection was lost; those of `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let mut held = self.lock();
        let Some(view) = &*held else {
            return Err(too_old(
                self.state.tid,
                "it was given up under later commits",
            ));
        };
        match read(view) {
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                *held = None;
                Err(too_old(
                    self.state.tid,
                    &format!("the view is lost: {error}"),
                ))
            }
            result => result,
        }
    }

    fn give_up(&self) {
        let view = self.lock().take();
        drop(view);
    }

    fn is_given_up(&self) -> bool {
        // Somebody who reads from it has it.
        self.view.try_lock().is_ok_and(|held| held.is_none())
    }
}

fn too_old(tid: Tid, why: &str) -> Error {
    Error::new(ErrorKind::TooOld, READ)
        .because(format!(
            "the snapshot of commit {tid} is kept no longer: {why}"
        ))
        .hint("Take a new snapshot, and read faster or in smaller parts.")
}

impl Views {
    /// Has `followed` shown from now on.
    fn put(&mut self, followed: Arc<Followed>) {
        let before = self.current.replace(followed);
        self.older.retain(|older| older.strong_count() > 0);
        self.older.extend(before.as_ref().map(Arc::downgrade));
    }

    /// Takes out what is kept no longer, to be given up.
    fn expired(&mut self) -> Vec<Arc<Followed>> {
        let excess = self.older.len().saturating_sub(OLDER_MAX);
        let mut expired: Vec<_> = self.older.drain(..excess).collect();
        let aged = |older: &Weak<Followed>| {
            let older = older.upgrade();
            older.is_none_or(|older| older.opened.elapsed() > OLDER_AGE_MAX)
        };
        while self.older.front().is_some_and(aged) {
            expired.extend(self.older.pop_front());
        }
        expired.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Follow {
    fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A view that shows all that was committed before this call, where another process writes the store.
    ///
    /// # Errors
    /// Those of the engine's reading; `Mismatch` where the store has lost commits that were seen before.
    pub(super) fn look(&self, follow: &Follow) -> Result<Arc<Followed>> {
        follow.asked.submit((), |asked| {
            let found = self.look_once(follow);
            let each = asked.iter().map(|()| match &found {
                Ok(followed) => Ok(Arc::clone(followed)),
                Err(error) => Err(error.duplicate()),
            });
            each.collect()
        })
    }

    fn look_once(&self, follow: &Follow) -> Result<Arc<Followed>> {
        let mut view = self.view()?;
        view.exact = true;
        let engine = view.engine()?;
        // All that is read below for a store in which little has happened.
        engine.read_ahead(&[State::key(), JobState::row(), dictionary::first()])?;
        let state = State::require(engine)?;
        let before = follow.views().current.clone();
        if let Some(before) = &before {
            let seen = before.state.tid;
            if state.tid < seen {
                return Err(went_back(state.tid, seen));
            }
            let is_same = state.tid == seen && before.opened.elapsed() < SHARED_MAX;
            if is_same && !before.is_given_up() {
                return Ok(Arc::clone(before));
            }
        }
        if self.codecs.newest_dictionary().is_none() {
            dictionary::load_first(engine, &self.codecs)?;
        }
        let job = JobState::load(engine)?;
        let condemned = before.as_ref().and_then(|before| before.condemned.clone());
        let condemned = match condemned.filter(|known| known.job == job.condemned) {
            None => Condemned::load(engine, &job)?,
            // Of what it condemned some may have been deleted since: that is as good.
            known => known,
        };
        engine.read_ahead(&[])?;
        let followed = Arc::new(Followed {
            state,
            condemned,
            opened: Instant::now(),
            view: Mutex::new(Some(view)),
        });
        self.show(follow, &followed, &job);
        Ok(followed)
    }

    /// Has a newer state known to all.
    fn show(&self, follow: &Follow, followed: &Arc<Followed>, job: &JobState) {
        let state = followed.state;
        let expired = {
            let mut views = follow.views();
            views.put(Arc::clone(followed));
            views.expired()
        };
        expired.iter().for_each(|older| {
            tracing::warn!(tid = %older.state.tid, "gave up a snapshot that grew too old");
            older.give_up();
        });
        let is_new = self.published().tid != state.tid;
        *self.published() = state;
        self.set_condemned(followed.condemned.clone());
        self.condemned_left.store(job.left, Ordering::Relaxed);
        if is_new {
            self.superseded.publish(state.tid, Vec::new());
            self.superseded.make_visible(state.tid);
            self.tell(state.tid);
        }
    }
}

fn went_back(found: Tid, seen: Tid) -> Error {
    Error::new(ErrorKind::Mismatch, "follow the store")
        .because(format!("its last commit is {found}, and {seen} was seen before"))
        .hint("The database has lost commits, as where a standby that was behind became its primary. Open the store anew.")
}

impl LocalStore {
    /// Opens the store at `path` only to be read, while another process may write it: where the engine is a server.
    /// It does not keep others from writing it, and shows their commits when it is asked for a snapshot. What would
    /// write fails with `ReadOnly`.
    ///
    /// # Errors
    /// `Unsupported` where the engine keeps its stores in directories; `NotFound`; those of the engine; `Damaged`.
    pub fn follow(
        backend: Arc<dyn Backend>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<LocalStore> {
        let place = Place::follow(&*backend, path, &options.engine)?;
        let options = StoreOptions {
            rebuild_state: false,
            ..options.clone()
        };
        LocalStore::at_place(&*backend, place, &options, Some(Follow::default())).at_path(path)
    }

    /// Whether another process writes the store, and this one only reads it.
    pub fn follows(&self) -> bool {
        self.shared.follow.is_some()
    }

    /// Looks whether another process has committed, where this one only reads the store; those are told who have asked
    /// for it ([`LocalStore::tell_commits`]). Elsewhere nothing is to be done.
    ///
    /// # Errors
    /// Those of the engine's reading; `Mismatch` where the store has lost commits that were seen before: it must be
    /// opened anew.
    pub fn refresh(&self) -> Result<()> {
        match &self.shared.follow {
            Some(follow) => self.shared.look(follow).map(drop),
            None => Ok(()),
        }
    }
}

impl Shared {
    /// Reads what is newest.
    pub(super) fn with_newest<T>(
        &self,
        read: impl FnOnce(&dyn EngineSnapshot) -> Result<T>,
    ) -> Result<T> {
        match &self.follow {
            Some(follow) => self.look(follow)?.read(|view| read(view.engine()?)),
            None => read(self.view()?.engine()?),
        }
    }
}
