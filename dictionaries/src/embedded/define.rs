//! Defining classes, and making indexes of what is there.

use std::ops::Bound;

use durum_core::{Error, ErrorKind, Result};
use durum_objects::{BTree, Database, Ref, Set, Transaction};

use super::layout::{
    Catalogue, ClassRoot, Entry, FORM_BYTES_MAX, Form, IndexRoot, Line, ROOT, Tail,
};
use super::write;
use crate::class::{Class, Index};
use crate::order::{cut, forms};

/// How many dictionaries are indexed in one transaction.
const BUILD: usize = 256;

/// Entries per node of an index: lines are short, and a node is written anew for each of them.
const LINES: u32 = 64;

/// Writes the definition down; new indexes are still to be built.
pub(super) fn define(database: &Database, class: &Class) -> Result<()> {
    database.transact(|tx| {
        let catalogue = match tx.root::<Catalogue>(ROOT)? {
            Some(catalogue) => catalogue,
            None => {
                let catalogue = tx.new(Catalogue {
                    classes: BTree::new(tx)?,
                })?;
                tx.set_root(ROOT, catalogue)?;
                catalogue
            }
        };
        let classes = tx.get(catalogue)?.classes;
        match classes.get(tx, class.name.as_str())? {
            Some(at) => redefine(tx, at, class),
            None => {
                let root = make(tx, class)?;
                classes.insert(tx, class.name.clone(), root).map(drop)
            }
        }
    })
}

fn make(tx: &Transaction, class: &Class) -> Result<Ref<ClassRoot>> {
    let indexes = class.indexes.iter().map(|index| place(tx, index, None));
    let tail = tx.new(Tail {
        first: 0,
        changes: Vec::new(),
    })?;
    tx.new(ClassRoot {
        class: class.clone(),
        entries: BTree::new(tx)?,
        forked: Set::new(tx)?,
        indexes: indexes.collect::<Result<_>>()?,
        chunks: BTree::new(tx)?,
        tail,
        log_begins: 0,
        log_swept: 0,
    })
}

fn place(tx: &Transaction, index: &Index, built_to: Option<String>) -> Result<IndexRoot> {
    Ok(IndexRoot {
        index: index.clone(),
        lines: Set::with_node_size(tx, LINES)?,
        built_to,
    })
}

fn redefine(tx: &Transaction, at: Ref<ClassRoot>, class: &Class) -> Result<()> {
    let mut root = ClassRoot::clone(&*tx.get(at)?);
    if root.class == *class {
        return Ok(());
    }
    let mut indexes = Vec::new();
    for index in &class.indexes {
        let there = root.indexes.iter().find(|place| place.index == *index);
        indexes.push(match there {
            Some(there) => there.clone(),
            None => place(tx, index, Some(String::new()))?,
        });
    }
    root.indexes = indexes;
    root.class = class.clone();
    tx.set(at, root)
}

/// Builds the indexes that are not finished; says how many were not. While it does, others write on, and keep them as they do all others.
pub(super) fn build(database: &Database, class: &str) -> Result<u64> {
    let mut built = 0;
    loop {
        let name = database.read(|tx| {
            let root = super::open(tx, class)?;
            let place = root.indexes.iter().find(|place| place.built_to.is_some());
            Ok(place.map(|place| place.index.name.clone()))
        })?;
        let Some(name) = name else {
            return Ok(built);
        };
        while database.transact(|tx| build_on(tx, class, &name))? {}
        built += 1;
    }
}

/// Indexes some more dictionaries; says whether there are more.
fn build_on(tx: &Transaction, class: &str, name: &str) -> Result<bool> {
    let catalogue = tx.root::<Catalogue>(ROOT)?.ok_or_else(gone)?;
    let at = tx
        .get(catalogue)?
        .classes
        .get(tx, class)?
        .ok_or_else(gone)?;
    let mut root = ClassRoot::clone(&*tx.get(at)?);
    let place = root
        .indexes
        .iter_mut()
        .find(|place| place.index.name == name);
    let Some(place) = place else {
        return Ok(false);
    };
    let Some(from) = place.built_to.clone() else {
        return Ok(false);
    };
    let range = root
        .entries
        .range(tx, (Bound::Excluded(from), Bound::Unbounded))?;
    let entries: Vec<(String, Ref<Entry>)> = range.take(BUILD).collect::<Result<_>>()?;
    let refs: Vec<_> = entries.iter().map(|(_, entry)| *entry).collect();
    tx.prefetch(&refs)?;
    for (key, entry) in &entries {
        let newest = write::load(tx, &tx.get(*entry)?.newest)?;
        for form in forms(&place.index, &newest.fields) {
            let form = Form(cut(&form, FORM_BYTES_MAX).to_vec());
            place.lines.insert(
                tx,
                Line {
                    form,
                    key: key.clone(),
                },
            )?;
        }
    }
    place.built_to = entries.last().map(|(key, _)| key.clone());
    let more = place.built_to.is_some();
    tx.set(at, root)?;
    Ok(more)
}

fn gone() -> Error {
    Error::new(ErrorKind::Gone, "make an index").because("the class was taken away meanwhile")
}
