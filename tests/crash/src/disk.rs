//! A model of a disk: what the files hold, and which of it would survive a loss of power.
//!
//! Files and directories are nodes. Each has a durable base and the changes made since, each of which
//! is either waiting, or durable by itself (a synchronous write), or lost for certain to later
//! synchronizations (one before failed). A directory is a map of names to nodes, and a change of a
//! name is durable once the directory is synchronized, not sooner: also that of a file which was
//! synchronized itself. Changes that a program makes through a memory map are invisible here.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::journal::Event;

/// A node's number in the model.
pub type NodeId = usize;

/// How far a change has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the page cache only.
    Waiting,
    /// On the device.
    Durable,
    /// In the page cache, and no synchronization will take it to the device any more.
    Doomed,
}

/// A change of a file.
#[derive(Clone, Debug)]
pub enum FileChange {
    /// Data at an offset.
    Write(u64, Vec<u8>),
    /// Another size.
    Resize(u64),
    /// Zeros from an offset, so many.
    Zero(u64, u64),
}

/// A change of a directory.
#[derive(Clone, Debug)]
pub enum DirChange {
    /// A name for a node, in place of what had that name.
    Add(String, NodeId),
    /// A name is gone.
    Remove(String),
    /// A node has another name, in place of what had that one.
    Rename(String, String, NodeId),
}

/// The names in a directory.
pub type Names = BTreeMap<String, NodeId>;

/// A file or a directory.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file: its durable content, and the changes since.
    File(Vec<u8>, Vec<(FileChange, Stage)>),
    /// A directory: its durable names, the changes since, and its names as programs see them.
    Dir(Names, Vec<(DirChange, Stage)>, Names),
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    nodes: Vec<Node>,
    by_inode: HashMap<u64, NodeId>,
    /// Synchronization is ignored: for the control.
    deaf: bool,
}

impl Disk {
    /// A disk that holds nothing. A `deaf` one ignores all synchronization.
    pub fn new(deaf: bool) -> Disk {
        Disk {
            deaf,
            ..Disk::default()
        }
    }

    /// A disk that holds what the directory `root` holds, all of it durable.
    pub fn load(root: &Path) -> io::Result<Disk> {
        let mut disk = Disk::default();
        disk.load_node(root)?;
        Ok(disk)
    }

