//! The database of OO7.

use durum_core::Oid;
use fastrand::Rng;

use super::object::{NOTHING, Object};

pub(super) const BRANCHES: usize = 3;
pub(super) const LEVELS: u32 = 7;
pub(super) const COMPOSITES: u64 = 500;
pub(super) const COMPOSITES_PER_ASSEMBLY: usize = 3;
pub(super) const CONNECTIONS: usize = 3;
/// Dates of assemblies, and of atomic parts.
pub(super) const DATE_MIN: u64 = 1000;
pub(super) const DATES: u64 = 1000;
/// Entries in an array of an index.
pub(super) const ARRAY: u64 = 256;
/// One in ten composite parts is younger than all assemblies, the others are older.
const YOUNG: u64 = 10;

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

/// Objects in the order of their OIDs, from `first` on.
pub(super) struct Objects {
    first: u64,
    pub(super) all: Vec<Object>,
}

impl Objects {
    fn new(first: u64) -> Objects {
        Objects {
            first,
            all: Vec::new(),
        }
    }

    fn push(&mut self, object: Object) -> Oid {
        self.all.push(object);
        Oid(self.first + self.all.len() as u64 - 1)
    }

    fn get_mut(&mut self, oid: Oid) -> Option<&mut Object> {
        self.all.get_mut((oid.0 - self.first) as usize)
    }
}

/// A composite part with all that belongs to it.
pub(super) struct Composite {
    /// The composite part first, then the document, the atomic parts, and their connections.
    pub(super) objects: Vec<Object>,
    /// Numbers, dates and OIDs of the atomic parts.
    pub(super) parts: Vec<(u64, u64, Oid)>,
}

/// How many objects a composite part comes to.
pub(super) fn objects_of_composite(size: Size) -> u64 {
    (2 + size.parts() * (1 + CONNECTIONS)) as u64
}

/// Makes a composite part, whose objects get the OIDs from `first` on.
pub(super) fn composite(
    size: Size,
    id: u64,
    first: Oid,
    users: &[Oid],
    draw: &mut Rng,
) -> Composite {
    let count = size.parts();
    let oid = |index: usize| Oid(first.0 + index as u64);
    let part = |index: usize| oid(2 + index);
    let connection = |index: usize| oid(2 + count + index);
    let date = match draw.u64(..YOUNG) {
        0 => DATE_MIN + DATES + draw.u64(..DATES),
        _ => draw.u64(..DATE_MIN),
    };
    let mut links = vec![oid(1)];
    links.extend((0..count).map(part));
    links.extend(users);
    let mut objects = vec![
        Object::new(&[id, date, count as u64], links),
        Object {
            text: text(
                "documentation for composite part",
                id,
                size.document_bytes(),
            ),
            ..Object::new(&[id], vec![first])
        },
    ];
    let mut parts = Vec::new();
    for index in 0..count {
        let number = id * count as u64 + index as u64;
        let date = DATE_MIN + draw.u64(..DATES);
        let numbers = [number, date, draw.u64(..1 << 16), draw.u64(..1 << 16), id];
        let mut links = vec![first];
        links.extend((0..CONNECTIONS).map(|it| connection(index * CONNECTIONS + it)));
        objects.push(Object::new(&numbers, links));
        parts.push((number, date, part(index)));
    }
    for index in 0..count * CONNECTIONS {
        let from = index / CONNECTIONS;
        let to = match index % CONNECTIONS {
            // One leads to the next part, so that the first reaches all.
            0 => (from + 1) % count,
            _ => draw.usize(..count),
        };
        let numbers = [draw.u64(..1000), index as u64 % 10];
        objects.push(Object::new(&numbers, vec![part(from), part(to)]));
    }
    Composite { objects, parts }
}

/// So many bytes of the sentence that OO7 fills documents and manuals with.
fn text(what: &str, id: u64, bytes: usize) -> Vec<u8> {
    let sentence = format!("I am the {what} #{id:08}.\n");
    sentence.bytes().cycle().take(bytes).collect()
}

