//! Ordered maps of any size, of which only the nodes that are touched are loaded.
//!
//! A tree has a head, by which it is known; branches; and leaves with the entries. The number of entries is a
//! [`Counter`] of its own, so that transactions which insert do not conflict about it.
//!
//! # What conflicts, and why it is right
//!
//! A node has the bounds of the keys that it covers. In every committed state the leaves cover all keys, each one
//! once, and the bounds of a branch's children are what the branch says. Whoever moves a bound changes the
//! nodes at both sides of it, and whoever takes a node out of the tree marks it (`live`), which is a change, too.
//! So a leaf that is as it was still is the one for its keys, whatever has become of the branches above it: a
//! transaction depends on none of these, and of a leaf only on the keys that it has looked for or the range that
//! it has read ([`Seen`]). That holds for keys that are not there, too, and for the first and the last entry: the
//! leaf without a lower bound has the first one, and no leaf is empty but one that is alone.
//!
//! Leaves do not tell that the tree was [cleared](BTree::clear), so each operation depends on the head as far as
//! that: the head changes only by that and where the root does.
//!
//! Nodes that two transactions have changed are merged key by key. Where one of them has moved the node's
//! bounds, what the other has changed or seen must lie within the new ones; where both have, that is a conflict.
//! What moves to another node counts as seen, so that nobody changes it where it was. Branches are merged like
//! that by the bounds between their children: transactions that change the same bound meet in the leaves
//! beneath, or in the branches. What would make a node too large or too small is a conflict: the transaction's
//! repetition splits or joins it.

mod build;
mod change;
mod node;
mod range;
mod seen;

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use durum_core::{Error, ErrorKind, Result};

use crate::counter::Counter;
use crate::handle::handle;
use crate::reference::Ref;
use crate::root::Anything;
use crate::storable::{Key, Storable};
use crate::transaction::Transaction;
use node::{Branch, Head, Leaf, Node, torn};
use seen::Seen;

pub use range::Range;

/// Entries of a node, unless told. With a small cache 32 to 256 are about as fast for lookups and for inserts of
/// many; smaller ones make single inserts faster, larger ones scans.
const NODE_SIZE: u32 = 64;
/// Smaller nodes could not be split into two that are large enough.
const NODE_SIZE_MIN: u32 = 4;
/// Larger ones would be written for each entry that is changed.
const NODE_SIZE_MAX: u32 = 1 << 16;

/// An ordered map of any size, of which only the nodes that are touched are loaded.
///
/// It is a reference to an object of its own, which takes eight bytes where it is kept in another one; or it can
/// be named at the root by [`BTree::set_root`]. Operations see and change what their transaction sees.
/// Transactions that use different keys do not conflict, but where they split or join the same nodes; those
/// that read a range conflict with others that change something in it.
///
/// ```
/// use durum_objects::{BTree, Database};
///
/// let db = Database::create("memory:")?;
/// db.transact(|tx| {
///     let ages: BTree<String, u32> = BTree::new(tx)?;
///     ages.set_root(tx, "ages")?;
///     ages.insert(tx, "Ada".into(), 36)?;
///     ages.insert(tx, "Grace".into(), 85)?;
///     ages.update(tx, "Ada", |age| *age += 1)?;
///     assert_eq!(ages.get(tx, "Ada")?, Some(37));
///     let names: Vec<_> = ages.range(tx, "B".to_owned()..)?.collect::<Result<_, _>>()?;
///     assert_eq!(names, [("Grace".to_owned(), 85)]);
///     Ok(())
/// })?;
/// # Ok::<(), durum_objects::Error>(())
/// ```
pub struct BTree<K, V> {
    head: Ref<Head>,
    entries: PhantomData<fn() -> (K, V)>,
}

/// The way to a leaf.
struct Path<K, V> {
    /// Each branch on it, with the number of the child that it goes on with; the root first.
    branches: Vec<(Ref<Branch<K>>, usize)>,
    leaf: Ref<Leaf<K, V>>,
}

/// Notes that a transaction has used a tree.
#[derive(Default)]
struct Used;

impl<K, V> BTree<K, V> {
    fn at(head: Ref<Head>) -> BTree<K, V> {
        BTree {
            head,
            entries: PhantomData,
        }
    }
}

