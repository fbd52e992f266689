//! Deleting objects, and taking their references back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::Meter;
use super::graph::{
    Graph, Node, Position, inconsistent, links, put_links, remove_referrer, set_anchor,
};
use super::link::cut_off;
use super::rows::{JobState, Links};
use super::spill::SpillSet;
use crate::error::Result;
use crate::id::{Oid, SessionId};

/// What a deletion led to.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) bytes: u64,
    /// Objects that lost a referrer, of those that a job's deletion is about.
    pub(super) touched: Vec<Oid>,
    /// Objects that were anchored to what was deleted; they stand in the queue now.
    pub(super) orphans: Vec<Oid>,
}

/// How many rows deleting the object touches.
pub(super) fn weight(graph: &mut dyn Graph, oid: Oid) -> Result<u64> {
    let refs = graph.node(oid)?.map_or(0, |node| node.refs.len() as u64);
    let more = graph.row(oid)?.map_or(0, |links| links.more);
    Ok(refs.saturating_add(more))
}

/// What the guard of deletion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// No pin holds the object, and every referrer is one of the members or condemned.
    Closed,
    /// It must not be deleted.
    Open,
    /// All referrers before this position are members or condemned. The rest is to be looked at.
    Unfinished(Position),
}

/// The guard of all deletion. What is deleted rests on this alone, and on nothing that a search believes.
///
/// It goes on from `begun`, which holds as long as no commit touches the object or a member. Among the
/// many referrers of a hub it stops where `more` says so.
pub(super) fn guard(
    graph: &mut dyn Graph,
    oid: Oid,
    members: &mut SpillSet,
    begun: Option<Position>,
    more: &mut dyn FnMut(&dyn Graph) -> bool,
) -> Result<Guard> {
    let links = links(graph, oid)?.filter(|links| links.pins == 0 && oid != Oid::ROOT);
    let Some(links) = links else {
        return Ok(Guard::Open);
    };
    let mut position = begun.unwrap_or_else(|| Position::start(&links));
    while let Some((referrer, next)) = position.next(graph, oid, &links)? {
        if !members.contains(referrer)? && !graph.is_condemned(referrer)? {
            return Ok(Guard::Open);
        }
        position = next;
        if matches!(position, Position::More(_)) && !more(graph) {
            return Ok(Guard::Unfinished(position));
        }
    }
    Ok(Guard::Closed)
}

/// Deletes objects, given ascending, to which nobody else refers. Where something cannot be read,
/// nothing is changed.
pub(super) fn delete_all(graph: &mut dyn Graph, members: &[Oid]) -> Result<Deleted> {
    let mut targets: BTreeMap<Oid, (Links, Vec<Oid>)> = BTreeMap::new();
    let mut more = Vec::new();
    let mut deleted = Deleted::default();
    for oid in members {
        let Some(node) = graph.node(*oid)? else {
            return Err(inconsistent(
                *oid,
                "an object that is to be deleted is missing",
            ));
        };
        deleted.bytes += node.bytes;
        for target in &node.refs {
            if members.binary_search(target).is_ok() || graph.is_condemned(*target)? {
                continue;
            }
            if let Some((_, sources)) = targets.get_mut(target) {
                sources.push(*oid);
            } else if let Some(links) = links(graph, *target)? {
                targets.insert(*target, (links, vec![*oid]));
            }
        }
        if graph.row(*oid)?.is_some_and(|links| links.more > 0) {
            let mut from = Oid::ROOT;
            while let Some(referrer) = graph.next_more(*oid, from)? {
                more.push((*oid, referrer));
                from = referrer.next();
            }
        }
    }
    for (target, (mut links, sources)) in targets {
        for source in &sources {
            remove_referrer(graph, target, &mut links, *source)?;
        }
        if links.anchor.is_some_and(|anchor| sources.contains(&anchor)) {
            cut_off(graph, target, links)?;
            deleted.orphans.push(target);
        } else {
            put_links(graph, target, links)?;
        }
    }
    for (oid, referrer) in more {
        graph.delete_more(oid, referrer)?;
    }
    for oid in members {
        let row = graph.row(*oid)?;
        let recorded = graph.node(*oid)?.and_then(|node| node.anchor);
        delete_rows(graph, *oid, row.as_ref(), recorded)?;
    }
    Ok(deleted)
}

/// Deletes an object, and the session's pin on it, because that was done elsewhere. Says whether something
/// refers to it all the same: then its referrers stay, as those of an object that is still to come.
pub(crate) fn remove(graph: &mut dyn Graph, session: SessionId, oid: Oid) -> Result<bool> {
    let Some(node) = graph.node(oid)? else {
        return Ok(false);
    };
    for target in &node.refs {
        let Some(mut links) = links(graph, *target)? else {
            continue;
        };
        remove_referrer(graph, *target, &mut links, oid)?;
        if links.anchor == Some(oid) {
            cut_off(graph, *target, links)?;
        } else {
            put_links(graph, *target, links)?;
        }
    }
    let mut left = links(graph, oid)?.unwrap_or_default();
    graph.delete_orphan(oid)?;
    set_anchor(graph, oid, &mut left, None)?;
    if graph.pin(session, oid)?.is_some() {
        graph.delete_pin(session, oid)?;
    }
    left.pins = 0;
    graph.delete_node(oid)?;
    let referred = !left.inline.is_empty() || left.more > 0;
    graph.put_row(oid, referred.then_some(left))?;
    Ok(referred)
}

