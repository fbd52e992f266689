//! Changes of single elements.

use durum_core::Result;

use super::node::{Child, Node, damaged};
use super::path::Path;
use super::{List, Place};
use crate::reference::Ref;
use crate::storable::Storable;
use crate::transaction::{Mut, Transaction};

/// A node that is less than this part full is filled from the one beside it.
const FULL_MIN: usize = 3;

/// What becomes of a node with too few entries.
enum Refill<'tx, T: Storable> {
    /// It takes all of the one beside it, which goes away.
    Merge(Mut<'tx, Node<T>>, bool),
    /// Both have the same from then on.
    Balance(Mut<'tx, Node<T>>, bool),
    /// It is empty, and goes away.
    Drop,
}

/// A node that was made for what comes from a split.
type Spare<'tx, T> = (Ref<Node<T>>, Mut<'tx, Node<T>>);

impl<T: Storable> List<T> {
    /// Replaces the element with this index, and returns what was there.
    ///
    /// # Errors
    /// `Usage` where there is none; as [`Transaction::get_mut`].
    pub fn set(self, tx: &Transaction, index: u64, value: T) -> Result<T> {
        let replaced = self.update(tx, index, |element| std::mem::replace(element, value))?;
        match replaced {
            Some(replaced) => Ok(replaced),
            None => Err(self.beyond("set an element of a list", index, self.len(tx)?)),
        }
    }

    /// Has `change` change the element with this index, and returns what it returns; `None` where there is no
    /// such element.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn update<R>(
        self,
        tx: &Transaction,
        index: u64,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>> {
        let change = |leaf: &mut Node<T>, index: usize| match leaf {
            Node::Leaf(elements) => elements.get_mut(index).map(change),
            Node::Branch(_) => None,
        };
        let changed = match self.place(tx, index)? {
            None => return Ok(None),
            Some(Place::Head(_, index)) => change(&mut tx.get_mut(self.head)?.root, index),
            Some(Place::Node(node, _, index)) => change(&mut *tx.get_mut(node)?, index),
        };
        changed.map(Some).ok_or_else(|| damaged(self.head.oid()))
    }

    /// Exchanges two elements.
    ///
    /// # Errors
    /// `Usage` where one of them is not there; as [`Transaction::get_mut`].
    pub fn swap(self, tx: &Transaction, one: u64, other: u64) -> Result<()> {
        let beyond = |index| Ok(self.beyond("swap elements of a list", index, self.len(tx)?));
        let Some(first) = self.place(tx, one)? else {
            return Err(beyond(one)?);
        };
        let Some(second) = self.place(tx, other)? else {
            return Err(beyond(other)?);
        };
        let broken = || damaged(self.head.oid());
        match (first, second) {
            (Place::Head(_, one), Place::Head(_, other)) => {
                let mut head = tx.get_mut(self.head)?;
                swap_within(&mut head.root, one, other).ok_or_else(broken)
            }
            (Place::Node(first, _, one), Place::Node(second, _, other)) if first == second => {
                swap_within(&mut *tx.get_mut(first)?, one, other).ok_or_else(broken)
            }
            (Place::Node(first, _, one), Place::Node(second, _, other)) => {
                let (mut first, mut second) = (tx.get_mut(first)?, tx.get_mut(second)?);
                let (Node::Leaf(first), Node::Leaf(second)) = (&mut *first, &mut *second) else {
                    return Err(broken());
                };
                let one = first.get_mut(one).ok_or_else(broken)?;
                std::mem::swap(one, second.get_mut(other).ok_or_else(broken)?);
                Ok(())
            }
            _ => Err(broken()),
        }
    }

    /// Appends an element.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`] and [`Transaction::new`].
    pub fn push(self, tx: &Transaction, value: T) -> Result<()> {
        self.insert(tx, self.len(tx)?, value)
    }

    /// Puts an element before the first one.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`] and [`Transaction::new`].
    pub fn push_front(self, tx: &Transaction, value: T) -> Result<()> {
        self.insert(tx, 0, value)
    }

    /// Removes the last element and returns it.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn pop(self, tx: &Transaction) -> Result<Option<T>> {
        match self.len(tx)?.checked_sub(1) {
            Some(last) => self.remove(tx, last),
            None => Ok(None),
        }
    }

    /// Removes the first element and returns it.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn pop_front(self, tx: &Transaction) -> Result<Option<T>> {
        self.remove(tx, 0)
    }

    /// Inserts an element that has this index then; those from there on move up by one.
    ///
    /// # Errors
    /// `Usage` where there are fewer elements; as [`Transaction::get_mut`] and [`Transaction::new`].
    pub fn insert(self, tx: &Transaction, index: u64, value: T) -> Result<()> {
        let len = self.len(tx)?;
        if index > len {
            return Err(self.beyond("insert into a list", index, len));
        }
        let mut path = Path::to_gap(self, tx, index)?;
        let most = path.head.most as usize;
        let levels = (0..=path.leaf()).rev();
        let full = levels.take_while(|level| path.node(*level).entries() >= most);
        // The root splits into two nodes that are new.
        let needed = full.map(|level| if level == 0 { 2 } else { 1 }).sum();
        let mut spare = Vec::new();
        for _ in 0..needed {
            let node = tx.new(Node::Leaf(Vec::new()))?;
            spare.push((node, tx.get_mut(node)?));
        }
        // Where elements are appended, or put before the first, nodes stay full.
        let split = match index {
            _ if index == len => Split::KeepAll,
            0 => Split::KeepOne,
            _ => Split::Half,
        };
        let position = path.index;
        let leaf = path.leaf();
        if let Node::Leaf(elements) = path.node_mut(leaf) {
            elements.insert(position, value);
        }
        path.head.len += 1;
        path.split(split, spare);
        Ok(())
    }

    /// Removes the element with this index and returns it, if it is there; those behind it move down by one.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn remove(self, tx: &Transaction, index: u64) -> Result<Option<T>> {
        if index >= self.len(tx)? {
            return Ok(None);
        }
        let mut path = Path::to(self, tx, index)?;
        let refills = path.plan()?;
        let (leaf, position) = (path.leaf(), path.index);
        let removed = match path.node_mut(leaf) {
            Node::Leaf(elements) if position < elements.len() => elements.remove(position),
            _ => return Err(damaged(self.head.oid())),
        };
        path.head.len -= 1;
        for level in 1..=leaf {
            if let Some(child) = path.child_mut(level) {
                child.count = child.count.saturating_sub(1);
            }
        }
        for (refill, level) in refills.into_iter().zip((1..=leaf).rev()) {
            path.refill(level, refill);
        }
        path.lower();
        Ok(Some(removed))
    }
}

