//! Reads the journal that the shim writes; its format is described there, in `journal.rs`.

use std::collections::HashMap;
use std::path::Path;

/// One thing that happened, as recorded. Paths are relative to the watched root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Data was written; `synchronous` says that it reached the device before the call returned.
    Write {
        /// The file.
        inode: u64,
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
        /// Whether the descriptor had `O_DSYNC` or `O_SYNC`.
        synchronous: bool,
    },
    /// A file or directory was synchronized.
    Sync {
        /// The file or directory.
        inode: u64,
    },
    /// A file got another size.
    Resize {
        /// The file.
        inode: u64,
        /// Its size from now on.
        size: u64,
    },
    /// A range became zeros.
    Zero {
        /// The file.
        inode: u64,
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// A file was created.
    Create {
        /// Its path.
        path: String,
        /// Its inode.
        inode: u64,
    },
    /// A directory was created.
    MakeDir {
        /// Its path.
        path: String,
        /// Its inode.
        inode: u64,
    },
    /// A path became another one, in place of what was there.
    Rename {
        /// The path before.
        from: String,
        /// The path from now on.
        to: String,
    },
    /// A file got another name.
    Link {
        /// The name that it had.
        from: String,
        /// The name that it has now as well.
        to: String,
    },
    /// A file or an empty directory was removed.
    Remove {
        /// Its path.
        path: String,
    },
    /// Everything was synchronized.
    SyncAll,
    /// A synchronization failed: what it was to bring to the device will not get there.
    SyncFailed {
        /// The file or directory.
        inode: u64,
    },
    /// An operation was made to fail.
    Failed,
    /// An operation failed by itself.
    Nothing,
    /// The workload acknowledged commits. Not an operation: it has no number.
    Ack(String),
    /// The inode of the root directory. Not an operation either.
    Root {
        /// The inode.
        inode: u64,
    },
}

impl Event {
    /// Whether the shim numbered it.
    pub fn is_numbered(&self) -> bool {
        !matches!(self, Event::Ack(_) | Event::Root { .. })
    }

    /// Whether it is a failure that the shim was told to cause.
    pub fn is_caused_failure(&self) -> bool {
        matches!(self, Event::Failed | Event::SyncFailed { .. })
    }
}

/// Operation `number` in a few words, for messages; the last one if there are fewer.
pub fn describe(events: &[Event], number: u64) -> String {
    let mut paths: HashMap<u64, String> = HashMap::new();
    let mut last = "nothing".to_owned();
    let numbered = events.iter().filter(|event| event.is_numbered());
    for event in numbered.take(number as usize) {
        if let Event::Create { path, inode } | Event::MakeDir { path, inode } = event {
            paths.insert(*inode, path.clone());
        }
        if let Event::Rename { from, to } = event {
            for path in paths
                .values_mut()
                .filter(|path| path.starts_with(from.as_str()))
            {
                path.replace_range(..from.len(), to);
            }
        }
        let path = |inode| paths.get(inode).map_or("?", String::as_str);
        last = match event {
            Event::Write {
                inode,
                offset,
                data,
                ..
            } => {
                format!("write of {} at {offset} of {}", data.len(), path(inode))
            }
            Event::Sync { inode } => format!("sync of {}", path(inode)),
            Event::SyncFailed { inode } => format!("failed sync of {}", path(inode)),
            Event::Resize { inode, size } => format!("resize of {} to {size}", path(inode)),
            other => format!("{other:?}"),
        };
    }
    last
}

/// Reads all events of a journal. A last record that is incomplete is left away: the process was
/// killed while it was written.
pub fn read(path: &Path) -> std::io::Result<Vec<Event>> {
    let bytes = std::fs::read(path)?;
    let mut rest = Reader(&bytes);
    let mut events = Vec::new();
    while let Some(event) = rest.event() {
        events.push(event);
    }
    Ok(events)
}

/// How many numbered operations a journal holds.
pub fn count(events: &[Event]) -> u64 {
    events.iter().filter(|event| event.is_numbered()).count() as u64
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, length: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(self.take(length)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn text(&mut self, length: u64) -> Option<String> {
        let bytes = self.take(length as usize)?;
        Some(String::from_utf8(bytes.to_vec()).expect("tests use paths in UTF-8"))
    }

    fn event(&mut self) -> Option<Event> {
        let (kind, synchronous) = (self.number(1)?, self.number(1)? != 0);
        let lengths = (self.number(2)?, self.number(2)?, self.number(4)?);
        let (inode, first, second) = (self.number(8)?, self.number(8)?, self.number(8)?);
        let (path, other) = (self.text(lengths.0)?, self.text(lengths.1)?);
        let data = self.take(lengths.2 as usize)?.to_vec();
        Some(match kind {
            1 => Event::Write {
                inode,
                offset: first,
                data,
                synchronous,
            },
            2 => Event::Sync { inode },
            3 => Event::Resize { inode, size: first },
            4 => Event::Zero {
                inode,
                offset: first,
                length: second,
            },
            5 => Event::Create { path, inode },
            6 => Event::Rename {
                from: path,
                to: other,
            },
            7 => Event::Remove { path },
            8 => Event::Link {
                from: path,
                to: other,
            },
            9 => Event::MakeDir { path, inode },
            10 => Event::SyncAll,
            11 => Event::SyncFailed { inode },
            12 => Event::Failed,
            13 => Event::Nothing,
            14 => Event::Ack(String::from_utf8(data).expect("acknowledgements are text")),
            15 => Event::Root { inode },
            kind => panic!("the journal holds a record of unknown kind {kind}"),
        })
    }
}
