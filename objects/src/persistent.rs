//! What a type needs to be stored as an object.

use std::any::Any;

use durum_core::{Error, ErrorKind, Oid, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format;

/// A type whose values are stored as objects of their own.
///
/// It is derived, on a struct or enum that serde can write and read:
///
/// ```
/// # use durum_objects::Persistent;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Clone, Serialize, Deserialize)]
/// struct AccountV1 {
///     owner: String,
/// }
///
/// #[derive(Clone, Serialize, Deserialize, Persistent)]
/// #[persistent(name = "bank.Account", version = 2, upgrade_from(1, Account::from_v1))]
/// struct Account {
///     owner: String,
///     balance: i64,
///     #[serde(skip)]
///     seen: bool,
/// }
///
/// impl Account {
///     fn from_v1(old: AccountV1) -> Account {
///         Account { owner: old.owner, balance: 0, seen: false }
///     }
/// }
/// ```
///
/// Fields are stored in their order and without their names: to add, remove, move or retype one needs a new
/// version, and a function that upgrades from the old one; only fields at the end with `#[serde(default)]` can
/// be added without. Objects of old versions are upgraded when they are loaded, and stored in the new one when
/// they are changed next. Fields with `#[serde(skip)]` are not stored.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored as an object",
    label = "`Persistent` is not derived for this type",
    note = "add `#[derive(Clone, Serialize, Deserialize, Persistent)]` to it; a value that is not an object of its own is stored within one that is"
)]
pub trait Persistent: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The type's name on disk. It must never change, nor mean another type.
    const NAME: &'static str;
    /// The version of the schema in which objects are written.
    const VERSION: u32 = 1;
    /// The names of the fields, for readers that do not have the type.
    const SHAPE: Shape = Shape::Unknown;

    /// Makes a value of this version of one that an older one wrote.
    ///
    /// # Errors
    /// `Unreadable` for a version that is not known.
    fn upgrade(stored: &Stored<'_>) -> Result<Self> {
        Err(stored.unknown())
    }

    /// Resolves a conflict: another transaction made `theirs` of `base`, of which this one made `mine`.
    /// `None` where that is impossible; the transaction fails then with a conflict, and can be repeated.
    ///
    /// Whatever this transaction read of the object and decided by, it read in `base`: merge only what is right
    /// whatever `theirs` has changed.
    fn merge(_base: &Self, _mine: &Self, _theirs: &Self) -> Option<Self> {
        None
    }

    /// What containers do about a conflict. `mine` is absent where the object was only read, and `observed`
    /// is what the container has noted of what it read, where it has.
    #[doc(hidden)]
    fn resolve(
        base: &Self,
        mine: Option<&Self>,
        theirs: &Self,
        _observed: Option<&(dyn Any + Send)>,
    ) -> Resolution<Self> {
        match mine.and_then(|mine| Self::merge(base, mine, theirs)) {
            Some(merged) => Resolution::Merged(merged),
            None => Resolution::Conflict,
        }
    }
}

/// What becomes of a conflict about one object.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution<T> {
    /// It stays one.
    Conflict,
    /// What was read of the object has not changed.
    Unaffected,
    /// This is what both made of it.
    Merged(T),
}

/// The names of what is in a type, which objects do not repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is known.
    Unknown,
    /// A struct's fields; none for a tuple struct.
    Struct(&'static [&'static str]),
    /// An enum's variants, and the fields of each.
    Enum(&'static [(&'static str, &'static [&'static str])]),
}

/// A stored value of an older version of its type.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: u32,
    pub(crate) newest: u32,
    pub(crate) oid: Oid,
    pub(crate) state: &'a [u8],
}

impl Stored<'_> {
    /// The version that wrote it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The object, for messages.
    pub fn oid(&self) -> Oid {
        self.oid
    }

    /// Its value as a type that has the old version's fields.
    ///
    /// # Errors
    /// `Damaged` where it does not have them.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        format::take_value(self.state).map_err(|error| {
            let what = format!("{} of version {}", self.name, self.version);
            unfit(&what, &error).with_oid(self.oid)
        })
    }

    /// The error for a version from which there is no upgrade.
    pub fn unknown(&self) -> Error {
        let error = Error::new(ErrorKind::Unreadable, "load an object")
            .because(format!(
                "it was written by version {} of {}, and this program knows {}",
                self.version, self.name, self.newest
            ))
            .with_oid(self.oid);
        match self.version > self.newest {
            true => error.hint("Use a newer version of the program."),
            false => {
                error.hint("Add #[persistent(upgrade_from(...))] for that version to the type.")
            }
        }
    }
}

/// The error for a state that a type cannot be made of.
pub(crate) fn unfit(what: &str, error: &rmp_serde::decode::Error) -> Error {
    Error::damaged(
        "load an object",
        format!("its state is not that of {what}: {error}"),
    )
    .hint(
        "If the type's fields were changed, give it a new version and an upgrade from the old one.",
    )
}

/// What an upgrade function returns: the value, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what an upgrade function returns",
    label = "the function of an `upgrade_from` returns `{Self}`",
    note = "it takes the old version's struct by value and returns the new one, or a `Result` of it"
)]
pub trait Upgraded<T> {
    /// The value.
    ///
    /// # Errors
    /// `Unreadable`, with the function's own error.
    fn finish(self, stored: &Stored<'_>) -> Result<T>;
}

impl<T: Persistent> Upgraded<T> for T {
    fn finish(self, _stored: &Stored<'_>) -> Result<T> {
        Ok(self)
    }
}

impl<T: Persistent, E: std::fmt::Display> Upgraded<T> for std::result::Result<T, E> {
    fn finish(self, stored: &Stored<'_>) -> Result<T> {
        self.map_err(|error| {
            Error::new(ErrorKind::Unreadable, "upgrade an object")
                .because(format!(
                    "{} of version {}: {error}",
                    stored.name, stored.version
                ))
                .with_oid(stored.oid)
        })
    }
}
