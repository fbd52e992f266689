//! The exhaustive model check: the collector's own decision code, run on an abstract store with very few
//! objects, through every state that commits, collection, crashes, failed writes and the ends of sessions
//! can lead to.
//!
//! # Transitions
//! Every commit of one and of two objects with every set of references; a slice of collection with one,
//! two or three steps, or without bound; a crash, which loses the collector's memory; a failed write; the
//! end of a session, whose pins are then released. A commit that collects is a commit that does not,
//! followed by a slice: every state in between is visited as well, and the order of what is done is the
//! same. A step is what asks the budget whether there may be more, so that a search, a draft and a
//! deletion can be left wherever the code can leave them.
//!
//! # What is checked
//! In every state: the invariants of the tables, that what memory holds as safe is safe, that the floor
//! is sound, and that collection ends, with little budget or much, and leaves what the root and pins
//! reach. In every transition: that nothing live is deleted or condemned, that a failed write loses
//! nothing of what memory knows of sessions, and that what a session unlinks is held as promised.
//!
//! # What keeps the states finite
//! OIDs are never used again; here a number is, once nothing in the tables or in memory knows it any
//! longer. Nobody can tell such a number from a new one, except by its order among the others, and all
//! orders occur. In the same way jobs get the smallest numbers that keep their order, and a session that
//! has ended and lost its pins may begin anew.
//!
//! # How much
//! With three objects everything, in every build. With four, commits of one object and coarser slices: in every
//! build all that fourteen moves lead to, and by a test that is only run where it is asked for all there is, which
//! is forty moves deep. With `DURUM_MODEL=more` these are commits of two objects as well, where after each
//! transition all records are written anew, which leaves an eighth of the states and fewer: then no record keeps
//! an anchor that a row overrides. With `DURUM_MODEL=most` they do; with `DURUM_MODEL=full` all of it. Rows
//! that overflow, larger structures and several objects in a commit are left to random histories:
//! `DURUM_MODEL_COMMITS` of them, from `DURUM_TEST_SEED`. What takes hours can be cut off and gone on with
//! by the same program: `DURUM_MODEL_FILE` names the file in which it is kept how far it is.

mod checkpoint;
mod explore;
mod invariants;
mod large;
mod moves;
mod random;
mod tables;

pub(crate) use tables::{Mask, mask, oids};

use super::link::Hold;
use checkpoint::Checkpoint;
use explore::{Outcome, explore};
use moves::{Config, Slice};

/// What is broken on purpose, to see that the check finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sabotage {
    /// Commits do not report which objects they touch.
    pub(super) no_touch: bool,
    /// Nobody looks again before a closed set is deleted or condemned.
    pub(super) no_confirm: bool,
    pub(super) raise_floor: bool,
    /// What is above a cut is taken for safe whatever else is in question.
    pub(super) trust_above: bool,
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

const COARSE: &[Slice] = &[Slice::steps(3), Slice::ALL];

/// How many moves lead to a state of four objects at most that every build visits.
const MOVES_OF_FOUR: u64 = 14;

/// Three objects, everything that can happen to them.
fn three_objects(sessions: &'static [(Hold, bool)]) -> Config {
    Config {
        objects: 3,
        root_refs: true,
        pairs: true,
        sessions,
        slices: FINE,
        crashes: true,
        rewrites: false,
        check_floor: true,
        moves_max: u64::MAX,
        only_safety: false,
        sabotage: Sabotage {
            small_parts: true,
            ..Sabotage::default()
        },
    }
}