/// All objects, the module first.
pub(super) fn build(size: Size, seed: u64) -> Vec<Object> {
    let mut draw = Rng::with_seed(seed);
    let mut objects = Objects::new(0);
    let module = objects.push(Object::default());
    let manual = objects.push(Object {
        text: text("manual for module", 0, size.manual_bytes()),
        ..Object::default()
    });
    let mut users: Vec<Vec<Oid>> = vec![Vec::new(); COMPOSITES as usize];
    let root = assembly(&mut objects, module, LEVELS, &mut users, &mut draw);
    let mut composites = Vec::new();
    let (mut parts, mut documents) = (Vec::new(), Vec::new());
    let mut dates: Vec<Vec<Oid>> = vec![Vec::new(); DATES as usize];
    for (id, users) in (0..).zip(&users) {
        let first = Oid(objects.all.len() as u64);
        let made = composite(size, id, first, users, &mut draw);
        composites.push(first);
        documents.push(Oid(first.0 + 1));
        for (_, date, oid) in &made.parts {
            parts.push(*oid);
            if let Some(list) = dates.get_mut((date - DATE_MIN) as usize) {
                list.push(*oid);
            }
        }
        objects.all.extend(made.objects);
    }
    // What assemblies use was drawn before it was there.
    for object in &mut objects.all {
        let is_base = object.numbers.len() == 3 && object.numbers.get(2) == Some(&1);
        if is_base && object.text.is_empty() {
            resolve(object, &composites);
        }
    }
    let indexes = [
        arrays(&mut objects, &parts),
        dates
            .into_iter()
            .map(|list| objects.push(Object::new(&[], list)))
            .collect(),
        arrays(&mut objects, &documents),
    ];
    let mut links = vec![manual, root];
    links.extend(indexes.map(|links| objects.push(Object::new(&[], links))));
    if let Some(object) = objects.get_mut(module) {
        *object = Object::new(&[0, DATE_MIN], links);
    }
    objects.all
}

/// Replaces numbers of composite parts, which stand behind the parent, by their OIDs.
fn resolve(base: &mut Object, composites: &[Oid]) {
    for link in base.links.iter_mut().skip(1) {
        *link = composites.get(link.0 as usize).copied().unwrap_or(NOTHING);
    }
}

fn arrays(objects: &mut Objects, oids: &[Oid]) -> Vec<Oid> {
    oids.chunks(ARRAY as usize)
        .map(|chunk| objects.push(Object::new(&[], chunk.to_vec())))
        .collect()
}

/// An assembly and what is below it.
fn assembly(
    objects: &mut Objects,
    parent: Oid,
    level: u32,
    users: &mut [Vec<Oid>],
    draw: &mut Rng,
) -> Oid {
    let date = DATE_MIN + draw.u64(..DATES);
    let numbers = [objects.all.len() as u64, date, u64::from(level)];
    let oid = objects.push(Object::new(&numbers, vec![parent]));
    let mut links = vec![parent];
    for _ in 0..BRANCHES {
        if level > 1 {
            links.push(assembly(objects, oid, level - 1, users, draw));
        }
    }
    for _ in 0..COMPOSITES_PER_ASSEMBLY {
        if level == 1 {
            let chosen = draw.u64(..COMPOSITES);
            links.push(Oid(chosen));
            if let Some(users) = users.get_mut(chosen as usize) {
                users.push(oid);
            }
        }
    }
    if let Some(object) = objects.get_mut(oid) {
        object.links = links;
    }
    oid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_database_is_that_of_the_paper() {
        let objects = build(Size::Small, 1);
        let bases = objects
            .iter()
            .filter(|it| it.numbers.len() == 3 && it.numbers[2] == 1);
        assert_eq!(bases.clone().count(), 729);
        assert!(bases.into_iter().all(|it| it.links.len() == 4));
        let composites = 500 * objects_of_composite(Size::Small) as usize;
        let indexes = 3 + 1000 + 10_000_usize.div_ceil(256) + 500_usize.div_ceil(256);
        assert_eq!(objects.len(), 2 + 1093 + composites + indexes);
        let all = 0..objects.len() as u64;
        assert!(
            objects
                .iter()
                .flat_map(|it| &it.links)
                .all(|link| all.contains(&link.0))
        );
        assert_eq!(build(Size::Small, 1), objects);
    }
}
