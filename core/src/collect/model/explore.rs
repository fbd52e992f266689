//! Visits every state that can be reached.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::invariants;
use super::moves::{Config, Move, Slice, State};

const SHARDS: usize = 256;
const THREADS: usize = 2;
/// States that a thread takes at a time.
const CHUNK: usize = 64;

/// States between two looks at whether it is time to save how far it is.
const SLICE: usize = 1 << 18;
const SAVED_EVERY: Duration = Duration::from_secs(600);
/// A longer exploration says from then on, after each level, how far it is.
const PROGRESS_FROM: Duration = Duration::from_secs(60);

/// A state's identity: 128 bits of a hash of all that matters of it. That two of 10^8 states share one
/// has a probability below 10^-22.
pub(super) type Identity = u128;

fn identity(bytes: &[u8]) -> Identity {
    let mut halves = [0x9E37_79B9_7F4A_7C15u64, 0xC2B2_AE3D_27D4_EB4F];
    let factors = [0xA076_1D64_78BD_642Fu64, 0xE703_7ED1_A0B4_28DB];
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56;
        for (half, factor) in halves.iter_mut().zip(factors) {
            let product = u128::from(*half ^ word) * u128::from(factor);
            *half = (product as u64 ^ (product >> 64) as u64)
                .rotate_left(23)
                .wrapping_add(word);
        }
    }
    u128::from(halves[0]) << 64 | u128::from(halves[1])
}

/// Identities are hashes already.
#[derive(Default)]
pub(super) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("identities are numbers")
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

pub(super) type Shard = HashMap<Identity, Identity, BuildHasherDefault<Plain>>;

/// Visited states, and from which each was reached first.
pub(super) struct Visited(pub(super) Vec<Mutex<Shard>>);

impl Visited {
    pub(super) fn new() -> Visited {
        Visited((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, state: Identity) -> &Mutex<Shard> {
        &self.0[(state >> 120) as usize % SHARDS]
    }

    /// True where it was not visited yet.
    pub(super) fn insert(&self, state: Identity, from: Identity) -> bool {
        let mut shard = self.shard(state).lock().unwrap();
        let mut new = false;
        shard.entry(state).or_insert_with(|| {
            new = true;
            from
        });
        new
    }

    fn from(&self, state: Identity) -> Identity {
        self.shard(state).lock().unwrap()[&state]
    }
}

/// What an exploration came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) states: u64,
    pub(super) transitions: u64,
    pub(super) seconds: f64,
    /// What is wrong, and how it comes about.
    pub(super) violation: Option<(String, String)>,
}

/// A level of the breadth-first search: states as bytes, each with its length before it.
#[derive(Default)]
pub(super) struct Level {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Level {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, state: &[u8]) {
        self.bytes.extend_from_slice(state);
        self.ends.push(self.bytes.len());
    }

    fn append(&mut self, other: &Level) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// A state and the move after which something was wrong, and what.
type Found = (Identity, Option<Move>, String);

#[derive(Default)]
struct Share {
    next: Level,
    transitions: u64,
    found: Option<Found>,
}

/// How far an exploration is.
pub(super) struct Stage {
    pub(super) visited: Visited,
    /// The level that is being visited, and how many of its states have been.
    pub(super) level: Level,
    pub(super) done: usize,
    /// The one after it.
    pub(super) next: Level,
    /// The level's number: how many moves lead there.
    pub(super) depth: u64,
    pub(super) transitions: u64,
}

impl Stage {
    fn begin(config: &Config) -> Stage {
        let mut stage = Stage {
            visited: Visited::new(),
            level: Level::default(),
            done: 0,
            next: Level::default(),
            depth: 0,
            transitions: 0,
        };
        let mut bytes = Vec::new();
        State::initial(config).save(&mut bytes);
        let initial = identity(&bytes);
        stage.visited.insert(initial, initial);
        stage.level.push(&bytes);
        stage
    }

