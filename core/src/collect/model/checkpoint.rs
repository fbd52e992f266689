//! Keeping how far an exploration is, so that one of many hours can be cut off and gone on with.
//!
//! The file holds numbers of eight little-endian bytes: the program's and the configuration's fingerprint,
//! depth, transitions, the number of visited states and of each its identity and that of where it was
//! reached from, and the states that are still to be visited of both levels, each with its length.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Result, Write};
use std::path::PathBuf;

use super::explore::{Level, Stage, Visited};
use super::moves::Config;

/// Where it is kept.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    /// The file that the environment variable `DURUM_MODEL_FILE` names.
    pub(super) fn wanted() -> Option<Checkpoint> {
        let path = PathBuf::from(std::env::var_os("DURUM_MODEL_FILE")?);
        Some(Checkpoint { path })
    }

    /// What was kept, if it is of this program and this configuration: what other decisions lead to is of
    /// no use.
    pub(super) fn load(&self, config: &Config) -> Option<Stage> {
        let file = File::open(&self.path).ok()?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        if number(&mut input).unwrap() != fingerprint(config) {
            eprintln!("{} is of another program: anew", self.path.display());
            return None;
        }
        Some(read(&mut input).unwrap())
    }

    /// Replaces what was kept.
    pub(super) fn save(&self, config: &Config, stage: &Stage) {
        let new = self.path.with_extension("new");
        let file = File::create(&new).unwrap();
        let mut out = BufWriter::with_capacity(1 << 20, file);
        put(&mut out, fingerprint(config)).unwrap();
        write(&mut out, stage).unwrap();
        out.into_inner().unwrap().sync_all().unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }
}

fn fingerprint(config: &Config) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{config:?}").as_bytes());
    let program = std::env::current_exe().and_then(std::fs::read).unwrap();
    let length = program.len() as u64;
    hasher.update(&program);
    u64::from(hasher.finalize()) << 32 | length & 0xFFFF_FFFF
}

fn write(out: &mut impl Write, stage: &Stage) -> Result<()> {
    put(out, stage.depth)?;
    put(out, stage.transitions)?;
    for shard in &stage.visited.0 {
        let shard = shard.lock().unwrap();
        put(out, shard.len() as u64)?;
        for (state, from) in shard.iter() {
            out.write_all(&state.to_le_bytes())?;
            out.write_all(&from.to_le_bytes())?;
        }
    }
    for (level, from) in [(&stage.level, stage.done), (&stage.next, 0)] {
        put(out, (level.len() - from) as u64)?;
        for state in (from..).map_while(|index| level.get(index)) {
            put(out, state.len() as u64)?;
            out.write_all(state)?;
        }
    }
    Ok(())
}

fn read(input: &mut impl Read) -> Result<Stage> {
    let (depth, transitions) = (number(input)?, number(input)?);
    let visited = Visited::new();
    for _ in 0..visited.0.len() {
        for _ in 0..number(input)? {
            let mut identities = [[0; 16]; 2];
            input.read_exact(identities.as_flattened_mut())?;
            let [state, from] = identities.map(u128::from_le_bytes);
            visited.insert(state, from);
        }
    }
    let mut levels = [Level::default(), Level::default()];
    let mut bytes = Vec::new();
    for level in &mut levels {
        for _ in 0..number(input)? {
            bytes.resize(number(input)? as usize, 0);
            input.read_exact(&mut bytes)?;
            level.push(&bytes);
        }
    }
    let [level, next] = levels;
    Ok(Stage {
        visited,
        level,
        done: 0,
        next,
        depth,
        transitions,
    })
}

fn put(out: &mut impl Write, number: u64) -> Result<()> {
    out.write_all(&number.to_le_bytes())
}

fn number(input: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What is kept half-way comes to the same in the end.
#[test]
fn an_exploration_is_gone_on_with() {
    use super::explore::explore_until;
    // What is kept does not depend on how much may happen: few states show it.
    let config = Config {
        root_refs: false,
        pairs: false,
        slices: super::COARSE,
        ..super::three_objects(&[(super::Hold::No, false)])
    };
    let home = tempfile::tempdir().unwrap();
    let kept = Checkpoint {
        path: home.path().join("kept"),
    };
    let whole = explore_until(&config, None, u64::MAX);
    for states in [1, whole.states / 100, whole.states / 2] {
        let part = explore_until(&config, Some(&kept), states);
        assert!(part.states < whole.states);
        let rest = explore_until(&config, Some(&kept), u64::MAX);
        let counts = |outcome: &super::Outcome| (outcome.states, outcome.transitions);
        assert_eq!(counts(&rest), counts(&whole));
        std::fs::remove_file(&kept.path).unwrap();
    }
    assert!(kept.load(&config).is_none());
}
