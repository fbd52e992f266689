//! The traversals, queries and changes of OO7, each as often as the paper has it.

use std::collections::HashSet;

use durum_core::{Oid, Result};
use fastrand::Rng;
use serde::Serialize;

use super::build::{
    ARRAY, COMPOSITES, CONNECTIONS, DATE_MIN, DATES, Size, composite, objects_of_composite,
};
use super::object::{
    COMPOSITE, DATE, DATE_INDEX, DESIGN_ROOT, DOCUMENT, DOCUMENT_ID, DOCUMENT_INDEX, ID, LEVEL,
    MANUAL, NOTHING, Object, PARENT, PART_INDEX, PARTS, TO, X, Y,
};
use super::session::Session;

/// Composite parts that are inserted and deleted, and the assemblies that use them.
const INSERTED: u64 = 5;
const USERS: usize = 2;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Operation {
    /// Visits all atomic parts of all composite parts of all assemblies.
    T1,
    /// The same, and changes one atomic part of each composite part.
    T2a,
    /// The same, and changes each.
    T2b,
    /// The same, and changes each four times.
    T2c,
    /// As T2a, and what is changed has an index.
    T3a,
    /// As T2b, and what is changed has an index.
    T3b,
    /// As T2c, and what is changed has an index.
    T3c,
    /// Searches the documents of all composite parts of all assemblies for a letter.
    T4,
    /// Visits one atomic part of all composite parts of all assemblies.
    T6,
    /// From an atomic part, drawn at random, up to the root.
    T7,
    /// Searches the manual for a letter.
    T8,
    /// Compares the manual's first and last letter.
    T9,
    /// Ten atomic parts by their numbers.
    Q1,
    /// The youngest hundredth of the atomic parts.
    Q2,
    /// The youngest tenth of the atomic parts.
    Q3,
    /// The assemblies that use the composite parts of a hundred documents.
    Q4,
    /// The assemblies that use a younger composite part.
    Q5,
    /// All atomic parts.
    Q7,
    /// All atomic parts with the documents that belong to them.
    Q8,
    /// Adds five composite parts, which ten assemblies use.
    #[serde(rename = "insert")]
    Insert,
    /// Deletes these.
    #[serde(rename = "delete")]
    Delete,
}

impl Operation {
    /// All, in the order in which they run.
    pub const ALL: [Operation; 21] = [
        Operation::T1,
        Operation::T2a,
        Operation::T2b,
        Operation::T2c,
        Operation::T3a,
        Operation::T3b,
        Operation::T3c,
        Operation::T4,
        Operation::T6,
        Operation::T7,
        Operation::T8,
        Operation::T9,
        Operation::Q1,
        Operation::Q2,
        Operation::Q3,
        Operation::Q4,
        Operation::Q5,
        Operation::Q7,
        Operation::Q8,
        Operation::Insert,
        Operation::Delete,
    ];

    /// The name, as in the paper.
    pub fn name(self) -> &'static str {
        match self {
            Operation::T1 => "T1",
            Operation::T2a => "T2a",
            Operation::T2b => "T2b",
            Operation::T2c => "T2c",
            Operation::T3a => "T3a",
            Operation::T3b => "T3b",
            Operation::T3c => "T3c",
            Operation::T4 => "T4",
            Operation::T6 => "T6",
            Operation::T7 => "T7",
            Operation::T8 => "T8",
            Operation::T9 => "T9",
            Operation::Q1 => "Q1",
            Operation::Q2 => "Q2",
            Operation::Q3 => "Q3",
            Operation::Q4 => "Q4",
            Operation::Q5 => "Q5",
            Operation::Q7 => "Q7",
            Operation::Q8 => "Q8",
            Operation::Insert => "insert",
            Operation::Delete => "delete",
        }
    }
}

/// What changes with each atomic part that a traversal visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changes {
    Nothing,
    Coordinates,
    Date,
}

/// Runs operations in a transaction.
pub(super) struct Runner<'a, 'b> {
    pub(super) session: &'a mut Session<'b>,
    pub(super) size: Size,
    pub(super) draw: &'a mut Rng,
}