impl<K: Key, V: Storable> BTree<K, V> {
    /// Makes an empty tree.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn new(tx: &Transaction) -> Result<BTree<K, V>> {
        BTree::with_node_size(tx, NODE_SIZE)
    }

    /// Makes an empty tree whose nodes have up to `size` entries: larger ones make reading of ranges faster, and
    /// changes dearer.
    ///
    /// # Errors
    /// `Usage` for a size below 4 or above 65536; as [`Transaction::new`].
    pub fn with_node_size(tx: &Transaction, size: u32) -> Result<BTree<K, V>> {
        check_size(size)?;
        let root = tx.new(Leaf::<K, V>(Node::new(size)))?;
        let head = Head {
            capacity: size,
            level: 0,
            root: root.cast(),
            count: Counter::new(tx, 0)?,
            cleared: 0,
        };
        Ok(BTree::at(tx.new(head)?))
    }

    /// The tree with this name at the root.
    ///
    /// # Errors
    /// As [`Transaction::root`].
    pub fn root(tx: &Transaction, name: &str) -> Result<Option<BTree<K, V>>> {
        Ok(tx.root(name)?.map(BTree::at))
    }

    /// Names it at the root.
    ///
    /// # Errors
    /// As [`Transaction::set_root`].
    pub fn set_root(&self, tx: &Transaction, name: &str) -> Result<()> {
        tx.set_root(name, self.head)
    }

    /// The value for `key`.
    ///
    /// # Errors
    /// As [`Transaction::get`], as all that reads.
    pub fn get<Q>(&self, tx: &Transaction, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        self.look(tx, key, |value| value.cloned())
    }

    /// Whether there is an entry for `key`.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn contains<Q>(&self, tx: &Transaction, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        self.look(tx, key, |value| value.is_some())
    }

    /// Shows the value for `key` to `show`, without a copy of it.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn look<Q, R>(
        &self,
        tx: &Transaction,
        key: &Q,
        show: impl FnOnce(Option<&V>) -> R,
    ) -> Result<R>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let path = self.find(tx, key)?;
        let leaf = tx.peek(path.leaf)?;
        let at = leaf
            .0
            .keys
            .binary_search_by(|other| other.borrow().cmp(key));
        Ok(show(at.ok().and_then(|at| leaf.0.items.get(at))))
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn first(&self, tx: &Transaction) -> Result<Option<(K, V)>> {
        let path = self.descend(tx, |_| 0)?;
        let leaf = tx.peek(path.leaf)?;
        let entry = leaf
            .0
            .keys
            .first()
            .cloned()
            .zip(leaf.0.items.first().cloned());
        let high = match &entry {
            Some((key, _)) => Bound::Included(key.clone()),
            None => Bound::Unbounded,
        };
        self.note(tx, path.leaf, |seen| seen.note((Bound::Unbounded, high)))?;
        Ok(entry)
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn last(&self, tx: &Transaction) -> Result<Option<(K, V)>> {
        let path = self.descend(tx, <[K]>::len)?;
        let leaf = tx.peek(path.leaf)?;
        let entry = leaf
            .0
            .keys
            .last()
            .cloned()
            .zip(leaf.0.items.last().cloned());
        let low = match &entry {
            Some((key, _)) => Bound::Included(key.clone()),
            None => Bound::Unbounded,
        };
        self.note(tx, path.leaf, |seen| seen.note((low, Bound::Unbounded)))?;
        Ok(entry)
    }

    /// How many entries there are. Nothing is counted for that; the transaction then conflicts with others that
    /// insert or remove.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn len(&self, tx: &Transaction) -> Result<u64> {
        let count = self.head(tx)?.count.get(tx)?;
        u64::try_from(count).map_err(|_| torn())
    }

    /// Whether there are no entries. Unlike [`BTree::len`] this conflicts with few others.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn is_empty(&self, tx: &Transaction) -> Result<bool> {
        Ok(self.first(tx)?.is_none())
    }

    /// All entries in order; also from the end, by [`Iterator::rev`].
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn iter<'tx>(&self, tx: &'tx Transaction) -> Result<Range<'tx, K, V>> {
        self.range(tx, ..)
    }

    /// The keys in order.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn keys<'tx>(
        &self,
        tx: &'tx Transaction,
    ) -> Result<impl DoubleEndedIterator<Item = Result<K>> + use<'tx, K, V>> {
        Ok(self.iter(tx)?.map(|entry| entry.map(|(key, _)| key)))
    }

    /// The values in the order of their keys.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn values<'tx>(
        &self,
        tx: &'tx Transaction,
    ) -> Result<impl DoubleEndedIterator<Item = Result<V>> + use<'tx, K, V>> {
        Ok(self.iter(tx)?.map(|entry| entry.map(|(_, value)| value)))
    }

    /// The entries with keys in `range`, in order; also from its end, by [`Iterator::rev`]. The transaction may
    /// change the tree meanwhile: what it changes near the present entry may or may not show, and no entry
    /// comes twice.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn range<'tx>(
        &self,
        tx: &'tx Transaction,
        range: impl RangeBounds<K>,
    ) -> Result<Range<'tx, K, V>> {
        let (low, high) = (range.start_bound().cloned(), range.end_bound().cloned());
        Ok(Range::new(*self, tx, low, high))
    }

    /// How many levels of nodes there are; 1 where all entries are in one.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn depth(&self, tx: &Transaction) -> Result<u32> {
        Ok(self.head(tx)?.level + 1)
    }

    /// How many nodes there are. All branches are read for that, and no leaf; the transaction does not depend
    /// on what it was told.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn node_count(&self, tx: &Transaction) -> Result<u64> {
        let head = self.head(tx)?;
        let (mut nodes, mut level) = (1, vec![head.root]);
        for _ in 0..head.level {
            let branches: Vec<Ref<Branch<K>>> = level.drain(..).map(Ref::cast).collect();
            for some in branches.chunks(256) {
                tx.prefetch(some)?;
                for branch in some {
                    let branch = tx.peek(*branch)?;
                    level.push(branch.first);
                    level.extend(&branch.rest.items);
                }
            }
            nodes += level.len() as u64;
        }
        Ok(nodes)
    }

    /// How many entries a node has at most.
    ///
    /// # Errors
    /// As [`BTree::get`].
    pub fn node_size(&self, tx: &Transaction) -> Result<u32> {
        Ok(self.head(tx)?.capacity)
    }

    fn head(&self, tx: &Transaction) -> Result<std::sync::Arc<Head>> {
        tx.observe(self.head, |_: &mut Used| {})?;
        tx.peek(self.head)
    }

    /// The way to the leaf that `choose` leads to: of the bounds between a branch's children it makes the number
    /// of the child to go on with.
    fn descend(&self, tx: &Transaction, choose: impl Fn(&[K]) -> usize) -> Result<Path<K, V>> {
        let head = self.head(tx)?;
        let mut branches = Vec::with_capacity(head.level as usize);
        let mut child = head.root;
        for _ in 0..head.level {
            let at: Ref<Branch<K>> = child.cast();
            let branch = tx.peek(at)?;
            let chosen = choose(&branch.rest.keys);
            child = branch.child(chosen)?;
            branches.push((at, chosen));
        }
        Ok(Path {
            branches,
            leaf: child.cast(),
        })
    }

    /// The way to the leaf for `key`, which counts as read.
    fn find<Q>(&self, tx: &Transaction, key: &Q) -> Result<Path<K, V>>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        let path = self.descend(tx, |keys| {
            keys.partition_point(|other| other.borrow() <= key)
        })?;
        self.note(tx, path.leaf, |seen| seen.note_key(key))?;
        Ok(path)
    }

    fn note(
        &self,
        tx: &Transaction,
        leaf: Ref<Leaf<K, V>>,
        note: impl FnOnce(&mut Seen<K>),
    ) -> Result<()> {
        tx.observe(leaf, note)
    }

    /// Checks what must be true of every tree; returns the number of entries. It reads the whole tree.
    ///
    /// # Errors
    /// `Damaged` with what is not true.
    pub fn check(&self, tx: &Transaction) -> Result<u64> {
        let head = self.head(tx)?;
        let mut nodes = vec![(head.root, head.level, None, None)];
        let mut entries = 0;
        while let Some((at, level, low, high)) = nodes.pop() {
            let bounds = (&low, &high);
            if level == 0 {
                let leaf = tx.peek(at.cast::<Leaf<K, V>>())?;
                let all = (Bound::Unbounded, Bound::Unbounded);
                self.note(tx, at.cast(), |seen| seen.note(all))?;
                let least = node::least_entries(head.capacity);
                check_node(&leaf.0, at, head.capacity, bounds, leaf.0.len(), least, 0)?;
                entries += leaf.0.len() as u64;
                continue;
            }
            let branch = tx.peek(at.cast::<Branch<K>>())?;
            let least = node::least_children(head.capacity);
            let (rest, children) = (&branch.rest, branch.children());
            check_node(rest, at, head.capacity, bounds, children, least, 2)?;
            let lows = std::iter::once(low.clone()).chain(rest.keys.iter().cloned().map(Some));
            let highs = rest.keys.iter().cloned().map(Some).chain([high.clone()]);
            let children = std::iter::once(&branch.first).chain(&rest.items);
            for ((child, low), high) in children.zip(lows).zip(highs) {
                nodes.push((*child, level - 1, low, high));
            }
        }
        match self.len(tx)? == entries {
            true => Ok(entries),
            false => Err(torn().with_oid(self.head.oid())),
        }
    }
}

