//! The graph from an object downwards.

use std::fmt::Write as _;
use std::io;

use durum_core::{Error, ErrorKind, Oid, Result};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Bounds, Inspector, Object};

/// Objects that are loaded at once.
const BATCH: usize = 64;

/// How much of a graph is shown.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// How many references are followed in a row.
    pub depth: usize,
    /// Objects, in all; the nearest are taken.
    pub objects: usize,
    /// How much of each value.
    pub value: Bounds,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions {
            depth: 3,
            objects: 100,
            value: Bounds {
                parts: 24,
                text: 60,
            },
        }
    }
}

/// The graph from an object downwards. Each object is there once, as near to the beginning as it is met.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The nearest first.
    pub nodes: Vec<Node>,
    /// Objects that were met and are not shown, for the depth or the number that is.
    pub left_out: u64,
    places: FxHashMap<Oid, usize>,
}

/// An object in a tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub oid: Oid,
    /// How many references are before it.
    pub depth: usize,
    /// The one that it is shown below.
    pub parent: Option<Oid>,
    /// What is there.
    pub shown: Shown,
    /// Whether a part of its value was cut off.
    pub cut: bool,
    /// What it refers to, in the order of its value.
    pub children: Vec<Oid>,
}

/// What is there in the place of an object.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The object.
    Object(Object),
    /// None.
    Absent,
    /// One that cannot be read, and why.
    Damaged(String),
}

impl Inspector<'_> {
    /// The graph from `start` downwards, along references, but for weak ones.
    ///
    /// # Errors
    /// Those of the snapshot, but for damage.
    pub fn tree(&self, start: Oid, options: TreeOptions) -> Result<Tree> {
        let mut tree = Tree {
            nodes: Vec::new(),
            left_out: 0,
            places: FxHashMap::default(),
        };
        let mut met = FxHashSet::default();
        met.insert(start);
        let mut level = vec![(start, None)];
        for depth in 0.. {
            let room = options.objects.saturating_sub(tree.nodes.len());
            if level.is_empty() || depth > options.depth || room == 0 {
                break;
            }
            let rest = level.split_off(level.len().min(room));
            let mut next = Vec::new();
            for some in level.chunks(BATCH) {
                let oids: Vec<Oid> = some.iter().map(|(oid, _)| *oid).collect();
                for (shown, (oid, parent)) in self.load_all(&oids)?.into_iter().zip(some) {
                    let node = Node::new(*oid, depth, *parent, shown, options.value);
                    let new = node.children.iter().filter(|child| met.insert(**child));
                    next.extend(new.map(|child| (*child, Some(*oid))));
                    tree.places.insert(*oid, tree.nodes.len());
                    tree.nodes.push(node);
                }
            }
            tree.left_out += rest.len() as u64;
            level = next;
        }
        tree.left_out += level.len() as u64;
        Ok(tree)
    }

    fn load_all(&self, oids: &[Oid]) -> Result<Vec<Shown>> {
        let mut loaded = Vec::with_capacity(oids.len());
        let result = self.snapshot.load_many_with(oids, &mut |_, record| {
            loaded.push(match record {
                Some(record) => {
                    let object = record.to_object(self.snapshot.codecs())?;
                    Shown::Object(self.show(&object))
                }
                None => Shown::Absent,
            });
            Ok(())
        });
        match result {
            Ok(()) => return Ok(loaded),
            Err(error) if error.kind() != ErrorKind::Damaged => return Err(error),
            Err(_) => {}
        }
        // Which one it is shows when they are loaded one by one.
        let shown = oids.iter().map(|oid| match self.object(*oid) {
            Ok(Some(object)) => Ok(Shown::Object(object)),
            Ok(None) => Ok(Shown::Absent),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                Ok(Shown::Damaged(error.to_string()))
            }
            Err(error) => Err(error),
        });
        shown.collect()
    }
}

