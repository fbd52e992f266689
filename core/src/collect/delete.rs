//! Deleting objects, and taking their references back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::Meter;
use super::graph::{Graph, Node, Position, inconsistent, links, put_links, remove_referrer};
use super::link::cut_off;
use super::rows::{JobState, Links};
use super::spill::SpillSet;
use crate::error::Result;
use crate::id::Oid;

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

/// The guard of all deletion: whether no pin holds the object, and every referrer is one of `members` or
/// condemned. What is deleted rests on this alone, and on nothing that a search believes.
pub(super) fn is_closed(graph: &mut dyn Graph, oid: Oid, members: &mut SpillSet) -> Result<bool> {
    let Some(links) = links(graph, oid)?.filter(|links| links.pins == 0) else {
        return Ok(false);
    };
    let mut position = Position::start(&links);
    while let Some((referrer, next)) = position.next(graph, oid, &links)? {
        if !members.contains(referrer)? && !graph.is_condemned(referrer)? {
            return Ok(false);
        }
        position = next;
    }
    Ok(oid != Oid::ROOT)
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
    members
        .iter()
        .try_for_each(|oid| delete_rows(graph, *oid))?;
    Ok(deleted)
}

/// Deletes an object's record and what the collector knows of it, but for `referrers_more`.
fn delete_rows(graph: &mut dyn Graph, oid: Oid) -> Result<()> {
    graph.delete_orphan(oid)?;
    if links(graph, oid)?.is_some_and(|links| links.anchor.is_some_and(|anchor| anchor > oid)) {
        graph.set_irregular(oid, false)?;
    }
    graph.put_row(oid, None)?;
    graph.delete_node(oid)
}

/// A condemned object of which only some references have been taken back. Nothing changes it any more.
pub(super) type Begun = Option<(Oid, Arc<Node>)>;

/// Deletes condemned objects, a part of them at a time; true when all are gone. What is `begun` is not
/// read again for each part: it may be huge.
pub(super) fn delete_condemned(
    graph: &mut dyn Graph,
    job: &mut JobState,
    begun: &mut Begun,
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
            if !delete_member(graph, oid, job, begun, meter, &mut total)? {
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
    begun: &mut Begun,
    meter: &mut Meter,
    total: &mut Deleted,
) -> Result<bool> {
    if !meter.more(graph) {
        return Ok(false);
    }
    let node = match begun.take().filter(|(begun, _)| *begun == oid) {
        Some((_, node)) => node,
        None => match graph.node(oid)? {
            Some(node) => node,
            None => return Ok(true),
        },
    };
    if job.next != oid {
        (job.next, job.next_refs) = (oid, 0);
    }
    let start = usize::try_from(job.next_refs).unwrap_or(usize::MAX);
    for target in node.refs.iter().skip(start) {
        if !meter.more(graph) {
            *begun = Some((oid, node));
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
    if graph.row(oid)?.is_some_and(|links| links.more > 0) {
        // Not from the beginning each time: that would step over all that is deleted already.
        let mut from = Oid::ROOT;
        while let Some(referrer) = graph.next_more(oid, from)? {
            if !meter.more(graph) {
                *begun = Some((oid, node));
                return Ok(false);
            }
            graph.delete_more(oid, referrer)?;
            from = referrer.next();
        }
    }
    total.bytes += node.bytes;
    delete_rows(graph, oid)?;
    Ok(true)
}
