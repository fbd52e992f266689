//! The traversals, queries and changes of OO7, each as often as the paper has it.

use std::collections::HashSet;
use std::sync::Arc;

use durum_core::{Error, ErrorKind};
use durum_objects::{Ref, Result, Transaction};
use fastrand::Rng;
use serde::Serialize;

use super::DOING;
use super::build::{COMPOSITES, DATE_MIN, DATES, Size, composite, module};
use super::object::{Assembly, Composite, Content, Document, Module, Part};

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

/// Is shown one of the lowest assemblies, and what it uses.
type Visit<'a, R> = dyn FnMut(&mut R, &Assembly, &[Ref<Composite>]) -> Result<()> + 'a;

/// Runs operations in a transaction.
pub(super) struct Runner<'a> {
    pub(super) tx: &'a Transaction,
    pub(super) size: Size,
    pub(super) draw: &'a mut Rng,
}

impl Runner<'_> {
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
            Operation::T8 => {
                let manual = self.tx.get(self.module()?.manual)?;
                Ok(letters(&manual.text))
            }
            Operation::T9 => {
                let manual = self.tx.get(self.module()?.manual)?;
                let text = manual.text.as_bytes();
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

    fn module(&self) -> Result<Arc<Module>> {
        self.tx.get(module(self.tx)?)
    }

    fn design_root(&self) -> Result<Ref<Assembly>> {
        self.module()?
            .design_root
            .ok_or_else(|| missing("the design root"))
    }

    /// Calls `visit` with all of the lowest assemblies, from the left to the right, and what they use.
    fn bases(&mut self, visit: &mut Visit<'_, Self>) -> Result<()> {
        let mut waiting = vec![self.design_root()?];
        while let Some(assembly) = waiting.pop() {
            let assembly = self.tx.get(assembly)?;
            match &assembly.content {
                Content::Composites(used) => visit(self, &assembly, used)?,
                Content::Assemblies(below) => waiting.extend(below.iter().rev()),
            }
        }
        Ok(())
    }

    fn root_of(&self, composite: &Composite) -> Result<Ref<Part>> {
        let root = composite.parts.first().copied();
        root.ok_or_else(|| missing("a composite part's first atomic part"))
    }

    fn traverse(&mut self, changes: Changes, times: u64, only_root: bool) -> Result<u64> {
        let (mut visited, mut changed) = (0, 0);
        self.bases(&mut |this, _, used| {
            for composite in used {
                let root = this.root_of(&*this.tx.get(*composite)?)?;
                let (mut seen, mut waiting) = (HashSet::from([root]), vec![root]);
                while let Some(target) = waiting.pop() {
                    let part = this.tx.get(target)?;
                    visited += 1;
                    for connection in &part.connections {
                        let to = this.tx.get(*connection)?.to;
                        if seen.insert(to) {
                            waiting.push(to);
                        }
                    }
                    drop(part);
                    if !only_root || target == root {
                        this.change(target, changes, times)?;
                        changed += times;
                    }
                }
            }
            Ok(())
        })?;
        Ok(match changes {
            Changes::Nothing => visited,
            _ => changed,
        })
    }

    fn change(&mut self, target: Ref<Part>, changes: Changes, times: u64) -> Result<()> {
        if changes == Changes::Nothing {
            return Ok(());
        }
        let dates = self.module()?.dates;
        let mut part = self.tx.get_mut(target)?;
        for _ in 0..times {
            if changes == Changes::Coordinates {
                let part = &mut *part;
                std::mem::swap(&mut part.x, &mut part.y);
                continue;
            }
            let (old, id) = (part.date, part.id);
            let new = match old % 2 {
                0 => old + 1,
                _ => old - 1,
            };
            part.date = new;
            dates.remove(self.tx, &(old, id))?;
            dates.insert(self.tx, (new, id), target)?;
        }
        Ok(())
    }

    fn documents(&mut self) -> Result<u64> {
        let mut found = 0;
        self.bases(&mut |this, _, used| {
            for composite in used {
                let document = this.tx.get(*composite)?.document;
                found += letters(&this.tx.get(document)?.text);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn roots(&mut self) -> Result<u64> {
        let mut visited = 0;
        self.bases(&mut |this, _, used| {
            for composite in used {
                let root = this.root_of(&*this.tx.get(*composite)?)?;
                this.tx.get(root)?;
                visited += 1;
            }
            Ok(())
        })?;
        Ok(visited)
    }

    fn some_part(&mut self) -> Result<Arc<Part>> {
        let number = self.draw.u64(..COMPOSITES * self.size.parts() as u64);
        let part = self.module()?.parts.get(self.tx, &number)?;
        self.tx.get(part.ok_or_else(|| missing("an atomic part"))?)
    }

    fn upward(&mut self) -> Result<u64> {
        let composite = self.tx.get(self.some_part()?.composite)?;
        let mut visited = HashSet::new();
        for user in &composite.users {
            let mut next = Some(*user);
            while let Some(assembly) = next.filter(|assembly| visited.insert(*assembly)) {
                next = self.tx.get(assembly)?.parent;
            }
        }
        Ok(visited.len() as u64)
    }

    fn by_number(&mut self, count: u64) -> Result<u64> {
        for _ in 0..count {
            self.some_part()?;
        }
        Ok(count)
    }

    /// Visits the atomic parts of the last dates.
    fn by_date(&mut self, dates: u64) -> Result<u64> {
        let mut found = 0;
        self.parts_of(dates, &mut |_| found += 1)?;
        Ok(found)
    }

    fn parts_of(&mut self, dates: u64, visit: &mut dyn FnMut(&Part)) -> Result<()> {
        let first = (DATE_MIN + DATES - dates, 0);
        for entry in self.module()?.dates.range(self.tx, first..)? {
            let (_, part) = entry?;
            visit(&*self.tx.get(part)?);
        }
        Ok(())
    }

    fn document(&self, id: u64) -> Result<Ref<Document>> {
        let document = self.module()?.documents.get(self.tx, &id)?;
        document.ok_or_else(|| missing("a document"))
    }

    fn by_document(&mut self, count: u64) -> Result<u64> {
        let mut found = 0;
        for _ in 0..count {
            let title = self.draw.u64(..COMPOSITES);
            let document = self.tx.get(self.document(title)?)?;
            let composite = self.tx.get(document.composite)?;
            for user in &composite.users {
                self.tx.get(*user)?;
                found += 1;
            }
        }
        Ok(found)
    }

    fn younger(&mut self) -> Result<u64> {
        let mut found = 0;
        self.bases(&mut |this, base, used| {
            for composite in used {
                if this.tx.get(*composite)?.date > base.date {
                    found += 1;
                    break;
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn join(&mut self) -> Result<u64> {
        let mut documents = HashSet::new();
        for entry in self.module()?.documents.iter(self.tx)? {
            let (_, document) = entry?;
            documents.insert(self.tx.get(document)?.id);
        }
        let mut found = 0;
        self.parts_of(DATES, &mut |part| {
            found += u64::from(documents.contains(&part.document_id));
        })?;
        Ok(found)
    }

    /// The lowest assembly at the end of a way down that is drawn.
    fn some_base(&mut self) -> Result<Ref<Assembly>> {
        let mut target = self.design_root()?;
        loop {
            let assembly = self.tx.get(target)?;
            match &assembly.content {
                Content::Composites(_) => return Ok(target),
                Content::Assemblies(below) => {
                    let next = below.get(self.draw.usize(..below.len()));
                    target = *next.ok_or_else(|| missing("an assembly"))?;
                }
            }
        }
    }

    fn insert(&mut self) -> Result<u64> {
        let module = module(self.tx)?;
        for id in COMPOSITES..COMPOSITES + INSERTED {
            let mut users = Vec::new();
            while users.len() < USERS {
                let base = self.some_base()?;
                if !users.contains(&base) {
                    users.push(base);
                }
            }
            let made = composite(self.tx, module, self.size, id, self.draw)?;
            for user in &users {
                if let Content::Composites(used) = &mut self.tx.get_mut(*user)?.content {
                    used.push(made);
                }
            }
            self.tx.get_mut(made)?.users = users;
        }
        Ok(INSERTED)
    }

    /// Takes away what leads to the composite parts that were inserted; the store collects them.
    fn delete(&mut self) -> Result<u64> {
        let module = self.module()?;
        for id in COMPOSITES..COMPOSITES + INSERTED {
            let target = self.tx.get(self.document(id)?)?.composite;
            let composite = self.tx.get(target)?;
            for user in &composite.users {
                if let Content::Composites(used) = &mut self.tx.get_mut(*user)?.content {
                    used.retain(|it| *it != target);
                }
            }
            module.documents.remove(self.tx, &id)?;
            for part in &composite.parts {
                let part = self.tx.get(*part)?;
                module.parts.remove(self.tx, &part.id)?;
                module.dates.remove(self.tx, &(part.date, part.id))?;
            }
        }
        Ok(INSERTED)
    }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Mismatch, DOING).because(format!("{what} is missing"))
}

fn letters(text: &str) -> u64 {
    text.bytes().filter(|letter| *letter == b'I').count() as u64
}
