//! Composite parts of OO7 that are replaced (Carey, DeWitt and Naughton, "The OO7 Benchmark", SIGMOD
//! 1993): of 20 or 200 atomic parts, with three connections each, and a document.
//!
//! The assemblies form a tree with three branches; each of the lowest uses three composite parts. Where
//! there are back references, all that OO7 has are there: from an assembly to its parent, from a
//! composite part to the assemblies that use it, from atomic parts and the document to the composite
//! part, from a connection to the part that it begins at, from a part to the connections that end there.

use durum_core::{Oid, Result};
use fastrand::Rng;

use super::graph::{DATA_BYTES, Graph};
use super::plan::{Plan, Workload};

const BRANCHES: u64 = 3;
const PARTS_PER_ASSEMBLY: u64 = 3;
const CONNECTIONS: usize = 3;
const DOCUMENT_BYTES: usize = 2000;
/// The lowest assemblies of OO7, 3^6, for its 500 composite parts.
const BASES_PER_500: u64 = 729;

/// What kind of OO7 it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Atomic parts of a composite part.
    pub(crate) parts: usize,
    /// Whether there are back references.
    pub(crate) back: bool,
}

impl Size {
    /// Objects of a composite part.
    pub(crate) fn objects(self) -> usize {
        2 + self.parts * (1 + CONNECTIONS)
    }
}

/// Replaces a composite part, drawn at random, in every commit.
#[derive(Debug)]
pub(crate) struct Replace {
    size: Size,
    /// The objects of each composite part.
    composites: Vec<Vec<Oid>>,
    /// The assemblies that use it.
    users: Vec<Vec<Oid>>,
}

/// Builds about `objects` objects.
pub(crate) fn build(size: Size, objects: u64, draw: &mut Rng) -> (Graph, Replace) {
    let per_composite = size.objects() as u64;
    let composites = (objects / (per_composite + 2)).max(2);
    let bases = composites * BASES_PER_500 / 500;
    let assemblies = bases * BRANCHES / (BRANCHES - 1);
    let first_base = assemblies - bases;
    let mut users: Vec<Vec<Oid>> = vec![Vec::new(); composites as usize];
    let mut used: Vec<Vec<u64>> = Vec::new();
    for base in 0..bases {
        let mut chosen = vec![base % composites];
        chosen.extend((1..PARTS_PER_ASSEMBLY).map(|_| draw.u64(0..composites)));
        chosen.sort_unstable();
        chosen.dedup();
        for composite in &chosen {
            if let Some(users) = users.get_mut(*composite as usize) {
                users.push(Oid(1 + first_base + base));
            }
        }
        used.push(chosen);
    }
    let mut graph = Graph::new();
    graph.push([Oid(1)]);
    for assembly in 0..assemblies {
        let mut refs = Vec::new();
        if size.back {
            refs.push(match assembly {
                0 => Oid::ROOT,
                _ => Oid(1 + (assembly - 1) / BRANCHES),
            });
        }
        let below = (1..=BRANCHES).map(|branch| assembly * BRANCHES + branch);
        refs.extend(
            below
                .filter(|child| *child < assemblies)
                .map(|it| Oid(1 + it)),
        );
        let base = assembly.checked_sub(first_base);
        let chosen = base.and_then(|base| used.get(base as usize));
        for composite in chosen.into_iter().flatten() {
            refs.push(Oid(1 + assemblies + composite * per_composite));
        }
        graph.push(refs);
    }
    let mut parts = Vec::new();
    for users in &users {
        let from = graph.len();
        let oids: Vec<Oid> = (from..from + per_composite).map(Oid).collect();
        for (refs, bytes) in composite(size, &oids, users, draw) {
            graph.push_sized(refs, bytes);
        }
        parts.push(oids);
    }
    let composites = parts;
    (
        graph,
        Replace {
            size,
            composites,
            users,
        },
    )
}

/// The references of a composite part's objects, and the bytes of their data: first itself, then its
/// document, its atomic parts, their connections.
fn composite(size: Size, oids: &[Oid], users: &[Oid], draw: &mut Rng) -> Vec<(Vec<Oid>, usize)> {
    let part = |index: usize| oids.get(2 + index).copied().unwrap_or_default();
    let connection = |index: usize| part(size.parts + index);
    let [itself, document] = [0, 1].map(|index| oids.get(index).copied().unwrap_or_default());
    let ends: Vec<usize> = (0..size.parts * CONNECTIONS)
        .map(|index| match index % CONNECTIONS {
            // One leads to the next part, so that all hang together.
            0 => (index / CONNECTIONS + 1) % size.parts,
            _ => draw.usize(0..size.parts),
        })
        .collect();
    let back = |target: Oid| size.back.then_some(target);
    let mut objects = Vec::with_capacity(oids.len());
    let mut refs: Vec<Oid> = vec![document];
    refs.extend((0..size.parts).map(part));
    refs.extend(users.iter().copied().filter_map(back));
    objects.push((refs, DATA_BYTES));
    objects.push((Vec::from_iter(back(itself)), DOCUMENT_BYTES));
    for index in 0..size.parts {
        let own = index * CONNECTIONS..(index + 1) * CONNECTIONS;
        let mut refs: Vec<Oid> = own.map(connection).collect();
        refs.extend(back(itself));
        let ending = ends.iter().enumerate().filter(|(_, end)| **end == index);
        refs.extend(ending.filter_map(|(from, _)| back(connection(from))));
        objects.push((refs, DATA_BYTES));
    }
    for (index, end) in ends.iter().enumerate() {
        let mut refs = vec![part(*end)];
        refs.extend(back(part(index / CONNECTIONS)));
        objects.push((refs, DATA_BYTES));
    }
    objects
}

impl Workload for Replace {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        let chosen = draw.usize(0..self.composites.len());
        let (Some(old), Some(users)) = (self.composites.get_mut(chosen), self.users.get(chosen))
        else {
            return Ok(false);
        };
        let new = plan.new_oids(self.size.objects() as u32)?;
        let made = composite(self.size, &new, users, draw);
        for (oid, (refs, bytes)) in new.iter().zip(made) {
            plan.create(*oid, refs, bytes);
        }
        for user in users {
            let (gone, come) = (old.first().copied(), new.first().copied());
            plan.relink(*user, gone.as_slice(), come.as_slice());
        }
        old.iter().for_each(|oid| plan.loses(*oid));
        *old = new;
        Ok(true)
    }
}
