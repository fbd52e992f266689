//! Writes out what a [`Disk`] may hold after a loss of power.

use std::fs;
use std::io;
use std::path::Path;

use crate::disk::{DirChange, Disk, FileChange, Names, Node, NodeId, Stage, write};

/// Which of the unsynchronized changes survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// All: what programs see while there is power.
    All,
    /// None.
    None,
    /// Some, drawn with this seed: each is kept, lost, or, if it is a write, torn into sectors.
    Some(u64),
}

/// The unit that a device writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// Writes the image into `target`, a directory that does not exist yet.
pub fn write_image(disk: &Disk, survivors: Survivors, target: &Path) -> io::Result<()> {
    let mut draw = Draw::new(survivors);
    write_node(disk, Disk::ROOT, &mut draw, target)
}

fn write_node(disk: &Disk, id: NodeId, draw: &mut Draw, target: &Path) -> io::Result<()> {
    match disk.node(id) {
        Node::File(base, changes) => write_file(&draw.file(base, changes), target),
        Node::Dir(base, changes, _) => {
            fs::create_dir(target)?;
            for (name, child) in draw.dir(base, changes) {
                write_node(disk, child, draw, &target.join(name))?;
            }
            Ok(())
        }
    }
}

/// Writes a file and leaves holes where it is zero: some engines allocate far ahead.
fn write_file(content: &[u8], target: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    const BLOCK_BYTES: usize = 4096;
    let file = fs::File::create_new(target)?;
    file.set_len(content.len() as u64)?;
    for (index, block) in content.chunks(BLOCK_BYTES).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, (index * BLOCK_BYTES) as u64)?;
        }
    }
    Ok(())
}

/// Draws the fate of changes.
struct Draw {
    survivors: Survivors,
    random: fastrand::Rng,
    /// The chances, in percent, that a change is kept and that it is lost; else it is torn.
    kept: u32,
    lost: u32,
}

impl Draw {
    fn new(survivors: Survivors) -> Draw {
        let seed = match survivors {
            Survivors::Some(seed) => seed,
            Survivors::All | Survivors::None => 0,
        };
        let mut random = fastrand::Rng::with_seed(seed);
        // Mostly kept, mostly lost, or mixed: each finds other mistakes.
        let (kept, lost) = [(80, 10), (10, 80), (40, 30)][random.usize(..3)];
        Draw {
            survivors,
            random,
            kept,
            lost,
        }
    }

    /// The sectors of a write that survive, as a function of the sector's number; `None` for none.
    fn fate(&mut self, stage: Stage) -> Fate {
        match (stage, self.survivors) {
            (Stage::Durable, _) | (_, Survivors::All) => Fate::Kept,
            (_, Survivors::None) => Fate::Lost,
            (_, Survivors::Some(_)) => match self.random.u32(..100) {
                number if number < self.kept => Fate::Kept,
                number if number < self.kept + self.lost => Fate::Lost,
                _ => Fate::Torn,
            },
        }
    }

    fn file(&mut self, base: &[u8], changes: &[(FileChange, Stage)]) -> Vec<u8> {
        let mut content = base.to_vec();
        for (change, stage) in changes {
            match (self.fate(*stage), change) {
                (Fate::Lost, _) => {}
                (Fate::Torn, FileChange::Write(offset, data)) => {
                    self.tear(&mut content, *offset, data);
                }
                (Fate::Kept | Fate::Torn, _) => change.apply(&mut content),
            }
        }
        content
    }

    /// Writes some sectors of `data`.
    fn tear(&mut self, content: &mut Vec<u8>, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let length = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
            let part = &data[done..data.len().min(done + length)];
            if self.random.bool() {
                write(content, at, part);
            }
            done += part.len();
        }
    }

    fn dir(&mut self, base: &Names, changes: &[(DirChange, Stage)]) -> Names {
        let mut names = base.clone();
        for (change, stage) in changes {
            if self.fate(*stage) != Fate::Lost {
                change.apply(&mut names);
            }
        }
        names
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

/// Says where the directory `real` differs from `disk` as programs see it. Nothing must: a difference
/// means that the journal missed something. Files that `ignore` accepts by name are left out: those
/// which are written through memory maps.
pub fn difference(disk: &Disk, real: &Path, ignore: fn(&str) -> bool) -> Option<String> {
    difference_at(disk, Disk::ROOT, real, ignore)
}

fn difference_at(disk: &Disk, id: NodeId, real: &Path, ignore: fn(&str) -> bool) -> Option<String> {
    match disk.node(id) {
        Node::File(base, changes) => {
            let modelled = Draw::new(Survivors::All).file(base, changes);
            let content = match fs::read(real) {
                Ok(content) => content,
                Err(error) => return Some(format!("{}: {error}", real.display())),
            };
            let sizes = (modelled.len(), content.len());
            (modelled != content).then(|| format!("{}: {sizes:?}", real.display()))
        }
        Node::Dir(_, _, now) => {
            let names = fs::read_dir(real).ok()?.map(|entry| {
                let name = entry.expect("a readable directory").file_name();
                name.into_string().expect("tests use paths in UTF-8")
            });
            let mut names: Vec<String> = names.collect();
            names.sort();
            if !names.iter().eq(now.keys()) {
                return Some(format!("{}: {names:?} for {now:?}", real.display()));
            }
            let checked = now.iter().filter(|(name, _)| !ignore(name));
            checked
                .map(|(name, child)| difference_at(disk, *child, &real.join(name), ignore))
                .find_map(|difference| difference)
        }
    }
}
