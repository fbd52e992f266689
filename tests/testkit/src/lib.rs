//! What the tests of several crates share.
//!
//! - Some tests need a program that is not everywhere, such as Python with the original Durus or with
//!   ZODB. Where it is absent they say so in one line and pass, unless the environment variable `DURUM_REQUIRE`
//!   names the program (several are separated by commas): then they fail. CI requires all.
//! - Random tests draw their [`seed`] here, so that a failure can be repeated.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything that a test waits for may take at most; only a failure takes so long.
pub const LONG: Duration = Duration::from_secs(60);

/// A Python package that tests run, each in a virtual environment of its own.
struct Package {
    /// The name under which `DURUM_REQUIRE` asks for it.
    name: &'static str,
    /// What `pip` installs: the releases that formats and protocols were checked against.
    requirements: &'static [&'static str],
    /// Fails in an interpreter that does not have them.
    check: &'static str,
    found: OnceLock<Result<PathBuf, String>>,
}

static DURUS: Package = Package {
    name: "durus",
    requirements: &["Durus==4.3"],
    check: "import durus, durus.file_storage; assert durus.__version__ == '4.3'",
    found: OnceLock::new(),
};

static ZODB: Package = Package {
    name: "zodb",
    requirements: &[
        "ZODB==6.4",
        "BTrees==6.5",
        "persistent==6.9",
        "transaction==5.1",
        "zodbpickle==4.5",
    ],
    check: "import ZODB, importlib.metadata as m; assert m.version('ZODB') == '6.4'",
    found: OnceLock::new(),
};

/// A Python interpreter that can import the original Durus 4.3, or `None` where there is none: the
/// reason is then on standard error.
///
/// The interpreter lives in a virtual environment below the target directory, which the first caller
/// creates while others wait.
///
/// # Panics
/// When there is none and `DURUM_REQUIRE` contains `durus`.
pub fn durus_python() -> Option<PathBuf> {
    DURUS.python()
}

/// The sources of the original Durus 4.3, whose tests are not installed with it; `None` as for
/// [`durus_python`], which gives `python`.
///
/// # Panics
/// When they cannot be had and `DURUM_REQUIRE` contains `durus`.
pub fn durus_sources(python: &Path) -> Option<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| fetch_durus_sources(python)) {
        Ok(sources) => Some(sources.clone()),
        Err(reason) => {
            left_out(DURUS.name, reason);
            None
        }
    }
}

fn fetch_durus_sources(python: &Path) -> Result<PathBuf, String> {
    let target = target();
    let _one_process_at_a_time = locked(&target.join("durus-sources.lock"))?;
    let home = target.join("durus-sources");
    let sources = home.join("durus-4.3");
    if !sources.join("test/stress.py").exists() {
        run(Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--no-binary", ":all:"])
            .args(DURUS.requirements)
            .arg("--dest")
            .arg(&home))?;
        run(Command::new(python)
            .args(["-m", "tarfile", "--extract"])
            .arg(home.join("durus-4.3.tar.gz"))
            .arg(&home))?;
    }
    Ok(sources)
}

/// A Python interpreter that can import ZODB 6.4, as [`durus_python`].
///
/// # Panics
/// When there is none and `DURUM_REQUIRE` contains `zodb`.
pub fn zodb_python() -> Option<PathBuf> {
    ZODB.python()
}

/// Says in one line that a test is left out for want of `program`.
///
/// The line goes to standard error, past the capturing of test output.
///
/// # Panics
/// When `DURUM_REQUIRE` contains `program`.
pub fn left_out(program: &str, reason: &str) {
    assert!(
        !is_required(program),
        "DURUM_REQUIRE asks for {program}: {reason}"
    );
    let line = format!("left out, without {program}: {reason}\n");
    // A test must not fail because nobody reads its standard error.
    let _unread = io::stderr().write_all(line.as_bytes());
}

/// Whether `DURUM_REQUIRE` says that the tests with `program` have to run.
pub fn is_required(program: &str) -> bool {
    std::env::var("DURUM_REQUIRE")
        .is_ok_and(|required| required.split(',').any(|name| name.trim() == program))
}

/// The checkout's directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A script of `tests/python`.
pub fn python_script(name: &str) -> PathBuf {
    workspace().join("tests/python").join(name)
}

/// Runs a script of `tests/python` and gives its standard output.
///
/// # Panics
/// When the script fails; the message holds what it wrote to standard error.
pub fn run_python<A: AsRef<OsStr>>(python: &Path, script: &str, arguments: &[A]) -> String {
    let mut command = Command::new(python);
    command.arg(python_script(script)).args(arguments);
    let output = run(&mut command).unwrap_or_else(|reason| panic!("{script}: {reason}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The bytes that hexadecimal digits stand for, as the scripts print data.
///
/// # Panics
/// When they are none.
pub fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| byte(pair).unwrap_or_else(|| panic!("{digits} are no hexadecimal digits")))
        .collect()
}

/// The peak memory of this process, in KiB, as the kernel counts it.
///
/// # Panics
/// Where the kernel does not say.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_else(|| panic!("no peak memory in /proc/self/status"))
}

/// Waits until something is so, which it is to become soon.
///
/// # Panics
/// When it does not, in [`LONG`].
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program `durum`, which only Cargo knows the place of, away from the user's configuration.
pub fn durum(program: &str, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(home)
        .env_remove("DURUM_CONFIG")
        .env_remove("DURUM_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The names in a directory, hidden ones included, sorted.
///
/// # Panics
/// When it cannot be read.
pub fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let found = std::fs::read_dir(dir).and_then(|entries| entries.map(name).collect());
    let mut names: Vec<String> = found.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    names.sort();
    names
}

/// The seed of a random test: `DURUM_TEST_SEED`, or else a new one. It is printed, so that the output
/// of a failed test names it.
///
/// # Panics
/// When `DURUM_TEST_SEED` is not a number.
pub fn seed() -> u64 {
    let seed = match std::env::var("DURUM_TEST_SEED") {
        Ok(given) => given
            .parse()
            .unwrap_or_else(|_| panic!("DURUM_TEST_SEED={given} is not a number")),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos() as u64),
    };
    println!("DURUM_TEST_SEED={seed}");
    seed
}

impl Package {
    fn python(&self) -> Option<PathBuf> {
        match self.found.get_or_init(|| self.prepare()) {
            Ok(python) => Some(python.clone()),
            Err(reason) => {
                left_out(self.name, reason);
                None
            }
        }
    }

    /// Finds or makes the virtual environment; one process at a time.
    fn prepare(&self) -> Result<PathBuf, String> {
        let target = target();
        let _one_process_at_a_time = locked(&target.join(format!("{}-venv.lock", self.name)))?;
        let environment = target.join(format!("{}-venv", self.name));
        let python = environment.join("bin/python");
        if self.is_in(&python).is_ok() {
            return Ok(python);
        }
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(self.requirements))?;
        self.is_in(&python)?;
        Ok(python)
    }

    /// Whether an interpreter exists and has the right releases.
    fn is_in(&self, python: &Path) -> Result<(), String> {
        run(Command::new(python).args(["-c", self.check])).map(drop)
    }
}

/// Where what is built lies.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

fn locked(path: &Path) -> Result<File, String> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    let lock = File::create(path).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    Ok(lock)
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}
