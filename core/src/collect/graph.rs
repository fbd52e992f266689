//! What the collector works on: the tables, as the write that is being prepared will leave them.
//!
//! Everything that decides in this module's siblings goes through [`Graph`], so that the same code runs
//! on a store and on the abstract one of the exhaustive model check.

use std::sync::Arc;

use super::rows::{INLINE_MAX, JobState, Links};
use super::spill::SpillSet;
use crate::error::{Error, Result};
use crate::id::{Oid, SessionId, Tid};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The anchor in the record; a row of `referrers` overrides it.
    pub(crate) anchor: Option<Oid>,
    /// The references: ascending, each once, without the object itself.
    pub(crate) refs: Vec<Oid>,
    /// Bytes of the stored record.
    pub(crate) bytes: u64,
}

/// Why a session keeps an object alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pin {
    /// It committed the object, and nothing links to it yet.
    Born,
    /// It unlinked the object, and may link to it again.
    Held,
}

/// The tables of a store. Writes are seen by later reads.
pub(crate) trait Graph {
    /// Rows that were read so far, other than from memory.
    fn reads(&self) -> u64;
    /// What budgets count: these, and more where large records are deleted.
    fn spent(&self) -> u64 {
        self.reads()
    }
    /// Rows that are to be written or deleted so far, where what that takes is of interest.
    fn rows_to_write(&self) -> u64 {
        0
    }

    fn node(&mut self, oid: Oid) -> Result<Option<Arc<Node>>>;
    /// Puts the anchor into the record, where that is being written anyway; else false.
    fn set_record_anchor(&mut self, oid: Oid, anchor: Option<Oid>) -> Result<bool>;
    /// Deletes the record, which exists.
    fn delete_node(&mut self, oid: Oid) -> Result<()>;
    /// Whether a job has condemned the object: it is still there, and gone for everyone.
    fn is_condemned(&mut self, oid: Oid) -> Result<bool>;

    fn row(&mut self, oid: Oid) -> Result<Option<Links>>;
    fn put_row(&mut self, oid: Oid, links: Option<Links>) -> Result<()>;

    fn has_more(&mut self, oid: Oid, referrer: Oid) -> Result<bool>;
    /// The least referrer in `referrers_more` from `from` on.
    fn next_more(&mut self, oid: Oid, from: Oid) -> Result<Option<Oid>>;
    fn put_more(&mut self, oid: Oid, referrer: Oid) -> Result<()>;
    fn delete_more(&mut self, oid: Oid, referrer: Oid) -> Result<()>;

    fn is_orphan(&mut self, oid: Oid) -> Result<bool>;
    fn next_orphan(&mut self, from: Oid) -> Result<Option<Oid>>;
    fn put_orphan(&mut self, oid: Oid) -> Result<()>;
    /// Takes the object out of the queue, if it stands there.
    fn delete_orphan(&mut self, oid: Oid) -> Result<()>;

    fn least_irregular(&mut self) -> Result<Option<Oid>>;
    fn set_irregular(&mut self, oid: Oid, irregular: bool) -> Result<()>;

    /// Writes a part of a draft, or of what is about to be condemned.
    fn put_condemned(&mut self, job: u64, oids: &[Oid]) -> Result<()>;
    /// The first row of `condemned` from (job, first OID) on: its job and its OIDs.
    fn next_condemned(&mut self, job: u64, from: Oid) -> Result<Option<(u64, Vec<Oid>)>>;
    /// Deletes a row of `condemned`; of the job whose members are gone for everyone so many are left.
    fn delete_condemned(&mut self, job: u64, oids: &[Oid], left: u64) -> Result<()>;
    /// From this commit on the members are gone for everyone; they leave the counts with `bytes`.
    fn condemn(&mut self, job: u64, members: SpillSet, bytes: u64) -> Result<Tid>;
    /// The last condemned object has been deleted.
    fn acquit(&mut self) -> Result<()>;
    fn put_job(&mut self, job: &JobState) -> Result<()>;

    fn pin(&mut self, session: SessionId, oid: Oid) -> Result<Option<Pin>>;
    fn next_pin(&mut self, session: SessionId, from: Oid) -> Result<Option<(Oid, Pin)>>;
    fn put_pin(&mut self, session: SessionId, oid: Oid, pin: Pin) -> Result<()>;
    fn delete_pin(&mut self, session: SessionId, oid: Oid) -> Result<()>;
}

