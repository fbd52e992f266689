//! Many elements at once.

use durum_core::{Error, ErrorKind, Result};

use super::node::{Child, ListHead, Node};
use super::path::Path;
use super::{List, MOST, MOST_MIN};
use crate::storable::Storable;
use crate::transaction::Transaction;

impl<T: Storable> List<T> {
    /// A new list of these elements; much faster than to append them one by one.
    ///
    /// # Errors
    /// As [`Transaction::new`].
    pub fn build(tx: &Transaction, elements: impl IntoIterator<Item = T>) -> Result<List<T>> {
        List::build_with(tx, MOST, elements)
    }

    /// As [`List::build`], with the node size of [`List::with_node_size`].
    ///
    /// # Errors
    /// As [`List::with_node_size`].
    pub fn build_with(
        tx: &Transaction,
        most: u32,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<List<T>> {
        if most < MOST_MIN {
            return Err(Error::new(ErrorKind::Usage, "make a list")
                .because(format!("{most} entries do not make a node"))
                .hint(format!("Give {MOST_MIN} or more.")));
        }
        let (len, root) = grow(tx, most as usize, elements)?;
        let head = tx.new(ListHead { len, most, root })?;
        Ok(List { head })
    }

    /// Appends elements. Where one cannot be, those before it are there.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`] and [`Transaction::new`].
    pub fn extend(self, tx: &Transaction, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let head = tx.get(self.head)?;
        if head.len == 0 {
            let (len, root) = grow(tx, head.most as usize, elements)?;
            if len > 0 {
                let mut head = tx.get_mut(self.head)?;
                head.len = len;
                head.root = root;
            }
            return Ok(());
        }
        drop(head);
        elements
            .into_iter()
            .try_for_each(|element| self.push(tx, element))
    }

    /// Removes all elements from this index on.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn truncate(self, tx: &Transaction, len: u64) -> Result<()> {
        if len >= self.len(tx)? {
            return Ok(());
        }
        let Some(last) = len.checked_sub(1) else {
            return self.clear(tx);
        };
        let mut path = Path::to(self, tx, last)?;
        let (leaf, index) = (path.leaf(), path.index);
        path.node_mut(leaf).truncate(index + 1);
        for level in (1..=leaf).rev() {
            let count = path.node(level).count();
            let place = path.place(level);
            path.node_mut(level - 1).truncate(place + 1);
            if let Some(child) = path.child_mut(level) {
                child.count = count;
            }
        }
        path.head.len = len;
        path.lower();
        Ok(())
    }

    /// Removes all elements, without loading them.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn clear(self, tx: &Transaction) -> Result<()> {
        let mut head = tx.get_mut(self.head)?;
        if head.len > 0 {
            head.len = 0;
            head.root = Node::Leaf(Vec::new());
        }
        Ok(())
    }
}

/// The number of the elements, and the root of a tree of them.
fn grow<T: Storable>(
    tx: &Transaction,
    most: usize,
    elements: impl IntoIterator<Item = T>,
) -> Result<(u64, Node<T>)> {
    let mut leaves = Vec::new();
    let mut leaf = Vec::new();
    let mut len = 0;
    for element in elements {
        if leaf.len() == most {
            leaves.push(child(tx, Node::Leaf(std::mem::take(&mut leaf)))?);
        }
        leaf.push(element);
        len += 1;
    }
    if leaves.is_empty() {
        return Ok((len, Node::Leaf(leaf)));
    }
    leaves.push(child(tx, Node::Leaf(leaf))?);
    let mut level = leaves;
    while level.len() > most {
        let above = level.chunks(most);
        let above = above.map(|children| child(tx, Node::Branch(children.to_vec())));
        level = above.collect::<Result<_>>()?;
    }
    Ok((len, Node::Branch(level)))
}

fn child<T: Storable>(tx: &Transaction, node: Node<T>) -> Result<Child<T>> {
    Ok(Child {
        count: node.count(),
        node: tx.new(node)?,
    })
}