impl Runner<'_, '_> {
    /// Runs an operation; returns what it counts: atomic parts that are visited, changes, letters, assemblies,
    /// composite parts.
    pub(super) fn run(&mut self, operation: Operation) -> Result<u64> {
        use Changes::{Coordinates, Date, Nothing};
        match operation {
            Operation::T1 => self.traverse(Nothing, 0, false),
            Operation::T2a => self.traverse(Coordinates, 1, true),
            Operation::T2b => self.traverse(Coordinates, 1, false),
            Operation::T2c => self.traverse(Coordinates, 4, false),
            Operation::T3a => self.traverse(Date, 1, true),
            Operation::T3b => self.traverse(Date, 1, false),
            Operation::T3c => self.traverse(Date, 4, false),
            Operation::T4 => self.documents(),
            Operation::T6 => self.roots(),
            Operation::T7 => self.upward(),
            Operation::T8 => Ok(letters(&self.manual()?.text)),
            Operation::T9 => {
                let text = self.manual()?.text;
                Ok(u64::from(text.first() == text.last()))
            }
            Operation::Q1 => self.by_number(10),
            Operation::Q2 => self.by_date(DATES / 100),
            Operation::Q3 => self.by_date(DATES / 10),
            Operation::Q7 => self.by_date(DATES),
            Operation::Q4 => self.by_document(100),
            Operation::Q5 => self.younger(),
            Operation::Q8 => self.join(),
            Operation::Insert => self.insert(),
            Operation::Delete => self.delete(),
        }
    }

    fn module(&self) -> Result<Object> {
        self.session.get(Oid::ROOT)
    }

    fn manual(&self) -> Result<Object> {
        self.session.get(self.module()?.link(MANUAL)?)
    }

    /// Calls `visit` with all of the lowest assemblies, from the left to the right.
    fn bases(&mut self, visit: &mut dyn FnMut(&mut Self, Object) -> Result<()>) -> Result<()> {
        let mut waiting = vec![self.module()?.link(DESIGN_ROOT)?];
        while let Some(oid) = waiting.pop() {
            let assembly = self.session.get(oid)?;
            match assembly.number(LEVEL) {
                1 => visit(self, assembly)?,
                _ => waiting.extend(assembly.links_from(PARENT + 1).iter().rev()),
            }
        }
        Ok(())
    }

    fn traverse(&mut self, changes: Changes, times: u64, only_root: bool) -> Result<u64> {
        let (mut visited, mut changed) = (0, 0);
        self.bases(&mut |this, base| {
            for oid in base.links_from(PARENT + 1) {
                let composite = this.session.get(*oid)?;
                let root = composite.link(DOCUMENT + 1)?;
                let (mut seen, mut waiting) = (HashSet::from([root]), vec![root]);
                while let Some(oid) = waiting.pop() {
                    let part = this.session.get(oid)?;
                    visited += 1;
                    for connection in part.links_from(COMPOSITE + 1).iter().take(CONNECTIONS) {
                        let to = this.session.get(*connection)?.link(TO)?;
                        if seen.insert(to) {
                            waiting.push(to);
                        }
                    }
                    if !only_root || oid == root {
                        this.change(oid, part, changes, times)?;
                        changed += times;
                    }
                }
            }
            Ok(())
        })?;
        Ok(if changes == Changes::Nothing {
            visited
        } else {
            changed
        })
    }

    fn change(&mut self, oid: Oid, mut part: Object, changes: Changes, times: u64) -> Result<()> {
        match changes {
            Changes::Nothing => return Ok(()),
            Changes::Coordinates => {
                for _ in 0..times {
                    part.numbers.swap(X, Y);
                }
            }
            Changes::Date => {
                for _ in 0..times {
                    let old = part.number(DATE);
                    let new = if old.is_multiple_of(2) {
                        old + 1
                    } else {
                        old - 1
                    };
                    part.set(DATE, new);
                    self.in_date_index(old, |list| list.retain(|it| *it != oid))?;
                    self.in_date_index(new, |list| list.push(oid))?;
                }
            }
        }
        self.session.put(oid, part);
        Ok(())
    }

