//! Whether all chains of anchors end.

use super::{FindingKind, Report};
use crate::collect::OidSet;
use crate::error::Result;
use crate::id::Oid;
use crate::store::{AnchorReader, LocalStore};

/// Objects of a cycle that a finding names.
const NAMED_MAX: u64 = 8;

/// Takes all objects by ascending OID with their anchors, and finds the cycles among these.
///
/// A chain that only descends ends. So only from objects with a larger anchor must be climbed, once
/// over each object: what was passed is marked. Cycles are found in constant memory as by Brent ("An
/// improved Monte Carlo factorization algorithm", 1980).
#[derive(Debug)]
pub(super) struct Anchors<'a> {
    reader: AnchorReader<'a>,
    /// Objects whose chain ends.
    ending: OidSet,
    /// Objects whose chain leads into a cycle.
    cyclic: OidSet,
}

/// How a climb ends.
enum Climbed {
    Ends,
    /// At an object that is known to lead into a cycle.
    IntoCycle,
    /// In a new cycle that holds this object and has this length.
    Around(Oid, u64),
}

impl<'a> Anchors<'a> {
    pub(super) fn new(store: &'a LocalStore, memory_bytes: usize) -> Anchors<'a> {
        Anchors {
            reader: AnchorReader::new(store),
            ending: OidSet::new(memory_bytes / 2),
            cyclic: OidSet::new(memory_bytes / 2),
        }
    }

    pub(super) fn visit(
        &mut self,
        oid: Oid,
        anchor: Option<Oid>,
        report: &mut Report,
    ) -> Result<()> {
        match anchor {
            Some(anchor) if anchor > oid && self.known(oid)?.is_none() => self.climb(oid, report),
            // The anchor came before; one that did not come is no object, and a finding already.
            Some(anchor) if anchor < oid && self.cyclic.contains(anchor)? => {
                self.cyclic.insert(oid).map(drop)
            }
            Some(anchor) if anchor > oid => Ok(()),
            _ => self.ending.insert(oid).map(drop),
        }
    }

    /// Whether the chain of an object ends, as far as that is known.
    fn known(&mut self, oid: Oid) -> Result<Option<bool>> {
        if self.ending.contains(oid)? {
            return Ok(Some(true));
        }
        Ok(self.cyclic.contains(oid)?.then_some(false))
    }

    fn climb(&mut self, from: Oid, report: &mut Report) -> Result<()> {
        let end = self.find_end(from)?;
        if let Climbed::Around(member, length) = end {
            self.report_cycle(member, length, report)?;
        }
        let mut at = Some(from);
        while let Some(oid) = at {
            let set = match end {
                Climbed::Ends => &mut self.ending,
                Climbed::IntoCycle | Climbed::Around(..) => &mut self.cyclic,
            };
            if !set.insert(oid)? {
                break;
            }
            at = self.reader.anchor(oid)?;
        }
        self.reader.close();
        Ok(())
    }

    fn find_end(&mut self, from: Oid) -> Result<Climbed> {
        let (mut power, mut length) = (1u64, 0u64);
        let (mut mark, mut at) = (from, from);
        loop {
            let Some(next) = self.reader.anchor(at)? else {
                return Ok(Climbed::Ends);
            };
            at = next;
            length += 1;
            if at == mark {
                return Ok(Climbed::Around(at, length));
            }
            match self.known(at)? {
                Some(true) => return Ok(Climbed::Ends),
                Some(false) => return Ok(Climbed::IntoCycle),
                None => {}
            }
            if length == power {
                (power, length, mark) = (power.saturating_mul(2), 0, at);
            }
        }
    }

    fn report_cycle(&mut self, member: Oid, length: u64, report: &mut Report) -> Result<()> {
        let mut named = vec![member.to_string()];
        let (mut at, mut least) = (member, member);
        for step in 1..length {
            let Some(next) = self.reader.anchor(at)? else {
                break;
            };
            (at, least) = (next, least.min(next));
            if step < NAMED_MAX {
                named.push(next.to_string());
            }
        }
        if length > NAMED_MAX {
            named.push("...".to_owned());
        }
        let names = named.join(", ");
        let message = format!("the anchors of {length} objects form a cycle: {names}");
        report.add(Some(least), FindingKind::Anchors, message);
        Ok(())
    }
}
