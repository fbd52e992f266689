//! The nodes from the head to an element, held to be changed.
//!
//! Everything that can fail is done before the first change: whoever has a path, and with it the nodes beside it that
//! are needed, changes them without further ado. So an operation changes all that it has to, or nothing.

use durum_core::Result;

use super::List;
use super::node::{Child, LEVELS_MAX, ListHead, Node, damaged};
use crate::reference::Ref;
use crate::storable::Storable;
use crate::transaction::{Mut, Transaction};

/// Level 0 is the root, which is in the head; the last level is the leaf.
pub(super) struct Path<'tx, T: Storable> {
    tx: &'tx Transaction,
    pub(super) head: Mut<'tx, ListHead<T>>,
    pub(super) steps: Vec<Step<'tx, T>>,
    /// The element's index in the leaf.
    pub(super) index: usize,
}

/// A node, and its place among the children of the one above.
pub(super) struct Step<'tx, T: Storable> {
    pub(super) target: Ref<Node<T>>,
    pub(super) place: usize,
    pub(super) node: Mut<'tx, Node<T>>,
}

/// What is picked of the children.
type Pick<T> = fn(&Node<T>, u64) -> Option<(usize, Child<T>, u64)>;

impl<'tx, T: Storable> Path<'tx, T> {
    /// The path to the element with this index, which must be there.
    pub(super) fn to(list: List<T>, tx: &'tx Transaction, index: u64) -> Result<Path<'tx, T>> {
        Path::by(list, tx, index, Node::pick)
    }

    /// The path to where an element comes that is to have this index.
    pub(super) fn to_gap(list: List<T>, tx: &'tx Transaction, index: u64) -> Result<Path<'tx, T>> {
        Path::by(list, tx, index, Node::pick_gap)
    }

    fn by(list: List<T>, tx: &'tx Transaction, index: u64, pick: Pick<T>) -> Result<Path<'tx, T>> {
        let mut path = Path {
            tx,
            head: tx.get_mut(list.head)?,
            steps: Vec::new(),
            index: 0,
        };
        let mut left = index;
        while !path.node(path.leaf()).is_leaf() {
            let picked = pick(path.node(path.leaf()), left);
            let picked = picked.filter(|_| path.steps.len() < LEVELS_MAX);
            let (place, child, below) = picked.ok_or_else(|| damaged(list.head.oid()))?;
            path.steps.push(Step {
                target: child.node,
                place,
                node: tx.get_mut(child.node)?,
            });
            left = below;
        }
        path.index = left as usize;
        match path.index <= path.node(path.leaf()).entries() {
            true => Ok(path),
            false => Err(damaged(list.head.oid())),
        }
    }

    /// The level of the leaf.
    pub(super) fn leaf(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn node(&self, level: usize) -> &Node<T> {
        let step = level.checked_sub(1).and_then(|level| self.steps.get(level));
        step.map_or(&self.head.root, |step| &step.node)
    }

    pub(super) fn node_mut(&mut self, level: usize) -> &mut Node<T> {
        let step = level.checked_sub(1);
        match step.and_then(|level| self.steps.get_mut(level)) {
            Some(step) => &mut step.node,
            None => &mut self.head.root,
        }
    }

    /// Where the node of this level is in the one above.
    pub(super) fn place(&self, level: usize) -> usize {
        let step = level.checked_sub(1).and_then(|level| self.steps.get(level));
        step.map_or(0, |step| step.place)
    }

    /// What the node above says of the node of this level.
    pub(super) fn child_mut(&mut self, level: usize) -> Option<&mut Child<T>> {
        let place = self.place(level);
        match level.checked_sub(1) {
            Some(above) => self.node_mut(above).child_mut(place),
            None => None,
        }
    }

    /// A node beside that of this level; none where that is an only child. Says whether it is the one to the
    /// right.
    pub(super) fn sibling(&self, level: usize) -> Result<Option<(Mut<'tx, Node<T>>, bool)>> {
        let place = self.place(level);
        let Some(above) = level.checked_sub(1) else {
            return Ok(None);
        };
        let children = self.node(above).children();
        let right = children.get(place + 1).map(|child| (child, true));
        let left = || place.checked_sub(1).and_then(|place| children.get(place));
        let Some((child, is_right)) = right.or_else(|| left().map(|child| (child, false))) else {
            return Ok(None);
        };
        let sibling = self.tx.get_mut(child.node)?;
        match sibling.is_leaf() == self.node(level).is_leaf() {
            true => Ok(Some((sibling, is_right))),
            false => Err(damaged(child.node.oid())),
        }
    }

    /// Takes nodes of only one child away from the top, as far as that is held.
    pub(super) fn lower(&mut self) {
        loop {
            let only = match &self.head.root {
                Node::Branch(children) => match children.as_slice() {
                    [] => None,
                    [only] => Some(only.node),
                    _ => return,
                },
                Node::Leaf(_) => return,
            };
            let Some(only) = only else {
                self.head.root = Node::Leaf(Vec::new());
                return;
            };
            let held = self.steps.iter().find(|step| step.target == only);
            let Some(below) = held.map(|step| Node::clone(&step.node)) else {
                return;
            };
            self.head.root = below;
        }
    }
}
