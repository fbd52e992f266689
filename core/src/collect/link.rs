//! What a commit does to the collector's tables: referrers, anchors, pins, orphans.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::climb::{Climb, Verdict};
use super::graph::{Graph, Pin, add_referrer, links, put_links, remove_referrer, set_anchor};
use super::resolve::Collector;
use super::rows::Links;
use crate::error::{ErrorKind, Result};
use crate::id::{Oid, SessionId};

/// Steps that a commit may climb to find out whether a link makes a pin superfluous. Where that is not
/// enough the pin stays until its session ends.
const CLIMB_MAX: u64 = 4096;

/// Objects above a cut that are looked at: the one that it was anchored to, and that one's anchor.
const ABOVE_MAX: usize = 2;

/// One object that a commit writes. The graph shows its new record already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) oid: Oid,
    pub(crate) create: bool,
    pub(crate) old_refs: &'a [Oid],
    pub(crate) refs: &'a [Oid],
}

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    pub(crate) session: SessionId,
    /// Whether the session holds what it unlinks.
    pub(crate) hold: Hold,
    /// Whether others may refer to an object before it exists.
    pub(crate) import: bool,
    /// Sessions that may have pins.
    pub(crate) sessions: &'a [SessionId],
}

/// For how long a session keeps alive what it unlinks, so that it can link to it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Not at all.
    No,
    /// Until its next commit.
    NextCommit,
    /// Until it ends.
    End,
}

/// A referrer that an object gains or loses by a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    target: Oid,
    added: bool,
    source: Oid,
}

/// What a commit does to one object's referrers.
#[derive(Clone, Copy, Debug)]
struct Delta<'a> {
    target: Oid,
    removed: &'a [Link],
    added: &'a [Link],
}

impl<'a> Delta<'a> {
    /// Of `links` in their order, all of one target.
    fn of(links: &'a [Link]) -> Option<Delta<'a>> {
        let target = links.first()?.target;
        let (removed, added) = links.split_at(links.partition_point(|link| !link.added));
        Some(Delta {
            target,
            removed,
            added,
        })
    }

    fn removes(&self, source: Oid) -> bool {
        self.removed.iter().any(|link| link.source == source)
    }

    fn apply(&self, graph: &mut dyn Graph, links: &mut Links) -> Result<()> {
        for link in self.removed {
            remove_referrer(graph, self.target, links, link.source)?;
        }
        for link in self.added {
            add_referrer(graph, self.target, links, link.source)?;
        }
        Ok(())
    }
}

/// Anchors that a commit cuts.
#[derive(Debug, Default)]
struct Cuts {
    /// By the objects that lose them.
    anchors: BTreeMap<Oid, Oid>,
    /// What is above each of these objects, and safe.
    safe: Vec<Oid>,
}

impl Cuts {
    /// The first few objects from `oid` on upwards, by the anchors of before the commit. The root is not
    /// among them: that is safe in any case.
    fn above(&self, graph: &mut dyn Graph, oid: Oid) -> Result<Vec<Oid>> {
        let (mut above, mut next) = (Vec::new(), Some(oid));
        while let Some(oid) = next.filter(|oid| *oid != Oid::ROOT) {
            above.push(oid);
            if above.len() == ABOVE_MAX {
                break;
            }
            next = match self.anchors.get(&oid) {
                Some(anchor) => Some(*anchor),
                None => match links(graph, oid) {
                    // The commit does not need it.
                    Err(error) if error.kind() == ErrorKind::Damaged => None,
                    links => links?.and_then(|links| links.anchor),
                },
            };
        }
        Ok(above)
    }
}

/// Takes the object's anchor away and puts it into the queue.
pub(super) fn cut_off(graph: &mut dyn Graph, oid: Oid, mut links: Links) -> Result<()> {
    set_anchor(graph, oid, &mut links, None)?;
    put_links(graph, oid, links)?;
    graph.put_orphan(oid)
}

impl Collector {
    /// Brings the tables up to date with a valid commit. `changes` ascend. Returns how many references
    /// it removed, by which the work of the commit is measured.
    pub(crate) fn link(
        &mut self,
        graph: &mut dyn Graph,
        committer: Committer<'_>,
        changes: &[Change<'_>],
    ) -> Result<u64> {
        let all = links_changed(changes);
        let removed = all.iter().filter(|link| !link.added).count() as u64;
        let mut created: BTreeMap<Oid, Links> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.create) {
            let links = match committer.import {
                true => graph.row(change.oid)?,
                false => None,
            };
            created.insert(change.oid, links.unwrap_or_default());
        }
        let (mut unlinked, mut pinned) = (Vec::new(), Vec::new());
        let mut cuts = Cuts::default();
        let deltas = all.chunk_by(|one, other| one.target == other.target);
        for delta in deltas.filter_map(Delta::of) {
            let target = delta.target;
            if let Some(links) = created.get_mut(&target) {
                // An import may drop a reference in the commit that brings what was missing.
                delta.apply(graph, links)?;
                continue;
            }
            let links = match self.relink(graph, delta, &mut cuts) {
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    // It must be possible to unlink it. A repair of the tables finds its referrers.
                    tracing::warn!(%error, "the referrers of a damaged object are not followed up");
                    continue;
                }
                links => links?,
            };
            if committer.hold != Hold::No && !delta.removed.is_empty() {
                unlinked.push(target);
            }
            if links.pins > 0 && !delta.added.is_empty() {
                pinned.push(delta);
            }
            put_links(graph, target, links)?;
        }
        self.add_safe(&cuts.safe);
        for change in changes.iter().filter(|change| !change.create) {
            self.touched(change.oid)?;
        }
        self.anchor_created(graph, committer, changes, created)?;
        if committer.hold == Hold::NextCommit {
            for oid in self.take_held(committer.session) {
                if graph.pin(committer.session, oid)? == Some(Pin::Held) {
                    self.unpin(graph, committer.session, oid)?;
                }
            }
        }
        for target in unlinked {
            self.hold(graph, committer, target)?;
        }
        for delta in pinned {
            self.unpin_linked(graph, committer, delta)?;
        }
        Ok(removed)
    }

