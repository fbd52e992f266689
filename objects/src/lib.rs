//! Typed objects: Rust structs and enums that live in a store.
//!
//! A type that derives [`Persistent`] can be stored as an object of its own. Objects refer to each other by
//! [`Ref`], which takes eight bytes until it is followed; a [`Database`] keeps those that were loaded in one
//! bounded cache, and a [`Transaction`] sees a fixed state of all of them, changes copies, and commits what it
//! changed at once, unless others changed what it read.
//!
//! ```
//! use durum_objects::{Database, Persistent, Ref};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize, Persistent)]
//! #[persistent(name = "bank.Account")]
//! struct Account {
//!     owner: String,
//!     balance: i64,
//!     heir: Option<Ref<Account>>,
//! }
//!
//! let db = Database::create("memory:")?;
//! let ada = db.transact(|tx| {
//!     let ada = tx.new(Account { owner: "Ada".into(), balance: 10, heir: None })?;
//!     tx.set_root("ada", ada)?;
//!     Ok(ada)
//! })?;
//! db.transact(|tx| {
//!     tx.get_mut(ada)?.balance += 5;
//!     Ok(())
//! })?;
//! assert_eq!(db.begin()?.get(ada)?.balance, 15);
//! # Ok::<(), durum_objects::Error>(())
//! ```
//!
//! `docs/TYPED_OBJECTS.md` has the format, and what conflicts and what does not.

#![forbid(unsafe_code)]

// The derive macro names this crate by its own name.
extern crate self as durum_objects;

mod btree;
mod cache;
mod computed;
mod counter;
mod database;
mod dict;
mod format;
mod handle;
pub mod inspect;
mod kind;
mod list;
mod options;
mod persistent;
mod reference;
mod root;
mod set;
mod storable;
mod strict;
mod transact;
mod transaction;
mod types;

pub use btree::{BTree, Range};
pub use computed::Computed;
pub use counter::Counter;
pub use database::Database;
pub use dict::Dict;
pub use list::{Iter, List, ListHead};
pub use options::Options;
pub use persistent::{Persistent, Resolution, Shape, Stored, Upgraded};
pub use reference::{Ref, WeakRef};
pub use set::{Items, Merged, Set};
pub use storable::{Key, Storable};
pub use transaction::{Mut, Savepoint, Transaction};

pub use durum_core::{Error, ErrorKind, Oid, Result, Tid};
pub use durum_objects_derive::Persistent;
#[doc(hidden)]
pub use serde;
