//! Maps whose keys have no order.

use std::borrow::Borrow;
use std::fmt;

use durum_core::{Error, ErrorKind, Result};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::btree::BTree;
use crate::format;
use crate::handle::handle;
use crate::storable::Storable;
use crate::transaction::Transaction;

/// Where an entry is: by the hash of its key, and a number among those that have the same one.
type Place = (u64, u32);

/// A map whose keys can be compared, and have no order: otherwise as [`BTree`], on which it is built.
///
/// Keys are found by the hash of what is stored of them, so that equal keys must be stored alike: as all types
/// are, but for those that serde writes in no certain order, such as `std::collections::HashMap`.
///
/// ```
/// use durum_objects::{Database, Dict};
///
/// let db = Database::create("memory:")?;
/// db.transact(|tx| {
///     let seats: Dict<(u8, char), String> = Dict::new(tx)?;
///     seats.set_root(tx, "seats")?;
///     seats.insert(tx, (12, 'A'), "Ada".into())?;
///     assert_eq!(seats.get(tx, &(12, 'A'))?.as_deref(), Some("Ada"));
///     Ok(())
/// })?;
/// # Ok::<(), durum_objects::Error>(())
/// ```
pub struct Dict<K, V> {
    tree: BTree<Place, (K, V)>,
}

impl<K: Storable + Eq, V: Storable> Dict<K, V> {
    fn at(tree: BTree<Place, (K, V)>) -> Dict<K, V> {
        Dict { tree }
    }