    fn in_date_index(&mut self, date: u64, change: impl FnOnce(&mut Vec<Oid>)) -> Result<()> {
        let index = self.session.get(self.module()?.link(DATE_INDEX)?)?;
        let oid = index.link((date - DATE_MIN) as usize)?;
        let mut list = self.session.get(oid)?;
        change(&mut list.links);
        self.session.put(oid, list);
        Ok(())
    }

    /// Sets an entry of an index of arrays, or appends it.
    fn in_array(&mut self, index: usize, number: u64, oid: Oid) -> Result<()> {
        let index_oid = self.module()?.link(index)?;
        let mut index = self.session.get(index_oid)?;
        let (array, place) = ((number / ARRAY) as usize, (number % ARRAY) as usize);
        if index.links.len() <= array {
            let new = self.session.room(1)?;
            self.session.create(new, Object::default());
            index.links.push(new);
            self.session.put(index_oid, index.clone());
        }
        let array_oid = index.link(array)?;
        let mut array = self.session.get(array_oid)?;
        if array.links.len() <= place {
            array.links.resize(place + 1, NOTHING);
        }
        if let Some(entry) = array.links.get_mut(place) {
            *entry = oid;
        }
        self.session.put(array_oid, array);
        Ok(())
    }

    fn entry(&self, index: usize, number: u64) -> Result<Oid> {
        let index = self.session.get(self.module()?.link(index)?)?;
        let array = self.session.get(index.link((number / ARRAY) as usize)?)?;
        array.link((number % ARRAY) as usize)
    }

