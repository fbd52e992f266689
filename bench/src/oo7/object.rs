//! The objects of OO7.

use durum_objects::{BTree, Persistent, Ref};
use serde::{Deserialize, Serialize};

/// What there is one of.
#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Module")]
pub(super) struct Module {
    pub(super) manual: Ref<Manual>,
    pub(super) design_root: Option<Ref<Assembly>>,
    /// Atomic parts by their numbers.
    pub(super) parts: BTree<u64, Ref<Part>>,
    /// Atomic parts by their dates, and by their numbers for the same date.
    pub(super) dates: BTree<(u64, u64), Ref<Part>>,
    /// Documents by the numbers of their composite parts.
    pub(super) documents: BTree<u64, Ref<Document>>,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Manual")]
pub(super) struct Manual {
    pub(super) text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Assembly")]
pub(super) struct Assembly {
    pub(super) id: u64,
    pub(super) date: u64,
    pub(super) parent: Option<Ref<Assembly>>,
    pub(super) content: Content,
}

/// What an assembly consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Content {
    Assemblies(Vec<Ref<Assembly>>),
    /// Of one of the lowest level.
    Composites(Vec<Ref<Composite>>),
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Composite")]
pub(super) struct Composite {
    pub(super) id: u64,
    pub(super) date: u64,
    pub(super) document: Ref<Document>,
    /// The first is the one from which all others can be reached.
    pub(super) parts: Vec<Ref<Part>>,
    pub(super) users: Vec<Ref<Assembly>>,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Document")]
pub(super) struct Document {
    pub(super) id: u64,
    pub(super) composite: Ref<Composite>,
    pub(super) text: String,
}

/// An atomic part.
#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Part")]
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) date: u64,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) document_id: u64,
    pub(super) composite: Ref<Composite>,
    /// Those that begin here.
    pub(super) connections: Vec<Ref<Connection>>,
}

#[derive(Clone, Debug, Serialize, Deserialize, Persistent)]
#[persistent(name = "oo7.Connection")]
pub(super) struct Connection {
    pub(super) length: u64,
    pub(super) kind: u64,
    pub(super) from: Ref<Part>,
    pub(super) to: Ref<Part>,
}