    fn load_node(&mut self, path: &Path) -> io::Result<NodeId> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_dir() {
            let file = Node::File(fs::read(path)?, Vec::new());
            return Ok(self.insert(metadata.ino(), file));
        }
        let id = self.insert(metadata.ino(), empty_dir());
        let mut names = Names::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .expect("tests use paths in UTF-8");
            names.insert(name, self.load_node(&entry.path())?);
        }
        self.nodes[id] = Node::Dir(names.clone(), Vec::new(), names);
        Ok(id)
    }

    /// The root directory.
    pub const ROOT: NodeId = 0;

    /// The node with this number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Carries out what a journal recorded.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::Write {
                inode,
                offset,
                data,
                synchronous,
            } => {
                let change = FileChange::Write(*offset, data.clone());
                let stage = match *synchronous && !self.deaf {
                    true => Stage::Durable,
                    false => Stage::Waiting,
                };
                self.change_file(*inode, change, stage);
            }
            Event::Resize { inode, size } => {
                self.change_file(*inode, FileChange::Resize(*size), Stage::Waiting);
            }
            Event::Zero {
                inode,
                offset,
                length,
            } => {
                self.change_file(*inode, FileChange::Zero(*offset, *length), Stage::Waiting);
            }
            Event::Create { path, inode } => self.create(path, *inode, empty_file()),
            Event::MakeDir { path, inode } => self.create(path, *inode, empty_dir()),
            // A disk that was loaded has its root already.
            Event::Root { inode } if self.nodes.is_empty() => {
                self.insert(*inode, empty_dir());
            }
            Event::Root { inode } => assert_eq!(self.by_inode[inode], Disk::ROOT),
            Event::Rename { from, to } => self.rename(from, to),
            Event::Link { from, to } => {
                let id = self.find(from);
                let (dir, name) = self.parent(to);
                self.change_dir(dir, DirChange::Add(name, id));
            }
            Event::Remove { path } => {
                let (dir, name) = self.parent(path);
                self.change_dir(dir, DirChange::Remove(name));
            }
            Event::Sync { inode } => self.sync(self.by_inode[inode], Stage::Durable),
            Event::SyncFailed { inode } => self.sync(self.by_inode[inode], Stage::Doomed),
            Event::SyncAll => (0..self.nodes.len()).for_each(|id| self.sync(id, Stage::Durable)),
            Event::Failed | Event::Nothing | Event::Ack(_) => {}
        }
    }

    fn insert(&mut self, inode: u64, node: Node) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(node);
        // An inode number is used again after its file is gone; the newest owner is meant.
        self.by_inode.insert(inode, id);
        id
    }

    fn create(&mut self, path: &str, inode: u64, node: Node) {
        let id = self.insert(inode, node);
        let (dir, name) = self.parent(path);
        self.change_dir(dir, DirChange::Add(name, id));
    }

    fn rename(&mut self, from: &str, to: &str) {
        let id = self.find(from);
        let ((old_dir, old), (new_dir, new)) = (self.parent(from), self.parent(to));
        if old_dir == new_dir {
            self.change_dir(new_dir, DirChange::Rename(old, new, id));
        } else {
            self.change_dir(new_dir, DirChange::Add(new, id));
            self.change_dir(old_dir, DirChange::Remove(old));
        }
    }

    fn change_file(&mut self, inode: u64, change: FileChange, stage: Stage) {
        let id = self.by_inode[&inode];
        let Node::File(_, changes) = &mut self.nodes[id] else {
            panic!("a directory was written to");
        };
        changes.push((change, stage));
    }

    fn change_dir(&mut self, id: NodeId, change: DirChange) {
        let Node::Dir(_, changes, now) = &mut self.nodes[id] else {
            panic!("a file was used as a directory");
        };
        change.apply(now);
        changes.push((change, Stage::Waiting));
    }

    /// Gives all waiting changes of a node their fate, and merges what is durable into the base.
    fn sync(&mut self, id: NodeId, fate: Stage) {
        if self.deaf {
            return;
        }
        match &mut self.nodes[id] {
            Node::File(base, changes) => settle(changes, fate, |change| change.apply(base)),
            Node::Dir(base, changes, _) => settle(changes, fate, |change| change.apply(base)),
        }
    }

    fn find(&self, path: &str) -> NodeId {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(Disk::ROOT, |id, part| match &self.nodes[id] {
                Node::Dir(_, _, now) => now[part],
                Node::File(..) => panic!("{path} leads through a file"),
            })
    }

    fn parent(&self, path: &str) -> (NodeId, String) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.find(dir), name.to_owned())
    }
}

fn empty_file() -> Node {
    Node::File(Vec::new(), Vec::new())
}

fn empty_dir() -> Node {
    Node::Dir(Names::new(), Vec::new(), Names::new())
}

fn settle<C>(changes: &mut Vec<(C, Stage)>, fate: Stage, mut apply: impl FnMut(&C)) {
    for (_, stage) in changes.iter_mut() {
        if *stage == Stage::Waiting {
            *stage = fate;
        }
    }
    let durable = |(_, stage): &(C, Stage)| *stage == Stage::Durable;
    let merged = changes.iter().take_while(|change| durable(change)).count();
    changes
        .drain(..merged)
        .for_each(|(change, _)| apply(&change));
}

impl FileChange {
    /// Makes the change.
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileChange::Write(offset, data) => write(content, *offset, data),
            FileChange::Resize(size) => content.resize(*size as usize, 0),
            FileChange::Zero(offset, length) => write(content, *offset, &vec![0; *length as usize]),
        }
    }
}

/// Writes `data` at `offset`, beyond the end if need be.
pub fn write(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + data.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(data);
}

impl DirChange {
    /// Makes the change, as far as it still makes sense.
    pub fn apply(&self, names: &mut Names) {
        match self {
            DirChange::Add(name, id) => {
                names.insert(name.clone(), *id);
            }
            DirChange::Remove(name) => {
                names.remove(name);
            }
            DirChange::Rename(from, to, id) => {
                if names.get(from) == Some(id) {
                    names.remove(from);
                }
                names.insert(to.clone(), *id);
            }
        }
    }
}
