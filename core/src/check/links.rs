//! The collector's tables against the objects that they are derived from.
//!
//! References are sorted by their targets, and met with the objects and the rows of all tables by
//! ascending OID: one pass in bounded memory.

use super::anchors::Anchors;
use super::{FindingKind, Ignored, Report};
use crate::collect::bulk::{Ahead, Linker, ObjectsRead};
use crate::collect::rows::{INLINE_MAX, Links};
use crate::engine::Table;
use crate::error::Result;
use crate::external_sort::SortedPairs;
use crate::id::Oid;
use crate::store::{LocalStore, TableRows};
use crate::watch::{Steps, Watch};

/// Walks over all tables at once.
struct Walk<'a> {
    store: &'a LocalStore,
    objects: ObjectsRead,
    pairs: Ahead<SortedPairs>,
    pins: Ahead<SortedPairs>,
    referrers: TableRows<'a>,
    more: TableRows<'a>,
    orphans: TableRows<'a>,
    irregular: TableRows<'a>,
    ignored: &'a mut Ignored,
    anchors: Anchors<'a>,
    orphan_count: u64,
}

/// What the tables say of one object.
struct Found {
    oid: Oid,
    links: Links,
    /// Whether the anchor is a referrer, as far as can be told.
    anchored: bool,
    pins: u64,
    orphan: bool,
    irregular: bool,
}

/// Compares all tables with the objects of `linker`; returns the number of orphans.
pub(super) fn compare(
    store: &LocalStore,
    linker: Linker,
    ignored: &mut Ignored,
    memory_bytes: usize,
    report: &mut Report,
    watch: &Watch<'_>,
) -> Result<u64> {
    let (objects, pairs) = linker.sorted(watch)?;
    let mut steps = Steps::new(watch);
    let rows = |table| TableRows::new(store, table);
    let mut walk = Walk {
        store,
        objects,
        pairs,
        pins: Ahead::new(store.sorted_pins(memory_bytes / 4)?)?,
        referrers: rows(Table::Referrers)?,
        more: rows(Table::ReferrersMore)?,
        orphans: rows(Table::Orphans)?,
        irregular: rows(Table::Irregular)?,
        ignored,
        anchors: Anchors::new(store, memory_bytes / 2),
        orphan_count: 0,
    };
    while let Some((oid, recorded)) = walk.objects.next()? {
        steps.other(0)?;
        walk.absent(oid.0, report)?;
        walk.object(oid, recorded, report)?;
    }
    walk.absent(u64::MAX, report)?;
    Ok(walk.orphan_count)
}

