//! All workloads, each with the graph that it needs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durum_core::Result;
use durum_core::engine::Backend;
use fastrand::Rng;

use super::graph::Graph;
use super::large::Large;
use super::plan::Workload;
use super::row::GcRow;
use super::template::Template;
use super::tree::{Leaves, Tree};
use super::{GcSettings, churn, digraph, driver, hub, large, list, oo7, tree};

/// A workload.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    build: fn(u64, &mut Rng, &GcSettings) -> (Graph, Kind),
}

/// How it is measured.
pub(crate) enum Kind {
    /// Commit by commit.
    Steps(Box<dyn Workload>),
    /// One commit, and what follows from it.
    Large(Large),
    /// By what is on the disk afterwards.
    Churn,
}

/// All of them.
pub(crate) const ALL: [Entry; 20] = [
    entry("oo7-small", |objects, draw, _| oo7(20, true, objects, draw)),
    entry("oo7-small-noback", |objects, draw, _| {
        oo7(20, false, objects, draw)
    }),
    entry("oo7-medium", |objects, draw, _| {
        oo7(200, true, objects, draw)
    }),
    entry("oo7-medium-noback", |objects, draw, _| {
        oo7(200, false, objects, draw)
    }),
    entry("tree-drop", |objects, _, _| {
        with_tree(objects, true, tree::Drop::new)
    }),
    entry("tree-move", |objects, _, _| {
        with_tree(objects, true, tree::Move::new)
    }),
    entry("list-unlink", |objects, draw, _| {
        steps(list::build(objects, false, draw))
    }),
    entry("list-unlink-shuffled", |objects, draw, _| {
        steps(list::build(objects, true, draw))
    }),
    entry("digraph-rewire", |objects, draw, _| {
        steps(digraph::build(objects, draw))
    }),
    entry("hub-unlink", |objects, _, _| {
        steps(hub::build(hub::Kind::Unlink, objects))
    }),
    entry("hub-unlink-old", |objects, _, _| {
        steps(hub::build(hub::Kind::UnlinkOld, objects))
    }),
    entry("hub-move", |objects, _, _| {
        steps(hub::build(hub::Kind::Move, objects))
    }),
    entry("update", |objects, _, _| {
        leaves(objects, true, tree::Kind::Update)
    }),
    entry("insert", |objects, _, _| {
        leaves(objects, false, tree::Kind::Insert)
    }),
    entry("insert-parents", |objects, _, _| {
        leaves(objects, true, tree::Kind::Insert)
    }),
    entry("replace", |objects, _, _| {
        leaves(objects, false, tree::Kind::Replace)
    }),
    entry("share", |objects, _, _| {
        leaves(objects, false, tree::Kind::Share)
    }),
    entry("folder", |objects, _, settings| {
        large(large::Kind::Folder, objects, settings)
    }),
    entry("cycle", |objects, _, settings| {
        large(large::Kind::Cycle, objects, settings)
    }),
    entry("churn", |objects, _, _| {
        (churn::build(objects), Kind::Churn)
    }),
];

type Build = fn(u64, &mut Rng, &GcSettings) -> (Graph, Kind);

const fn entry(name: &'static str, build: Build) -> Entry {
    Entry { name, build }
}

/// The graph of a workload, and what is done to it.
pub(crate) fn build(entry: &Entry, objects: u64, settings: &GcSettings) -> (Graph, Kind) {
    let mut draw = Rng::with_seed(settings.seed ^ objects);
    (entry.build)(objects.max(16), &mut draw, settings)
}

/// Measures all workloads that are wanted on graphs of about `objects` objects.
pub(crate) fn run(
    backend: &Arc<dyn Backend>,
    dir: &Path,
    settings: &GcSettings,
    objects: u64,
    progress: &dyn Fn(&str),
    rows: &mut Vec<GcRow>,
) -> Result<()> {
    let capabilities = backend.capabilities();
    for entry in &ALL {
        let wanted = &settings.workloads;
        if !wanted.is_empty() && !wanted.iter().any(|name| name == entry.name) {
            continue;
        }
        progress(&format!(
            "{}: {} on {objects} objects",
            capabilities.name, entry.name
        ));
        let (graph, kind) = build(entry, objects, settings);
        if matches!(kind, Kind::Churn) && !capabilities.persistent {
            continue;
        }
        let template = Template::build(backend, dir, &graph)?;
        let measured = match kind {
            Kind::Steps(mut workload) => {
                driver::run(&template, &mut *workload, settings.commits, settings.seed)?
            }
            Kind::Large(large) => large.run(&template, settings.seed)?,
            Kind::Churn => churn::run(&template)?,
        };
        rows.push(GcRow {
            engine: capabilities.name.to_owned(),
            workload: entry.name,
            objects: graph.len(),
            ..measured
        });
    }
    Ok(())
}

fn steps((graph, workload): (Graph, impl Workload + 'static)) -> (Graph, Kind) {
    (graph, Kind::Steps(Box::new(workload)))
}

fn oo7(parts: usize, back: bool, objects: u64, draw: &mut Rng) -> (Graph, Kind) {
    steps(oo7::build(oo7::Size { parts, back }, objects, draw))
}

fn with_tree<W: Workload + 'static>(
    objects: u64,
    parents: bool,
    workload: impl Fn(Tree) -> W,
) -> (Graph, Kind) {
    let tree = Tree { objects, parents };
    steps((tree.build(), workload(tree)))
}

fn leaves(objects: u64, parents: bool, kind: tree::Kind) -> (Graph, Kind) {
    with_tree(objects, parents, |tree| Leaves::new(tree, kind))
}

fn large(kind: large::Kind, objects: u64, settings: &GcSettings) -> (Graph, Kind) {
    let large = Large {
        kind,
        objects,
        others: match kind {
            large::Kind::Folder => 4,
            large::Kind::Cycle => 1,
        },
        before: Duration::from_millis(settings.before_ms),
        wait: Duration::from_secs(settings.wait_seconds),
    };
    (large.build(), Kind::Large(large))
}
