//! Random histories on graphs with some dozens of objects, hubs with overflowing rows among them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::large::LargeGraph;
use crate::collect::budget::Budget;
use crate::collect::link::{Change, Committer, Hold};
use crate::collect::resolve::{Collector, Progress};
use crate::id::{Oid, SessionId};

/// Commits unless `DURUM_MODEL_COMMITS` says how many.
const COMMITS: u64 = 20_000;
const COMMITS_PER_HISTORY: u64 = 500;

/// How a history treats budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Every commit collects everything.
    Unlimited,
    /// Commits and slices collect a little, or nothing.
    Slow,
}

struct History {
    random: fastrand::Rng,
    pace: Pace,
    objects: usize,
    graph: LargeGraph,
    collector: Collector,
    /// Sessions, what they hold, and whether they import.
    live: Vec<(SessionId, Hold, bool)>,
    last_session: u64,
    next_oid: u64,
    /// Handed out and not used yet; in an import, what is missing.
    open: Vec<Oid>,
    hub: Oid,
    /// How often of ten times an object refers to the hub.
    hubs: u8,
}

impl History {
    fn new(seed: u64) -> History {
        let mut random = fastrand::Rng::with_seed(seed);
        let pace = match random.bool() {
            true => Pace::Unlimited,
            false => Pace::Slow,
        };
        let mut history = History {
            objects: random.choice([6, 12, 40, 60, 60]).unwrap(),
            pace,
            graph: LargeGraph::new(),
            collector: Collector::new(Default::default(), Vec::new()),
            live: Vec::new(),
            last_session: 0,
            next_oid: 1,
            open: Vec::new(),
            hub: Oid::ROOT,
            hubs: random.choice([0, 6, 9]).unwrap(),
            random,
        };
        history.collector.sabotage.small_parts = history.random.bool();
        for _ in 0..2 {
            history.begin();
        }
        history
    }

    fn begin(&mut self) {
        self.last_session += 1;
        let kinds = [
            (Hold::No, false),
            (Hold::NextCommit, false),
            (Hold::End, true),
        ];
        let (hold, import) = self.random.choice(kinds).unwrap();
        let session = SessionId(self.last_session);
        self.live.push((session, hold, import));
    }

    fn oid(&mut self) -> Oid {
        if self.open.len() < 4 {
            let first = self.next_oid;
            self.next_oid += 8;
            self.open.extend((first..self.next_oid).map(Oid));
        }
        let index = self.random.usize(..self.open.len());
        self.open[index]
    }

    fn refs(&mut self, oid: Oid, targets: &[Oid], import: bool) -> Vec<Oid> {
        let count = match self.random.u8(..10) {
            0 => 0,
            _ if oid == Oid::ROOT => self.random.usize(..3),
            1..7 => self.random.usize(1..4),
            7..9 => self.random.usize(..12.min(targets.len() + 1)),
            _ if self.hubs == 0 => 2,
            _ => self.random.usize(..=targets.len()),
        };
        let mut refs: BTreeSet<Oid> = (0..count)
            .filter_map(|_| self.random.choice(targets).copied())
            .collect();
        if self.random.u8(..10) < self.hubs && targets.contains(&self.hub) {
            refs.insert(self.hub);
        }
        if import && self.random.u8(..5) == 0 {
            refs.insert(self.oid());
        }
        refs.remove(&oid);
        refs.into_iter().collect()
    }

    /// New objects in a ring, to which an object refers that is there.
    fn ring(&mut self, there: &[Oid]) -> Vec<(Oid, bool, Vec<Oid>)> {
        let count = self.random.u64(2..6);
        let first = self.next_oid;
        self.next_oid += count;
        let from = self.random.choice(there).copied().unwrap();
        let mut refs = self.graph.refs(from).to_vec();
        refs.push(Oid(first + self.random.u64(..count)));
        let mut batch = vec![(from, false, refs)];
        for index in 0..count {
            let mut refs = vec![Oid(first + (index + 1) % count)];
            if self.random.u8(..4) == 0 {
                refs.insert(0, from);
            }
            batch.push((Oid(first + index), true, refs));
        }
        batch
    }

