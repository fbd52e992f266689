//! A doubly linked list whose members are unlinked in the middle.

use durum_core::{Oid, Result};
use fastrand::Rng;

use super::graph::Graph;
use super::plan::{Plan, Workload};

/// Unlinks a member, somewhere in the middle half of the list, in every commit.
#[derive(Debug)]
pub(crate) struct Unlink {
    /// The members that are left, in their order.
    members: Vec<Oid>,
}

/// Builds a list of `members` members. The root refers to the first. Their OIDs ascend along the list,
/// or are `shuffled`: then a chain of anchors is all that tells that a member hangs on the root.
pub(crate) fn build(members: u64, shuffled: bool, draw: &mut Rng) -> (Graph, Unlink) {
    let mut order: Vec<Oid> = (1..=members).map(Oid).collect();
    if shuffled {
        draw.shuffle(&mut order);
    }
    let mut neighbours: Vec<Vec<Oid>> = vec![Vec::new(); order.len()];
    for pair in order.windows(2) {
        if let [left, right] = pair {
            for (from, to) in [(left, right), (right, left)] {
                if let Some(refs) = neighbours.get_mut(from.0 as usize - 1) {
                    refs.push(*to);
                }
            }
        }
    }
    let mut graph = Graph::new();
    graph.push(order.first().copied());
    for refs in neighbours {
        graph.push(refs);
    }
    (graph, Unlink { members: order })
}

impl Workload for Unlink {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        let length = self.members.len();
        if length < 8 {
            return Ok(false);
        }
        let index = draw.usize(length / 4..length * 3 / 4);
        let member = self.members.remove(index);
        let left = self.members.get(index.wrapping_sub(1)).copied();
        let right = self.members.get(index).copied();
        if let Some((left, right)) = left.zip(right) {
            plan.relink(left, &[member], &[right]);
            plan.relink(right, &[member], &[left]);
        }
        plan.loses(member);
        Ok(true)
    }
}
