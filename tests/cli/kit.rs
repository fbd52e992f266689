//! Running the program, and stores for it to work on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use durum_core::Oid;
use durum_core::config::StoreSettings;
use durum_core::engine::Capabilities;
use durum_core::store::{Batch, LocalStore, Store as _};
use serde_json::Value;
use tempfile::TempDir;

/// A directory for one test, in which the program runs.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
}

/// Files with their contents, and directories.
type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_durum"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("DURUM_CONFIG")
            .env_remove("DURUM_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Runs the program; it must not panic or be killed, whatever it is given.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Run {
        run(&mut self.command(arguments))
    }

    /// Runs the program with `--json`, expecting success; returns the object.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        run.json()
    }

    /// Runs the program, expecting it to fail with `code` and a message that has all `parts`, with
    /// `--json` and without. Everything on the disk must stay as it is.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let before = self.files();
        self.fails(arguments, code, parts);
        unchanged(&before, &self.files(), arguments);
    }

    /// As [`Home::refused`], where a store is opened before the error is met: what an engine does in
    /// its own directory when it is opened and closed is its own affair.
    pub(crate) fn refused_when_open(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let outside = || {
            let mut files = self.files();
            files.retain(|path, _| !path.components().any(|part| part.as_os_str() == "data"));
            files
        };
        let before = outside();
        self.fails(arguments, code, parts);
        unchanged(&before, &outside(), arguments);
    }

    fn fails(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        for json in [false, true] {
            let mut all = arguments.to_vec();
            all.extend(json.then_some("--json"));
            let run = self.run(&all);
            assert_eq!(run.code, code, "{all:?}: {}", run.stderr);
            assert!(run.stderr.starts_with("durum: "), "{all:?}: {}", run.stderr);
            for part in parts {
                assert!(
                    run.stderr.contains(part),
                    "{all:?} lacks `{part}`: {}",
                    run.stderr
                );
            }
            if json {
                let message = run.json()["error"]["message"].as_str().unwrap().to_owned();
                assert!(run.stderr.contains(&message), "{message}");
            } else {
                assert!(
                    run.stdout.is_empty(),
                    "{:?}",
                    String::from_utf8_lossy(&run.stdout)
                );
                let paragraph = run.stderr.trim_end();
                assert!(!paragraph.contains("\n\n") || code == 2, "{paragraph}");
            }
        }
    }

    /// All files with their contents, but for locks, which name whoever opened a store last.
    fn files(&self) -> Files {
        let mut found = BTreeMap::new();
        let mut open = vec![self.dir.path().to_path_buf()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path.clone());
                    found.insert(path, None);
                } else if !matches!(path.file_name(), Some(name) if name == "lock" || name == "lock.mdb")
                {
                    let bytes = std::fs::read(&path).unwrap();
                    found.insert(path, Some(bytes));
                }
            }
        }
        found
    }
}

fn unchanged(before: &Files, after: &Files, arguments: &[&str]) {
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&&PathBuf> = paths
        .iter()
        .filter(|path| before.get(**path) != after.get(**path))
        .collect();
    assert!(changed.is_empty(), "{arguments:?} changed {changed:?}");
}

/// Starts a program. A new process has our open files, locks of stores included, until it has become
/// the other program: nobody may close a store meanwhile and expect it to be free.
pub(crate) fn spawn(command: &mut Command) -> Child {
    try_spawn(command).unwrap()
}

/// As [`spawn`], where it may be forbidden.
pub(crate) fn try_spawn(command: &mut Command) -> io::Result<Child> {
    let _alone = alone();
    command.spawn()
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a program; its standard output may have been redirected.
pub(crate) fn run(command: &mut Command) -> Run {
    let output = spawn(command.stderr(Stdio::piped()))
        .wait_with_output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("{command:?}: {}", output.status));
    Run {
        code,
        stdout: output.stdout,
        stderr,
    }
}

