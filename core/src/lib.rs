//! The core of Durum, a persistent object store.
//!
//! An object has an [`Oid`], a state (bytes that the store never interprets) and references to other
//! objects. This crate owns everything that is the same on every engine: the record format and its
//! codecs, commits and conflicts, snapshots, collection, checking, configuration. The bytes lie in an
//! [`engine`], which a backend crate makes available.

#![forbid(unsafe_code)]

pub mod check;
pub mod collect;
pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod digest;
pub mod engine;
mod error;
pub mod external_queue;
pub mod external_sort;
mod id;
pub mod place;
pub mod record;
pub mod store;
pub mod units;
mod watch;

pub use error::{Error, ErrorKind, IoResultExt, Result, ResultExt};
pub use id::{Oid, SessionId, StoreId, Tid};