    fn states(&self) -> u64 {
        let shards = self.visited.0.iter();
        shards.map(|shard| shard.lock().unwrap().len() as u64).sum()
    }
}

/// Visits all states of a configuration, or up to a violation; where `kept` is one, from where an earlier
/// exploration was cut off.
pub(super) fn explore(config: &Config, kept: Option<&Checkpoint>) -> Outcome {
    explore_until(config, kept, u64::MAX)
}

/// As [`explore`], and ends when about so many states have been visited.
pub(super) fn explore_until(
    config: &Config,
    kept: Option<&Checkpoint>,
    states_max: u64,
) -> Outcome {
    let start = Instant::now();
    let resumed = kept.and_then(|kept| kept.load(config));
    let mut stage = resumed.unwrap_or_else(|| Stage::begin(config));
    let mut bytes = Vec::new();
    State::initial(config).save(&mut bytes);
    let initial = identity(&bytes);
    let (mut saved, mut found) = (start, None);
    let ahead = |stage: &Stage| stage.depth <= config.moves_max && stage.done < stage.level.len();
    while found.is_none() && ahead(&stage) {
        let end = stage.level.len().min(stage.done + SLICE);
        let position = AtomicUsize::new(stage.done);
        let (level, visited) = (&stage.level, &stage.visited);
        let shares: Vec<Share> = std::thread::scope(|scope| {
            let run = || share(config, level, (&position, end), visited);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        stage.done = end;
        for share in shares {
            stage.next.append(&share.next);
            stage.transitions += share.transitions;
            found = found.or(share.found);
        }
        if stage.done == stage.level.len() {
            stage.level = std::mem::take(&mut stage.next);
            stage.done = 0;
            stage.depth += 1;
            if start.elapsed() > PROGRESS_FROM {
                let (depth, states, ahead) = (stage.depth, stage.states(), stage.level.len());
                let (seconds, transitions) = (start.elapsed().as_secs(), stage.transitions);
                eprintln!(
                    "{seconds} s: after {depth} moves {states} states, {transitions} transitions, \
                     {ahead} states ahead"
                );
            }
        }
        let ends = stage.states() >= states_max;
        if let Some(kept) = kept.filter(|_| found.is_none())
            && (ends || saved.elapsed() > SAVED_EVERY)
        {
            kept.save(config, &stage);
            saved = Instant::now();
        }
        if ends {
            break;
        }
    }
    let (states, transitions) = (stage.states(), stage.transitions);
    let visited = stage.visited;
    let violation = found.map(|(last, step, what)| {
        let history = history(config, &visited, (initial, last), step);
        (what, history)
    });
    Outcome {
        states,
        transitions,
        seconds: start.elapsed().as_secs_f64(),
        violation,
    }
}

fn check(state: &mut State, config: &Config) -> Result<(), String> {
    if config.only_safety {
        return invariants::safe(&state.tables);
    }
    invariants::check(state, config)?;
    state.clone().settle(config, Slice::ALL)?;
    state.clone().settle(config, Slice::steps(3))
}

fn share(
    config: &Config,
    level: &Level,
    (position, end): (&AtomicUsize, usize),
    visited: &Visited,
) -> Share {
    let (mut share, mut moves, mut bytes) = (Share::default(), Vec::new(), Vec::new());
    loop {
        let start = position.fetch_add(CHUNK, Ordering::Relaxed);
        if start >= end {
            return share;
        }
        for state in (start..end.min(start + CHUNK)).map_while(|index| level.get(index)) {
            let from = identity(state);
            let mut state = State::load(state, config);
            if let Err(what) = check(&mut state, config) {
                share.found = Some((from, None, what));
                position.store(end, Ordering::Relaxed);
                return share;
            }
            state.moves(config, &mut moves);
            share.transitions += moves.len() as u64;
            for step in &moves {
                match state.apply(config, *step) {
                    Ok(mut next) => {
                        next.save(&mut bytes);
                        if visited.insert(identity(&bytes), from) {
                            share.next.push(&bytes);
                        }
                    }
                    Err(what) => {
                        share.found = Some((from, Some(*step), what));
                        position.store(end, Ordering::Relaxed);
                        return share;
                    }
                }
            }
        }
    }
}

/// The moves that lead from the first state to the last, and the states in between.
fn history(
    config: &Config,
    visited: &Visited,
    (initial, last): (Identity, Identity),
    step: Option<Move>,
) -> String {
    let mut path = vec![last];
    while path[path.len() - 1] != initial {
        path.push(visited.from(path[path.len() - 1]));
    }
    let mut state = State::initial(config);
    let (mut text, mut moves, mut bytes) = (String::new(), Vec::new(), Vec::new());
    for wanted in path.iter().rev().skip(1) {
        state.moves(config, &mut moves);
        let (taken, next) = moves
            .iter()
            .find_map(|step| {
                let mut next = state.apply(config, *step).ok()?;
                next.save(&mut bytes);
                (identity(&bytes) == *wanted).then_some((*step, next))
            })
            .unwrap();
        state = next;
        text += &format!("{taken:?}\n    {:?}\n", state.tables);
    }
    text + &format!("{}\nand then {step:?}\n", state.collector.described())
}