/// What is known of an object's referrers; `None` where there is neither a record nor a row.
pub(crate) fn links(graph: &mut dyn Graph, oid: Oid) -> Result<Option<Links>> {
    if let Some(links) = graph.row(oid)? {
        return Ok(Some(links));
    }
    let node = graph.node(oid)?;
    Ok(node.map(|node| Links::of_anchor(node.anchor)))
}

/// Writes what is known of an object's referrers to where it belongs: the record that is being
/// written, no row at all, or a row.
pub(crate) fn put_links(graph: &mut dyn Graph, oid: Oid, links: Links) -> Result<()> {
    let plain = links.is_implied_by(links.anchor);
    if plain {
        if graph.set_record_anchor(oid, links.anchor)? {
            return graph.put_row(oid, None);
        }
        // What an import refers to before it exists has a row only as long as it does.
        let recorded = graph.node(oid)?.and_then(|node| node.anchor);
        if recorded == links.anchor {
            return graph.put_row(oid, None);
        }
    }
    graph.put_row(oid, Some(links))
}

/// Gives the object another anchor, or none.
pub(crate) fn set_anchor(
    graph: &mut dyn Graph,
    oid: Oid,
    links: &mut Links,
    anchor: Option<Oid>,
) -> Result<()> {
    let irregular = |anchor: Option<Oid>| anchor.is_some_and(|anchor| anchor > oid);
    let (before, after) = (irregular(links.anchor), irregular(anchor));
    links.anchor = anchor;
    if before != after {
        graph.set_irregular(oid, after)?;
    }
    Ok(())
}

pub(crate) fn add_referrer(
    graph: &mut dyn Graph,
    oid: Oid,
    links: &mut Links,
    referrer: Oid,
) -> Result<()> {
    let Err(position) = links.inline.binary_search(&referrer) else {
        return Ok(());
    };
    if links.inline.len() < INLINE_MAX {
        if links.more == 0 || !graph.has_more(oid, referrer)? {
            links.inline.insert(position, referrer);
        }
    } else if !graph.has_more(oid, referrer)? {
        graph.put_more(oid, referrer)?;
        links.more += 1;
    }
    Ok(())
}

pub(crate) fn remove_referrer(
    graph: &mut dyn Graph,
    oid: Oid,
    links: &mut Links,
    referrer: Oid,
) -> Result<()> {
    if let Ok(position) = links.inline.binary_search(&referrer) {
        links.inline.remove(position);
    } else if links.more > 0 && graph.has_more(oid, referrer)? {
        graph.delete_more(oid, referrer)?;
        links.more -= 1;
    }
    Ok(())
}

/// A walk over the referrers of one object: the inline ones newest first, then the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    /// So many inline ones are left.
    Inline(usize),
    /// From this one on in `referrers_more`.
    More(Oid),
}

impl Position {
    pub(crate) fn start(links: &Links) -> Position {
        Position::Inline(links.inline.len())
    }

    /// The referrer here, and the position after it.
    pub(crate) fn next(
        self,
        graph: &mut dyn Graph,
        oid: Oid,
        links: &Links,
    ) -> Result<Option<(Oid, Position)>> {
        let from = match self {
            Position::More(from) => from,
            Position::Inline(left) => {
                // Referrers may have gone since the walk began; those that are left have moved down.
                let index = left.min(links.inline.len()).checked_sub(1);
                match index.and_then(|index| Some((*links.inline.get(index)?, index))) {
                    Some((referrer, left)) => return Ok(Some((referrer, Position::Inline(left)))),
                    None if links.more == 0 => return Ok(None),
                    None => Oid::ROOT,
                }
            }
        };
        let found = graph.next_more(oid, from)?;
        Ok(found.map(|referrer| (referrer, Position::More(referrer.next()))))
    }
}

/// The tables contradict each other.
pub(crate) fn inconsistent(oid: Oid, what: &str) -> Error {
    Error::damaged("collect garbage", what)
        .with_oid(oid)
        .hint("Nothing was deleted on account of it. `durum check --repair` rebuilds the tables.")
}
