//! A store in a directory: its identity, a lock, and the engine's own directory.
//!
//! ```text
//! PATH/identity   magic, format version, engine, random store id
//! PATH/lock       held exclusively (flock) while the store is open; names the holder
//! PATH/data/      the engine's files
//! ```
//! A place is created crash-atomically: built beside its final path under a temporary name, synced,
//! renamed, and the parent directory synced. What a killed creation leaves behind is taken up again where
//! somebody asks for that, and else removed by the next one at the same path. Until it is renamed it has
//! no identity, so that it does not open under its temporary name either.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::identity::{self, Identity};
use super::lock::Lock;
use crate::error::{Error, ErrorKind, IoResultExt as _, Result};
use crate::id::StoreId;

const DATA: &str = "data";
/// In a place that is being built and can be gone on with: a line with the name of its engine.
const STAGED: &str = "staged";
/// The same while it is being written.
const MARKING: &str = "staged.new";

/// The directory of an open store, locked for as long as this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    identity: Identity,
    _lock: Lock,
}

impl Directory {
    /// Opens the place at `path`, which must hold a store on `engine`.
    ///
    /// # Errors
    /// `NotFound` where there is nothing, `Unreadable` where there is something else, `Usage` where
    /// the store lies on another engine, `InUse` where somebody has it open.
    pub fn open(path: &Path, engine: &str) -> Result<Directory> {
        let identity = Identity::read(path)?;
        if identity.engine != engine {
            let found = &identity.engine;
            return Err(Error::new(ErrorKind::Usage, "open the store")
                .with_path(path)
                .because(format!("it lies on the engine {found}, not on {engine}"))
                .hint(format!("Name it as `{found}:{}`.", path.display())));
        }
        let lock = Lock::take(path)?;
        sync_entry(path)?;
        // Read again now that nobody can replace it.
        let identity = Identity::read(path)?;
        Ok(Directory {
            // Engines open files while they run; the process may have changed its directory by then.
            path: std::path::absolute(path).during("open the store", path)?,
            identity,
            _lock: lock,
        })
    }

    /// What the store says of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The engine's own directory.
    pub fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Removes it, with everything that it holds: first its name, so that what a crash leaves is removed by
    /// whoever creates something there.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove(self) -> Result<()> {
        const DOING: &str = "remove the store";
        let (parent, name) = parent_and_name(&self.path)?;
        let id = self.identity.store_id;
        let away = parent.join(format!("{}{id}", staging_prefix(&name)));
        let _one_at_a_time = lock_directory(parent);
        fs::rename(&self.path, &away).during(DOING, &self.path)?;
        remove_staged(&away).during(DOING, &away)?;
        sync_directory(parent)
    }
}

/// A place that is being built and does not appear under its path until it is published. Dropped
/// before that, it is removed.
#[derive(Debug)]
pub struct StagedDirectory {
    target: PathBuf,
    staging: PathBuf,
    identity: Identity,
    _lock: Lock,
    /// Whether it stays when this is dropped: it has its name, or is left for somebody to go on with.
    stays: bool,
}

impl StagedDirectory {
    /// Begins a place for a new store on `engine` at `target`.
    ///
    /// # Errors
    /// `Exists` where there is something already (an empty directory does not count), `ReadOnly`
    /// where nothing can be created there, `NotFound` where the parent directory is missing.
    pub fn create(target: &Path, engine: &str) -> Result<StagedDirectory> {
        const DOING: &str = "create the store";
        let target = std::path::absolute(target).during(DOING, target)?;
        refuse_existing(&target)?;
        let (parent, name) = parent_and_name(&target)?;
        let prefix = staging_prefix(&name);
        // Until its lock is taken, a new directory looks like an abandoned one to another creator.
        let _one_at_a_time = lock_directory(parent);
        remove_abandoned(parent, &prefix);
        let id = StoreId::random()?;
        let staging = parent.join(format!("{prefix}{id}"));
        fs::create_dir(&staging).map_err(|error| creation_error(error, parent))?;
        let built = Lock::take(&staging).and_then(|lock| {
            fs::create_dir(staging.join(DATA)).during(DOING, &staging)?;
            Ok(lock)
        });
        let lock = built.inspect_err(|_| drop(fs::remove_dir_all(&staging)))?;
        let identity = Identity {
            engine: engine.to_owned(),
            store_id: id,
        };
        Ok(StagedDirectory {
            target,
            staging,
            identity,
            _lock: lock,
            stays: false,
        })
    }