    /// Makes an empty dict.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn new(tx: &Transaction) -> Result<Dict<K, V>> {
        Ok(Dict::at(BTree::new(tx)?))
    }

    /// As [`BTree::with_node_size`].
    ///
    /// # Errors
    /// As [`BTree::with_node_size`].
    pub fn with_node_size(tx: &Transaction, size: u32) -> Result<Dict<K, V>> {
        Ok(Dict::at(BTree::with_node_size(tx, size)?))
    }

    /// The dict with this name at the root.
    ///
    /// # Errors
    /// As [`Transaction::root`].
    pub fn root(tx: &Transaction, name: &str) -> Result<Option<Dict<K, V>>> {
        Ok(BTree::root(tx, name)?.map(Dict::at))
    }

    /// Names it at the root.
    ///
    /// # Errors
    /// As [`Transaction::set_root`].
    pub fn set_root(&self, tx: &Transaction, name: &str) -> Result<()> {
        self.tree.set_root(tx, name)
    }

    /// The value for `key`.
    ///
    /// # Errors
    /// As [`BTree::get`]; `Usage` for a key that cannot be stored.
    pub fn get<Q>(&self, tx: &Transaction, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Serialize + ?Sized,
    {
        let (found, _) = self.find(tx, key)?;
        Ok(found.map(|(_, value)| value))
    }

    /// Whether there is an entry for `key`.
    ///
    /// # Errors
    /// As [`Dict::get`].
    pub fn contains<Q>(&self, tx: &Transaction, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Eq + Serialize + ?Sized,
    {
        Ok(self.find(tx, key)?.0.is_some())
    }

    /// Gives `key` a value; returns the one that it had.
    ///
    /// # Errors
    /// As [`BTree::insert`], and [`Dict::get`].
    pub fn insert(&self, tx: &Transaction, key: K, value: V) -> Result<Option<V>> {
        let (found, free) = self.find(tx, &key)?;
        match found {
            Some((place, _)) => self
                .tree
                .update(tx, &place, |entry| std::mem::replace(&mut entry.1, value)),
            None => {
                self.tree.insert(tx, free, (key, value))?;
                Ok(None)
            }
        }
    }

    /// Gives `key` a value unless it has one; returns what it has then.
    ///
    /// # Errors
    /// As [`Dict::insert`].
    pub fn set_default(&self, tx: &Transaction, key: K, value: impl FnOnce() -> V) -> Result<V> {
        let (found, free) = self.find(tx, &key)?;
        if let Some((_, value)) = found {
            return Ok(value);
        }
        let value = value();
        self.tree.insert(tx, free, (key, value.clone()))?;
        Ok(value)
    }

    /// As [`BTree::update`].
    ///
    /// # Errors
    /// As [`Dict::insert`].
    pub fn update<Q, R>(
        &self,
        tx: &Transaction,
        key: &Q,
        change: impl FnOnce(&mut V) -> R,
    ) -> Result<Option<R>>
    where
        K: Borrow<Q>,
        Q: Eq + Serialize + ?Sized,
    {
        match self.find(tx, key)?.0 {
            Some((place, _)) => self.tree.update(tx, &place, |entry| change(&mut entry.1)),
            None => Ok(None),
        }
    }

    /// Takes the entry for `key` out; returns its value.
    ///
    /// # Errors
    /// As [`Dict::insert`].
    pub fn remove<Q>(&self, tx: &Transaction, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Serialize + ?Sized,
    {
        match self.find(tx, key)?.0 {
            Some((place, _)) => Ok(self.tree.remove(tx, &place)?.map(|(_, value)| value)),
            None => Ok(None),
        }
    }

    /// Inserts all entries of `entries`.
    ///
    /// # Errors
    /// As [`BTree::extend`].
    pub fn extend(
        &self,
        tx: &Transaction,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        for (key, value) in entries {
            self.insert(tx, key, value)?;
        }
        Ok(())
    }

    /// As [`BTree::clear`].
    ///
    /// # Errors
    /// As [`BTree::clear`].
    pub fn clear(&self, tx: &Transaction) -> Result<()> {
        self.tree.clear(tx)
    }

    /// As [`BTree::len`].
    ///
    /// # Errors
    /// As [`BTree::len`].
    pub fn len(&self, tx: &Transaction) -> Result<u64> {
        self.tree.len(tx)
    }

    /// As [`BTree::is_empty`].
    ///
    /// # Errors
    /// As [`BTree::is_empty`].
    pub fn is_empty(&self, tx: &Transaction) -> Result<bool> {
        self.tree.is_empty(tx)
    }

    /// All entries, in no particular order, which is the same each time.
    ///
    /// # Errors
    /// As [`BTree::iter`].
    pub fn iter<'tx>(
        &self,
        tx: &'tx Transaction,
    ) -> Result<impl DoubleEndedIterator<Item = Result<(K, V)>> + use<'tx, K, V>> {
        self.tree.values(tx)
    }

    /// The keys, in the order of [`Dict::iter`].
    ///
    /// # Errors
    /// As [`BTree::iter`].
    pub fn keys<'tx>(
        &self,
        tx: &'tx Transaction,
    ) -> Result<impl DoubleEndedIterator<Item = Result<K>> + use<'tx, K, V>> {
        Ok(self.iter(tx)?.map(|entry| entry.map(|(key, _)| key)))
    }

    /// The values, in the order of [`Dict::iter`].
    ///
    /// # Errors
    /// As [`BTree::iter`].
    pub fn values<'tx>(
        &self,
        tx: &'tx Transaction,
    ) -> Result<impl DoubleEndedIterator<Item = Result<V>> + use<'tx, K, V>> {
        Ok(self.iter(tx)?.map(|entry| entry.map(|(_, value)| value)))
    }

    /// As [`BTree::check`].
    ///
    /// # Errors
    /// As [`BTree::check`].
    pub fn check(&self, tx: &Transaction) -> Result<u64> {
        self.tree.check(tx)
    }

    /// The place and the value of `key`, and a free place for it.
    fn find<Q>(&self, tx: &Transaction, key: &Q) -> Result<(Option<(Place, V)>, Place)>
    where
        K: Borrow<Q>,
        Q: Eq + Serialize + ?Sized,
    {
        let hash = hash_of(key)?;
        let mut free = (hash, 0);
        for entry in self.tree.range(tx, (hash, 0)..=(hash, u32::MAX))? {
            let (place, (other, value)) = entry?;
            if other.borrow() == key {
                return Ok((Some((place, value)), free));
            }
            if place == free {
                free.1 += 1;
            }
        }
        Ok((None, free))
    }
}

fn hash_of<Q: Serialize + ?Sized>(key: &Q) -> Result<u64> {
    let mut state = Vec::new();
    format::put_value(&mut state, &key).map_err(|error| {
        Error::new(ErrorKind::Usage, "look up a key")
            .because(format!("it cannot be stored: {error}"))
    })?;
    Ok(xxh3_64(&state))
}

impl<K, V> fmt::Debug for Dict<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Dict in {:?}", self.tree)
    }
}

handle!(Dict<K, V>, tree, |tree| Dict { tree });
