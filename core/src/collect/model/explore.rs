//! Visits every state that can be reached.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::invariants;
use super::moves::{Config, Move, Slice, State};

const SHARDS: usize = 256;
const THREADS: usize = 2;
/// States that a thread takes at a time.
const CHUNK: usize = 64;

/// A longer exploration says from then on, after each level, how far it is.
const PROGRESS_FROM: Duration = Duration::from_secs(60);

/// A state's identity: 128 bits of a hash of all that matters of it. That two of 10^8 states share one
/// has a probability below 10^-22.
type Identity = u128;

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
struct Plain(u64);

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

type Shard = HashMap<Identity, Identity, BuildHasherDefault<Plain>>;

/// Visited states, and from which each was reached first.
struct Visited(Vec<Mutex<Shard>>);

impl Visited {
    fn shard(&self, state: Identity) -> &Mutex<Shard> {
        &self.0[(state >> 120) as usize % SHARDS]
    }

    /// True where it was not visited yet.
    fn insert(&self, state: Identity, from: Identity) -> bool {
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
struct Level {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Level {
    fn push(&mut self, state: &[u8]) {
        self.bytes.extend_from_slice(state);
        self.ends.push(self.bytes.len());
    }

    fn append(&mut self, other: &Level) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
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

/// Visits all states of a configuration, or up to a violation.
pub(super) fn explore(config: &Config) -> Outcome {
    let start = Instant::now();
    let visited = Visited((0..SHARDS).map(|_| Mutex::default()).collect());
    let mut level = Level::default();
    let mut bytes = Vec::new();
    let mut state = State::initial(config);
    state.save(&mut bytes);
    let initial = identity(&bytes);
    visited.insert(initial, initial);
    level.push(&bytes);
    let (mut states, mut transitions, mut found) = (1, 0, None);
    while found.is_none() && !level.ends.is_empty() {
        let position = AtomicUsize::new(0);
        let shares: Vec<Share> = std::thread::scope(|scope| {
            let run = || share(config, &level, &position, &visited);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        level = Level::default();
        for share in shares {
            level.append(&share.next);
            transitions += share.transitions;
            found = found.or(share.found);
        }
        states += level.ends.len() as u64;
        if start.elapsed() > PROGRESS_FROM {
            let (seconds, ahead) = (start.elapsed().as_secs(), level.ends.len());
            eprintln!(
                "{seconds} s: {states} states, {transitions} transitions, {ahead} states ahead"
            );
        }
    }
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

fn share(config: &Config, level: &Level, position: &AtomicUsize, visited: &Visited) -> Share {
    let (mut share, mut moves, mut bytes) = (Share::default(), Vec::new(), Vec::new());
    loop {
        let start = position.fetch_add(CHUNK, Ordering::Relaxed);
        if level.get(start).is_none() {
            return share;
        }
        for state in (start..start + CHUNK).map_while(|index| level.get(index)) {
            let from = identity(state);
            let mut state = State::load(state, config);
            if let Err(what) = check(&mut state, config) {
                share.found = Some((from, None, what));
                position.store(level.ends.len(), Ordering::Relaxed);
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
                        position.store(level.ends.len(), Ordering::Relaxed);
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
