//! Small stores with known mistakes, to prove that the harness finds them, and without, to prove that
//! it finds nothing else.
//!
//! - `toy-log`: appends checked frames to a log. Correct.
//!   - `toy-log-unsynced` does not synchronize the log;
//!   - `toy-log-unnamed` does not synchronize the directory after creating it;
//!   - `toy-log-unchecked` does not check the frames;
//!   - `toy-log-careless` goes on after a failed synchronization, as if the next one made it good;
//!   - `toy-log-trusting` notes at opening how many frames it could read, without synchronizing them,
//!     and insists on them from then on;
//!   - `toy-log-buffered` acknowledges commits that are still in the process.
//! - `toy-swap`: writes everything to a new file each time and renames it. Correct.
//!   - `toy-swap-unsynced` does not synchronize the file before the renaming;
//!   - `toy-swap-unnamed` does not synchronize the directory after it;
//!   - `toy-swap-careless` synchronizes the directory once more where that failed;
//!   - `toy-swap-in-place` overwrites the one file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durum_core::engine::Durability;

use super::plan::Plan;
use super::subject::{Refused, Subject};

/// Opens the toy `name` at `path`.
pub(super) fn open(name: &str, path: &Path) -> Result<Box<dyn Subject>, Refused> {
    let sort = name
        .strip_prefix("toy-")
        .expect("the name of an engine or a toy");
    let (sort, mistake) = sort.split_once('-').unwrap_or((sort, ""));
    let mistake = mistake.to_owned();
    let subject: io::Result<Box<dyn Subject>> = match sort {
        "log" => Log::open(path, mistake).map(|log| Box::new(log) as Box<dyn Subject>),
        "swap" => Swap::open(path, mistake).map(|swap| Box::new(swap) as Box<dyn Subject>),
        _ => panic!("there is no toy {name}"),
    };
    subject.map_err(refused)
}

fn refused(error: io::Error) -> Refused {
    Refused {
        unchanged: false,
        reason: error.to_string(),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().expect("a store in a directory"))?.sync_all()
}

/// A log of frames: length, checksum, data.
struct Log {
    mistake: String,
    file: File,
    frames: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Log {
    fn open(path: &Path, mistake: String) -> io::Result<Log> {
        let known = [
            "",
            "unsynced",
            "unnamed",
            "unchecked",
            "careless",
            "trusting",
            "buffered",
        ];
        assert!(
            known.contains(&mistake.as_str()),
            "no toy has the mistake {mistake}"
        );
        let is_new = !path.exists();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let bytes = fs::read(path)?;
        let mut frames = Vec::new();
        let mut whole = 0;
        while let Some(frame) = read_frame(&bytes[whole..], mistake != "unchecked") {
            whole += 8 + frame.len();
            frames.push(frame);
        }
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        if mistake == "trusting" {
            insist(path, frames.len())?;
        } else {
            file.sync_all()?;
        }
        // Not only when it is new: whoever created it may have been killed before this.
        if mistake != "unnamed" {
            sync_parent(path)?;
        } else if is_new {
            file.sync_all()?;
        }
        Ok(Log {
            mistake,
            file,
            frames,
            buffer: Vec::new(),
        })
    }
}

/// Checks that there are as many frames as were noted, and notes how many there are.
fn insist(path: &Path, frames: usize) -> io::Result<()> {
    let note = path.with_extension("note");
    let noted = fs::read(&note).unwrap_or_default();
    let noted = noted
        .first_chunk()
        .map_or(0, |number| u64::from_le_bytes(*number));
    if noted > frames as u64 {
        return Err(io::Error::other("frames are missing"));
    }
    let mut file = File::create(note.with_extension("new"))?;
    file.write_all(&(frames as u64).to_le_bytes())?;
    file.sync_all()?;
    fs::rename(note.with_extension("new"), note)?;
    sync_parent(path)
}

fn read_frame(bytes: &[u8], is_checked: bool) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let data = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let good = !data.is_empty() && crc32fast::hash(data) == u32::from_le_bytes(*sum);
    (good || !is_checked).then(|| data.to_vec())
}

