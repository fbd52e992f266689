//! Trees of entries that are in order already.

use durum_core::{Error, ErrorKind, Result};

use super::node::{Branch, Head, Leaf, Node};
use super::{BTree, NODE_SIZE, check_size};
use crate::counter::Counter;
use crate::database::Database;
use crate::reference::Ref;
use crate::root::Anything;
use crate::storable::{Key, Storable};
use crate::transaction::Transaction;

/// How many nodes are committed at once.
const NODES_AT_ONCE: usize = 256;

impl<K: Key, V: Storable> BTree<K, V> {
    /// Makes a tree of entries whose keys ascend, with full nodes. The transaction holds all of it; for many
    /// entries take [`BTree::build`].
    ///
    /// # Errors
    /// `Usage` where keys do not ascend; as [`Transaction::new`].
    pub fn from_sorted(
        tx: &Transaction,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<BTree<K, V>> {
        BTree::from_sorted_with(tx, NODE_SIZE, entries)
    }

    /// As [`BTree::from_sorted`], with the [size of nodes](BTree::with_node_size).
    ///
    /// # Errors
    /// As [`BTree::from_sorted`], and [`BTree::with_node_size`].
    pub fn from_sorted_with(
        tx: &Transaction,
        size: u32,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<BTree<K, V>> {
        let mut builder = Builder::new(size)?;
        for (key, value) in entries {
            builder.push(tx, key, value)?;
        }
        builder.finish(tx)
    }

    /// Makes a tree of entries whose keys ascend, with full nodes, and stores it while it is made, so that any
    /// number of entries takes little memory. It is kept until the database is closed: link it by a
    /// transaction before.
    ///
    /// # Errors
    /// `Usage` where keys do not ascend; as [`Transaction::commit`].
    pub fn build(db: &Database, entries: impl IntoIterator<Item = (K, V)>) -> Result<BTree<K, V>> {
        BTree::build_with(db, NODE_SIZE, entries)
    }

    /// As [`BTree::build`], with the [size of nodes](BTree::with_node_size).
    ///
    /// # Errors
    /// As [`BTree::build`], and [`BTree::with_node_size`].
    pub fn build_with(
        db: &Database,
        size: u32,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<BTree<K, V>> {
        let mut builder = Builder::new(size)?;
        let mut tx = db.begin()?;
        for (key, value) in entries {
            builder.push(&tx, key, value)?;
            if builder.made >= NODES_AT_ONCE {
                tx.store_new()?;
                builder.made = 0;
            }
        }
        let tree = builder.finish(&tx)?;
        tx.store_new()?;
        Ok(tree)
    }
}

/// What is not yet in a node. There is always enough left for the last two.
struct Builder<K, V> {
    size: u32,
    leaf: Node<K, V>,
    /// The next branch of each level, from below.
    levels: Vec<Branch<K>>,
    count: i64,
    made: usize,
}

impl<K: Key, V: Storable> Builder<K, V> {
    fn new(size: u32) -> Result<Builder<K, V>> {
        check_size(size)?;
        Ok(Builder {
            size,
            leaf: Node::new(size),
            levels: Vec::new(),
            count: 0,
            made: 0,
        })
    }

    fn push(&mut self, tx: &Transaction, key: K, value: V) -> Result<()> {
        if self.leaf.keys.last().is_some_and(|last| *last >= key) {
            return Err(Error::new(ErrorKind::Usage, "build a tree")
                .because(format!("the key of entry {} does not ascend", self.count))
                .hint("Sort the entries by their keys, and leave out those that come twice."));
        }
        self.leaf.keys.push(key);
        self.leaf.items.push(value);
        self.count += 1;
        match self.leaf.len() >= 2 * self.size as usize {
            true => self.end_leaf(tx, self.size as usize),
            false => Ok(()),
        }
    }

    fn new_leaf(&mut self, tx: &Transaction, leaf: Node<K, V>) -> Result<Ref<Anything>> {
        self.made += 1;
        Ok(tx.new(Leaf(leaf))?.cast())
    }

    /// Makes a leaf of the first `length` entries of those that are left.
    fn end_leaf(&mut self, tx: &Transaction, length: usize) -> Result<()> {
        let Some((_, right)) = self.leaf.split_off(length) else {
            return Ok(());
        };
        let left = std::mem::replace(&mut self.leaf, right);
        let low = left.low.clone();
        let leaf = self.new_leaf(tx, left)?;
        self.add(tx, 0, low, leaf)
    }

    /// Adds a child to the branch of `level`.
    fn add(
        &mut self,
        tx: &Transaction,
        level: usize,
        low: Option<K>,
        child: Ref<Anything>,
    ) -> Result<()> {
        let Some(branch) = self.levels.get_mut(level) else {
            let mut rest = Node::new(self.size);
            rest.low = low;
            self.levels.push(Branch { first: child, rest });
            return Ok(());
        };
        if let Some(low) = low {
            branch.rest.keys.push(low);
            branch.rest.items.push(child);
        }
        match branch.children() >= 2 * self.size as usize {
            true => self.end_branch(tx, level, self.size as usize),
            false => Ok(()),
        }
    }

    /// Makes a branch of the first `length` children of those that are left at `level`.
    fn end_branch(&mut self, tx: &Transaction, level: usize, length: usize) -> Result<()> {
        let Some(branch) = self.levels.get_mut(level) else {
            return Ok(());
        };
        let Some((_, right)) = branch.split_off(length - 1) else {
            return Ok(());
        };
        let left = std::mem::replace(branch, right);
        let low = left.rest.low.clone();
        self.made += 1;
        let branch = tx.new(left)?.cast();
        self.add(tx, level + 1, low, branch)
    }

    fn finish(mut self, tx: &Transaction) -> Result<BTree<K, V>> {
        let size = self.size as usize;
        if self.leaf.len() > size {
            self.end_leaf(tx, self.leaf.len() / 2)?;
        }
        let last = std::mem::replace(&mut self.leaf, Node::new(self.size));
        let mut low = last.low.clone();
        let mut root = self.new_leaf(tx, last)?;
        let mut level = 0;
        while low.is_some() {
            self.add(tx, level, low, root)?;
            let left = self.levels.get(level).map_or(0, Branch::children);
            if left > size {
                self.end_branch(tx, level, left / 2)?;
            }
            let Some(branch) = self.levels.get(level).cloned() else {
                break;
            };
            low = branch.rest.low.clone();
            root = tx.new(branch)?.cast();
            level += 1;
        }
        let head = Head {
            capacity: self.size,
            level: level as u32,
            root,
            count: Counter::new(tx, self.count)?,
            cleared: 0,
        };
        Ok(BTree::at(tx.new(head)?))
    }
}