    /// Whether a place could be created at `target`, without leaving anything there.
    ///
    /// # Errors
    /// As [`StagedDirectory::create`].
    pub fn probe(target: &Path) -> Result<()> {
        let target = std::path::absolute(target).during("create the store", target)?;
        refuse_existing(&target)?;
        let (parent, _) = parent_and_name(&target)?;
        let made = tempfile::tempdir_in(parent).map_err(|error| creation_error(error, parent))?;
        made.close().during("create the store", parent)
    }

    /// Takes up a place for a store on `engine` at `target` that was begun and left, by whatever.
    ///
    /// # Errors
    /// `InUse` where somebody is building it, `Usage` where it is for another engine, or where there are
    /// several, `Exists` where `target` has appeared.
    pub fn find(target: &Path, engine: &str) -> Result<Option<StagedDirectory>> {
        const DOING: &str = "go on with an unfinished store";
        let target = std::path::absolute(target).during(DOING, target)?;
        refuse_existing(&target)?;
        let (parent, name) = parent_and_name(&target)?;
        let prefix = staging_prefix(&name);
        let _one_at_a_time = lock_directory(parent);
        let mut found = Vec::new();
        for (staging, id) in unfinished(parent, &prefix) {
            let lock = match Lock::take(&staging) {
                // Whoever was building it has just removed it, or given it its name.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                lock => lock?,
            };
            // One with an identity was about to get its name.
            let identity = || Identity::read(&staging).ok();
            let begun_on = read_mark(&staging).or_else(|| Some(identity()?.engine));
            if let Some(begun_on) = begun_on {
                found.push((staging, id, lock, begun_on));
            }
        }
        if found.len() > 1 {
            let paths: Vec<_> = found.iter().map(|found| found.0.as_path()).collect();
            return Err(several(&target, &paths));
        }
        let Some((staging, id, lock, begun_on)) = found.pop() else {
            return Ok(None);
        };
        if begun_on != engine {
            let reason = format!("it was begun on the engine {begun_on}, not on {engine}");
            let hint = format!("Name the destination as `{begun_on}:{}`.", target.display());
            return Err(Error::new(ErrorKind::Usage, DOING)
                .with_path(&staging)
                .because(reason)
                .hint(hint));
        }
        Ok(Some(StagedDirectory {
            target,
            staging,
            identity: Identity {
                engine: engine.to_owned(),
                store_id: id,
            },
            _lock: lock,
            stays: false,
        }))
    }

    /// Marks the place as one that can be gone on with: what the engine has of it is durable.
    ///
    /// # Errors
    /// Those of the system.
    pub fn mark(&self) -> Result<()> {
        const DOING: &str = "mark an unfinished store";
        // A loss of power must not leave the mark without what it speaks of.
        sync_directory(&self.staging)?;
        let path = self.staging.join(STAGED);
        if read_mark(&self.staging).is_none() {
            // A mark that is there stays whole, and so does what it marks.
            let new = self.staging.join(MARKING);
            let written = File::create(&new).and_then(|mut file| {
                file.write_all(format!("{}\n", self.identity.engine).as_bytes())?;
                file.sync_all()
            });
            written.during(DOING, &new)?;
            fs::rename(&new, &path).during(DOING, &path)?;
        }
        sync_directory(&self.staging)?;
        let (parent, _) = parent_and_name(&self.target)?;
        sync_directory(parent)
    }

    /// Leaves the place as it is, for [`StagedDirectory::find`], and returns where it lies. One that is not
    /// marked is of no use, and is removed.
    pub fn leave(mut self) -> Option<PathBuf> {
        self.stays = self.is_marked();
        self.stays.then(|| self.staging.clone())
    }

    fn is_marked(&self) -> bool {
        read_mark(&self.staging).is_some() || Identity::read(&self.staging).is_ok()
    }

    /// Where the place will appear.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// What the store will say of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The engine's own directory while the place is being built.
    pub fn data(&self) -> PathBuf {
        self.staging.join(DATA)
    }