/// How much is to be explored, from the environment variable `DURUM_MODEL`.
fn extent() -> Extent {
    match std::env::var("DURUM_MODEL").as_deref() {
        Ok("full") => Extent::Full,
        Ok("most") => Extent::Most,
        Ok("more") => Extent::More,
        _ => Extent::Normal,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Normal,
    /// Commits of two objects among four, with records written anew.
    More,
    /// Without that.
    Most,
    /// Everything. Nobody has waited for its end yet; it is to be expected to take many hours.
    Full,
}

fn full() -> bool {
    extent() == Extent::Full
}

fn run(name: &str, config: &Config) -> Outcome {
    let kept = Checkpoint::wanted().filter(|_| config.objects > 3);
    let outcome = explore(config, kept.as_ref());
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
fn three_objects_in_full() {
    holds("3 objects", &three_objects(&[(Hold::No, false)]));
}

/// With a session that holds what it unlinks. References to the root, of which there is nothing to be
/// decided, are left out unless everything is to be explored.
#[test]
fn three_objects_with_holds() {
    let kinds: [(&str, &'static [(Hold, bool)]); 3] = [
        ("until the next commit", &[(Hold::NextCommit, false)]),
        ("until the end", &[(Hold::End, false)]),
        ("import", &[(Hold::End, true)]),
    ];
    for (name, sessions) in kinds {
        let config = Config {
            root_refs: full(),
            ..three_objects(sessions)
        };
        holds(&format!("3 objects, held: {name}"), &config);
    }
}

#[test]
fn three_objects_with_two_sessions() {
    let config = Config {
        root_refs: full(),
        slices: if full() { FINE } else { COARSE },
        ..three_objects(&[(Hold::No, false), (Hold::NextCommit, false)])
    };
    holds("3 objects, 2 sessions", &config);
}

fn four_objects(moves_max: u64) {
    let config = Config {
        objects: 4,
        root_refs: full(),
        pairs: extent() >= Extent::More,
        rewrites: extent() == Extent::More,
        slices: if full() { FINE } else { COARSE },
        moves_max,
        ..three_objects(&[(Hold::No, false)])
    };
    holds("4 objects", &config);
}

#[test]
fn four_objects_and_few_moves() {
    four_objects(MOVES_OF_FOUR);
}

#[test]
#[ignore = "takes minutes"]
fn four_objects_in_full() {
    four_objects(u64::MAX);
}

fn fails(name: &str, change: impl FnOnce(&mut Config), expected: &str) {
    let mut config = three_objects(&[(Hold::No, false)]);
    change(&mut config);
    let (what, history) = run(name, &config).violation.expect(name);
    println!("{what}\n{history}");
    assert!(what.contains(expected), "{name}: {what}\n{history}");
}

#[test]
fn the_check_finds_what_is_broken_on_purpose() {
    let no_guard = |config: &mut Config| {
        config.sabotage.no_touch = true;
        config.sabotage.no_confirm = true;
        config.only_safety = true;
    };
    fails("no guard", no_guard, "a live object was deleted");
    let no_touch = |config: &mut Config| config.sabotage.no_touch = true;
    fails("no touch", no_touch, "");
    let pinned = |config: &mut Config| config.sabotage.pinned_anchor = true;
    fails(
        "pinned anchor",
        pinned,
        "2 of root, pinned, anchored, orphan",
    );
    let trusted = |config: &mut Config| config.sabotage.trust_above = true;
    fails("trusted above a cut", trusted, "remembered as safe");
    let raised = |config: &mut Config| config.sabotage.raise_floor = true;
    fails("raised floor", raised, "below the floor, and not safe");
    // What comes of that where nobody looks at the floor itself.
    let unseen = |config: &mut Config| {
        config.sabotage.raise_floor = true;
        config.check_floor = false;
    };
    fails("raised floor, unseen", unseen, "a chain that does not end");
}

/// The guard needs no trust in the search: let this be as wrong as it becomes when it does not hear of
/// commits, nothing live is deleted.
#[test]
fn the_guard_alone_keeps_what_is_alive() {
    let mut config = three_objects(&[(Hold::No, false)]);
    config.sabotage.no_touch = true;
    // A draft in several parts rests on what commits report.
    config.sabotage.small_parts = false;
    config.only_safety = true;
    holds("the guard alone", &config);
}