impl Run {
    /// Standard output, which must be one JSON object in one line and nothing else.
    pub(crate) fn json(&self) -> Value {
        let text = std::str::from_utf8(&self.stdout).unwrap();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| {
            panic!("{error}: {text:?}");
        });
        assert!(value.is_object(), "{text}");
        assert!(
            text.ends_with('\n') && text.matches('\n').count() == 1,
            "{text:?}"
        );
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// What the engines offer that keep what they are given, in directories.
pub(crate) fn engines() -> Vec<Capabilities> {
    let registry = durum_backends::registry().in_directories();
    let found: Vec<Capabilities> = registry
        .iter()
        .map(|backend| backend.capabilities())
        .filter(|it| it.persistent)
        .collect();
    assert!(found.len() > 1, "the tests need engines to compare");
    found
}

/// What the data of every object in a [`store`] begins with.
pub(crate) const MARKER: &[u8] = b"a state that is easily found again";

/// A store on `engine` in the directory of that name: 0 -> 1 -> 2 -> 1, and 3, which nothing reaches.
pub(crate) fn store(home: &Home, engine: &str) -> String {
    drop(Held(Some(open_new(home, engine)), home.path(engine)));
    format!("{engine}:{engine}")
}

fn open_new(home: &Home, engine: &str) -> LocalStore {
    let settings = StoreSettings::new(engine, home.path(engine)).without_collection();
    let store = durum_backends::registry().create(&settings).unwrap();
    let session = durum_core::SessionId::EMBEDDED;
    assert_eq!(store.new_oids(session, 4).unwrap(), [0, 1, 2, 3].map(Oid));
    let mut batch = Batch::new();
    for (oid, refs) in [(0, &[1u64][..]), (1, &[2]), (2, &[1]), (3, &[])] {
        let data = [MARKER, oid.to_string().as_bytes()].concat();
        batch.create(Oid(oid), data, refs.iter().copied().map(Oid));
    }
    store.commit(batch, store.durability()).unwrap();
    store
}

/// A store that is open in this process.
#[derive(Debug)]
pub(crate) struct Held(Option<LocalStore>, PathBuf);

impl std::ops::Deref for Held {
    type Target = LocalStore;

    fn deref(&self) -> &LocalStore {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _alone = alone();
        drop(self.0.take());
        wait_until_free(&self.1);
    }
}

/// Programs that others than `spawn` have started may have the lock for a moment longer.
fn wait_until_free(store: &Path) {
    let lock = store.join("lock");
    for _ in 0..1000 {
        match fs::File::open(&lock).map(|file| file.try_lock()) {
            Ok(Err(fs::TryLockError::WouldBlock)) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ => break,
        }
    }
}

/// Makes a store on `engine` in the directory of that name, and has it filled; returns its URL.
pub(crate) fn filled(home: &Home, engine: &str, fill: impl FnOnce(LocalStore)) -> String {
    let settings = StoreSettings::new(engine, home.path(engine)).without_collection();
    let _alone = alone();
    fill(durum_backends::registry().create(&settings).unwrap());
    wait_until_free(&home.path(engine));
    format!("{engine}:{engine}")
}

/// Opens the store that [`store`] made.
pub(crate) fn open(home: &Home, engine: &str) -> Held {
    // Nothing changes behind the tests' backs.
    let settings = StoreSettings::new(engine, home.path(engine)).without_collection();
    let opened = durum_backends::registry().open(&settings).unwrap();
    Held(Some(opened), home.path(engine))
}

/// The sample database of the checkout.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/debian.durus")
}

/// The digest of [`sample`], as it was computed over the original Durus.
pub(crate) const SAMPLE_DIGEST: &str =
    "0de8e4d0b8fcf2d4c1948e9d7aa982dba1d2354f16309d0f491844d9765d61f6";
/// The number of its objects.
pub(crate) const SAMPLE_OBJECTS: u64 = 3961;

/// The keys of a JSON object, sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Asserts that the object has these keys, whatever else.
pub(crate) fn has_keys(value: &Value, wanted: &[&str]) {
    let found = keys(value);
    wanted
        .iter()
        .for_each(|key| assert!(found.contains(key), "no `{key}` in {value}"));
}
