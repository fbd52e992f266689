//! Values that are computed from stored ones, and kept in memory only.

use std::fmt;
use std::sync::{Arc, OnceLock};

use durum_core::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::transaction::Transaction;

/// A field of a persistent type whose value follows from other stored values: it is computed when it is needed
/// first, kept beside the object in the cache, and never stored.
///
/// ```
/// use durum_objects::{Computed, Database, Persistent, Ref};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize, Persistent)]
/// struct Entry {
///     amount: i64,
/// }
///
/// #[derive(Clone, Serialize, Deserialize, Persistent)]
/// struct Ledger {
///     entries: Vec<Ref<Entry>>,
///     sum: Computed<i64>,
/// }
///
/// let db = Database::create("memory:")?;
/// let ledger = db.transact(|tx| {
///     let entries = vec![tx.new(Entry { amount: 2 })?, tx.new(Entry { amount: 3 })?];
///     let ledger = tx.new(Ledger { entries, sum: Computed::default() })?;
///     tx.set_root("ledger", ledger)?;
///     Ok(ledger)
/// })?;
/// let tx = db.view()?;
/// let read = tx.get(ledger)?;
/// let sum = read.sum.get(&tx, || {
///     let mut sum = 0;
///     for entry in &read.entries {
///         sum += tx.get(*entry)?.amount;
///     }
///     Ok(sum)
/// })?;
/// assert_eq!(*sum, 5);
///
/// // Who changes what a value follows from drops it in the same transaction.
/// db.transact(|tx| {
///     let mut ledger = tx.get_mut(ledger)?;
///     tx.get_mut(ledger.entries[0])?.amount = 10;
///     ledger.sum.invalidate();
///     Ok(())
/// })?;
/// # Ok::<(), durum_objects::Error>(())
/// ```
///
/// # What holds the value
/// The value belongs to one version of the object that has the field. Whoever reads this version, in whatever
/// transaction of this process, shares it; each other version begins without. So
/// - a change of the object itself drops it, with nothing to be done;
/// - a change of *other* objects that it follows from must be accompanied by [`Computed::invalidate`], in the same
///   transaction: that changes the object, and so the value is dropped where the change is seen, in every
///   process and by every client of a server, and at the same moment as the change itself. Transactions that
///   began before go on with the old version, and with the old value.
///
/// A transaction that has changed anything computes without keeping the result, for it may follow from changes
/// that are never committed; what it invalidated it computes at each call. Two transactions that
/// invalidate the same field conflict, as with any other change of one object.
///
/// The value's memory is not counted by the cache, and is given back with the object's.
pub struct Computed<T> {
    /// Makes a change of the object out of an invalidation; nothing else of this is stored.
    generation: u64,
    value: OnceLock<Arc<T>>,
}

impl<T> Computed<T> {
    /// The value; where it is absent, what `compute` makes it. If several threads compute at the same time all get
    /// one result. `tx` is the transaction in which `compute` reads.
    ///
    /// # Errors
    /// That of `compute`, after which the value is still absent.
    pub fn get(&self, tx: &Transaction, compute: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        self.try_get(tx, compute)
    }

    /// As [`Computed::get`], for computations with errors of their own.
    ///
    /// # Errors
    /// As [`Computed::get`].
    pub fn try_get<E: From<Error>>(
        &self,
        tx: &Transaction,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(value) = self.value.get() {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(compute()?);
        // Others would see what follows from this transaction's own changes.
        if tx.has_changes() {
            return Ok(value);
        }
        Ok(Arc::clone(self.value.get_or_init(|| value)))
    }

    /// Drops the value, here at once and elsewhere when this transaction is committed.
    pub fn invalidate(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.value = OnceLock::new();
    }

    /// Whether the value is there.
    pub fn is_computed(&self) -> bool {
        self.value.get().is_some()
    }
}

impl<T> Default for Computed<T> {
    fn default() -> Computed<T> {
        Computed {
            generation: 0,
            value: OnceLock::new(),
        }
    }
}

impl<T> Clone for Computed<T> {
    /// Without the value: what an object is cloned for is to be changed.
    fn clone(&self) -> Computed<T> {
        Computed {
            generation: self.generation,
            value: OnceLock::new(),
        }
    }
}

impl<T> PartialEq for Computed<T> {
    /// Whether what is stored is equal.
    fn eq(&self, other: &Computed<T>) -> bool {
        self.generation == other.generation
    }
}

impl<T> Eq for Computed<T> {}

impl<T: fmt::Debug> fmt::Debug for Computed<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.get() {
            Some(value) => write!(out, "Computed({value:?})"),
            None => out.write_str("Computed(absent)"),
        }
    }
}

impl<T> Serialize for Computed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.generation)
    }
}

impl<'de, T> Deserialize<'de> for Computed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Computed<T>, D::Error> {
        Ok(Computed {
            generation: u64::deserialize(deserializer)?,
            value: OnceLock::new(),
        })
    }
}
