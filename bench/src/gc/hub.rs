//! A hub: an object with very many referrers, whose anchor is cut.

use durum_core::{Oid, Result};
use fastrand::Rng;

use super::graph::Graph;
use super::plan::{Plan, Workload};

/// Objects that can hold the hub besides its other referrers; the smallest of all.
const HOLDERS: u64 = 500;
/// Referrers that one object leads to.
const BUCKET: u64 = 1000;
/// Referrers that are kept in one row with the hub.
const INLINE: u64 = 32;

/// What is done to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its anchor is cut while all others still refer to it; the hub is the newest object, so that
    /// its oldest referrer is its anchor.
    Unlink,
    /// The same with a hub that is older than its referrers: the newest that is at hand is its anchor.
    UnlinkOld,
    /// What holds it hands it on to another, which is older than all other referrers.
    Move,
}

/// Cuts the anchor of the hub in every commit.
#[derive(Debug)]
pub(crate) struct Cut {
    kind: Kind,
    hub: Oid,
    /// Referrers in the order in which they are expected to be anchors.
    anchors: Vec<Oid>,
    next: usize,
}

/// Builds a hub with so many referrers.
pub(crate) fn build(kind: Kind, referrers: u64) -> (Graph, Cut) {
    let old = kind == Kind::UnlinkOld;
    let buckets = referrers.div_ceil(BUCKET);
    let first_bucket = HOLDERS + 1 + u64::from(old);
    let first = first_bucket + buckets;
    let hub = Oid(if old { HOLDERS + 1 } else { first + referrers });
    let holder = match kind {
        Kind::Move => HOLDERS,
        _ => 1,
    };
    let mut graph = Graph::new();
    graph.push((1..=HOLDERS).chain(first_bucket..first).map(Oid));
    for number in 1..=HOLDERS {
        graph.push((number == holder).then_some(hub));
    }
    if old {
        graph.push([]);
    }
    for bucket in 0..buckets {
        let range = bucket * BUCKET..(bucket * BUCKET + BUCKET).min(referrers);
        graph.push(range.map(|number| Oid(first + number)));
    }
    for _ in 0..referrers {
        graph.push([hub]);
    }
    if !old {
        graph.push([]);
    }
    let inline = (INLINE - 1).min(referrers);
    let anchors = match kind {
        Kind::Move => (1..=HOLDERS).rev().map(Oid).collect(),
        Kind::Unlink => std::iter::once(1).chain(first..hub.0).map(Oid).collect(),
        Kind::UnlinkOld => {
            let newest_first = (first..first + inline).rev();
            let then = first + inline..first + referrers;
            std::iter::once(1)
                .chain(newest_first)
                .chain(then)
                .map(Oid)
                .collect()
        }
    };
    let next = 0;
    (
        graph,
        Cut {
            kind,
            hub,
            anchors,
            next,
        },
    )
}

impl Workload for Cut {
    fn step(&mut self, plan: &mut Plan<'_>, _: &mut Rng) -> Result<bool> {
        let Some((anchor, then)) = self
            .anchors
            .get(self.next)
            .zip(self.anchors.get(self.next + 1))
        else {
            return Ok(false);
        };
        plan.relink(*anchor, &[self.hub], &[]);
        if self.kind == Kind::Move {
            plan.relink(*then, &[], &[self.hub]);
        }
        self.next += 1;
        Ok(true)
    }
}