    /// Nobody refers to some object any more.
    fn cut(&mut self, there: &[Oid]) -> Vec<(Oid, bool, Vec<Oid>)> {
        let target = self.random.choice(there).copied().unwrap();
        let (mut batch, safe) = (Vec::new(), self.random.bool());
        for oid in there {
            let refs = self.graph.refs(*oid);
            // What hangs on the object itself may go on referring to it.
            if refs.contains(&target) && (!safe || *oid < target) {
                let refs = refs.iter().copied().filter(|oid| *oid != target);
                batch.push((*oid, false, refs.collect()));
            }
        }
        batch
    }

    /// A valid commit: what it writes.
    fn batch(&mut self, import: bool) -> Vec<(Oid, bool, Vec<Oid>)> {
        let mut there: Vec<Oid> = self.graph.existing().into_iter().collect();
        there.retain(|oid| self.graph.is_there(*oid));
        match self.random.u8(..10) {
            0..2 if there.len() < self.objects => return self.ring(&there),
            2..5 => return self.cut(&there),
            _ => {}
        }
        let mut batch: BTreeSet<Oid> = BTreeSet::new();
        for _ in 0..self.random.usize(1..5) {
            let create = there.len() < self.objects && self.random.u8(..3) > 0;
            let oid = match create {
                true => self.oid(),
                false if self.random.u8(..4) == 0 => Oid::ROOT,
                false => self.random.choice(&there).copied().unwrap(),
            };
            // A missing object is brought by an import.
            let referred = self
                .graph
                .nodes
                .values()
                .any(|node| node.refs.contains(&oid));
            if import || self.graph.is_there(oid) || !referred {
                batch.insert(oid);
            }
        }
        let mut targets = there;
        targets.extend(batch.iter().copied());
        targets.sort_unstable();
        targets.dedup();
        if self.random.u8(..30) == 0 {
            self.hub = self.random.choice(&targets).copied().unwrap();
        }
        let batch = batch.into_iter().map(|oid| {
            let refs = self.refs(oid, &targets, import);
            // References to what is missing may stay only where they were.
            (oid, !self.graph.is_there(oid), refs)
        });
        batch.collect()
    }

    fn budget(&mut self) -> Budget {
        Budget {
            deletes: self.random.choice([1, 1, 1, 2, 5, u64::MAX]).unwrap(),
            reads: match self.random.bool() {
                true => self.random.u64(8..30),
                false => self.random.u64(30..300),
            },
            // None left: all that the clock can interrupt is left at once.
            time: self.random.bool().then_some(Duration::ZERO),
        }
    }

    fn commit(&mut self) {
        let (session, hold, import) = self.random.choice(&self.live).copied().unwrap();
        let batch = self.batch(import);
        let before = (self.graph.clone(), self.collector.clone());
        let old: Vec<Vec<Oid>> = (batch.iter())
            .map(|(oid, _, _)| self.graph.refs(*oid).to_vec())
            .collect();
        for (oid, _, refs) in &batch {
            self.graph.write(*oid, refs.clone());
            self.graph.written.insert(*oid);
        }
        let changes: Vec<Change<'_>> = (batch.iter().zip(&old))
            .map(|((oid, create, refs), old_refs)| Change {
                oid: *oid,
                create: *create,
                old_refs,
                refs,
            })
            .collect();
        let sessions: Vec<SessionId> = self.live.iter().map(|(session, ..)| *session).collect();
        let committer = Committer {
            session,
            hold,
            import,
            sessions: &sessions,
        };
        let collector = &mut self.collector;
        let removed = collector
            .link(&mut self.graph, committer, &changes)
            .unwrap();
        self.kept(&before.0, hold);
        match self.pace {
            Pace::Unlimited => self.quiesce(Budget::UNLIMITED),
            Pace::Slow if self.random.bool() => {
                let budget = self.budget();
                let collector = &mut self.collector;
                collector
                    .after_commit(&mut self.graph, budget, removed)
                    .unwrap();
            }
            Pace::Slow => {}
        }
        self.end_write(&before);
        for (oid, ..) in batch {
            self.open
                .retain(|open| *open != oid || !self.graph.nodes.contains_key(open));
        }
    }

    /// The write is made, or fails and is undone.
    fn end_write(&mut self, before: &(LargeGraph, Collector)) {
        self.graph.written.clear();
        if self.random.u8(..20) == 0 {
            self.graph = before.0.clone();
            self.collector.reset(before.0.job);
            let (ended, held) = self.collector.sessions();
            let (ended_before, held_before) = before.1.sessions();
            let set = |ended: &[SessionId]| ended.iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(set(ended), set(ended_before));
            assert_eq!(held, held_before);
        } else {
            self.collector.written();
        }
        self.graph.check(&mut self.collector);
    }

