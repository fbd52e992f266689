//! The objects of which a list is made.

use durum_core::{Error, Oid};
use serde::{Deserialize, Serialize};

use crate::persistent::{Persistent, Shape};
use crate::reference::Ref;
use crate::storable::Storable;

/// No list has so many levels, unless its references go round in circles.
pub(super) const LEVELS_MAX: usize = 64;

/// The object that a [`List`](super::List) refers to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListHead<T> {
    pub(super) len: u64,
    /// Entries of a node.
    pub(super) most: u32,
    /// Within this object, so that a short list is one object.
    pub(super) root: Node<T>,
}

/// Elements, or nodes with the numbers of elements below them; all leaves are on one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Node<T> {
    Leaf(Vec<T>),
    Branch(Vec<Child<T>>),
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Child<T> {
    pub(super) count: u64,
    pub(super) node: Ref<Node<T>>,
}

// Without a bound on `T`, which a derived one would have.
impl<T> Clone for Child<T> {
    fn clone(&self) -> Child<T> {
        *self
    }
}

impl<T> Copy for Child<T> {}

impl<T> std::fmt::Debug for Child<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} in {}", self.count, self.node.oid())
    }
}

impl<T: Storable> Persistent for ListHead<T> {
    const NAME: &'static str = "durum.List";
    const SHAPE: Shape = Shape::Struct(&["len", "most", "root"]);
}

impl<T: Storable> Persistent for Node<T> {
    const NAME: &'static str = "durum.ListNode";
    const SHAPE: Shape = Shape::Enum(&[("Leaf", &[]), ("Branch", &[])]);
}

impl<T> Node<T> {
    /// Elements of a leaf, children of a branch.
    pub(super) fn entries(&self) -> usize {
        match self {
            Node::Leaf(elements) => elements.len(),
            Node::Branch(children) => children.len(),
        }
    }

    /// Elements in it and below.
    pub(super) fn count(&self) -> u64 {
        match self {
            Node::Leaf(elements) => elements.len() as u64,
            Node::Branch(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    pub(super) fn is_leaf(&self) -> bool {
        matches!(self, Node::Leaf(_))
    }

    pub(super) fn children(&self) -> &[Child<T>] {
        match self {
            Node::Leaf(_) => &[],
            Node::Branch(children) => children,
        }
    }

    pub(super) fn child_mut(&mut self, place: usize) -> Option<&mut Child<T>> {
        match self {
            Node::Leaf(_) => None,
            Node::Branch(children) => children.get_mut(place),
        }
    }

    /// The child in which the element with this index is, and its index there.
    pub(super) fn pick(&self, index: u64) -> Option<(usize, Child<T>, u64)> {
        let mut left = index;
        for (place, child) in self.children().iter().enumerate() {
            if left < child.count {
                return Some((place, *child, left));
            }
            left -= child.count;
        }
        None
    }

    /// The child into which an element comes that is to have this index.
    pub(super) fn pick_gap(&self, index: u64) -> Option<(usize, Child<T>, u64)> {
        let mut left = index;
        for (place, child) in self.children().iter().enumerate() {
            if left <= child.count {
                return Some((place, *child, left));
            }
            left -= child.count;
        }
        None
    }

    /// Keeps the first `at` entries and returns the others.
    pub(super) fn split_off(&mut self, at: usize) -> Node<T> {
        match self {
            Node::Leaf(elements) => Node::Leaf(elements.split_off(at.min(elements.len()))),
            Node::Branch(children) => Node::Branch(children.split_off(at.min(children.len()))),
        }
    }

    pub(super) fn truncate(&mut self, entries: usize) {
        match self {
            Node::Leaf(elements) => elements.truncate(entries),
            Node::Branch(children) => children.truncate(entries),
        }
    }

    /// Appends the entries of a node of the same level.
    pub(super) fn append(&mut self, other: Node<T>) {
        match (self, other) {
            (Node::Leaf(elements), Node::Leaf(others)) => elements.extend(others),
            (Node::Branch(children), Node::Branch(others)) => children.extend(others),
            // `Path::sibling` has refused them.
            _ => {}
        }
    }
}

/// The error for objects that do not make up a list.
pub(super) fn damaged(oid: Oid) -> Error {
    Error::damaged("use a list", "its objects contradict each other").with_oid(oid)
}