    /// The referrers of an object that was there before, as the commit leaves them. Where its anchor is
    /// not among them any more it enters the queue, before anything climbs.
    fn relink(
        &mut self,
        graph: &mut dyn Graph,
        delta: Delta<'_>,
        cuts: &mut Cuts,
    ) -> Result<Links> {
        let target = delta.target;
        let mut links = links(graph, target)?.unwrap_or_default();
        delta.apply(graph, &mut links)?;
        self.touched(target)?;
        let anchor = links.anchor;
        if let Some(anchor) = anchor.filter(|anchor| delta.removes(*anchor)) {
            self.cut_below(graph, target, anchor, cuts)?;
            set_anchor(graph, target, &mut links, None)?;
            graph.put_orphan(target)?;
        }
        Ok(links)
    }

    /// An object is about to lose its anchor. What that hung on does not hang on the object, and so what
    /// is above all the objects that a commit cuts off stays safe: remembering it saves climbing from
    /// the neighbour of what was taken out of a list all the way to the list's begin.
    fn cut_below(
        &mut self,
        graph: &mut dyn Graph,
        target: Oid,
        anchor: Oid,
        cuts: &mut Cuts,
    ) -> Result<()> {
        let first = cuts.anchors.is_empty();
        let certified = first && self.is_certified(graph)?;
        let mut above = Vec::new();
        if certified || !cuts.safe.is_empty() || self.remembers() {
            above = cuts.above(graph, anchor)?;
        }
        if certified {
            cuts.safe.clone_from(&above);
        }
        cuts.safe.retain(|oid| above.contains(oid));
        cuts.anchors.insert(target, anchor);
        self.cut_off_from(target, &above)
    }

