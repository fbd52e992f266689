//! The database of OO7.

use durum_objects::{BTree, Database, Ref, Result, Transaction};
use fastrand::Rng;

use super::object::{Assembly, Composite, Connection, Content, Document, Manual, Module, Part};

pub(super) const BRANCHES: usize = 3;
pub(super) const LEVELS: u32 = 7;
pub(super) const COMPOSITES: u64 = 500;
pub(super) const COMPOSITES_PER_ASSEMBLY: usize = 3;
pub(super) const CONNECTIONS: usize = 3;
/// Dates of assemblies, and of atomic parts.
pub(super) const DATE_MIN: u64 = 1000;
pub(super) const DATES: u64 = 1000;
/// One in ten composite parts is younger than all assemblies, the others are older.
const YOUNG: u64 = 10;
/// Composite parts that are committed together.
const TOGETHER: usize = 50;
/// The module's name at the root.
const NAME: &str = "oo7";

/// How large the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 20 atomic parts in a composite one: 42,000 objects.
    Small,
    /// 200 atomic parts in a composite one: 400,000 objects.
    Medium,
}

impl Size {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Size::Small => "small",
            Size::Medium => "medium",
        }
    }

    pub(super) fn parts(self) -> usize {
        match self {
            Size::Small => 20,
            Size::Medium => 200,
        }
    }

    fn document_bytes(self) -> usize {
        match self {
            Size::Small => 2000,
            Size::Medium => 20_000,
        }
    }

    fn manual_bytes(self) -> usize {
        match self {
            Size::Small => 100_000,
            Size::Medium => 1_000_000,
        }
    }
}

/// The module of a database that was built.
pub(super) fn module(tx: &Transaction) -> Result<Ref<Module>> {
    let module = tx.root(NAME)?;
    module.ok_or_else(|| {
        durum_core::Error::new(durum_core::ErrorKind::Mismatch, super::DOING)
            .because("there is no module")
    })
}

/// Builds all objects, in transactions of a bounded size.
pub(super) fn build(db: &Database, size: Size, seed: u64) -> Result<()> {
    let mut draw = Rng::with_seed(seed);
    let module = db.transact(|tx| {
        let text = text("manual for module", 0, size.manual_bytes());
        let module = tx.new(Module {
            manual: tx.new(Manual { text })?,
            design_root: None,
            parts: BTree::new(tx)?,
            dates: BTree::new(tx)?,
            documents: BTree::new(tx)?,
        })?;
        tx.set_root(NAME, module)?;
        Ok(module)
    })?;
    let mut composites = Vec::new();
    let ids: Vec<u64> = (0..COMPOSITES).collect();
    for some in ids.chunks(TOGETHER) {
        let mut tx = db.begin()?;
        for id in some {
            composites.push(composite(&tx, module, size, *id, &mut draw)?);
        }
        tx.commit()?;
    }
    let mut tx = db.begin()?;
    let root = assembly(&tx, None, LEVELS, &mut 0, &composites, &mut draw)?;
    tx.get_mut(module)?.design_root = Some(root);
    tx.commit()?;
    Ok(())
}

/// Makes a composite part with all that belongs to it, which only the indexes know for now.
pub(super) fn composite(
    tx: &Transaction,
    module: Ref<Module>,
    size: Size,
    id: u64,
    draw: &mut Rng,
) -> Result<Ref<Composite>> {
    let module = tx.get(module)?;
    let date = match draw.u64(..YOUNG) {
        0 => DATE_MIN + DATES + draw.u64(..DATES),
        _ => draw.u64(..DATE_MIN),
    };
    let text = text(
        "documentation for composite part",
        id,
        size.document_bytes(),
    );
    let made = tx.new_cyclic(|composite| {
        let document = tx.new(Document {
            id,
            composite,
            text,
        })?;
        module.documents.insert(tx, id, document)?;
        let count = size.parts();
        let mut parts = Vec::with_capacity(count);
        for index in 0..count {
            let part = Part {
                id: id * count as u64 + index as u64,
                date: DATE_MIN + draw.u64(..DATES),
                x: draw.u64(..1 << 16),
                y: draw.u64(..1 << 16),
                document_id: id,
                composite,
                connections: Vec::new(),
            };
            let (id, date) = (part.id, part.date);
            let part = tx.new(part)?;
            module.parts.insert(tx, id, part)?;
            module.dates.insert(tx, (date, id), part)?;
            parts.push(part);
        }
        connect(tx, &parts, draw)?;
        Ok(Composite {
            id,
            date,
            document,
            parts,
            users: Vec::new(),
        })
    })?;
    Ok(made)
}

fn connect(tx: &Transaction, parts: &[Ref<Part>], draw: &mut Rng) -> Result<()> {
    for (index, from) in parts.iter().enumerate() {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let to = match number {
                // One leads to the next part, so that the first reaches all.
                0 => (index + 1) % parts.len(),
                _ => draw.usize(..parts.len()),
            };
            connections.push(tx.new(Connection {
                length: draw.u64(..1000),
                kind: number as u64,
                from: *from,
                to: parts.get(to).copied().unwrap_or(*from),
            })?);
        }
        tx.get_mut(*from)?.connections = connections;
    }
    Ok(())
}

/// So many bytes of the sentence that OO7 fills documents and manuals with.
fn text(what: &str, id: u64, bytes: usize) -> String {
    let sentence = format!("I am the {what} #{id:08}.\n");
    sentence.chars().cycle().take(bytes).collect()
}

/// An assembly and what is below it; the lowest use composite parts that are drawn.
fn assembly(
    tx: &Transaction,
    parent: Option<Ref<Assembly>>,
    level: u32,
    last_id: &mut u64,
    composites: &[Ref<Composite>],
    draw: &mut Rng,
) -> Result<Ref<Assembly>> {
    *last_id += 1;
    let id = *last_id;
    let date = DATE_MIN + draw.u64(..DATES);
    tx.new_cyclic(|me| {
        let content = if level > 1 {
            let below = (0..BRANCHES)
                .map(|_| assembly(tx, Some(me), level - 1, last_id, composites, draw))
                .collect::<Result<_>>()?;
            Content::Assemblies(below)
        } else {
            let mut used = Vec::new();
            for _ in 0..COMPOSITES_PER_ASSEMBLY {
                if let Some(chosen) = composites.get(draw.usize(..composites.len())) {
                    tx.get_mut(*chosen)?.users.push(me);
                    used.push(*chosen);
                }
            }
            Content::Composites(used)
        };
        Ok(Assembly {
            id,
            date,
            parent,
            content,
        })
    })
}
