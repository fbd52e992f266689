//! What the workload says while it runs: a line for each commit, written when the commit returned.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use durum_core::engine::Durability;

/// The file of acknowledgements, open for appending. Each line is one unbuffered write.
#[derive(Debug)]
pub struct Acks(File);

impl Acks {
    /// Opens the file at `path`, which need not exist.
    pub fn open(path: &Path) -> io::Result<Acks> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Acks(file))
    }

    /// Says that `commit` returned, with the durability that was achieved.
    pub fn committed(&mut self, commit: u64, achieved: Durability) -> io::Result<()> {
        self.line(&format!("ok {commit} {}\n", achieved.name()))
    }

    /// Says that `commit` failed. `unchanged`: by its own account it changed nothing.
    pub fn failed(&mut self, commit: u64, unchanged: bool) -> io::Result<()> {
        let word = if unchanged { "unchanged" } else { "uncertain" };
        self.line(&format!("failed {commit} {word}\n"))
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let written = self.0.write(text.as_bytes())?;
        assert_eq!(written, text.len(), "an acknowledgement was cut short");
        Ok(())
    }
}

/// What is known from the acknowledgements of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last commit whose durability was at least the one in question.
    pub durable: u64,
    /// The last commit that returned success, at any durability.
    pub returned: u64,
    /// How many commits returned an error.
    pub errors: u64,
    /// Whether the last line is an error of a commit that changed nothing.
    pub unchanged: bool,
}

impl Heard {
    /// Takes in some lines; `needed` is the durability that the fault must not undo.
    pub fn hear(&mut self, lines: &str, needed: Durability) {
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, commit, detail] = words[..] else {
                panic!("not an acknowledgement: {line:?}");
            };
            let commit: u64 = commit.parse().expect("a commit number");
            self.unchanged = what == "failed" && detail == "unchanged";
            if what == "failed" {
                self.errors += 1;
                continue;
            }
            self.returned = commit;
            let achieved = Durability::ALL
                .into_iter()
                .find(|level| level.name() == detail);
            if achieved.expect("a durability") >= needed {
                self.durable = commit;
            }
        }
    }

    /// Reads a whole file of acknowledgements; none if it does not exist.
    pub fn read(path: &Path, needed: Durability) -> Heard {
        let mut heard = Heard::default();
        heard.hear(&std::fs::read_to_string(path).unwrap_or_default(), needed);
        heard
    }

    /// How many commits the store may hold: at least and at most.
    pub fn bounds(&self, commits: u64) -> (u64, u64) {
        let in_flight = if self.unchanged { 0 } else { 1 };
        (self.durable, (self.returned + in_flight).min(commits))
    }
}
