//! Computing the collector's tables from all objects at once, in bounded memory.
//!
//! Pairs (target, source) are sorted externally and met with the objects in the order of their OIDs. A
//! first pass, ascending, settles every object of which a smaller referrer is reached from the root
//! through anchors; in a store that was filled parents first that is all of them. What is left goes to
//! a temporary file, and passes over that, descending and ascending in turn, anchor whatever has a
//! referrer that is reached by then. This is the idea of Bellman and Ford, with the sweeps in
//! alternating directions that Yen proposed ("An algorithm for finding shortest routes from all source
//! nodes to a given destination", 1970): a path costs a pass for each time that it changes its direction,
//! so that a list in reverse costs one.
//!
//! Where the passes read more than some multiple of what they began with, they end. That is no fault:
//! objects that are left stay anchored to a smaller referrer or become orphans, which the collector
//! looks at one by one.

use std::collections::VecDeque;

use super::OidSet;
use super::rows::{self, INLINE_MAX, Links};
use super::word_stack::WordStack;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::external_sort::{PairSorter, RunReader, RunWriter, SortedPairs};
use crate::id::{Oid, Tid};
use crate::watch::{Steps, Watch};

/// Dangling references that are listed at most.
const DANGLING_MAX: usize = 1000;
/// How often the passes may read what they began with, and how many words more, so that small stores
/// are always settled.
const READ_FACTOR: u64 = 16;
const READ_EXTRA: u64 = 4 << 20;
/// The buffer for reading the objects back.
const OBJECTS_BUFFER_BYTES: usize = 64 << 10;

/// Where rows go: to be stored, or to be deleted where there is no value.
pub(crate) type Sink<'a> = dyn FnMut(Table, Key, Option<&[u8]>) -> Result<()> + 'a;

/// Says of an object that does not exist whether an import has still to bring it.
pub(crate) type Expected<'a> = dyn Fn(Oid) -> Result<bool> + 'a;

/// Takes all objects in ascending order, and computes the rows of the collector's tables for them.
#[derive(Debug)]
pub(crate) struct Linker {
    objects: RunWriter,
    pairs: PairSorter,
    memory_bytes: usize,
}

/// What a [`Linker`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    /// Rows in `orphans`.
    pub(crate) orphans: u64,
    /// References to objects that do not exist.
    pub(crate) dangling: u64,
    /// The first of them: target and source.
    pub(crate) dangling_first: Vec<(Oid, Oid)>,
    /// None of them leads to this OID or beyond; those apart that are no concern of who hands out OIDs
    /// ([`Oid::reserves`]).
    pub(crate) dangling_end: u64,
    /// Passes over the objects that the first pass did not settle.
    pub(crate) passes: u64,
}

impl Linker {
    /// Keeps about `memory_bytes` in memory, and the rest in temporary files.
    pub(crate) fn new(memory_bytes: usize) -> Result<Linker> {
        Ok(Linker {
            objects: RunWriter::create(None)?,
            pairs: PairSorter::new(None, memory_bytes / 2),
            memory_bytes,
        })
    }

    /// Adds the object after the last one: with the anchor in its record and its references.
    pub(crate) fn add(
        &mut self,
        oid: Oid,
        anchor: Option<Oid>,
        refs: impl IntoIterator<Item = Oid>,
    ) -> Result<()> {
        self.objects.push((oid.0, plus_one(anchor)))?;
        refs.into_iter()
            .filter(|target| *target != oid)
            .try_for_each(|target| self.pairs.push(target.0, oid.0))
    }

    /// The objects and the references, for walking over both by ascending OID.
    pub(crate) fn sorted(self, watch: &Watch<'_>) -> Result<(ObjectsRead, Ahead<SortedPairs>)> {
        let (objects, pairs) = self.sorted_pairs(watch)?;
        Ok((objects, Ahead::new(pairs)?))
    }

    fn sorted_pairs(self, watch: &Watch<'_>) -> Result<(ObjectsRead, SortedPairs)> {
        let mut objects = self.objects;
        objects.end_run();
        let run = objects.finish()?.pop();
        let reader = run.map(|run| RunReader::new(run, OBJECTS_BUFFER_BYTES));
        Ok((ObjectsRead(reader), self.pairs.finish_watched(watch)?))
    }