    /// Makes the place appear under its path, durably. The engine must be closed, with all of its
    /// files durable.
    ///
    /// # Errors
    /// `Exists` where something has appeared there meanwhile; nothing is replaced. A place that is marked
    /// is left as it is then.
    pub fn publish(mut self) -> Result<Directory> {
        const DOING: &str = "put the new store in its place";
        // What is complete is worth keeping, whatever goes wrong from here on.
        self.stays = self.is_marked();
        // Nor an identity without the rest.
        sync_directory(&self.staging)?;
        self.identity.write(&self.staging)?;
        sync_directory(&self.staging)?;
        for name in [STAGED, MARKING] {
            remove_if_present(&self.staging.join(name)).during(DOING, &self.staging)?;
        }
        let (parent, name) = parent_and_name(&self.target)?;
        // A rename replaces an empty directory and fails on anything else, which is what we want.
        fs::rename(&self.staging, &self.target).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotADirectory => ErrorKind::Exists,
                _ => Error::io(std::io::Error::from(error.kind()), DOING).kind(),
            };
            Error::io(error, DOING)
                .with_path(&self.target)
                .with_kind(kind)
        })?;
        self.stays = true;
        sync_directory(parent).map_err(|error| {
            error.hint(
                "It is complete and in its place, but may not be there after a loss of power, unless it \
                 is opened before.",
            )
        })?;
        // Others for this path can never be published now.
        let one_at_a_time = lock_directory(parent);
        remove_abandoned(parent, &staging_prefix(&name));
        drop(one_at_a_time);
        Ok(Directory {
            path: self.target.clone(),
            identity: self.identity.clone(),
            _lock: self._lock.clone(),
        })
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let _one_at_a_time = parent_and_name(&self.target)
            .ok()
            .and_then(|(parent, _)| lock_directory(parent));
        if let Err(error) = remove_staged(&self.staging) {
            tracing::warn!(path = %self.staging.display(), %error, "left an unfinished store behind");
        }
    }
}

/// Which of several unfinished places was meant nobody can tell.
fn several(target: &Path, found: &[&Path]) -> Error {
    let names: Vec<String> = found
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| format!("`{}`", name.to_string_lossy()))
        .collect();
    Error::new(ErrorKind::Usage, "go on with an unfinished store")
        .with_path(target)
        .because(format!(
            "{} unfinished ones lie beside it: {}",
            names.len(),
            names.join(", ")
        ))
        .hint("Remove all but the one to go on with, or begin anew, which removes them all.")
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    const DOING: &str = "sync the directory";
    File::open(path)
        .during(DOING, path)?
        .sync_all()
        .during(DOING, path)
}

/// Makes the store's entry in its parent directory durable: its creator may have been killed between
/// the rename and the sync, and whatever is committed from now on must not vanish with the entry.
fn sync_entry(path: &Path) -> Result<()> {
    let real = fs::canonicalize(path).during("open the store", path)?;
    match real.parent().map(sync_directory) {
        // Who may not read the parent cannot have created the store there either.
        Some(Err(error)) if error.kind() == ErrorKind::Unreadable => Ok(()),
        Some(result) => result,
        None => Ok(()),
    }
}

/// The engine that a place was begun on, if it is marked.
fn read_mark(staging: &Path) -> Option<String> {
    let text = fs::read_to_string(staging.join(STAGED)).ok()?;
    text.strip_suffix('\n').map(str::to_owned)
}

fn staging_prefix(name: &str) -> String {
    format!(".{name}.new-")
}

fn parent_and_name(target: &Path) -> Result<(&Path, String)> {
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    target.parent().zip(name).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "create the store")
            .with_path(target)
            .because("this path cannot be a store's")
    })
}

fn refuse_existing(target: &Path) -> Result<()> {
    let exists = |why: &str| {
        Err(Error::new(ErrorKind::Exists, "create the store")
            .with_path(target)
            .because(why)
            .hint("Choose another path, or move what is there out of the way."))
    };
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(error, "create the store").with_path(target)),
        Ok(metadata) if metadata.is_dir() => {
            let mut entries = fs::read_dir(target).during("create the store", target)?;
            if entries.next().is_none() {
                return Ok(());
            }
            match Identity::read(target) {
                Ok(identity) => exists(&format!("a {} store is there already", identity.engine)),
                Err(_) => exists("the directory is not empty"),
            }
        }
        Ok(_) => exists("a file is there already"),
    }
}

fn creation_error(error: std::io::Error, parent: &Path) -> Error {
    use std::io::ErrorKind as Io;
    let kind = error.kind();
    let error = Error::io(error, "create the store").with_path(parent);
    match kind {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => error.with_kind(ErrorKind::ReadOnly),
        Io::NotFound => error.hint("Create the parent directory first."),
        _ => error,
    }
}

