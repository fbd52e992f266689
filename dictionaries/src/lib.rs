//! Dictionaries: names and values under a primary key, in classes, with every revision kept.
//!
//! A [`Class`] says how many copies there are, how much of the past is kept, by which indexes dictionaries are found, and how concurrent
//! revisions are merged. [`Dictionaries`] is the interface, whatever the home. See `docs/DICTIONARIES.md`.

#![forbid(unsafe_code)]

mod class;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "garage")]
mod copy;
mod dictionaries;
#[cfg(feature = "garage")]
mod distributed;
mod embedded;
mod error;
mod home;
pub mod json;
mod merge;
mod order;
mod pace;
mod revision;
mod value;

pub use class::{
    Class, FIELD_BYTES_MAX, Filling, History, INDEXES_MAX, Index, IndexType, KEY_BYTES_MAX, Merge,
    NAME_BYTES_MAX, Offline, check_key,
};
pub use clock::{Clock, RevisionId};
pub use dictionaries::Dictionaries;
pub use home::{Absorbed, At, Change, Dictionary, Healed, Marker, Stream, Write};
pub use merge::{Concurrent, MergeFunction, Merger};
pub use order::Query;
pub use revision::{DICTIONARY_BYTES_MAX, FIELDS_MAX, PARENTS_MAX, Revision};
pub use value::{DEPTH_MAX, Fields, Value};

/// The namespace of an installation that needs no others.
#[cfg(feature = "garage")]
pub const NAMESPACE: &str = "durum";

pub use durum_core::{Error, ErrorKind, Result};