fn check_node<K: Key, X: Clone>(
    node: &Node<K, X>,
    at: Ref<Anything>,
    capacity: u32,
    (low, high): (&Option<K>, &Option<K>),
    size: usize,
    least: usize,
    least_alone: usize,
) -> Result<()> {
    let least = match node.is_alone() {
        true => least_alone,
        false => least,
    };
    let mut pairs = node.keys.iter().zip(node.keys.iter().skip(1));
    let wrong = if !node.live {
        "it is no longer in the tree"
    } else if (&node.low, &node.high) != (low, high) {
        "its bounds are not those that the branch above has"
    } else if node.keys.len() != node.items.len() || node.capacity != capacity {
        "it is not whole"
    } else if size < least || size > capacity as usize {
        "it has too few or too many entries"
    } else if pairs.any(|(one, next)| one >= next) || !node.keys.iter().all(|key| node.covers(key))
    {
        "its keys are not in order, or beyond its bounds"
    } else {
        return Ok(());
    };
    Err(Error::damaged("check a tree", wrong).with_oid(at.oid()))
}

fn check_size(size: u32) -> Result<()> {
    match (NODE_SIZE_MIN..=NODE_SIZE_MAX).contains(&size) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, "make a tree").because(format!(
            "its nodes can have {NODE_SIZE_MIN} to {NODE_SIZE_MAX} entries, not {size}"
        ))),
    }
}

impl<K, V> fmt::Debug for BTree<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BTree({})", self.head.oid())
    }
}

handle!(BTree<K, V>, head, BTree::at);
