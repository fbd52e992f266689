//! A number that many change at once.

use std::any::Any;

use durum_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::persistent::{Persistent, Resolution, Shape};
use crate::reference::Ref;
use crate::transaction::Transaction;

/// A number whose increments by several transactions at once are all kept, without a conflict.
///
/// It is a reference to an object of its own: to be kept in an object, or named at the root by
/// [`Counter::set_root`]. A transaction that has [read](Counter::get) it conflicts with others that change it.
///
/// ```
/// use durum_objects::{Counter, Database};
///
/// let db = Database::create("memory:")?;
/// let visits = db.transact(|tx| {
///     let visits = Counter::new(tx, 0)?;
///     visits.set_root(tx, "visits")?;
///     Ok(visits)
/// })?;
/// db.transact(|tx| visits.increment(tx, 1))?;
/// assert_eq!(visits.get(&db.begin()?)?, 1);
/// # Ok::<(), durum_objects::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    number: Ref<Number>,
}

/// The object behind a counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Number(i64);

/// Notes that a number was read.
#[derive(Default)]
struct Read;

impl Persistent for Number {
    const NAME: &'static str = "durum.Counter";
    const SHAPE: Shape = Shape::Struct(&[]);

    fn resolve(
        base: &Number,
        mine: Option<&Number>,
        theirs: &Number,
        observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Number> {
        if observed.is_some() && theirs.0 != base.0 {
            return Resolution::Conflict;
        }
        let Some(mine) = mine else {
            // Increments that were undone.
            return Resolution::Unaffected;
        };
        let sum = i128::from(theirs.0) + i128::from(mine.0) - i128::from(base.0);
        match i64::try_from(sum) {
            Ok(sum) => Resolution::Merged(Number(sum)),
            Err(_) => Resolution::Conflict,
        }
    }
}

impl Counter {
    /// Makes a counter.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn new(tx: &Transaction, number: i64) -> Result<Counter> {
        let number = tx.new(Number(number))?;
        Ok(Counter { number })
    }

    /// The counter with this name at the root.
    ///
    /// # Errors
    /// As [`Transaction::root`].
    pub fn root(tx: &Transaction, name: &str) -> Result<Option<Counter>> {
        Ok(tx.root(name)?.map(|number| Counter { number }))
    }

    /// Names it at the root.
    ///
    /// # Errors
    /// As [`Transaction::set_root`].
    pub fn set_root(self, tx: &Transaction, name: &str) -> Result<()> {
        tx.set_root(name, self.number)
    }

    /// Adds `by`, which may be negative.
    ///
    /// # Errors
    /// `Usage` where the sum does not fit; as [`Transaction::get_mut`].
    pub fn increment(self, tx: &Transaction, by: i64) -> Result<()> {
        let mut number = tx.get_mut(self.number)?;
        let sum = number.0.checked_add(by).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "increment a counter")
                .because(format!("{} and {by} are more than an i64 holds", number.0))
        })?;
        if by != 0 {
            number.0 = sum;
        }
        Ok(())
    }

    /// The number, on which the transaction then depends.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn get(self, tx: &Transaction) -> Result<i64> {
        let number = tx.peek(self.number)?.0;
        tx.observe(self.number, |_: &mut Read| {})?;
        Ok(number)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counter, D::Error> {
        let number = Ref::deserialize(deserializer)?;
        Ok(Counter { number })
    }
}
