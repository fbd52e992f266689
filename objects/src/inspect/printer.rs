//! Printing objects of an application's types.

use std::any::type_name;
use std::fmt::Debug;
use std::io;

use durum_core::{Oid, Result};
use rustc_hash::FxHashMap;

use super::show::cut_text;
use super::{Inspector, Object, TreeOptions};
use crate::database::Database;
use crate::persistent::Persistent;
use crate::transaction::Transaction;

/// Characters of a value.
const LENGTH_MAX: usize = 400;

type Describe = fn(&Transaction, Oid) -> Result<String>;

/// Prints a database's objects: those of types that it was told of as `Debug` does, others by the table of types.
pub struct Printer {
    db: Database,
    types: FxHashMap<&'static str, Vec<Describe>>,
    options: TreeOptions,
}

impl Debug for Printer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct(type_name::<Printer>())
            .field("types", &self.types.keys())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer that knows no types yet.
    pub fn new(db: &Database) -> Printer {
        Printer {
            db: db.clone(),
            types: FxHashMap::default(),
            options: TreeOptions::default(),
        }
    }

    /// Tells it of a type. Several with the same name on disk are tried in turn.
    pub fn with<T: Persistent + Debug>(mut self) -> Printer {
        self.types.entry(T::NAME).or_default().push(describe::<T>);
        self
    }

    /// Has it print at most so many objects, 100 unless told.
    pub fn limit(mut self, objects: usize) -> Printer {
        self.options.objects = objects;
        self
    }

    /// Prints an object and what it leads to, up to `depth` references away, a line each, in the newest state.
    ///
    /// # Errors
    /// Those of the store, but for damage, which is printed in the object's place; those of `out`.
    pub fn tree(&self, start: Oid, depth: usize, out: &mut dyn io::Write) -> Result<()> {
        let tx = self.db.view()?;
        let options = TreeOptions {
            depth,
            ..self.options
        };
        let tree = Inspector::new(tx.snapshot()?)?.tree(start, options)?;
        tree.write_with(out, &|object| self.describe(&tx, object))
    }

    fn describe(&self, tx: &Transaction, object: &Object) -> Option<String> {
        let kind = object.typed.as_ref()?.kind.as_ref()?;
        let known = self.types.get(kind.name.as_str())?;
        let mut described = known.iter().map(|describe| describe(tx, object.oid));
        let text = described.find_map(Result::ok)?;
        // In one line, and without what does things to a terminal.
        let mut text = text.replace(char::is_control, " ");
        cut_text(&mut text, LENGTH_MAX);
        Some(text)
    }
}

fn describe<T: Persistent + Debug>(tx: &Transaction, oid: Oid) -> Result<String> {
    let value = tx.get(tx.anything(oid)?.cast::<T>())?;
    Ok(format!("{value:?}"))
}
