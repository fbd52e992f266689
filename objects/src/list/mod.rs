//! Lists of which only what is touched is loaded.

mod build;
mod change;
mod iter;
mod node;
mod path;
mod verify;

use std::fmt;
use std::sync::Arc;

use durum_core::{Error, ErrorKind, Result};

pub use iter::Iter;
pub use node::ListHead;

use crate::handle::handle;
use crate::reference::Ref;
use crate::storable::Storable;
use crate::transaction::Transaction;
use node::{LEVELS_MAX, Node, damaged};

/// Entries of a node, unless told.
const MOST: u32 = 64;
/// Fewer do not make a tree.
const MOST_MIN: u32 = 4;

/// A list in the store: what a `Vec` does, but elements can be inserted and removed anywhere in logarithmic time,
/// and only the nodes that are touched are loaded, and stored by a commit.
///
/// The list itself is a reference of eight bytes that can be copied, and be a field of any persistent type. Its
/// elements are stored within its nodes, [`Ref`]s among them count as references; large elements are better
/// objects of their own, of which the list has the `Ref`s.
///
/// ```
/// # use durum_objects::{Database, List};
/// let db = Database::create("memory:")?;
/// let list = db.transact(|tx| {
///     let list = List::build(tx, 0..1000)?;
///     list.set_root(tx, "numbers")?;
///     Ok(list)
/// })?;
/// db.transact(|tx| {
///     list.insert(tx, 500, -1)?;
///     list.update(tx, 0, |first| *first += 7)?;
///     list.pop(tx)
/// })?;
/// let tx = db.view()?;
/// let list = List::root(&tx, "numbers")?.unwrap_or(list);
/// assert_eq!((list.len(&tx)?, list.get(&tx, 500)?), (1000, Some(-1)));
/// let last: Vec<i32> = list.range(&tx, 997..)?.collect::<Result<_, _>>()?;
/// assert_eq!(last, [996, 997, 998]);
/// # Ok::<(), durum_objects::Error>(())
/// ```
///
/// # Conflicts
/// An index means something else once another transaction has inserted or removed before it. So nothing is
/// merged here: a transaction that has used the list in whatever way, and changed anything, fails with a conflict (or
/// is repeated, by [`Database::transact`](crate::Database::transact)) where another one has meanwhile inserted,
/// removed, or moved elements anywhere in it. Where another one has only replaced elements, it fails if it has read
/// or changed some of the same nodes. Where many append at a time, a `BTree` with keys of their own is better.
///
/// # Errors
/// All operations fail as [`Transaction::get`] does, and those that change something as
/// [`Transaction::get_mut`]; one that fails has changed nothing.
pub struct List<T> {
    head: Ref<ListHead<T>>,
}

/// Where a leaf is, and an element's index in it.
enum Place<T> {
    Head(Arc<ListHead<T>>, usize),
    Node(Ref<Node<T>>, Arc<Node<T>>, usize),
}

impl<T: Storable> Place<T> {
    fn element(&self) -> Option<&T> {
        let (leaf, index) = match self {
            Place::Head(head, index) => (&head.root, index),
            Place::Node(_, node, index) => (&**node, index),
        };
        match leaf {
            Node::Leaf(elements) => elements.get(*index),
            Node::Branch(_) => None,
        }
    }
}

/// Is shown the children of a node on the way down, and which of them is gone on to.
type Pass<'a, T> = dyn FnMut(&[node::Child<T>], usize) -> Result<()> + 'a;

impl<T: Storable> List<T> {
    /// A new list without elements.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn new(tx: &Transaction) -> Result<List<T>> {
        List::with_node_size(tx, MOST)
    }

    /// As [`List::new`], with up to `most` elements in a node; 64 unless told. Larger nodes make walks faster
    /// and changes slower.
    ///
    /// # Errors
    /// As [`Transaction::new`]; `Usage` for less than 4.
    pub fn with_node_size(tx: &Transaction, most: u32) -> Result<List<T>> {
        List::build_with(tx, most, [])
    }

    /// The list of which this is the head.
    pub fn at(head: Ref<ListHead<T>>) -> List<T> {
        List { head }
    }

    /// What the list is for the rest of the database: for [`Transaction::set_root`] and the like.
    pub fn head(self) -> Ref<ListHead<T>> {
        self.head
    }

    /// The list with this name at the root.
    ///
    /// # Errors
    /// As [`Transaction::root`].
    pub fn root(tx: &Transaction, name: &str) -> Result<Option<List<T>>> {
        Ok(tx.root(name)?.map(List::at))
    }

    /// Names it at the root.
    ///
    /// # Errors
    /// As [`Transaction::set_root`].
    pub fn set_root(self, tx: &Transaction, name: &str) -> Result<()> {
        tx.set_root(name, self.head)
    }

    /// The number of elements, without a walk.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn len(self, tx: &Transaction) -> Result<u64> {
        Ok(tx.get(self.head)?.len)
    }

    /// Whether there are no elements.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn is_empty(self, tx: &Transaction) -> Result<bool> {
        Ok(self.len(tx)? == 0)
    }

    /// The element with this index, if there are so many.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn get(self, tx: &Transaction, index: u64) -> Result<Option<T>> {
        self.with(tx, index, T::clone)
    }

    /// What `read` makes of the element with this index, which is not cloned.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn with<R>(
        self,
        tx: &Transaction,
        index: u64,
        read: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>> {
        let place = self.place(tx, index)?;
        Ok(place.as_ref().and_then(Place::element).map(read))
    }

    /// The first element.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn first(self, tx: &Transaction) -> Result<Option<T>> {
        self.get(tx, 0)
    }

    /// The last element.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn last(self, tx: &Transaction) -> Result<Option<T>> {
        match self.len(tx)?.checked_sub(1) {
            Some(last) => self.get(tx, last),
            None => Ok(None),
        }
    }

    fn place(self, tx: &Transaction, index: u64) -> Result<Option<Place<T>>> {
        self.place_by(tx, index, &mut |_, _| Ok(()))
    }

    /// As [`List::place`]; `pass` is shown the children of each node above the leaf, and which of them it goes on to.
    fn place_by(
        self,
        tx: &Transaction,
        index: u64,
        pass: &mut Pass<'_, T>,
    ) -> Result<Option<Place<T>>> {
        let head = tx.get(self.head)?;
        if index >= head.len {
            return Ok(None);
        }
        if head.root.is_leaf() {
            return Ok(Some(Place::Head(head, index as usize)));
        }
        let (mut place, mut target) = (index, None);
        let mut node: Option<Arc<Node<T>>> = None;
        for _ in 0..LEVELS_MAX {
            let here = node.as_deref().unwrap_or(&head.root);
            let (at, child, left) = here.pick(place).ok_or_else(|| damaged(self.head.oid()))?;
            pass(here.children(), at)?;
            let below = tx.get(child.node)?;
            if below.is_leaf() {
                return Ok(Some(Place::Node(child.node, below, left as usize)));
            }
            (place, target, node) = (left, Some(child.node.oid()), Some(below));
        }
        Err(damaged(target.unwrap_or(self.head.oid())))
    }

    /// The error for an index that is too large.
    fn beyond(self, operation: &'static str, index: u64, len: u64) -> Error {
        Error::new(ErrorKind::Usage, operation)
            .because(format!(
                "there is no index {index} in a list of {len} elements"
            ))
            .with_oid(self.head.oid())
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "List({})", self.head.oid())
    }
}

handle!(List<T>, head, |head| List { head });