/// Locks a directory against others that create stores in it, where the file system can.
fn lock_directory(path: &Path) -> Option<File> {
    let directory = File::open(path).ok()?;
    directory.lock().ok()?;
    Some(directory)
}

/// Removes what killed creations left. Those that still run hold their lock and stay.
fn remove_abandoned(parent: &Path, prefix: &str) {
    for (path, _) in unfinished(parent, prefix) {
        if let Ok(lock) = Lock::take(&path) {
            tracing::info!(path = %path.display(), "removing an unfinished store");
            let _ = remove_staged(&path);
            drop(lock);
        }
    }
}

/// Removes an unfinished place; first what it is known by, so that nobody takes up half of it.
fn remove_staged(path: &Path) -> std::io::Result<()> {
    for name in [STAGED, MARKING, identity::FILE] {
        remove_if_present(&path.join(name))?;
    }
    fs::remove_dir_all(path)
}

fn remove_if_present(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Places that were begun and not published, those that are being built included.
fn unfinished(parent: &Path, prefix: &str) -> Vec<(PathBuf, StoreId)> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let found = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let id = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((entry.path(), id))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_appears_whole_and_is_open_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store");
        assert_eq!(
            Directory::open(&path, "lmdb").unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let staged = StagedDirectory::create(&path, "lmdb").unwrap();
        assert!(!path.exists());
        let id = staged.identity().store_id;
        let place = staged.publish().unwrap();
        assert_eq!(place.identity().store_id, id);
        let busy = Directory::open(&path, "lmdb").unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::InUse);
        assert!(
            busy.to_string().contains(&std::process::id().to_string()),
            "{busy}"
        );
        drop(place);
        let wrong = Directory::open(&path, "sled").unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Usage);
        assert!(wrong.to_string().contains("lmdb:"), "{wrong}");
        assert_eq!(
            Directory::open(&path, "lmdb").unwrap().identity().store_id,
            id
        );
        assert_eq!(
            StagedDirectory::create(&path, "lmdb").unwrap_err().kind(),
            ErrorKind::Exists
        );
    }

    #[test]
    fn unfinished_places_are_removed_but_not_those_in_the_making() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store");
        let abandoned = home.path().join(format!(".store.new-{}", StoreId([7; 16])));
        fs::create_dir(&abandoned).unwrap();
        let other = home.path().join(".store.new-notes");
        fs::create_dir(&other).unwrap();
        let first = StagedDirectory::create(&path, "lmdb").unwrap();
        let second = StagedDirectory::create(&path, "lmdb").unwrap();
        assert!(!abandoned.exists() && other.exists());
        assert!(first.data().exists() && second.data().exists());
        drop(first);
        second.publish().unwrap();
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn of_several_unfinished_places_none_is_chosen() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store");
        let begun = [(); 2].map(|()| StagedDirectory::create(&path, "lmdb").unwrap());
        begun.iter().for_each(|staged| staged.mark().unwrap());
        let error = StagedDirectory::find(&path, "lmdb").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        let left = begun.map(|staged| staged.leave().unwrap());
        let error = StagedDirectory::find(&path, "lmdb").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        for path in &left {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(error.to_string().contains(&*name), "{error}");
        }
        fs::remove_dir_all(&left[0]).unwrap();
        let found = StagedDirectory::find(&path, "lmdb").unwrap().unwrap();
        // One that appears meanwhile has no place to go to any more.
        let late = StagedDirectory::create(&path, "lmdb").unwrap();
        late.mark().unwrap();
        late.leave().unwrap();
        found.publish().unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_things_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, b"SHELF-1\n").unwrap();
        assert_eq!(
            StagedDirectory::create(&file, "lmdb").unwrap_err().kind(),
            ErrorKind::Exists
        );
        let error = Directory::open(&file, "lmdb").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable);
        let empty = home.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(
            Directory::open(&empty, "lmdb").unwrap_err().kind(),
            ErrorKind::Unreadable
        );
        StagedDirectory::create(&empty, "lmdb")
            .unwrap()
            .publish()
            .unwrap();
        let orphan = home.path().join("no/parent");
        assert_eq!(
            StagedDirectory::create(&orphan, "lmdb").unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
}
