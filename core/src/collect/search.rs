//! The search for garbage: which suspects nobody outside refers to.
//!
//! A search begins with an orphan. It looks for a referrer that hangs on the root; where there is none,
//! the orphan is suspect, and so is what is anchored to it. When all these have been examined, every
//! suspect is looked at again for a referrer outside, and one that is found saves what it refers to as
//! well. What remains is closed under "who refers to me": garbage, cyclic or not.
//!
//! A search can be left at any moment and taken up again. Commits in between report which objects they
//! touch; these are examined anew.

use std::sync::Arc;

use super::beneath::Beneath;
use super::budget::{Counters, Meter};
use super::climb::{Climb, Floor, Memo, Obstacles, Verdict};
use super::delete::{Guard, delete_all, guard, weight};
use super::graph::{Graph, Node, Position, links, put_links, set_anchor};
use super::rows::Links;
use super::spill::{SpillQueue, SpillSet, Work};
use crate::error::Result;
use crate::id::Oid;

#[cfg(test)]
#[path = "model/search_image.rs"]
mod image;
#[cfg(test)]
pub(crate) use image::{spill_set, take, take_oid};

/// A search; see the [module](self).
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Search {
    work: Work,
    current: Option<Current>,
    pub(super) suspects: SpillSet,
    /// Suspects that have to be looked at again, each once: commits can have an object suspected again
    /// and again before its turn comes.
    recheck: Work,
    /// Objects that were anchored anew: suspects that they refer to are saved.
    saved: SpillQueue,
    /// No object of the search lies below.
    least: Oid,
}

/// The object that is being worked on.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Current {
    /// Looks for a referrer that is safe.
    Examine(Examination),
    /// Takes over what hangs on an object that has become suspect.
    Adopt(Adoption),
    /// Walks over the references of an object.
    Spread(Spread),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Adoption {
    oid: Oid,
    beneath: Beneath,
    /// All below have been taken over.
    next: Oid,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Spread {
    oid: Oid,
    node: Arc<Node>,
    index: usize,
    /// Whether it saves suspects; else it adds what is anchored to it.
    saves: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Examination {
    oid: Oid,
    position: Position,
    /// The referrer whose climb was left.
    climb: Option<(Oid, Climb)>,
    /// Whether it is a suspect that is looked at again.
    again: bool,
    /// No referrer so far.
    alone: bool,
    /// A referrer may still turn out to be safe, and nothing would tell.
    undecided: bool,
    /// What was found to hang on the object.
    beneath: Beneath,
}

/// What a step of a search led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Going,
    OutOfBudget,
    /// The suspects that are left are closed.
    Closed,
    /// Nothing is suspect any more.
    Done,
}

/// What a search needs of its surroundings.
pub(super) struct Scene<'a> {
    pub(super) graph: &'a mut dyn Graph,
    pub(super) meter: &'a mut Meter,
    pub(super) memo: &'a mut Memo,
    pub(super) counters: &'a mut Counters,
    /// Everything below is safe; kept below new orphans and irregular objects.
    pub(super) floor: &'a mut Floor,
    /// References that may be taken back at once.
    pub(super) weight_max: u64,
}

impl Scene<'_> {
    fn more(&mut self) -> bool {
        self.meter.more(self.graph)
    }

    fn lower_floor(&mut self, oid: Oid) {
        self.floor.lower(oid);
    }

    fn floor(&mut self, least: Oid) -> Result<Oid> {
        self.floor.get(self.graph, Some(least))
    }
}

/// What blocks climbs: suspects, and what is going to be examined.
struct Open<'a> {
    suspects: &'a mut SpillSet,
    work: &'a mut Work,
    target: Oid,
    /// What hangs on the target, where that is wanted.
    beneath: Option<&'a mut Beneath>,
}