    fn documents(&mut self) -> Result<u64> {
        let mut found = 0;
        self.bases(&mut |this, base| {
            for oid in base.links_from(PARENT + 1) {
                let document = this.session.get(*oid)?.link(DOCUMENT)?;
                found += letters(&this.session.get(document)?.text);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn roots(&mut self) -> Result<u64> {
        let mut visited = 0;
        self.bases(&mut |this, base| {
            for oid in base.links_from(PARENT + 1) {
                let root = this.session.get(*oid)?.link(DOCUMENT + 1)?;
                this.session.get(root)?;
                visited += 1;
            }
            Ok(())
        })?;
        Ok(visited)
    }

    /// The assemblies that use a composite part.
    fn users(composite: &Object) -> &[Oid] {
        composite.links_from(DOCUMENT + 1 + composite.number(PARTS) as usize)
    }

    fn upward(&mut self) -> Result<u64> {
        let part = self.draw.u64(..COMPOSITES * self.size.parts() as u64);
        let part = self.session.get(self.entry(PART_INDEX, part)?)?;
        let composite = self.session.get(part.link(COMPOSITE)?)?;
        let mut visited = HashSet::new();
        for user in Self::users(&composite) {
            let mut oid = *user;
            while oid != Oid::ROOT && visited.insert(oid) {
                oid = self.session.get(oid)?.link(PARENT)?;
            }
        }
        Ok(visited.len() as u64)
    }

    fn by_number(&mut self, count: u64) -> Result<u64> {
        for _ in 0..count {
            let number = self.draw.u64(..COMPOSITES * self.size.parts() as u64);
            self.session.get(self.entry(PART_INDEX, number)?)?;
        }
        Ok(count)
    }

    /// Visits the atomic parts of the last dates.
    fn by_date(&mut self, dates: u64) -> Result<u64> {
        let mut found = 0;
        self.parts_of(dates, &mut |_| found += 1)?;
        Ok(found)
    }

    fn parts_of(&mut self, dates: u64, visit: &mut dyn FnMut(&Object)) -> Result<()> {
        let index = self.session.get(self.module()?.link(DATE_INDEX)?)?;
        for list in index.links_from((DATES - dates) as usize) {
            for part in &self.session.get(*list)?.links {
                visit(&self.session.get(*part)?);
            }
        }
        Ok(())
    }

    fn by_document(&mut self, count: u64) -> Result<u64> {
        let mut found = 0;
        for _ in 0..count {
            let title = self.draw.u64(..COMPOSITES);
            let document = self.session.get(self.entry(DOCUMENT_INDEX, title)?)?;
            let composite = self.session.get(document.link(COMPOSITE)?)?;
            for user in Self::users(&composite) {
                self.session.get(*user)?;
                found += 1;
            }
        }
        Ok(found)
    }

    fn younger(&mut self) -> Result<u64> {
        let mut found = 0;
        self.bases(&mut |this, base| {
            for oid in base.links_from(PARENT + 1) {
                if this.session.get(*oid)?.number(DATE) > base.number(DATE) {
                    found += 1;
                    break;
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn join(&mut self) -> Result<u64> {
        let index = self.session.get(self.module()?.link(DOCUMENT_INDEX)?)?;
        let mut documents = HashSet::new();
        for array in &index.links {
            for oid in self.session.get(*array)?.links {
                if oid != NOTHING {
                    documents.insert(self.session.get(oid)?.number(ID));
                }
            }
        }
        let mut found = 0;
        self.parts_of(DATES, &mut |part| {
            found += u64::from(documents.contains(&part.number(DOCUMENT_ID)));
        })?;
        Ok(found)
    }

    /// The lowest assembly at the end of a way down that is drawn.
    fn some_base(&mut self) -> Result<Oid> {
        let mut oid = self.module()?.link(DESIGN_ROOT)?;
        loop {
            let assembly = self.session.get(oid)?;
            if assembly.number(LEVEL) == 1 {
                return Ok(oid);
            }
            let below = assembly.links_from(PARENT + 1);
            oid = below
                .get(self.draw.usize(..below.len()))
                .copied()
                .unwrap_or(oid);
        }
    }

    fn insert(&mut self) -> Result<u64> {
        for id in COMPOSITES..COMPOSITES + INSERTED {
            let mut users = Vec::new();
            while users.len() < USERS {
                let base = self.some_base()?;
                if !users.contains(&base) {
                    users.push(base);
                }
            }
            let first = self.session.room(objects_of_composite(self.size))?;
            let made = composite(self.size, id, first, &users, self.draw);
            for user in users {
                let mut base = self.session.get(user)?;
                base.links.push(first);
                self.session.put(user, base);
            }
            for (number, object) in (0..).zip(made.objects) {
                self.session.create(Oid(first.0 + number), object);
            }
            self.in_array(DOCUMENT_INDEX, id, Oid(first.0 + 1))?;
            for (number, date, oid) in made.parts {
                self.in_array(PART_INDEX, number, oid)?;
                self.in_date_index(date, |list| list.push(oid))?;
            }
        }
        Ok(INSERTED)
    }

    /// Takes away what leads to the composite parts that were inserted; the store collects them.
    fn delete(&mut self) -> Result<u64> {
        for id in COMPOSITES..COMPOSITES + INSERTED {
            let document = self.entry(DOCUMENT_INDEX, id)?;
            let oid = self.session.get(document)?.link(COMPOSITE)?;
            let composite = self.session.get(oid)?;
            for user in Self::users(&composite) {
                let mut base = self.session.get(*user)?;
                base.links.retain(|link| *link != oid);
                self.session.put(*user, base);
            }
            self.in_array(DOCUMENT_INDEX, id, NOTHING)?;
            let parts = composite.number(PARTS) as usize;
            for part_oid in composite.links_from(DOCUMENT + 1).iter().take(parts) {
                let part = self.session.get(*part_oid)?;
                self.in_array(PART_INDEX, part.number(ID), NOTHING)?;
                self.in_date_index(part.number(DATE), |list| list.retain(|it| it != part_oid))?;
            }
        }
        Ok(INSERTED)
    }
}

fn letters(text: &[u8]) -> u64 {
    text.iter().filter(|letter| **letter == b'I').count() as u64
}
