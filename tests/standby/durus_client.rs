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

/// The script that counts and reads, at work.
#[derive(Debug)]
pub(crate) struct DurusProcess {
    log: PathBuf,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl DurusProcess {
    /// Has the script do what the arguments say, and `take` its lines. What goes wrong meanwhile it says in a file in
    /// `home`.
    pub(crate) fn start(
        python: &Path,
        home: &Path,
        arguments: &[String],
        mut take: impl FnMut(&str) + Send + 'static,
    ) -> DurusProcess {
        let log = home.join(format!("durus-{}.log", arguments.join("-")));
        let mut child = Command::new(python)
            .arg(python_script("durus_count.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                take(&line.unwrap());
            }
        });
        DurusProcess {
            log,
            child,
            reader: Some(reader),
        }
    }

    /// Whether it works no more, which it is not to do by itself.
    pub(crate) fn has_failed(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Has it end, when all of its lines are taken.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.reader.take().unwrap().join().unwrap();
    }
}

impl Drop for DurusProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            println!("{}: {said}", self.log.display());
        }
    }
}

/// A client that counts.
#[derive(Debug)]
pub(crate) struct DurusClient {
    pub(crate) progress: Arc<Progress>,
    process: DurusProcess,
}

impl DurusClient {
    /// A client that tries these servers one after the other.
    pub(crate) fn start(python: &Path, home: &Path, name: &str, ports: &[u16]) -> DurusClient {
        let arguments = ["count".to_owned(), name.to_owned()].into_iter();
        let arguments: Vec<String> = arguments.chain(ports.iter().map(u16::to_string)).collect();
        let progress = Arc::new(Progress::default());
        let noted = progress.clone();
        let take = move |line: &str| note(line, &noted);
        DurusClient {
            progress,
            process: DurusProcess::start(python, home, &arguments, take),
        }
    }

    /// Whether it works no more, which it is not to do by itself.
    pub(crate) fn has_failed(&mut self) -> bool {
        self.process.has_failed()
    }

    /// Has it end; how often it has counted.
    pub(crate) fn end(self) -> u64 {
        self.process.end();
        self.progress.counts().commits
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