    /// Gives all rows that there have to be to `sink`. `pins` are pairs of OID and session, ascending;
    /// those of objects that do not exist are deleted. Orphans are noted as of `tid`. Of objects that are
    /// `expected` there are the referrers already. `watch` is told of each object once, and may end it.
    pub(crate) fn link(
        self,
        pins: SortedPairs,
        tid: Tid,
        expected: &Expected<'_>,
        sink: &mut Sink<'_>,
        watch: &Watch<'_>,
    ) -> Result<Linked> {
        let memory_bytes = self.memory_bytes;
        let (objects, pairs) = self.sorted_pairs(watch)?;
        let mut passes = Passes {
            rooted: OidSet::new(memory_bytes / 4),
            left: WordStack::default(),
            linked: Linked::default(),
            tid,
            expected,
            sink,
            steps: Steps::new(watch),
            links: Links::default(),
            row: Vec::new(),
        };
        // What meets the references, and writes rows, need not wait for their being merged.
        std::thread::scope(|scope| {
            passes.first(objects, Ahead::new(pairs.ahead(scope))?, Ahead::new(pins)?)
        })?;
        passes.others(READ_FACTOR, READ_EXTRA)?;
        Ok(passes.linked)
    }
}

/// The objects of a [`Linker`], ascending, with the anchors in their records.
#[derive(Debug)]
pub(crate) struct ObjectsRead(Option<RunReader>);

impl ObjectsRead {
    pub(crate) fn next(&mut self) -> Result<Option<(Oid, Option<Oid>)>> {
        let next = match &mut self.0 {
            Some(reader) => reader.next()?,
            None => None,
        };
        Ok(next.map(|(oid, anchor)| (Oid(oid), minus_one(anchor))))
    }
}

/// Ascending pairs, with a view of the next one.
#[derive(Debug)]
pub(crate) struct Ahead<I> {
    pairs: I,
    head: Option<(u64, u64)>,
}

impl<I: Iterator<Item = Result<(u64, u64)>>> Ahead<I> {
    pub(crate) fn new(mut pairs: I) -> Result<Ahead<I>> {
        let head = pairs.next().transpose()?;
        Ok(Ahead { pairs, head })
    }

    /// The next pair, if its first number is below `first`.
    pub(crate) fn below(&mut self, first: u64) -> Result<Option<(u64, u64)>> {
        self.take_if(|pair| pair.0 < first)
    }

    /// The second number of the next pair, if its first one is `first`.
    pub(crate) fn of(&mut self, first: u64) -> Result<Option<u64>> {
        Ok(self.take_if(|pair| pair.0 == first)?.map(|pair| pair.1))
    }

    /// The next pair.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, u64)>> {
        self.take_if(|_| true)
    }

    fn take_if(&mut self, wanted: impl FnOnce((u64, u64)) -> bool) -> Result<Option<(u64, u64)>> {
        let Some(head) = self.head.filter(|head| wanted(*head)) else {
            return Ok(None);
        };
        self.head = self.pairs.next().transpose()?;
        Ok(Some(head))
    }
}

/// What is known of an object while its referrers pass by, ascending or descending.
#[derive(Debug, Default)]
struct Group {
    oid: Oid,
    /// The anchor in its record.
    recorded: Option<Oid>,
    pins: u64,
    count: u64,
    /// The smallest referrers.
    inline: VecDeque<Oid>,
    /// The smallest referrer that the root reaches.
    rooted: Option<Oid>,
    is_recorded: bool,
    is_recorded_rooted: bool,
}

impl Group {
    fn new(oid: Oid, recorded: Option<Oid>) -> Group {
        Group {
            oid,
            recorded,
            ..Group::default()
        }
    }

    /// The group of the next object, in the memory of this one.
    fn next(self, oid: Oid, recorded: Option<Oid>) -> Group {
        let mut inline = self.inline;
        inline.clear();
        Group {
            inline,
            ..Group::new(oid, recorded)
        }
    }