impl Walk<'_> {
    /// Passes the rows of OIDs below `end`, which are not those of objects.
    fn absent(&mut self, end: u64, report: &mut Report) -> Result<()> {
        while self.pairs.below(end)?.is_some() {}
        while let Some((oid, session)) = self.pins.below(end)? {
            let what = format!("session {session} pins");
            self.stray(FindingKind::Pins, Oid(oid), &what, report)?;
        }
        while let Some((key, _)) = self.referrers.below(end)? {
            self.stray(FindingKind::Links, Oid(key.first), LISTED, report)?;
        }
        while let Some((key, _)) = self.more.below(end)? {
            self.stray(FindingKind::Links, Oid(key.first), LISTED, report)?;
        }
        while let Some((key, _)) = self.orphans.below(end)? {
            self.orphan_count += 1;
            let what = "the table of orphans has";
            self.stray(FindingKind::Orphans, Oid(key.first), what, report)?;
        }
        while let Some((key, _)) = self.irregular.below(end)? {
            let what = "the table of irregular anchors has";
            self.stray(FindingKind::Irregular, Oid(key.first), what, report)?;
        }
        Ok(())
    }

    fn stray(
        &mut self,
        kind: FindingKind,
        oid: Oid,
        what: &str,
        report: &mut Report,
    ) -> Result<()> {
        // Who refers to what an import has still to bring is noted already.
        let expected = kind == FindingKind::Links && self.store.is_expected(oid)?;
        if !expected && !self.ignored.contains(oid)? {
            let message = format!("{what} object {oid}, which does not exist");
            report.add(Some(oid), kind, message);
        }
        Ok(())
    }

    fn object(&mut self, oid: Oid, recorded: Option<Oid>, report: &mut Report) -> Result<()> {
        let row = self.referrers.of(oid.0)?;
        let decoded = row.as_ref().map(|(_, bytes)| Links::decode(oid, bytes));
        let links = match decoded {
            None => Links::of_anchor(recorded),
            Some(Ok(links)) => {
                if links.is_implied_by(recorded) {
                    let message = format!("object {oid} has a row of referrers that it needs not");
                    report.add(Some(oid), FindingKind::Links, message);
                }
                links
            }
            Some(Err(error)) => {
                report.add(Some(oid), FindingKind::Links, error.to_string());
                return self.skip(oid);
            }
        };
        let mut found = Found {
            oid,
            links,
            anchored: false,
            pins: 0,
            orphan: self.orphans.of(oid.0)?.is_some(),
            irregular: self.irregular.of(oid.0)?.is_some(),
        };
        self.orphan_count += u64::from(found.orphan);
        while self.pins.of(oid.0)?.is_some() {
            found.pins += 1;
        }
        if let Some(anchor) = found.links.anchor {
            // What is anchored to a condemned object is cut off when that comes to its references.
            found.anchored = self.ignored.contains(anchor)?;
        }
        self.compare_referrers(&mut found, report)?;
        found.judge(report);
        self.anchors.visit(oid, found.links.anchor, report)
    }

    /// Passes everything of an object whose row cannot be read.
    fn skip(&mut self, oid: Oid) -> Result<()> {
        while self.pairs.of(oid.0)?.is_some() {}
        while self.pins.of(oid.0)?.is_some() {}
        while self.more.of(oid.0)?.is_some() {}
        self.orphan_count += u64::from(self.orphans.of(oid.0)?.is_some());
        self.irregular.of(oid.0).map(drop)
    }

    /// Meets the referrers that there are with those that the tables list.
    fn compare_referrers(&mut self, found: &mut Found, report: &mut Report) -> Result<()> {
        let oid = found.oid;
        let mut wrong = |message: String| report.add(Some(oid), FindingKind::Links, message);
        let inline = &found.links.inline;
        if inline.len() > INLINE_MAX || !inline.is_sorted_by(|left, right| left < right) {
            wrong(format!(
                "the referrers in the row of object {oid} are not in order"
            ));
        }
        let mut inline = inline.iter().copied().peekable();
        let (mut more, mut last) = (0, None);
        let mut expected = self.pairs.of(oid.0)?.map(Oid);
        loop {
            let stored = self.more.peek().filter(|key| key.first == oid.0);
            let stored = stored.map(|key| Oid(key.second));
            let listed = match (inline.peek().copied(), stored) {
                (Some(inline), Some(stored)) => Some(inline.min(stored)),
                (inline, stored) => inline.or(stored),
            };
            let least = match (expected, listed) {
                (Some(expected), Some(listed)) => expected.min(listed),
                (None, None) => break,
                (expected, listed) => expected.or(listed).unwrap_or_default(),
            };
            if listed == Some(least) {
                if inline.peek() == Some(&least) {
                    inline.next();
                } else {
                    self.more.of(oid.0)?;
                    more += 1;
                }
                if last == listed {
                    wrong(format!(
                        "object {oid} lists object {least} twice as a referrer"
                    ));
                    continue;
                }
                last = listed;
            }
            match (expected == Some(least), listed == Some(least)) {
                (true, false) => wrong(format!(
                    "object {least} refers to object {oid}, which does not list it as a referrer"
                )),
                (false, true) if !self.ignored.contains(least)? => wrong(format!(
                    "object {oid} lists object {least} as a referrer, which does not refer to it"
                )),
                _ => {}
            }
            if expected == Some(least) {
                found.anchored |= found.links.anchor == expected;
                expected = self.pairs.of(oid.0)?.map(Oid);
            }
        }
        if more != found.links.more {
            let said = found.links.more;
            wrong(format!(
                "object {oid} counts {said} referrers beyond those in its row, and there are {more}"
            ));
        }
        Ok(())
    }
}

/// Begins a sentence about a row of referrers.
const LISTED: &str = "there are referrers of";

impl Found {
    /// Decides on everything that can be seen from the object alone.
    fn judge(&self, report: &mut Report) {
        use FindingKind::{Anchors, Irregular, Orphans, Pins};
        let oid = self.oid;
        let mut wrong = |kind, message| report.add(Some(oid), kind, message);
        if self.links.pins != self.pins {
            let (said, pins) = (self.links.pins, self.pins);
            wrong(
                Pins,
                format!("object {oid} counts {said} pins, and there are {pins}"),
            );
        }
        let free = oid == Oid::ROOT || self.pins > 0;
        let name = if oid == Oid::ROOT {
            "the root"
        } else {
            "pinned"
        };
        match self.links.anchor {
            Some(anchor) if free => {
                wrong(
                    Anchors,
                    format!("object {oid} is {name}, but anchored to object {anchor}"),
                );
            }
            Some(anchor) if !self.anchored => wrong(
                Anchors,
                format!("object {oid} is anchored to object {anchor}, which does not refer to it"),
            ),
            None if !free && !self.orphan => wrong(
                Orphans,
                format!("object {oid} has no anchor, and is neither pinned nor an orphan"),
            ),
            _ => {}
        }
        if self.orphan && free {
            wrong(
                Orphans,
                format!("object {oid} is {name}, and an orphan as well"),
            );
        }
        if let (true, Some(anchor)) = (self.orphan, self.links.anchor) {
            let message = format!("object {oid} is an orphan, but anchored to object {anchor}");
            wrong(Orphans, message);
        }
        let irregular = self.links.anchor.is_some_and(|anchor| anchor > oid);
        match (irregular, self.irregular) {
            (true, false) => wrong(
                Irregular,
                format!("object {oid} has a larger anchor, which is not noted as irregular"),
            ),
            (false, true) => wrong(
                Irregular,
                format!("object {oid} is noted as irregular, but has no larger anchor"),
            ),
            _ => {}
        }
    }
}
