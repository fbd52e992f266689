//! The references in an object's data: the persistent ids of its two pickles.
//!
//! `ZODB.serialize` writes these forms: an OID, or a tuple of OID and class, for a reference; lists for
//! all others. `['w', ...]` is a weak reference, as is `[oid]` of old; `['n', ...]` and `['m', ...]`
//! lead into another database. ZODB's own `referencesf` gives the first two only, and so does this:
//! what only weak references lead to is garbage.

use std::ops::{AddAssign, Sub};

use durum_core::Oid;

use crate::pickle::{BadPickle, ListHead, PersistentId, PersistentIds, Text};

/// References that are in the data and do not count as references of the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Weak references.
    pub weak: u64,
    /// References to objects of another database.
    pub cross_database: u64,
    /// Objects that stand for a blob, whose contents are in a file of its own.
    pub blobs: u64,
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.weak += other.weak;
        self.cross_database += other.cross_database;
        self.blobs += other.blobs;
    }
}

impl Sub for LeftOut {
    type Output = LeftOut;

    fn sub(self, other: LeftOut) -> LeftOut {
        LeftOut {
            weak: self.weak.saturating_sub(other.weak),
            cross_database: self.cross_database.saturating_sub(other.cross_database),
            blobs: self.blobs.saturating_sub(other.blobs),
        }
    }
}

/// The references of an object's data in the order of the data, and the number of others.
pub(super) fn references(data: &[u8]) -> Result<(Vec<Oid>, LeftOut), BadPickle> {
    let mut refs = Vec::new();
    let mut left_out = LeftOut {
        blobs: u64::from(is_blob(data)),
        ..LeftOut::default()
    };
    let mut pickles = PersistentIds::new(data);
    let mut take = |id| match id {
        PersistentId::Text(Text::Eight(oid)) | PersistentId::Tuple(Text::Eight(oid)) => {
            refs.push(Oid(u64::from_be_bytes(oid)));
            Ok(())
        }
        PersistentId::List(list) => {
            match list {
                ListHead {
                    first: Some(Text::One(b'w')),
                    ..
                }
                | ListHead {
                    first: Some(Text::Eight(_)),
                    length: 1,
                } => left_out.weak += 1,
                ListHead {
                    first: Some(Text::One(b'm' | b'n')),
                    ..
                } => left_out.cross_database += 1,
                _ => return Err("a reference is of an unknown kind"),
            }
            Ok(())
        }
        _ => Err("a reference is not an OID of eight bytes"),
    };
    // The class, then the state.
    pickles.pickle(&mut take)?;
    pickles.pickle(&mut take)?;
    Ok((refs, left_out))
}

/// Whether the class of the object is that of ZODB's blobs.
fn is_blob(data: &[u8]) -> bool {
    let class = data.strip_prefix(&[crate::pickle::opcode::PROTO]);
    let class = class.and_then(|class| class.get(1..)).unwrap_or(data);
    class.starts_with(b"cZODB.blob\nBlob\n")
}