/// Deletes an object's record and what the collector knows of it, but for `referrers_more`.
fn delete_rows(
    graph: &mut dyn Graph,
    oid: Oid,
    row: Option<&Links>,
    recorded: Option<Oid>,
) -> Result<()> {
    match row.map_or(recorded, |row| row.anchor) {
        // Only what has lost its anchor stands in the queue.
        None => graph.delete_orphan(oid)?,
        Some(anchor) if anchor > oid => graph.set_irregular(oid, false)?,
        Some(_) => {}
    }
    if row.is_some() {
        graph.put_row(oid, None)?;
    }
    graph.delete_node(oid)
}

/// What is known of condemned objects beyond what the tables say. Nothing changes them any more.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Deletion {
    /// An object of which only a part is taken back, and from where on its further referrers are left. It
    /// is not read again for each part: it may be huge.
    begun: Option<(Oid, Arc<Node>, Oid)>,
    /// Those that have a row of referrers, as the guard saw it; `None` where that is not remembered. Most
    /// have none, and need not be asked for it again.
    pub(super) with_rows: Option<SpillSet>,
}

impl Deletion {
    /// What is known of members of which those `with_rows` have a row of referrers.
    pub(super) fn of(with_rows: SpillSet) -> Deletion {
        Deletion {
            begun: None,
            with_rows: Some(with_rows),
        }
    }

    fn row(&mut self, graph: &mut dyn Graph, oid: Oid) -> Result<Option<Links>> {
        let known = match &mut self.with_rows {
            Some(with_rows) => with_rows.contains(oid)?,
            None => true,
        };
        if known { graph.row(oid) } else { Ok(None) }
    }
}

/// Deletes condemned objects, a part of them at a time; true when all are gone.
pub(super) fn delete_condemned(
    graph: &mut dyn Graph,
    job: &mut JobState,
    known: &mut Deletion,
    meter: &mut Meter,
) -> Result<(bool, Deleted, u64)> {
    let (mut total, mut count) = (Deleted::default(), 0);
    let before = *job;
    let done = loop {
        let row = graph.next_condemned(job.condemned, Oid::ROOT)?;
        let Some((_, oids)) = row.filter(|(found, _)| *found == job.condemned) else {
            break true;
        };
        let next = job.next;
        let mut rest = oids.iter().copied().filter(|oid| *oid >= next);
        let finished = loop {
            let Some(oid) = rest.next() else { break true };
            if !delete_member(graph, oid, job, known, meter, &mut total)? {
                break false;
            }
            meter.deleted(1);
            count += 1;
            job.left = job.left.saturating_sub(1);
            (job.next, job.next_refs) = (oid.next(), 0);
        };
        if !finished {
            break false;
        }
        graph.delete_condemned(job.condemned, &oids, job.left)?;
    };
    if done {
        (job.condemned, job.left, job.next, job.next_refs) = (0, 0, Oid::ROOT, 0);
        *known = Deletion::default();
        graph.acquit()?;
    }
    if *job != before {
        graph.put_job(job)?;
    }
    Ok((done, total, count))
}

/// Takes back the references of a condemned object and deletes it; false where the budget ended.
fn delete_member(
    graph: &mut dyn Graph,
    oid: Oid,
    job: &mut JobState,
    known: &mut Deletion,
    meter: &mut Meter,
    total: &mut Deleted,
) -> Result<bool> {
    if !meter.more(graph) {
        return Ok(false);
    }
    // Of a hub, many referrers may be deleted already: to begin anew would be to step over where they
    // were, each time.
    let (node, mut from) = match known.begun.take().filter(|(begun, ..)| *begun == oid) {
        Some((_, node, from)) => (node, from),
        None => match graph.node(oid)? {
            Some(node) => (node, Oid::ROOT),
            None => return Ok(true),
        },
    };
    if job.next != oid {
        (job.next, job.next_refs) = (oid, 0);
    }
    let start = usize::try_from(job.next_refs).unwrap_or(usize::MAX);
    for target in node.refs.iter().skip(start) {
        if !meter.more(graph) {
            known.begun = Some((oid, node, from));
            return Ok(false);
        }
        job.next_refs += 1;
        if graph.is_condemned(*target)? {
            continue;
        }
        if let Some(mut links) = links(graph, *target)? {
            remove_referrer(graph, *target, &mut links, oid)?;
            total.touched.push(*target);
            if links.anchor == Some(oid) {
                cut_off(graph, *target, links)?;
                total.orphans.push(*target);
            } else {
                put_links(graph, *target, links)?;
            }
        }
    }
    let row = known.row(graph, oid)?;
    if row.as_ref().is_some_and(|links| links.more > 0) {
        while let Some(referrer) = graph.next_more(oid, from)? {
            if !meter.more(graph) {
                known.begun = Some((oid, node, from));
                return Ok(false);
            }
            graph.delete_more(oid, referrer)?;
            from = referrer.next();
        }
    }
    total.bytes += node.bytes;
    delete_rows(graph, oid, row.as_ref(), node.anchor)?;
    Ok(true)
}
