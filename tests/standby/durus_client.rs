//! A client that is real Durus, as a process.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use durum_testkit::python_script;

use crate::progress::{Outcome, Progress};

/// A client at work.
#[derive(Debug)]
pub(crate) struct DurusClient {
    pub(crate) progress: Arc<Progress>,
    log: PathBuf,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl DurusClient {
    /// A client that tries these servers one after the other. What goes wrong meanwhile it says in a file in `home`.
    pub(crate) fn start(python: &Path, home: &Path, name: &str, ports: &[u16]) -> DurusClient {
        let log = home.join(format!("{name}.log"));
        let mut child = Command::new(python)
            .arg(python_script("durus_count.py"))
            .args(["count", name])
            .args(ports.iter().map(u16::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let progress = Arc::new(Progress::default());
        let (stdout, noted) = (child.stdout.take().unwrap(), progress.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                note(&line.unwrap(), &noted);
            }
        });
        DurusClient {
            progress,
            log,
            child,
            reader: Some(reader),
        }
    }

    /// Whether it works no more, which it is not to do by itself.
    pub(crate) fn has_failed(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Has it end; how often it has counted.
    pub(crate) fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.reader.take().unwrap().join().unwrap();
        self.progress.counts().commits
    }
}

impl Drop for DurusClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            println!("{}: {said}", self.log.display());
        }
    }
}

/// A line of the script, which says what has become of a commit.
fn note(line: &str, progress: &Progress) {
    let words: Vec<&str> = line.split(' ').collect();
    let outcome = match words[0] {
        "commit" => Outcome::Acknowledged,
        "found" => Outcome::Found,
        "lost" => Outcome::Lost,
        _ => panic!("{line}"),
    };
    progress.note(
        outcome,
        UNIX_EPOCH + Duration::from_nanos(words[1].parse().unwrap()),
    );
    let count: u64 = words[2].parse().unwrap();
    assert_eq!(progress.counts().commits, count, "{line}");
}
