//! Whether a list's objects are what they should be.

use durum_core::{Oid, Result};

use super::List;
use super::node::{Child, LEVELS_MAX, Node, damaged};
use crate::storable::Storable;
use crate::transaction::Transaction;

impl<T: Storable> List<T> {
    /// Loads everything and checks that it makes up a list; returns the number of levels, 1 for a list that is
    /// one object, and of nodes.
    ///
    /// # Errors
    /// `Damaged`, naming the node; as [`Transaction::get`].
    pub fn verify(self, tx: &Transaction) -> Result<(usize, u64)> {
        let head = tx.get(self.head)?;
        let oid = self.head.oid();
        let most = head.most as usize;
        let expect = |holds: bool, oid: Oid| holds.then_some(()).ok_or_else(|| damaged(oid));
        expect(
            head.root.count() == head.len && head.root.entries() <= most,
            oid,
        )?;
        expect(head.root.is_leaf() || head.root.entries() > 0, oid)?;
        let (mut levels, mut nodes) = (1, 1);
        let mut level: Vec<Child<T>> = head.root.children().to_vec();
        while !level.is_empty() {
            levels += 1;
            nodes += level.len() as u64;
            let mut next = Vec::new();
            let mut leaves = 0;
            for child in &level {
                let (oid, node) = (child.node.oid(), tx.get(child.node)?);
                expect(levels <= LEVELS_MAX && node.count() == child.count, oid)?;
                expect((1..=most).contains(&node.entries()), oid)?;
                match &*node {
                    Node::Leaf(_) => leaves += 1,
                    Node::Branch(children) => next.extend_from_slice(children),
                }
            }
            expect(leaves == 0 || leaves == level.len(), oid)?;
            level = next;
        }
        Ok((levels, nodes))
    }
}