fn swap_within<T>(leaf: &mut Node<T>, one: usize, other: usize) -> Option<()> {
    let Node::Leaf(elements) = leaf else {
        return None;
    };
    if one >= elements.len() || other >= elements.len() {
        return None;
    }
    elements.swap(one, other);
    Some(())
}

/// What a node keeps of its entries when it is split.
#[derive(Clone, Copy)]
enum Split {
    Half,
    /// All but the last.
    KeepAll,
    /// The first.
    KeepOne,
}

impl Split {
    fn at(self, entries: usize) -> usize {
        match self {
            Split::Half => entries / 2,
            Split::KeepAll => entries.saturating_sub(1),
            Split::KeepOne => 1,
        }
    }
}

impl<'tx, T: Storable> Path<'tx, T> {
    /// After an element was inserted: splits nodes that have too many entries, and counts.
    fn split(&mut self, split: Split, spare: Vec<Spare<'tx, T>>) {
        let most = self.head.most as usize;
        let mut spare = spare.into_iter();
        for level in (1..=self.leaf()).rev() {
            let node = self.node_mut(level);
            let over = node.entries() > most;
            let Some((target, mut place)) = over.then(|| spare.next()).flatten() else {
                for above in 1..=level {
                    if let Some(child) = self.child_mut(above) {
                        child.count += 1;
                    }
                }
                return;
            };
            let right = node.split_off(split.at(node.entries()));
            let (kept, moved) = (node.count(), right.count());
            *place = right;
            if let Some(child) = self.child_mut(level) {
                child.count = kept;
            }
            let position = self.place(level) + 1;
            if let Node::Branch(children) = self.node_mut(level - 1) {
                let child = Child {
                    count: moved,
                    node: target,
                };
                children.insert(position, child);
            }
        }
        if self.head.root.entries() <= most {
            return;
        }
        if let (Some((left, mut first)), Some((right, mut second))) = (spare.next(), spare.next()) {
            let mut root = std::mem::replace(&mut self.head.root, Node::Branch(Vec::new()));
            *second = root.split_off(split.at(root.entries()));
            *first = root;
            let child = |node, held: &Node<T>| Child {
                count: held.count(),
                node,
            };
            self.head.root = Node::Branch(vec![child(left, &first), child(right, &second)]);
        }
    }

    /// What has to be done, from the leaf upwards, once an element was removed.
    fn plan(&self) -> Result<Vec<Refill<'tx, T>>> {
        let most = self.head.most as usize;
        let least = (most / FULL_MIN).max(1);
        let mut refills = Vec::new();
        let mut entries = self.node(self.leaf()).entries().saturating_sub(1);
        for level in (1..=self.leaf()).rev() {
            if entries >= least {
                break;
            }
            match self.sibling(level)? {
                Some((sibling, is_right)) if entries + sibling.entries() > most => {
                    refills.push(Refill::Balance(sibling, is_right));
                    break;
                }
                Some((sibling, is_right)) => refills.push(Refill::Merge(sibling, is_right)),
                None if entries == 0 => refills.push(Refill::Drop),
                None => break,
            }
            entries = self.node(level - 1).entries().saturating_sub(1);
        }
        Ok(refills)
    }

    fn refill(&mut self, level: usize, refill: Refill<'tx, T>) {
        let place = self.place(level);
        let beside = |is_right| {
            if is_right {
                place + 1
            } else {
                place.saturating_sub(1)
            }
        };
        let node = self.node_mut(level);
        match refill {
            Refill::Drop => self.forget_child(level, place),
            Refill::Merge(sibling, true) => {
                node.append(Node::clone(&sibling));
                let count = node.count();
                self.set_count(level, place, count);
                self.forget_child(level, beside(true));
            }
            Refill::Merge(sibling, false) => {
                let behind = std::mem::replace(node, Node::clone(&sibling));
                node.append(behind);
                let count = node.count();
                self.set_count(level, place, count);
                self.forget_child(level, beside(false));
            }
            Refill::Balance(mut sibling, is_right) => {
                let empty = Node::Leaf(Vec::new());
                let (left, right) = match is_right {
                    true => (&mut *node, &mut *sibling),
                    false => (&mut *sibling, &mut *node),
                };
                left.append(std::mem::replace(right, empty));
                *right = left.split_off(left.entries() / 2);
                let (kept, moved) = (node.count(), sibling.count());
                self.set_count(level, place, kept);
                self.set_count(level, beside(is_right), moved);
            }
        }
    }

    fn set_count(&mut self, level: usize, place: usize, count: u64) {
        if let Some(child) = self.node_mut(level - 1).child_mut(place) {
            child.count = count;
        }
    }

    fn forget_child(&mut self, level: usize, place: usize) {
        if let Node::Branch(children) = self.node_mut(level - 1)
            && place < children.len()
        {
            children.remove(place);
        }
    }
}