    /// What was alive, and was unlinked by a session that holds that, still is alive.
    fn kept(&self, before: &LargeGraph, hold: Hold) {
        if hold == Hold::No {
            return;
        }
        let (alive, now) = (before.alive(), self.graph.alive());
        for oid in &alive {
            let new = self.graph.refs(*oid);
            for target in before.refs(*oid) {
                let unlinked = new.binary_search(target).is_err() && alive.contains(target);
                assert!(!unlinked || now.contains(target), "{target} is not held");
            }
        }
    }

    fn slice(&mut self) {
        let budget = self.budget();
        let before = (self.graph.clone(), self.collector.clone());
        self.run(budget);
        self.end_write(&before);
    }

    fn run(&mut self, budget: Budget) -> Progress {
        let pace = match budget.reads {
            u64::MAX => u64::MAX,
            reads => reads / 2 + 1,
        };
        let mut before = self.graph.clone();
        let run = self.collector.run(&mut self.graph, budget, pace);
        before.pins = self.graph.pins.clone();
        let mut alive = before.alive().into_iter();
        assert!(
            alive.all(|oid| self.graph.is_there(oid)),
            "a live object is deleted"
        );
        run.unwrap().0
    }

    /// Collects until nothing is left: what remains is what can be reached.
    fn quiesce(&mut self, budget: Budget) {
        for _ in 0..10_000 {
            if self.run(budget) == Progress::Quiet {
                assert_eq!(self.graph.alive(), self.graph.existing());
                assert!(self.graph.orphans.is_empty() && self.graph.condemned.is_empty());
                return;
            }
        }
        panic!("collection does not end");
    }

    fn end_session(&mut self) {
        let index = self.random.usize(..self.live.len());
        let (session, ..) = self.live.swap_remove(index);
        self.collector.ended.push(session);
        if self.live.len() < 2 {
            self.begin();
        }
    }

    fn crash(&mut self) {
        self.graph.crash();
        self.live.clear();
        self.begin();
        self.begin();
        let pinning: BTreeSet<SessionId> = self.graph.pins.keys().map(|(s, _)| *s).collect();
        let (sabotage, counters) = (self.collector.sabotage, self.collector.counters);
        self.collector = Collector::new(self.graph.job, pinning.into_iter().collect());
        self.collector.sabotage = sabotage;
        self.collector.counters = counters;
        self.graph.check(&mut self.collector);
    }

    fn step(&mut self) {
        self.commit();
        for _ in 0..self.random.choice([0, 1, 2, 20]).unwrap() {
            if self.pace == Pace::Slow {
                self.slice();
            }
        }
        match self.random.u8(..100) {
            0 => self.crash(),
            1..4 => self.end_session(),
            4 if self.live.len() < 4 => self.begin(),
            5 => {
                let budget = Budget {
                    reads: 20,
                    ..self.budget()
                };
                self.quiesce(budget);
                self.collector.written();
            }
            _ => {}
        }
    }
}

#[test]
fn random_histories_leave_what_can_be_reached() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let commits = number("DURUM_MODEL_COMMITS").unwrap_or(COMMITS);
    let seed = durum_testkit::seed();
    let mut seeds = fastrand::Rng::with_seed(seed);
    let mut seen = [0; 6];
    for index in 0..commits.div_ceil(COMMITS_PER_HISTORY) {
        let own = if index == 0 { seed } else { seeds.u64(..) };
        let mut history = History::new(own);
        for commit in 0..COMMITS_PER_HISTORY {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.step()));
            if result.is_err() {
                panic!("DURUM_TEST_SEED={own}, commit {commit}, {:?}", history.pace);
            }
            seen[5] += u64::from(history.graph.has_hub());
        }
        let counters = history.collector.counters;
        let [searches, long] = [counters.searches, counters.long_searches];
        let others = [counters.anchored, counters.condemned, counters.restarts];
        let counts = [searches, long].into_iter().chain(others);
        counts
            .zip(&mut seen)
            .for_each(|(count, seen)| *seen += count);
    }
    println!("searches, long ones, anchored, condemned, restarts, commits with hubs: {seen:?}");
    assert!(
        seen.iter().all(|count| *count > 0),
        "nothing happened: {seen:?}"
    );
}