    fn add(&mut self, source: Oid, rooted: bool) {
        self.count += 1;
        if self.inline.front().is_some_and(|first| source < *first) {
            self.inline.push_front(source);
            self.inline.truncate(INLINE_MAX);
        } else if self.inline.len() < INLINE_MAX {
            self.inline.push_back(source);
        }
        if rooted && self.rooted.is_none_or(|known| source < known) {
            self.rooted = Some(source);
        }
        if self.recorded == Some(source) {
            self.is_recorded = true;
            self.is_recorded_rooted = rooted;
        }
    }

    /// The smaller referrer that is the anchor where nothing better is known: that of the record, so
    /// that no row is needed for it, or the smallest.
    fn smaller(&self) -> Option<Oid> {
        let recorded = self.recorded.filter(|_| self.is_recorded);
        let below = |anchor: &Oid| *anchor < self.oid;
        let first = self.inline.front().copied();
        recorded.filter(below).or(first.filter(below))
    }

    /// Whether the root reaches the object through anchors, and the anchor then.
    fn settled(&self) -> Option<Option<Oid>> {
        if self.oid == Oid::ROOT || self.pins > 0 {
            return Some(None);
        }
        let rooted = self.rooted?;
        let recorded = self.recorded.filter(|_| self.is_recorded_rooted);
        // An anchor with a larger OID costs a row of its own, one that is not the record's another.
        let anchor = match recorded {
            Some(recorded) if recorded < self.oid || rooted > self.oid => recorded,
            _ => rooted,
        };
        Some(Some(anchor))
    }

    /// What of its referrers was read.
    fn bytes(&self) -> usize {
        usize::try_from(self.count * 16).unwrap_or(usize::MAX)
    }

    /// Puts what its row says into `links`.
    fn put_links(&self, anchor: Option<Oid>, links: &mut Links) {
        links.anchor = anchor;
        links.pins = self.pins;
        links.inline.clear();
        links.inline.extend(&self.inline);
        links.more = self.count - self.inline.len() as u64;
    }
}

struct Passes<'a, 'b> {
    /// Objects that the root, or a pin, reaches through anchors.
    rooted: OidSet,
    /// The others: for each its referrers, their number, the anchor in its record plus 1, its OID.
    left: WordStack,
    linked: Linked,
    tid: Tid,
    expected: &'a Expected<'b>,
    sink: &'a mut Sink<'b>,
    steps: Steps<'a>,
    /// Memory for the rows of an object.
    links: Links,
    row: Vec<u8>,
}

impl Passes<'_, '_> {
    fn first(
        &mut self,
        mut objects: ObjectsRead,
        mut pairs: Ahead<SortedPairs>,
        mut pins: Ahead<SortedPairs>,
    ) -> Result<()> {
        let mut group = Group::default();
        while let Some((oid, recorded)) = objects.next()? {
            self.absent(&mut pairs, oid.0)?;
            while let Some((absent, session)) = pins.below(oid.0)? {
                (self.sink)(Table::Pins, Key::pair(session, absent), None)?;
            }
            group = group.next(oid, recorded);
            while pins.of(oid.0)?.is_some() {
                group.pins += 1;
            }
            let start = self.left.len();
            while let Some(source) = pairs.of(oid.0)? {
                group.add(Oid(source), self.rooted.contains(Oid(source))?);
                self.left.push(source)?;
                if group.count > INLINE_MAX as u64 {
                    let key = Key::pair(oid.0, source);
                    (self.sink)(Table::ReferrersMore, key, Some(&[]))?;
                }
            }
            match group.settled() {
                Some(anchor) => {
                    self.left.truncate(start);
                    self.rooted.insert(oid)?;
                    self.emit(&group, anchor)?;
                }
                None => push_end(&mut self.left, &group)?,
            }
            self.steps.object(group.bytes())?;
        }
        self.steps.tell()?;
        self.absent(&mut pairs, u64::MAX)?;
        while let Some((absent, session)) = pins.next()? {
            (self.sink)(Table::Pins, Key::pair(session, absent), None)?;
        }
        Ok(())
    }

    /// Goes over what the first pass left, until that changes nothing or too much was read.
    fn others(&mut self, read_factor: u64, read_extra: u64) -> Result<()> {
        let mut budget = self
            .left
            .len()
            .saturating_mul(read_factor)
            .saturating_add(read_extra);
        let mut progress = true;
        while self.left.len() > 0 {
            let cost = self.left.len();
            let last = !progress || cost > budget;
            budget = budget.saturating_sub(cost);
            progress = self.again(last)?;
            self.linked.passes += 1;
        }
        Ok(())
    }

