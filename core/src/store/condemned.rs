//! Objects that the collector has condemned: still on the disk, and gone for everyone who looks at the
//! store as it was from their condemnation on.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::collect::rows::{JobState, condemned_oids};
use crate::collect::spill::SpillSet;
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::Result;
use crate::id::{Oid, Tid};

/// The members of one condemned set.
pub(super) struct Condemned {
    /// The job whose rows list them.
    pub(super) job: u64,
    /// The commit that condemned them.
    pub(super) tid: Tid,
    members: Mutex<SpillSet>,
}

impl fmt::Debug for Condemned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Condemned")
            .field("tid", &self.tid)
            .finish_non_exhaustive()
    }
}

impl Condemned {
    pub(super) fn new(job: u64, tid: Tid, members: SpillSet) -> Arc<Condemned> {
        Arc::new(Condemned {
            job,
            tid,
            members: Mutex::new(members),
        })
    }

    /// Reads the set that a job has condemned, if there is one.
    pub(super) fn load(
        view: &dyn EngineSnapshot,
        job: &JobState,
    ) -> Result<Option<Arc<Condemned>>> {
        if job.condemned == 0 {
            return Ok(None);
        }
        let mut members = SpillSet::default();
        let mut cursor = view.cursor(Table::Condemned, Key::pair(job.condemned, 0))?;
        while let Some((key, value)) = cursor.next()? {
            if key.first != job.condemned {
                break;
            }
            for oid in condemned_oids(key, value)? {
                members.insert(oid)?;
            }
        }
        Ok(Some(Condemned::new(job.condemned, job.tid, members)))
    }

    pub(super) fn contains(&self, oid: Oid) -> Result<bool> {
        self.members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(oid)
    }
}
