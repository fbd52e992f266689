//! The exhaustive model check: the collector's own decision code, run on an abstract store with very few
//! objects, through every state that commits, collection, crashes, failed writes and the ends of sessions
//! can lead to.
//!
//! # Transitions
//! Every commit of one and of two objects with every set of references; a slice of collection with few
//! steps, or without bound; a crash, which loses the collector's memory; a failed write, after which
//! tables and memory are as before; the end of a session, whose pins are then released. A commit that
//! collects is a commit that does not, followed by a slice: every state in between is visited as well, and
//! the order of what is done is the same.
//!
//! # What keeps the states finite
//! OIDs are never used again; here a number is, once nothing in the tables or in memory knows it any
//! longer. Nobody can tell such a number from a new one, except by its order among the others, and all
//! orders occur. In the same way jobs get the smallest numbers that keep their order, and a session that
//! has ended and lost its pins may begin anew.

mod explore;
mod invariants;
mod moves;
mod tables;

pub(crate) use tables::{Mask, mask, oids};

use super::link::Hold;
use explore::{Outcome, explore};
use moves::{Config, Slice};

/// What is broken on purpose, to see that the check finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sabotage {
    pub(super) no_guard: bool,
    pub(super) raise_floor: bool,
    pub(super) pinned_anchor: bool,
    /// Not a sabotage: each row of a draft holds one object.
    pub(super) small_parts: bool,
}

const FINE: &[Slice] = &[
    Slice::steps(1),
    Slice::steps(2),
    Slice::steps(3),
    Slice {
        steps: 3,
        deletes: u64::MAX,
        written: false,
    },
    Slice::ALL,
    Slice {
        steps: 0,
        deletes: u64::MAX,
        written: true,
    },
];

fn three_objects(sessions: &'static [(Hold, bool)]) -> Config {
    Config {
        objects: 3,
        root_refs: true,
        pairs: true,
        sessions,
        slices: FINE,
        crashes: true,
        check_floor: true,
        sabotage: Sabotage {
            small_parts: true,
            ..Sabotage::default()
        },
    }
}

fn run(name: &str, config: &Config) -> Outcome {
    let outcome = explore(config);
    let (states, transitions) = (outcome.states, outcome.transitions);
    let seconds = outcome.seconds;
    println!("{name}: {states} states, {transitions} transitions, {seconds:.1} s");
    outcome
}

fn holds(name: &str, config: &Config) {
    let outcome = run(name, config);
    if let Some((what, history)) = outcome.violation {
        panic!("{name}: {what}\n{history}");
    }
}

#[test]
fn three_objects_one_session() {
    holds("no hold", &three_objects(&[(Hold::No, false)]));
}

#[test]
fn three_objects_held_until_the_next_commit() {
    holds("next commit", &three_objects(&[(Hold::NextCommit, false)]));
}

#[test]
fn three_objects_held_until_the_end() {
    holds("end", &three_objects(&[(Hold::End, false)]));
}

#[test]
fn three_objects_import() {
    holds("import", &three_objects(&[(Hold::End, true)]));
}

#[test]
fn three_objects_two_sessions() {
    let sessions = &[(Hold::No, false), (Hold::NextCommit, false)];
    holds("two sessions", &three_objects(sessions));
}