impl Drop for Log {
    fn drop(&mut self) {
        let _unreported = self.file.write_all(&self.buffer);
    }
}

impl Subject for Log {
    fn commit(
        &mut self,
        plan: &Plan,
        commit: u64,
        _durability: Durability,
    ) -> Result<Durability, Refused> {
        let data = plan.payload(commit);
        self.buffer.extend((data.len() as u32).to_le_bytes());
        self.buffer.extend(crc32fast::hash(&data).to_le_bytes());
        self.buffer.extend(&data);
        if self.mistake != "buffered" || commit.is_multiple_of(3) {
            self.file
                .write_all(&std::mem::take(&mut self.buffer))
                .map_err(refused)?;
        }
        if self.mistake != "unsynced" {
            let synced = self.file.sync_data();
            if self.mistake == "careless" && synced.is_err() {
                self.file.sync_data().map_err(refused)?;
            } else {
                synced.map_err(refused)?;
            }
        }
        self.frames.push(data);
        Ok(Durability::Power)
    }

    fn found(&self) -> Result<u64, String> {
        Ok(self.frames.len() as u64)
    }

    fn check(&self, plan: &Plan, commits: u64) -> Result<(), String> {
        let planned = (1..=commits).map(|commit| plan.payload(commit));
        match self
            .frames
            .iter()
            .zip(planned)
            .position(|(frame, planned)| *frame != planned)
        {
            None => Ok(()),
            Some(index) => Err(format!("frame {index} is wrong")),
        }
    }

    fn upkeep(&mut self, _commit: u64) -> Result<(), Refused> {
        Ok(())
    }
}

/// One file that holds the number of the last commit and its data.
struct Swap {
    mistake: String,
    path: PathBuf,
    found: u64,
}

impl Swap {
    fn open(path: &Path, mistake: String) -> io::Result<Swap> {
        let known = ["", "unsynced", "unnamed", "careless", "in-place"];
        assert!(
            known.contains(&mistake.as_str()),
            "no toy has the mistake {mistake}"
        );
        let found = match fs::read(path) {
            Ok(bytes) => bytes
                .first_chunk()
                .map_or(0, |number| u64::from_le_bytes(*number)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        // A renaming may have been seen and not be durable yet.
        if mistake != "unnamed" {
            sync_parent(path)?;
        }
        Ok(Swap {
            mistake,
            path: path.to_path_buf(),
            found,
        })
    }

    fn write(&self, commit: u64, data: &[u8]) -> io::Result<()> {
        let target = match self.mistake.as_str() {
            "in-place" => self.path.clone(),
            _ => self.path.with_extension("new"),
        };
        let mut file = File::create(&target)?;
        file.write_all(&commit.to_le_bytes())?;
        file.write_all(data)?;
        if self.mistake != "unsynced" {
            file.sync_all()?;
        }
        if target != self.path {
            fs::rename(&target, &self.path)?;
        }
        match self.mistake.as_str() {
            "unnamed" => Ok(()),
            "careless" => sync_parent(&self.path).or_else(|_| sync_parent(&self.path)),
            _ => sync_parent(&self.path),
        }
    }
}

impl Subject for Swap {
    fn commit(
        &mut self,
        plan: &Plan,
        commit: u64,
        _durability: Durability,
    ) -> Result<Durability, Refused> {
        self.write(commit, &plan.payload(commit)).map_err(refused)?;
        self.found = commit;
        Ok(Durability::Power)
    }

    fn found(&self) -> Result<u64, String> {
        Ok(self.found)
    }

    fn check(&self, plan: &Plan, commits: u64) -> Result<(), String> {
        let planned = match commits {
            0 => Vec::new(),
            _ => [&commits.to_le_bytes()[..], &plan.payload(commits)].concat(),
        };
        let found = fs::read(&self.path).unwrap_or_default();
        match found == planned {
            true => Ok(()),
            false => Err(format!("the file is not what commit {commits} wrote")),
        }
    }

    fn upkeep(&mut self, _commit: u64) -> Result<(), Refused> {
        Ok(())
    }
}
