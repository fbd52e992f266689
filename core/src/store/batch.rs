//! What a commit consists of, and what its caller gets back.

use crate::collect::Collected;
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};
use crate::record::{Codec, normalize_refs};

/// The identity that a client gives a commit, so that it can ask later whether it happened.
pub type CommitId = [u8; 16];

/// Changes to objects that are committed together or not at all.
///
/// A batch can be committed again after an error that [`Error::retry`] names as worth it.
///
/// ```
/// use durum_core::{Oid, store::Batch};
/// let mut batch = Batch::new();
/// batch.create(Oid::ROOT, b"root", [Oid(1)]);
/// batch.create(Oid(1), b"leaf", []);
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) session: SessionId,
    pub(super) identity: Option<CommitId>,
    pub(super) codec: Option<Codec>,
    pub(super) writes: Vec<Write>,
    pub(super) expects: Vec<(Oid, Tid)>,
    pub(super) incarnation: Option<u64>,
}

/// A new object, or a new state of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The object.
    pub oid: Oid,
    /// Whether it is a new one.
    pub create: bool,
    /// Its state.
    pub data: Vec<u8>,
    /// What it refers to: ascending, each once, itself left out.
    pub refs: Vec<Oid>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl Batch {
    /// An empty batch of the process's own session.
    pub fn new() -> Batch {
        Batch::of(SessionId::EMBEDDED)
    }

    /// An empty batch of `session`.
    pub fn of(session: SessionId) -> Batch {
        Batch {
            session,
            identity: None,
            codec: None,
            writes: Vec::new(),
            expects: Vec::new(),
            incarnation: None,
        }
    }

    /// Adds a new object. Its OID must have been handed out to the session and not been used; the
    /// root's may be used by anyone while there is no root. References to itself and repeated ones are
    /// dropped.
    pub fn create(
        &mut self,
        oid: Oid,
        data: impl Into<Vec<u8>>,
        refs: impl IntoIterator<Item = Oid>,
    ) -> &mut Batch {
        self.write(oid, true, data.into(), refs.into_iter().collect())
    }

    /// Gives an object that exists a new state and new references.
    pub fn update(
        &mut self,
        oid: Oid,
        data: impl Into<Vec<u8>>,
        refs: impl IntoIterator<Item = Oid>,
    ) -> &mut Batch {
        self.write(oid, false, data.into(), refs.into_iter().collect())
    }

    /// Makes the commit fail with a conflict unless `oid` is still as the commit `tid` wrote it.
    /// [`Tid::ZERO`] expects that it does not exist.
    pub fn expect(&mut self, oid: Oid, tid: Tid) -> &mut Batch {
        self.expects.push((oid, tid));
        self
    }

    /// Makes the commit fail with `TooOld` unless the store is still in the life that a snapshot has told by
    /// [`Snapshot::incarnation`](super::Snapshot::incarnation): in another one the tids that the batch expects may
    /// be those of other commits.
    pub fn expect_incarnation(&mut self, incarnation: u64) -> &mut Batch {
        self.incarnation = Some(incarnation);
        self
    }

    /// Gives the commit an identity for [`Store::outcome`](super::Store::outcome).
    pub fn identify(&mut self, identity: CommitId) -> &mut Batch {
        self.identity = Some(identity);
        self
    }

    /// Compresses this batch's data with `codec` in place of the store's.
    pub fn compress(&mut self, codec: Codec) -> &mut Batch {
        self.codec = Some(codec);
        self
    }

    /// The session that it is of.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The identity that it was given.
    pub fn identity(&self) -> Option<CommitId> {
        self.identity
    }

    /// The codec that it was given in place of the store's.
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// What it writes.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The objects that it expects to be as certain commits wrote them.
    pub fn expects(&self) -> &[(Oid, Tid)] {
        &self.expects
    }

    /// The life of the store that it expects.
    pub fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// The number of objects that it writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn write(&mut self, oid: Oid, create: bool, data: Vec<u8>, mut refs: Vec<Oid>) -> &mut Batch {
        normalize_refs(oid, &mut refs);
        self.writes.push(Write {
            oid,
            create,
            data,
            refs,
        });
        self
    }

    /// Sorts the writes by OID and checks what can be checked without the store, as every commit does.
    ///
    /// # Errors
    /// `Usage` for an object that is written twice, and for an OID from 2^63 on.
    pub fn normalize(&mut self) -> Result<()> {
        self.writes.sort_by_key(|write| write.oid);
        let repeated = self.writes.windows(2).find_map(|pair| match pair {
            [first, second] if first.oid == second.oid => Some(first.oid),
            _ => None,
        });
        let bad = |oid, why: &str| {
            Err(Error::new(ErrorKind::Usage, "commit")
                .because(why)
                .with_oid(oid))
        };
        if let Some(oid) = repeated {
            return bad(oid, "the batch writes an object twice");
        }
        for write in &self.writes {
            // The references are sorted: the last is the largest.
            let largest = write
                .refs
                .last()
                .copied()
                .unwrap_or_default()
                .max(write.oid);
            if !largest.is_valid() {
                return bad(largest, "the OID is not below 2^63");
            }
        }
        Ok(())
    }
}

/// What a commit achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The commit's number.
    pub tid: Tid,
    /// How durable it is: at least what was asked for.
    pub durability: Durability,
    /// What was collected along with it.
    pub collected: Collected,
}
