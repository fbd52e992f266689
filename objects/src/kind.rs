//! What transactions and the cache know of a type without naming it.

use std::any::{Any, TypeId};
use std::sync::Arc;

use durum_core::{Oid, Result};

use crate::format;
use crate::persistent::{Persistent, Resolution, Shape, Stored, unfit};

/// A value of some persistent type.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// A persistent type.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) shape: Shape,
    /// Bytes of a value, without what it points to.
    pub(crate) size: usize,
    pub(crate) type_id: fn() -> TypeId,
    pub(crate) put: fn(&mut Vec<u8>, &Value) -> Result<(), rmp_serde::encode::Error>,
    pub(crate) take: fn(oid: Oid, version: u32, state: &[u8]) -> Result<Value>,
    resolve: Resolve,
}

/// See [`Persistent::resolve`].
type Resolve = fn(&Value, Option<&Value>, &Value, Option<&(dyn Any + Send)>) -> Resolution<Value>;

impl std::fmt::Debug for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} of version {}", self.name, self.version)
    }
}

impl Kind {
    pub(crate) fn of<T: Persistent>() -> &'static Kind {
        KindOf::<T>::KIND
    }

    /// Whether they are the same Rust type.
    pub(crate) fn is(&self, other: &Kind) -> bool {
        (self.type_id)() == (other.type_id)()
    }

    /// What becomes of a conflict.
    pub(crate) fn resolve(
        &self,
        base: &Value,
        mine: Option<&Value>,
        theirs: &Value,
        observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Value> {
        (self.resolve)(base, mine, theirs, observed)
    }
}

struct KindOf<T>(T);

impl<T: Persistent> KindOf<T> {
    const KIND: &'static Kind = &Kind {
        name: T::NAME,
        version: T::VERSION,
        shape: T::SHAPE,
        size: size_of::<T>(),
        type_id: TypeId::of::<T>,
        put: put::<T>,
        take: take::<T>,
        resolve: resolve::<T>,
    };
}

fn put<T: Persistent>(out: &mut Vec<u8>, value: &Value) -> Result<(), rmp_serde::encode::Error> {
    match value.downcast_ref::<T>() {
        Some(value) => format::put_value(out, value),
        None => Err(serde::ser::Error::custom("the value is of another type")),
    }
}

fn take<T: Persistent>(oid: Oid, version: u32, state: &[u8]) -> Result<Value> {
    if version == T::VERSION {
        let value: T =
            format::take_value(state).map_err(|error| unfit(T::NAME, &error).with_oid(oid))?;
        return Ok(Arc::new(value));
    }
    let stored = Stored {
        name: T::NAME,
        version,
        newest: T::VERSION,
        oid,
        state,
    };
    Ok(Arc::new(T::upgrade(&stored)?))
}

fn resolve<T: Persistent>(
    base: &Value,
    mine: Option<&Value>,
    theirs: &Value,
    observed: Option<&(dyn Any + Send)>,
) -> Resolution<Value> {
    let (Some(base), Some(theirs)) = (base.downcast_ref::<T>(), theirs.downcast_ref::<T>()) else {
        return Resolution::Conflict;
    };
    match T::resolve(
        base,
        mine.and_then(|mine| mine.downcast_ref()),
        theirs,
        observed,
    ) {
        Resolution::Merged(value) => Resolution::Merged(Arc::new(value)),
        Resolution::Unaffected => Resolution::Unaffected,
        Resolution::Conflict => Resolution::Conflict,
    }
}
