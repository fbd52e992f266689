//! The numbers that name things: objects, commits, stores and sessions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The identity of an object: a number below 2^63 that is never used again once handed out.
///
/// The bound comes from SQLite, whose row identifiers are signed and hold every OID readably.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Oid(pub u64);

impl Oid {
    /// The root object, from which everything that is not garbage can be reached.
    pub const ROOT: Oid = Oid(0);
    /// The largest OID that a store can hold.
    pub const MAX: Oid = Oid((1 << 63) - 1);

    /// The OID from which on new ones can be handed out where something refers to this one, which must not
    /// come to mean another object. From 2^62 on nothing is reserved: one such reference would use up what
    /// there is, and nobody gets there by counting.
    pub(crate) fn reserves(self) -> u64 {
        match self.0 < 1 << 62 {
            true => self.0 + 1,
            false => 0,
        }
    }

    /// Whether this number can name an object, that is, lies below 2^63.
    pub fn is_valid(self) -> bool {
        self <= Oid::MAX
    }

    /// The next larger OID.
    pub fn next(self) -> Oid {
        Oid(self.0.saturating_add(1))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Oid {
    type Err = Error;

    /// Reads a decimal OID; anything else, and numbers from 2^63 on, are usage errors.
    fn from_str(text: &str) -> Result<Oid> {
        let oid = text.parse().ok().map(Oid).filter(|oid| oid.is_valid());
        oid.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "parse an OID")
                .because(format!("`{text}` is not a decimal number below 2^63"))
        })
    }
}

/// The number of a commit, strictly increasing within a store; 0 stands before the first commit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tid(pub u64);

impl Tid {
    /// Before the first commit. As an expected tid it stands for "this object does not exist".
    pub const ZERO: Tid = Tid(0);

    /// The tid of the following commit.
    pub fn next(self) -> Tid {
        Tid(self.0 + 1)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The random identity that a store receives when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// A new identity from the system's random source.
    pub fn random() -> Result<StoreId> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(ErrorKind::Io, "draw a store id")
                .because(format!("the system's random source failed: {error}"))
        })?;
        Ok(StoreId(bytes))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for StoreId {
    type Err = Error;

    fn from_str(text: &str) -> Result<StoreId> {
        let bad = || {
            Error::new(ErrorKind::Damaged, "read a store id")
                .because(format!("`{text}` is not 32 hexadecimal digits"))
        };
        if text.len() != 32 || !text.is_ascii() {
            return Err(bad());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(StoreId(number.to_be_bytes()))
    }
}

/// The identity of a session with a store; see [`crate::store::Store::session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The session that every open store has for the process that opened it.
    pub const EMBEDDED: SessionId = SessionId(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_parse_only_below_two_to_the_63() {
        assert_eq!("0".parse::<Oid>().unwrap(), Oid::ROOT);
        assert_eq!("9223372036854775807".parse::<Oid>().unwrap(), Oid::MAX);
        for bad in ["9223372036854775808", "-1", "", "0x10", "1 "] {
            assert_eq!(
                bad.parse::<Oid>().unwrap_err().kind(),
                ErrorKind::Usage,
                "{bad}"
            );
        }
    }

    #[test]
    fn store_ids_survive_their_text_form() {
        let id = StoreId::random().unwrap();
        assert_eq!(id.to_string().parse::<StoreId>().unwrap(), id);
        assert!("12".parse::<StoreId>().is_err());
    }
}
