//! A search as a few bytes, and back, for the model check.

use std::sync::Arc;

use super::{Adoption, Current, Examination, Search, Spread};
use crate::collect::beneath::Beneath;
use crate::collect::climb::Climb;
use crate::collect::graph::{Node, Position};
use crate::collect::model::{Mask, mask, oids};
use crate::collect::spill::{SpillQueue, SpillSet, Work};
use crate::id::Oid;

pub(crate) fn spill_set(set: Mask) -> SpillSet {
    let mut spill = SpillSet::default();
    oids(set).for_each(|oid| assert!(spill.insert(oid).unwrap()));
    spill
}

fn spill_sets(input: &mut &[u8]) -> [SpillSet; 2] {
    [(); 2].map(|()| spill_set(take(input)))
}

fn work(set: Mask) -> Work {
    let mut work = Work::default();
    oids(set).for_each(|oid| work.insert(oid).unwrap());
    work
}

pub(crate) fn take(input: &mut &[u8]) -> u8 {
    let (first, rest) = input.split_first().unwrap();
    *input = rest;
    *first
}

pub(crate) fn take_oid(input: &mut &[u8]) -> Oid {
    Oid(take(input).into())
}

impl Search {
    pub(crate) fn save(&mut self, out: &mut Vec<u8>) {
        out.push(mask(self.work.sorted()));
        out.push(mask(self.suspects.sorted()));
        out.push(mask(self.recheck.sorted()));
        out.push(self.least.0 as u8);
        let saved = self.saved.in_order();
        out.push(saved.len() as u8);
        out.extend(saved.iter().map(|oid| oid.0 as u8));
        match &mut self.current {
            None => out.push(0),
            Some(Current::Spread(now)) => {
                let refs = mask(now.node.refs.iter().copied());
                out.extend([
                    1,
                    now.oid.0 as u8,
                    refs,
                    now.index as u8,
                    u8::from(now.saves),
                ]);
            }
            Some(Current::Examine(now)) => now.save(out),
            Some(Current::Adopt(now)) => {
                out.extend([3, now.oid.0 as u8]);
                out.extend(now.beneath.sorted().map(mask));
                out.push(now.next.0 as u8);
            }
        }
    }

    pub(crate) fn load(input: &mut &[u8]) -> Search {
        let mut search = Search {
            work: work(take(input)),
            suspects: spill_set(take(input)),
            recheck: work(take(input)),
            least: take_oid(input),
            saved: SpillQueue::default(),
            current: None,
        };
        for _ in 0..take(input) {
            search.saved.push(take_oid(input)).unwrap();
        }
        search.current = match take(input) {
            0 => None,
            1 => Some(Current::Spread(Spread {
                oid: take_oid(input),
                node: Arc::new(Node {
                    anchor: None,
                    refs: oids(take(input)).collect(),
                    bytes: 1,
                }),
                index: take(input).into(),
                saves: take(input) == 1,
            })),
            2 => Some(Current::Examine(Examination::load(input))),
            _ => Some(Current::Adopt(Adoption {
                oid: take_oid(input),
                beneath: Beneath::of(spill_sets(input)),
                next: take_oid(input),
            })),
        };
        search
    }

    /// Objects of which the search knows.
    pub(crate) fn mentioned(&mut self) -> Mask {
        let mut all = mask(self.work.sorted()) | mask(self.suspects.sorted());
        all |= mask(self.recheck.sorted()) | mask(self.saved.in_order());
        match &mut self.current {
            None => {}
            Some(Current::Spread(now)) => {
                all |= mask([now.oid]) | mask(now.node.refs.iter().copied());
            }
            Some(Current::Examine(now)) => {
                all |= mask([now.oid]) | now.beneath.sorted().map(mask)[0];
                if let Some((referrer, climb)) = &mut now.climb {
                    let (_, at, [path, _]) = climb.parts();
                    all |= mask([*referrer, at]) | mask(path);
                }
            }
            Some(Current::Adopt(now)) => {
                all |= mask([now.oid]) | now.beneath.sorted().map(mask)[0];
            }
        }
        all
    }
}

impl Examination {
    fn save(&mut self, out: &mut Vec<u8>) {
        let Position::Inline(left) = self.position else {
            panic!("a hub in the model");
        };
        out.extend([2, self.oid.0 as u8, left as u8]);
        let flags = [self.again, self.alone, self.undecided, self.climb.is_some()];
        out.extend(flags.map(u8::from));
        out.extend(self.beneath.sorted().map(mask));
        if let Some((referrer, climb)) = &mut self.climb {
            let (target, at, passed) = climb.parts();
            assert_eq!(target, self.oid);
            out.extend([referrer.0 as u8, at.0 as u8]);
            out.extend(passed.map(mask));
        }
    }

    fn load(input: &mut &[u8]) -> Examination {
        let oid = take_oid(input);
        let left = take(input).into();
        let mut flag = || take(input) == 1;
        let (again, alone, undecided, climbs) = (flag(), flag(), flag(), flag());
        let beneath = Beneath::of(spill_sets(input));
        let climb = climbs.then(|| {
            let (referrer, at) = (take_oid(input), take_oid(input));
            (referrer, Climb::of(oid, at, spill_sets(input)))
        });
        Examination {
            oid,
            position: Position::Inline(left),
            climb,
            again,
            alone,
            undecided,
            beneath,
        }
    }
}