    /// Anchors what is new: breadth-first from the objects that existed before. What these do not reach
    /// is pinned to the session, few objects for all that they reach in turn.
    fn anchor_created(
        &mut self,
        graph: &mut dyn Graph,
        committer: Committer<'_>,
        changes: &[Change<'_>],
        mut created: BTreeMap<Oid, Links>,
    ) -> Result<()> {
        if created.is_empty() {
            return Ok(());
        }
        let mut left: BTreeSet<Oid> = created.keys().copied().collect();
        let no_referrer = |links: &Links| links.inline.is_empty();
        let mut lone: VecDeque<Oid> = created
            .iter()
            .filter(|(_, links)| no_referrer(links))
            .map(|(oid, _)| *oid)
            .collect();
        let mut frontier = VecDeque::new();
        for change in changes {
            if !change.create || change.oid == Oid::ROOT {
                left.remove(&change.oid);
                frontier.push_back(change.oid);
            }
        }
        loop {
            while let Some(source) = frontier.pop_front() {
                let position = changes.binary_search_by_key(&source, |change| change.oid);
                let refs = position.ok().and_then(|index| changes.get(index));
                for target in refs.map_or(&[][..], |change| change.refs) {
                    if left.remove(target)
                        && let Some(links) = created.get_mut(target)
                    {
                        set_anchor(graph, *target, links, Some(source))?;
                        frontier.push_back(*target);
                    }
                }
            }
            // First what nothing new refers to; then, of cycles, the least.
            let next = lone.pop_front().or_else(|| left.first().copied());
            let Some(oid) = next else { break };
            if !left.remove(&oid) {
                continue;
            }
            if let Some(links) = created.get_mut(&oid) {
                let earlier = self.earlier_referrer(graph, oid, links, changes)?;
                match earlier {
                    Some(referrer) => set_anchor(graph, oid, links, Some(referrer))?,
                    None => {
                        graph.put_pin(committer.session, oid, Pin::Born)?;
                        links.pins += 1;
                        #[cfg(test)]
                        if self.sabotage.pinned_anchor {
                            let anchor = links.inline.first().copied();
                            set_anchor(graph, oid, links, anchor)?;
                        }
                    }
                }
            }
            frontier.push_back(oid);
        }
        for (oid, links) in created {
            // What did not exist before has no row that would have to go.
            let alone = !committer.import && links.is_implied_by(links.anchor);
            if !alone || !graph.set_record_anchor(oid, links.anchor)? {
                put_links(graph, oid, links)?;
            }
        }
        Ok(())
    }

    /// A safe referrer of a new object that was there before it, in an import.
    fn earlier_referrer(
        &mut self,
        graph: &mut dyn Graph,
        oid: Oid,
        links: &Links,
        changes: &[Change<'_>],
    ) -> Result<Option<Oid>> {
        for referrer in &links.inline {
            let new = changes.binary_search_by_key(referrer, |change| change.oid);
            if new.is_err() && self.is_safe(graph, oid, *referrer)? {
                return Ok(Some(*referrer));
            }
        }
        Ok(None)
    }

    /// Whether `referrer` hangs on the root or a pin without the help of `target`.
    fn is_safe(&mut self, graph: &mut dyn Graph, target: Oid, referrer: Oid) -> Result<bool> {
        // The target itself may be pinned, and so be what makes others safe: it counts as in question,
        // and what is remembered is of no use.
        let floor = self.floor(graph)?.min(target);
        let mut climb = Climb::new(target, referrer);
        let mut left = CLIMB_MAX;
        let verdict = climb.run(graph, floor, None, self, &mut |_| {
            left = left.saturating_sub(1);
            left > 0
        });
        match verdict {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                // The commit does not need what it climbs through; the pin is what keeps the target.
                tracing::warn!(%error, "whether a link is safe cannot be told for damage");
                Ok(false)
            }
            verdict => Ok(verdict? == Verdict::Safe),
        }
    }

    /// Keeps alive what a session has unlinked, unless it is safe without that.
    fn hold(&mut self, graph: &mut dyn Graph, committer: Committer<'_>, oid: Oid) -> Result<()> {
        let session = committer.session;
        let Some(mut links) = links(graph, oid)? else {
            return Ok(());
        };
        if oid == Oid::ROOT || graph.node(oid)?.is_none() || graph.pin(session, oid)?.is_some() {
            return Ok(());
        }
        if let Some(anchor) = links.anchor {
            if self.is_safe(graph, oid, anchor)? {
                return Ok(());
            }
            self.cut(oid)?;
            set_anchor(graph, oid, &mut links, None)?;
        }
        graph.delete_orphan(oid)?;
        graph.put_pin(session, oid, Pin::Held)?;
        links.pins += 1;
        put_links(graph, oid, links)?;
        if committer.hold == Hold::NextCommit {
            self.held.entry(session).or_default().push(oid);
        }
        Ok(())
    }

    /// Anchors a pinned object that is linked now, and removes the pins that held it for that.
    fn unpin_linked(
        &mut self,
        graph: &mut dyn Graph,
        committer: Committer<'_>,
        delta: Delta<'_>,
    ) -> Result<()> {
        let (target, mut safe) = (delta.target, None);
        for link in delta.added {
            if self.is_safe(graph, target, link.source)? {
                safe = Some(link.source);
                break;
            }
        }
        let (Some(referrer), Some(mut links)) = (safe, links(graph, target)?) else {
            return Ok(());
        };
        for session in committer.sessions {
            if graph.pin(*session, target)? == Some(Pin::Born) {
                graph.delete_pin(*session, target)?;
                links.pins = links.pins.saturating_sub(1);
            }
        }
        if links.pins == 0 {
            set_anchor(graph, target, &mut links, Some(referrer))?;
            // What was held until this commit became an orphan when that ended.
            graph.delete_orphan(target)?;
        }
        put_links(graph, target, links)
    }

    /// Removes a session's pin. An object without another one is an orphan until an anchor is found.
    pub(crate) fn unpin(
        &mut self,
        graph: &mut dyn Graph,
        session: SessionId,
        oid: Oid,
    ) -> Result<()> {
        graph.delete_pin(session, oid)?;
        let Some(mut links) = links(graph, oid)? else {
            return Ok(());
        };
        links.pins = links.pins.saturating_sub(1);
        let free = links.pins == 0 && oid != Oid::ROOT;
        put_links(graph, oid, links)?;
        if free {
            self.touched(oid)?;
            self.cut(oid)?;
            graph.put_orphan(oid)?;
        }
        Ok(())
    }
}

/// Which referrers each object gains and loses, by the objects.
fn links_changed(changes: &[Change<'_>]) -> Vec<Link> {
    let mut links = Vec::new();
    let mut add = |targets: &[Oid], others: &[Oid], source, added| {
        let new = targets
            .iter()
            .filter(|it| others.binary_search(it).is_err());
        links.extend(new.map(|target| Link {
            target: *target,
            added,
            source,
        }));
    };
    for change in changes {
        add(change.refs, change.old_refs, change.oid, true);
        add(change.old_refs, change.refs, change.oid, false);
    }
    links.sort_unstable();
    links
}