    /// One more pass; true where it settled something. The last one leaves nothing.
    fn again(&mut self, last: bool) -> Result<bool> {
        let mut from = std::mem::take(&mut self.left);
        let mut progress = false;
        let mut group = Group::default();
        while let Some(oid) = from.pop()? {
            let recorded = minus_one(from.pop()?.unwrap_or(0));
            let count = from.pop()?.unwrap_or(0);
            group = group.next(Oid(oid), recorded);
            let start = self.left.len();
            for _ in 0..count {
                let source = Oid(from.pop()?.unwrap_or(0));
                group.add(source, self.rooted.contains(source)?);
                self.left.push(source.0)?;
            }
            match group.settled() {
                Some(anchor) => {
                    self.left.truncate(start);
                    self.rooted.insert(group.oid)?;
                    self.emit(&group, anchor)?;
                    progress = true;
                }
                None if last => {
                    self.left.truncate(start);
                    self.leave(&group)?;
                }
                None => push_end(&mut self.left, &group)?,
            }
            self.steps.other(group.bytes())?;
        }
        Ok(progress)
    }

    /// Leaves an object that was not settled to the collector. Its anchor has a smaller OID, as have
    /// those that follow up to an orphan or a settled object: they form no cycle.
    fn leave(&mut self, group: &Group) -> Result<()> {
        let anchor = group.smaller();
        if anchor.is_none() {
            let key = Key::from(group.oid.0);
            self.linked.orphans += 1;
            (self.sink)(Table::Orphans, key, Some(&rows::encode_orphan(self.tid)))?;
        }
        self.emit(group, anchor)
    }

    /// The rows of an object, where it needs any.
    fn emit(&mut self, group: &Group, anchor: Option<Oid>) -> Result<()> {
        let key = Key::from(group.oid.0);
        group.put_links(anchor, &mut self.links);
        if !self.links.is_implied_by(group.recorded) {
            self.links.encode_to(group.oid, &mut self.row);
            (self.sink)(Table::Referrers, key, Some(&self.row))?;
        }
        if anchor.is_some_and(|anchor| anchor > group.oid) {
            (self.sink)(Table::Irregular, key, Some(&[]))?;
        }
        Ok(())
    }

    /// Passes the references to objects below `end`, which do not exist.
    fn absent(&mut self, pairs: &mut Ahead<SortedPairs>, end: u64) -> Result<()> {
        while let Some((target, first)) = pairs.below(end)? {
            let oid = Oid(target);
            let expected = (self.expected)(oid)?;
            let mut group = Group::new(oid, None);
            let mut next = Some(first);
            while let Some(source) = next {
                self.dangling((target, source));
                group.add(Oid(source), false);
                if expected && group.count > INLINE_MAX as u64 {
                    let key = Key::pair(target, source);
                    (self.sink)(Table::ReferrersMore, key, Some(&[]))?;
                }
                next = pairs.of(target)?;
            }
            self.steps.other(group.bytes())?;
            if expected {
                self.emit(&group, None)?;
            }
        }
        Ok(())
    }

    fn dangling(&mut self, (target, source): (u64, u64)) {
        self.linked.dangling += 1;
        let end = Oid(target).reserves();
        self.linked.dangling_end = self.linked.dangling_end.max(end);
        if self.linked.dangling_first.len() < DANGLING_MAX {
            self.linked.dangling_first.push((Oid(target), Oid(source)));
        }
    }
}

fn push_end(left: &mut WordStack, group: &Group) -> Result<()> {
    left.push(group.count)?;
    left.push(plus_one(group.recorded))?;
    left.push(group.oid.0)
}

/// An anchor as a number; 0 for none.
fn plus_one(anchor: Option<Oid>) -> u64 {
    anchor.map_or(0, |anchor| anchor.0.saturating_add(1))
}

fn minus_one(number: u64) -> Option<Oid> {
    number.checked_sub(1).map(Oid)
}

#[cfg(test)]
mod tests;
