//! Looking at objects without their Rust types.
//!
//! An [`Inspector`] reads the table of types from any snapshot, and shows objects by it: their types, and their
//! values with the names of their fields. It shows what is there, also where that is damaged or no typed object
//! at all, and takes whatever bytes it meets. A [`Printer`] knows types of the application and prints their
//! objects as `Debug` does.
//!
//! ```
//! # use durum_objects::{Database, Oid, Persistent, inspect::Printer};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
//! #[persistent(name = "bank.Account")]
//! struct Account {
//!     owner: String,
//!     balance: i64,
//! }
//!
//! let db = Database::create("memory:")?;
//! db.transact(|tx| {
//!     let ada = tx.new(Account { owner: "Ada".into(), balance: 10 })?;
//!     tx.set_root("ada", ada)
//! })?;
//! let mut out = Vec::new();
//! Printer::new(&db).with::<Account>().tree(Oid::ROOT, 3, &mut out)?;
//! let out = String::from_utf8_lossy(&out);
//! assert!(out.contains(r#"Account { owner: "Ada", balance: 10 }"#), "{out}");
//! # Ok::<(), durum_objects::Error>(())
//! ```

mod census;
mod printer;
mod show;
mod tree;
mod value;

use durum_core::record;
use durum_core::store::{Snapshot, SnapshotExt as _};
use durum_core::{ErrorKind, Oid, Result, Tid};

pub use census::{Census, Count};
pub use printer::Printer;
pub use show::Bounds;
pub use tree::{Node, Shown, Tree, TreeOptions};
pub use value::Value;

use crate::format;
use crate::reference::Mark;
use crate::root::Root;
use crate::types::{self, Entry, Fields, ROOT, TABLE, TypeTable};

/// References of what is only looked at are of no open database.
const NOBODY: Mark = Mark(1);

/// Shows the objects of a snapshot by the table of types that is in it.
#[derive(Debug)]
pub struct Inspector<'a> {
    snapshot: &'a dyn Snapshot,
    table: Table,
}

#[derive(Debug)]
enum Table {
    /// The store's objects are not typed.
    None,
    Entries(Vec<Entry>),
    /// There should be one.
    Unreadable(String),
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its number.
    pub oid: Oid,
    /// The commit that wrote it.
    pub tid: Tid,
    /// What it refers to, ascending.
    pub refs: Vec<Oid>,
    /// Bytes of its state.
    pub size: u64,
    /// What it is, if it is a typed object.
    pub typed: Option<Typed>,
}

/// What a typed object is.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// Its type's number in the table of types.
    pub number: u32,
    /// The type; `None` where the table does not have it.
    pub kind: Option<TypeName>,
    /// The value, or why its bytes are none.
    pub value: std::result::Result<Value, String>,
}

/// A type in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeName {
    /// The name on disk.
    pub name: String,
    /// The version of the schema.
    pub version: u32,
}

impl std::fmt::Display for TypeName {
    /// In one line, whatever the name is.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} v{}", self.name.escape_debug(), self.version)
    }
}

impl<'a> Inspector<'a> {
    /// Reads the table of types, if there is one.
    ///
    /// # Errors
    /// Those of the snapshot, but for damage, of which [`Inspector::problem`] tells.
    pub fn new(snapshot: &'a dyn Snapshot) -> Result<Inspector<'a>> {
        let table = match read_table(snapshot) {
            Ok(table) => table,
            Err(error) if error.kind() == ErrorKind::Unreadable => Table::None,
            Err(error) if error.kind() == ErrorKind::Damaged => {
                Table::Unreadable(error.to_string())
            }
            Err(error) => return Err(error),
        };
        Ok(Inspector { snapshot, table })
    }

    /// Whether the store's objects are typed.
    pub fn is_typed(&self) -> bool {
        !matches!(self.table, Table::None)
    }

    /// Why the table of types cannot be read, where there should be one: objects are shown without names then.
    pub fn problem(&self) -> Option<&str> {
        match &self.table {
            Table::Unreadable(problem) => Some(problem),
            _ => None,
        }
    }

    /// The object `oid`, if there is one.
    ///
    /// # Errors
    /// Those of the snapshot; `Damaged` names the object.
    pub fn object(&self, oid: Oid) -> Result<Option<Object>> {
        let object = self.snapshot.load(oid)?;
        Ok(object.map(|object| self.show(&object)))
    }

    /// A loaded object of this snapshot.
    pub fn show(&self, object: &record::Object) -> Object {
        Object {
            oid: object.oid,
            tid: object.tid,
            refs: object.refs.clone(),
            size: object.data.len() as u64,
            typed: self.typed(object.oid, &object.data),
        }
    }

    fn typed(&self, oid: Oid, state: &[u8]) -> Option<Typed> {
        let (number, value) = self.split(oid, state)?;
        let entry = self.entry(number);
        let value = Value::decode(value);
        let fields = entry.map_or(&Fields::Unknown, |entry| &entry.fields);
        Some(Typed {
            number,
            kind: entry.map(TypeName::of),
            value: value.map(|value| value.named(fields)),
        })
    }

    /// The type's number and the value's bytes, of a typed object.
    fn split<'s>(&self, oid: Oid, state: &'s [u8]) -> Option<(u32, &'s [u8])> {
        match self.table {
            Table::None => None,
            _ => format::take_header(oid, state).ok(),
        }
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        match &self.table {
            Table::Entries(entries) => entries.get(number as usize),
            _ => None,
        }
    }
}

impl TypeName {
    fn of(entry: &Entry) -> TypeName {
        TypeName {
            name: entry.name.clone(),
            version: entry.version,
        }
    }
}

fn read_table(snapshot: &dyn Snapshot) -> Result<Table> {
    let Some((root, _)) = types::read::<Root>(snapshot, NOBODY, Oid::ROOT, ROOT)? else {
        return Ok(Table::None);
    };
    let oid = root.types.oid();
    match types::read::<TypeTable>(snapshot, NOBODY, oid, TABLE) {
        Ok(Some((table, _))) => Ok(Table::Entries(table.entries)),
        Ok(None) => Ok(Table::Unreadable(format!(
            "the table of types, object {oid}, is missing"
        ))),
        // The root is a typed one: so should this be.
        Err(error) if error.kind() == ErrorKind::Unreadable => Ok(Table::Unreadable(format!(
            "object {oid}, which should be the table of types, is none"
        ))),
        Err(error) => Err(error),
    }
}
