//! A FileStorage of ZODB that a program seems to have open, and that grows while it is followed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use durum_core::digest::Digest;
use durum_core::{Error, Result};
use durum_migrate::Progress;
use durum_migrate::zodb::ZodbFile;

/// Objects of the first transaction, which is copied, and bytes of each at most: some batches.
const OBJECTS: u64 = 60;
const DATA_BYTES_MAX: usize = 40 << 10;
/// Later transactions, and objects of each: changed ones and new ones.
const TRANSACTIONS: u64 = 40;
const CHANGES: u64 = 5;

/// The file. It grows when the copy has been made, and again when following has caught up; then the
/// program seems to end.
pub(super) struct LiveFile {
    path: PathBuf,
    whole: Vec<u8>,
    /// How much of it is there at first, and when it has been copied: not at the ends of transactions.
    parts: [usize; 2],
    /// The file and the lock on it, as long as the program seems to run.
    held: Mutex<Option<[File; 2]>>,
}

impl LiveFile {
    pub(super) fn new(path: PathBuf, seed: u64) -> LiveFile {
        let (whole, copied) = contents(seed);
        let later = whole.len() - copied;
        LiveFile {
            path,
            parts: [copied + later / 10, copied + later / 10 * 8],
            whole,
            held: Mutex::new(None),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn url(&self) -> String {
        format!("zodb:{}", self.path.display())
    }

    /// Makes it short, and has it open.
    pub(super) fn begin(&self) -> Result<()> {
        let failed = |error| Error::io(error, "make a file that grows");
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let lock = File::create(Path::new(&name)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut file = File::create(&self.path).map_err(failed)?;
        file.write_all(&self.whole[..self.parts[0]])
            .map_err(failed)?;
        *self.held.lock().expect("nobody has panicked") = Some([file, lock]);
        Ok(())
    }

    /// Makes it whole, and nobody has it open.
    pub(super) fn end(&self) -> Result<()> {
        let written = std::fs::write(&self.path, &self.whole);
        written.map_err(|error| Error::io(error, "make a file"))
    }

    /// Nobody seems to have it open any more.
    pub(super) fn let_go(&self) {
        *self.held.lock().expect("nobody has panicked") = None;
    }

    /// What it holds in the end.
    pub(super) fn digest(&self) -> Result<Digest> {
        let mut digest = Digest::default();
        for object in ZodbFile::open(&self.path)?.objects() {
            let object = object?;
            digest.add(object.oid, object.refs.iter().copied(), &object.data);
        }
        Ok(digest)
    }

    fn grow(&self, range: std::ops::Range<usize>, last: bool) {
        let mut held = self.held.lock().expect("nobody has panicked");
        if let Some([file, _]) = &mut *held {
            file.write_all(&self.whole[range]).expect("the file grows");
        }
        drop(held);
        if last {
            self.let_go();
        }
    }
}

impl Progress for LiveFile {
    fn begin(&self, phase: &'static str, _: Option<u64>) {
        if phase == "follow" {
            self.grow(self.parts[0]..self.parts[1], false);
        }
    }

    fn advance(&self, _: u64, _: u64) {}

    fn caught_up(&self, _: u64, _: Duration) {
        self.grow(self.parts[1]..self.whole.len(), true);
    }
}

/// A file, and where its first transaction ends. The format is described in `durum_migrate::zodb`.
fn contents(seed: u64) -> (Vec<u8>, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut file, mut copied) = (b"FS30".to_vec(), 0);
    let mut latest = BTreeMap::new();
    let mut objects = OBJECTS;
    for tid in 1..=TRANSACTIONS + 1 {
        let start = file.len();
        let mut records = Vec::new();
        let oids: Vec<u64> = match tid {
            1 => (0..OBJECTS).collect(),
            _ => (0..CHANGES).map(|_| random.u64(0..objects + 3)).collect(),
        };
        for oid in oids {
            let at = (start + HEAD_BYTES + records.len()) as u64;
            let previous = latest.insert(oid, at).unwrap_or(0);
            objects = objects.max(oid + 1);
            let refs: Vec<u64> = (0..3).map(|_| random.u64(0..objects)).collect();
            let length = random.usize(..if tid == 1 { DATA_BYTES_MAX } else { 3000 });
            let data = pickles(&refs, &vec![random.u8(..); length]);
            for number in [oid, tid, previous, start as u64] {
                records.extend(number.to_be_bytes());
            }
            records.extend([0; 2]);
            records.extend((data.len() as u64).to_be_bytes());
            records.extend(data);
        }
        let length = ((HEAD_BYTES + records.len()) as u64).to_be_bytes();
        file.extend([&tid.to_be_bytes()[..], &length, b" ", &[0; 6]].concat());
        file.extend([&records[..], &length].concat());
        copied = if tid == 1 { file.len() } else { copied };
    }
    (file, copied)
}

/// Bytes of a transaction before its records.
const HEAD_BYTES: usize = 23;

/// A class, and a tuple of persistent references and some bytes.
fn pickles(refs: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut out = b"cm\nC\n.(".to_vec();
    for oid in refs {
        out.extend([&b"C\x08"[..], &oid.to_be_bytes(), b"Q"].concat());
    }
    out.push(b'B');
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    out.extend(b"t.");
    out
}