impl Obstacles for Open<'_> {
    fn blocks(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.suspects.contains(oid)? || self.work.contains(oid)?)
    }

    fn is_beneath(&mut self, oid: Oid) -> Result<bool> {
        match &mut self.beneath {
            Some(beneath) => beneath.contains(oid),
            None => Ok(false),
        }
    }

    /// Where only its anchor refers to an object, that alone can save it; and where all that it refers to
    /// is in hand, nothing else hangs on it.
    fn settles(&mut self, graph: &mut dyn Graph, oid: Oid, path: &mut SpillSet) -> Result<bool> {
        if self.beneath.is_none() || graph.row(oid)?.is_some() {
            return Ok(false);
        }
        let Some(node) = graph.node(oid)? else {
            return Ok(false);
        };
        for to in node.refs.iter().copied() {
            let beneath = to == self.target || path.contains(to)? || self.is_beneath(to)?;
            if !beneath && !self.blocks(to)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Search {
    pub(super) fn new(orphan: Oid) -> Result<Search> {
        let mut search = Search {
            least: orphan,
            ..Search::default()
        };
        search.work.insert(orphan)?;
        Ok(search)
    }

    /// No object of the search lies below this one.
    pub(super) fn least(&self) -> Oid {
        self.least
    }

    /// Whether chains through the object are not to be trusted.
    pub(super) fn blocks(&mut self, oid: Oid) -> Result<bool> {
        let current = matches!(&self.current, Some(Current::Examine(now)) if now.oid == oid);
        Ok(current || self.suspects.contains(oid)? || self.work.contains(oid)?)
    }

    /// A commit has written the object, or changed its referrers or pins. Says whether it was suspect.
    pub(super) fn touched(&mut self, oid: Oid) -> Result<bool> {
        let current = match &mut self.current {
            Some(Current::Examine(now)) => {
                now.beneath.unsettle(oid)?;
                if let Some((_, climb)) = &mut now.climb {
                    climb.unsettle(oid)?;
                }
                (now.oid == oid).then_some(false)
            }
            Some(Current::Adopt(now)) => {
                now.beneath.unsettle(oid)?;
                (now.oid == oid).then_some(false)
            }
            Some(Current::Spread(now)) => (now.oid == oid).then_some(now.saves),
            None => None,
        };
        match current {
            Some(true) => self.saved.push(oid)?,
            Some(false) => self.work.insert(oid)?,
            None => {}
        }
        if current.is_some() {
            self.current = None;
        }
        let suspect = self.suspects.remove(oid)?;
        if suspect {
            self.work.insert(oid)?;
        }
        Ok(suspect)
    }

    /// A commit has cut the object's anchor, or taken away its last pin.
    pub(super) fn cut(&mut self, oid: Oid) -> Result<()> {
        if let Some(Current::Examine(now)) = &mut self.current
            && let Some((referrer, climb)) = &mut now.climb
            && climb.passed(oid)?
        {
            *climb = Climb::new(now.oid, *referrer);
        }
        Ok(())
    }

    /// Does a bounded piece of work.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>) -> Result<Step> {
        match self.current.take() {
            Some(Current::Examine(now)) => return self.examine(now, scene),
            Some(Current::Adopt(now)) => return self.adopt(now, scene),
            Some(Current::Spread(now)) => return self.go_on_spreading(now, scene),
            None => {}
        }
        if let Some(oid) = self.saved.pop()? {
            self.spread(oid, true, scene)?;
        } else if let Some(oid) = self.work.pop()? {
            self.current = self.examination(oid, false, scene)?;
        } else if let Some(oid) = self.recheck.pop()? {
            if self.suspects.contains(oid)? {
                self.current = self.examination(oid, true, scene)?;
            }
        } else if self.suspects.is_empty() {
            return Ok(Step::Done);
        } else {
            return Ok(Step::Closed);
        }
        Ok(Step::Going)
    }

    fn examination(
        &mut self,
        oid: Oid,
        again: bool,
        scene: &mut Scene<'_>,
    ) -> Result<Option<Current>> {
        if scene.graph.is_condemned(oid)? {
            return Ok(None);
        }
        let links = links(scene.graph, oid)?;
        let Some(links) = links.filter(|links| links.pins == 0 && oid != Oid::ROOT) else {
            // Gone, or kept alive by a session meanwhile.
            scene.graph.delete_orphan(oid)?;
            self.suspects.remove(oid)?;
            self.saved.push(oid)?;
            return Ok(None);
        };
        // Mostly an object has an older referrer, below everything that is in question.
        if let Some(oldest) = links.inline.first().copied()
            && oldest < scene.floor(self.least)?
        {
            self.anchor(oid, links, oldest, scene)?;
            return Ok(None);
        }
        Ok(Some(Current::Examine(Examination {
            oid,
            position: Position::start(&links),
            climb: None,
            again,
            alone: true,
            undecided: false,
            beneath: Beneath::default(),
        })))
    }

    fn examine(&mut self, mut now: Examination, scene: &mut Scene<'_>) -> Result<Step> {
        let Some(links) = links(scene.graph, now.oid)? else {
            return Ok(Step::Going);
        };
        loop {
            if !scene.more() {
                self.current = Some(Current::Examine(now));
                return Ok(Step::OutOfBudget);
            }
            let (referrer, mut climb) = match now.climb.take() {
                Some(left) => left,
                None => {
                    let next = now.position.next(scene.graph, now.oid, &links)?;
                    let Some((referrer, position)) = next else {
                        break;
                    };
                    now.position = position;
                    if scene.graph.is_condemned(referrer)? {
                        continue;
                    }
                    now.alone = false;
                    (referrer, Climb::new(now.oid, referrer))
                }
            };
            let floor = scene.floor(self.least)?;
            let mut obstacles = Open {
                suspects: &mut self.suspects,
                work: &mut self.work,
                target: now.oid,
                beneath: (!now.again).then_some(&mut now.beneath),
            };
            let meter = &mut *scene.meter;
            let verdict = climb.run(
                scene.graph,
                floor,
                Some(scene.memo),
                &mut obstacles,
                &mut |graph| meter.more(graph),
            )?;
            match verdict {
                Verdict::Unfinished => {
                    now.climb = Some((referrer, climb));
                    self.current = Some(Current::Examine(now));
                    return Ok(Step::OutOfBudget);
                }
                Verdict::Safe => {
                    scene.counters.climbs.add(climb.length());
                    climb.remember(scene.memo)?;
                    self.anchor(now.oid, links, referrer, scene)?;
                    return Ok(Step::Going);
                }
                Verdict::Beneath if !now.again => {
                    scene.counters.climbs.add(climb.length());
                    // Where one of these is saved later, it will in turn save what it refers to.
                    now.undecided |= !now.beneath.add(climb)?;
                    continue;
                }
                Verdict::Beneath | Verdict::Unsafe => {
                    now.undecided |= !self.suspects.contains(referrer)?;
                }
                Verdict::Orphan(orphan) => {
                    now.undecided = true;
                    self.add_work(orphan, scene)?;
                }
            }
            scene.counters.climbs.add(climb.length());
        }
        self.conclude(now, scene)?;
        Ok(Step::Going)
    }

    /// No referrer is safe.
    fn conclude(&mut self, now: Examination, scene: &mut Scene<'_>) -> Result<()> {
        let oid = now.oid;
        if now.again {
            // What it waits for is still to be examined.
            if now.undecided && !self.work.is_empty() {
                self.recheck.insert(oid)?;
            }
            return Ok(());
        }
        // What nobody refers to is deleted at once, unless that takes too long: then it is condemned, and
        // with it what hangs on it alone.
        if !now.alone || weight(scene.graph, oid)? > scene.weight_max {
            self.suspects.insert(oid)?;
            // Where all referrers are suspects, only one that is saved, or a commit, can save it.
            if now.undecided {
                self.recheck.insert(oid)?;
            }
            if now.beneath.is_empty() {
                return self.spread(oid, false, scene);
            }
            self.current = Some(Current::Adopt(Adoption {
                oid,
                beneath: now.beneath,
                next: Oid::ROOT,
            }));
            return Ok(());
        }
        let nobody = &mut SpillSet::default();
        if guard(scene.graph, oid, nobody, None, &mut |_| true)? != Guard::Closed {
            // The guard: what is deleted does not rest on what the search believes.
            return self.work.insert(oid);
        }
        let deleted = delete_all(scene.graph, &[oid])?;
        scene.meter.deleted(1);
        scene.counters.deleted += 1;
        scene.counters.deleted_bytes += deleted.bytes;
        for orphan in deleted.orphans {
            self.add_work(orphan, scene)?;
        }
        Ok(())
    }

    /// Takes over what hangs on an object that has become suspect: to be examined, unless nothing else need
    /// be known of it.
    fn adopt(&mut self, mut now: Adoption, scene: &mut Scene<'_>) -> Result<Step> {
        while let Some(oid) = now.beneath.next_from(now.next)? {
            if !scene.more() {
                self.current = Some(Current::Adopt(now));
                return Ok(Step::OutOfBudget);
            }
            now.next = oid.next();
            if now.beneath.is_settled(oid)? && !self.work.contains(oid)? {
                self.reach_down_to(oid, scene);
                self.suspects.insert(oid)?;
            } else {
                self.add_work(oid, scene)?;
            }
        }
        self.spread(now.oid, false, scene)?;
        Ok(Step::Going)
    }

    fn reach_down_to(&mut self, oid: Oid, scene: &mut Scene<'_>) {
        self.least = self.least.min(oid);
        scene.lower_floor(oid);
    }

    fn add_work(&mut self, orphan: Oid, scene: &mut Scene<'_>) -> Result<()> {
        self.reach_down_to(orphan, scene);
        if !self.suspects.contains(orphan)? {
            self.work.insert(orphan)?;
        }
        Ok(())
    }

    /// Anchors the object to a safe referrer.
    fn anchor(
        &mut self,
        oid: Oid,
        mut links: Links,
        referrer: Oid,
        scene: &mut Scene<'_>,
    ) -> Result<()> {
        set_anchor(scene.graph, oid, &mut links, Some(referrer))?;
        if referrer > oid {
            scene.lower_floor(oid);
        }
        put_links(scene.graph, oid, links)?;
        scene.graph.delete_orphan(oid)?;
        scene.counters.anchored += 1;
        self.suspects.remove(oid)?;
        if !self.suspects.is_empty() {
            self.saved.push(oid)?;
        }
        Ok(())
    }

    fn spread(&mut self, oid: Oid, saves: bool, scene: &mut Scene<'_>) -> Result<()> {
        if let Some(node) = scene.graph.node(oid)? {
            self.current = Some(Current::Spread(Spread {
                oid,
                node,
                index: 0,
                saves,
            }));
        }
        Ok(())
    }

    /// Saves the suspects that a saved object refers to, or adds to the work what is anchored to a suspect.
    fn go_on_spreading(&mut self, mut now: Spread, scene: &mut Scene<'_>) -> Result<Step> {
        while let Some(target) = now.node.refs.get(now.index).copied() {
            if !scene.more() {
                self.current = Some(Current::Spread(now));
                return Ok(Step::OutOfBudget);
            }
            now.index += 1;
            // The one is about suspects, the other about what is not even going to be examined yet.
            let suspect = self.suspects.contains(target)?;
            if suspect != now.saves || (!now.saves && self.work.contains(target)?) {
                continue;
            }
            let Some(links) = links(scene.graph, target)? else {
                continue;
            };
            if now.saves {
                self.anchor(target, links, now.oid, scene)?;
            } else if links.anchor == Some(now.oid) {
                self.add_work(target, scene)?;
            }
        }
        Ok(Step::Going)
    }
}