impl Node {
    fn new(oid: Oid, depth: usize, parent: Option<Oid>, mut shown: Shown, bounds: Bounds) -> Node {
        let mut children = Vec::new();
        let mut cut = false;
        if let Shown::Object(object) = &mut shown {
            let mut listed: FxHashSet<Oid> = object.refs.iter().copied().collect();
            if let Some(Ok(value)) = object.typed.as_mut().map(|typed| typed.value.as_mut()) {
                // The record says what counts; the value says in which order.
                let refs = value.refs().into_iter();
                children.extend(refs.filter(|target| listed.remove(target)));
                cut = value.cut(bounds);
            }
            let rest = object.refs.iter().filter(|target| listed.contains(target));
            children.extend(rest);
        }
        Node {
            oid,
            depth,
            parent,
            shown,
            cut,
            children,
        }
    }

    /// The object in one line. `describe` may know its value better.
    fn line(&self, describe: &dyn Fn(&Object) -> Option<String>) -> String {
        let object = match &self.shown {
            Shown::Object(object) => object,
            Shown::Absent => return format!("@{}  does not exist", self.oid),
            Shown::Damaged(problem) => return format!("@{}  {}", self.oid, one_line(problem)),
        };
        let mut line = format!("@{}  ", self.oid);
        let written = match &object.typed {
            None => write!(line, "not typed, {} bytes", object.size),
            Some(typed) => {
                let kind = match &typed.kind {
                    Some(kind) => kind.to_string(),
                    None => format!("type {}, which is not in the table of types", typed.number),
                };
                let value = match (describe(object), &typed.value) {
                    (Some(value), _) => value,
                    (None, Ok(value)) => value.line(),
                    (None, Err(problem)) => format!("not readable: {}", one_line(problem)),
                };
                write!(line, "{kind}  {value}")
            }
        };
        // Writing to a string does not fail.
        let _ = written;
        line
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is still to be written.
enum Step<'t> {
    Expand(&'t Node),
    /// It has its place below another object.
    Mention(Oid),
    LeftOut(u64),
}

impl Tree {
    /// The node of an object, if it is shown.
    pub fn node(&self, oid: Oid) -> Option<&Node> {
        self.nodes.get(*self.places.get(&oid)?)
    }

    /// Writes a line for each object, below the one that leads to it. One that other objects lead to as well is
    /// mentioned there.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn io::Write) -> Result<()> {
        self.write_with(out, &|_| None)
    }

    pub(super) fn write_with(
        &self,
        out: &mut dyn io::Write,
        describe: &dyn Fn(&Object) -> Option<String>,
    ) -> Result<()> {
        let mut put = |line: &str| {
            writeln!(out, "{line}").map_err(|error| Error::io(error, "write the tree"))
        };
        let mut written = FxHashSet::default();
        let mut steps: Vec<(usize, Step<'_>)> = Vec::new();
        steps.extend(self.nodes.first().map(|node| (0, Step::Expand(node))));
        while let Some((depth, step)) = steps.pop() {
            let indent = "  ".repeat(depth);
            let said = match step {
                Step::Expand(node) => {
                    written.insert(node.oid);
                    self.push_children(node, depth + 1, &mut steps);
                    node.line(describe)
                }
                Step::Mention(oid) if written.contains(&oid) => format!("@{oid}  shown above"),
                Step::Mention(oid) => format!("@{oid}  shown below"),
                Step::LeftOut(missing) => format!("... {missing} not shown"),
            };
            put(&format!("{indent}{said}"))?;
        }
        if self.left_out > 0 {
            put(&format!(
                "{} more objects were met and are not shown.",
                self.left_out
            ))?;
        }
        Ok(())
    }

    fn push_children<'t>(&'t self, node: &Node, depth: usize, steps: &mut Vec<(usize, Step<'t>)>) {
        let (mut below, mut missing) = (Vec::new(), 0);
        for child in &node.children {
            match self.node(*child) {
                Some(found) if found.parent == Some(node.oid) => below.push(Step::Expand(found)),
                Some(_) => below.push(Step::Mention(*child)),
                None => missing += 1,
            }
        }
        if missing > 0 {
            below.push(Step::LeftOut(missing));
        }
        steps.extend(below.into_iter().rev().map(|step| (depth, step)));
    }
}
