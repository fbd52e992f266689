//! A random directed graph whose references change: garbage arises now and then.

use durum_core::{Oid, Result};
use fastrand::Rng;

use super::graph::Graph;
use super::plan::{Plan, Workload};

const OUT_DEGREE: usize = 3;

/// Gives a random object, in every commit, another target for one of its references.
#[derive(Debug)]
pub(crate) struct Rewire {
    objects: u64,
}

/// Draws `objects` objects with three references each, and keeps those that the root reaches.
pub(crate) fn build(objects: u64, draw: &mut Rng) -> (Graph, Rewire) {
    let drawn: Vec<[u64; OUT_DEGREE]> = (0..objects)
        .map(|_| [(); OUT_DEGREE].map(|()| draw.u64(0..objects)))
        .collect();
    let mut numbers: Vec<Option<u64>> = vec![None; drawn.len()];
    let mut open = vec![0_u64];
    while let Some(oid) = open.pop() {
        if let Some(number) = numbers.get_mut(oid as usize)
            && number.is_none()
        {
            *number = Some(0);
            open.extend(drawn.get(oid as usize).into_iter().flatten());
        }
    }
    let reached = numbers.iter_mut().flatten();
    reached.zip(0..).for_each(|(number, next)| *number = next);
    let mut graph = Graph::new();
    for (refs, number) in drawn.iter().zip(&numbers) {
        if number.is_some() {
            let renumbered = |target: &u64| numbers.get(*target as usize).copied().flatten();
            graph.push(refs.iter().filter_map(renumbered).map(Oid));
        }
    }
    let objects = graph.len();
    (graph, Rewire { objects })
}

impl Rewire {
    /// An object that has not been collected.
    fn live(&self, plan: &Plan<'_>, draw: &mut Rng) -> Result<Oid> {
        loop {
            let oid = Oid(draw.u64(0..self.objects));
            if plan.is_live(oid)? {
                return Ok(oid);
            }
        }
    }
}

impl Workload for Rewire {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        let source = self.live(plan, draw)?;
        let target = self.live(plan, draw)?;
        let old = draw.choice(plan.refs(source)).copied();
        plan.relink(source, old.as_slice(), &[target]);
        plan.garbage_unknown();
        Ok(true)
    }
}
