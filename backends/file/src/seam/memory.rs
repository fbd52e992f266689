//! A file system in memory that knows what would be left after a loss of power.
//!
//! What was written and not synced is kept as a list; an image after power loss is what was synced and
//! any part of that list.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{File, FileSystem, Map};

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFileSystem(Arc<Mutex<Disk>>);

#[derive(Clone, Debug, Default)]
struct Disk {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Vec<u8>>,
    durable_names: BTreeMap<PathBuf, usize>,
    durable_files: Vec<Vec<u8>>,
    unsynced: Vec<Change>,
    punched: usize,
    /// How many syncs of files succeed before one fails; for ever, if it is none.
    syncs_left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, u64, Vec<u8>),
    Length(usize, u64),
    Name(PathBuf, Option<usize>),
}

/// How much of an unsynced change is on the disk after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    None,
    FirstHalf,
    SecondHalf,
    All,
}

#[derive(Debug)]
struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

fn write(files: &mut [Vec<u8>], file: usize, offset: usize, bytes: &[u8]) {
    let contents = &mut files[file];
    if contents.len() < offset + bytes.len() {
        contents.resize(offset + bytes.len(), 0);
    }
    contents[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn apply(change: &Change, part: Part, names: &mut BTreeMap<PathBuf, usize>, files: &mut [Vec<u8>]) {
    match (change, part) {
        (_, Part::None) => {}
        (Change::Write(file, offset, bytes), _) => {
            let half = bytes.len() / 2;
            let range = match part {
                Part::FirstHalf => 0..half,
                Part::SecondHalf => half..bytes.len(),
                _ => 0..bytes.len(),
            };
            let at = *offset as usize + range.start;
            write(files, *file, at, &bytes[range]);
        }
        (Change::Length(file, length), _) => files[*file].resize(*length as usize, 0),
        (Change::Name(path, Some(file)), _) => {
            names.insert(path.clone(), *file);
        }
        (Change::Name(path, None), _) => {
            names.remove(path);
        }
    }
}

impl Disk {
    /// Makes the changes durable that `which` selects.
    fn settle(&mut self, which: impl Fn(&Change) -> bool) {
        let Disk {
            unsynced,
            durable_names,
            durable_files,
            ..
        } = self;
        unsynced.retain(|change| {
            let now = which(change);
            if now {
                apply(change, Part::All, durable_names, durable_files);
            }
            !now
        });
    }
}

impl MemoryFileSystem {
    /// The number of changes that a loss of power could undo.
    pub(crate) fn unsynced(&self) -> usize {
        self.0.lock().unwrap().unsynced.len()
    }

    /// How often space was given back.
    pub(crate) fn punched(&self) -> usize {
        self.0.lock().unwrap().punched
    }

    /// The disk after a loss of power that left `part(n)` of unsynced change `n`.
    pub(crate) fn image(&self, part: impl Fn(usize) -> Part) -> MemoryFileSystem {
        let disk = self.0.lock().unwrap();
        let (mut names, mut files) = (disk.durable_names.clone(), disk.durable_files.clone());
        for (at, change) in disk.unsynced.iter().enumerate() {
            apply(change, part(at), &mut names, &mut files);
        }
        MemoryFileSystem::with(names, files)
    }

    /// The disk as processes see it, all of it durable.
    pub(crate) fn synced_copy(&self) -> MemoryFileSystem {
        let disk = self.0.lock().unwrap();
        MemoryFileSystem::with(disk.names.clone(), disk.files.clone())
    }

    fn with(names: BTreeMap<PathBuf, usize>, files: Vec<Vec<u8>>) -> MemoryFileSystem {
        MemoryFileSystem(Arc::new(Mutex::new(Disk {
            names: names.clone(),
            files: files.clone(),
            durable_names: names,
            durable_files: files,
            unsynced: Vec::new(),
            punched: 0,
            syncs_left: None,
        })))
    }

    /// Lets the next sync of a file but `after` fail, once, as on Linux: what it was to make durable stays
    /// visible to processes, and no later sync makes it so.
    pub(crate) fn fail_sync(&self, after: usize) {
        self.0.lock().unwrap().syncs_left = Some(after);
    }

    /// Lets no sync fail any more; whether one did.
    pub(crate) fn mend_syncs(&self) -> bool {
        self.0.lock().unwrap().syncs_left.take().is_none()
    }

    /// All files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().names.keys().cloned().collect()
    }

    /// Changes a file's bytes behind the engine's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock().unwrap();
        let file = disk.names[path];
        change(&mut disk.files[file]);
        disk.durable_files[file] = disk.files[file].clone();
    }

    fn file(&self, file: usize) -> Arc<dyn File> {
        Arc::new(MemoryFile {
            disk: Arc::clone(&self.0),
            file,
        })
    }
}

impl FileSystem for MemoryFileSystem {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.lock().unwrap();
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(inside.map(name).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock().unwrap();
        let file = match disk.names.get(path) {
            Some(&file) => {
                disk.files[file].clear();
                disk.unsynced.push(Change::Length(file, 0));
                file
            }
            None => {
                let file = disk.files.len();
                disk.files.push(Vec::new());
                disk.durable_files.push(Vec::new());
                disk.names.insert(path.to_path_buf(), file);
                let name = Change::Name(path.to_path_buf(), Some(file));
                disk.unsynced.push(name);
                file
            }
        };
        drop(disk);
        Ok(self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.0.lock().unwrap().names.get(path).copied();
        file.map(|file| self.file(file))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.names.remove(path).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.unsynced.push(Change::Name(path.to_path_buf(), None));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let inside = |change: &Change| match change {
            Change::Name(path, _) => path.parent() == Some(dir),
            _ => false,
        };
        self.0.lock().unwrap().settle(inside);
        Ok(())
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().unwrap().files[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.disk.lock().unwrap();
        let rest = disk.files[self.file].get(offset as usize..);
        match rest.and_then(|rest| rest.get(..buffer.len())) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        write(&mut disk.files, self.file, offset as usize, bytes);
        let change = Change::Write(self.file, offset, bytes.to_vec());
        disk.unsynced.push(change);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.files[self.file].resize(bytes as usize, 0);
        disk.unsynced.push(Change::Length(self.file, bytes));
        Ok(())
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.disk.lock().unwrap().punched += 1;
        self.write_at(&vec![0; bytes as usize], offset)
    }

    fn sync(&self) -> io::Result<()> {
        let own = |change: &Change| match change {
            Change::Write(file, ..) | Change::Length(file, _) => *file == self.file,
            Change::Name(..) => false,
        };
        let mut disk = self.disk.lock().unwrap();
        match disk.syncs_left {
            Some(0) => {
                disk.syncs_left = None;
                disk.unsynced.retain(|change| !own(change));
                return Err(io::Error::other("injected"));
            }
            Some(left) => disk.syncs_left = Some(left - 1),
            None => {}
        }
        disk.settle(own);
        Ok(())
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        self.len()
    }

    fn map(&self, _: u64) -> io::Result<Option<Map>> {
        Ok(None)
    }
}
