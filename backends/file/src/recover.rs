//! Opening: the index, and what of the log is not in it yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::engine::Key;
use durum_core::{Error, IoResultExt, Result};

use crate::accounts::Accounts;
use crate::config::Config;
use crate::delta::Delta;
use crate::error::log_damage;
use crate::index::{Index, Loaded, TREE_DEAD, TREE_SEGMENTS};
use crate::log::{
    Log, Position, SEGMENT_HEADER_BYTES, Scan, Segment, SegmentHeader, Tail, list_segments,
    scan_segment, segment_name, unproved,
};
use crate::replay::Replay;
use crate::seam::{File, FileSystem};
use crate::state::State;
use crate::writer::{Unreadable, Writer};

/// Opens the engine's files in `dir`, or makes them where there are none.
pub(crate) fn open(fs: &Arc<dyn FileSystem>, dir: &Path, config: Config) -> Result<Writer> {
    let opening = Opening {
        fs: Arc::clone(fs),
        log_dir: dir.join("log"),
        index_dir: dir.join("index"),
        config,
    };
    for made in [&opening.log_dir, &opening.index_dir] {
        fs.create_dir(made).during("make a directory", made)?;
    }
    fs.sync_dir(dir).during("make a directory", dir)?;
    opening.open()
}

struct Opening {
    fs: Arc<dyn FileSystem>,
    log_dir: PathBuf,
    index_dir: PathBuf,
    config: Config,
}

impl Opening {
    fn open(&self) -> Result<Writer> {
        let mut numbers = list_segments(&*self.fs, &self.log_dir)?;
        let loaded = Index::load(&*self.fs, &self.index_dir)?;
        let covered = match &loaded {
            Loaded::Good { index, .. } => Some(index.covered().segment),
            Loaded::Bad => None,
        };
        self.drop_unfinished_segment(&mut numbers, covered)?;
        let Some(&first) = numbers.first() else {
            if covered.is_some() {
                return Err(
                    log_damage("open the log", "its segments are missing").with_path(&self.log_dir)
                );
            }
            return self.create();
        };
        if let Loaded::Good { mut index, certain } = loaded {
            let mut accounts = load_accounts(&index)?;
            let missing = missing_segment(&accounts, &numbers, index.covered());
            match missing {
                None => {
                    self.drop_cleaned(&mut numbers, &accounts, &mut index)?;
                    accounts.saved();
                    return self.replay(*index, accounts, &numbers, false);
                }
                Some(missing) if certain => {
                    return Err(log_damage("open the log", "a segment is missing")
                        .with_path(self.log_dir.join(segment_name(missing))));
                }
                Some(_) => {}
            }
        }
        let header = self.segment_header(first)?.ok_or_else(|| {
            log_damage("open the log", "the segment's header is not intact")
                .with_path(self.path(first))
        })?;
        let index = Index::create(&*self.fs, &self.index_dir, Position::start_of(&header))?;
        self.replay(index, Accounts::default(), &numbers, true)
    }

    /// Makes an empty database. The log comes first: an index without a log is damage.
    fn create(&self) -> Result<Writer> {
        let header = SegmentHeader {
            number: 1,
            sequence: 1,
            chain: 0,
        };
        let (fs, size) = (&self.fs, self.config.segment_bytes);
        let log = Log::create(fs, &self.log_dir, size, header)?;
        let index = Index::create(&**fs, &self.index_dir, Position::start_of(&header))?;
        let mut accounts = Accounts::default();
        accounts.set_used(1, SEGMENT_HEADER_BYTES);
        let segments = vec![Arc::clone(log.head())];
        let state = state_of(&index, segments);
        Ok(self.writer(log, index, accounts, state))
    }

    fn writer(&self, log: Log, index: Index, accounts: Accounts, state: State) -> Writer {
        Writer {
            fs: Arc::clone(&self.fs),
            log_dir: self.log_dir.clone(),
            config: self.config,
            log,
            index,
            accounts,
            state,
            frame: Default::default(),
            priors: Vec::new(),
            cleaning: None,
            cleaned: Vec::new(),
            unreadable: Unreadable::default(),
            holes: Default::default(),
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.log_dir.join(segment_name(number))
    }

    fn segment_file(&self, number: u32) -> Result<(Arc<dyn File>, u64)> {
        let path = self.path(number);
        let file = self.fs.open(&path).during("open the log", &path)?;
        let bytes = file.len().during("open the log", &path)?;
        Ok((file, bytes))
    }

    fn segment_header(&self, number: u32) -> Result<Option<SegmentHeader>> {
        let (file, bytes) = self.segment_file(number)?;
        if bytes < SEGMENT_HEADER_BYTES {
            return Ok(None);
        }
        let mut front = [0; SEGMENT_HEADER_BYTES as usize];
        let read = file.read_at(&mut front, 0);
        read.during("open the log", self.path(number))?;
        Ok(SegmentHeader::parse(&front, number))
    }

    /// Whether there is nothing but zeros behind the segment's header.
    fn is_empty(&self, number: u32) -> Result<bool> {
        let (file, bytes) = self.segment_file(number)?;
        let from = Position {
            segment: number,
            offset: SEGMENT_HEADER_BYTES,
            sequence: 0,
            chain: 0,
        };
        let scan = Scan {
            file: &file,
            from,
            end: bytes,
            stop: u64::MAX,
            proved: 0,
        };
        let tail = crate::log::tail_from_begin(&scan)?;
        Ok(tail == Tail::Clean)
    }

    /// Removes a last segment whose header was not complete when power was lost: no frame was ever
    /// written to it.
    fn drop_unfinished_segment(&self, numbers: &mut Vec<u32>, covered: Option<u32>) -> Result<()> {
        let Some(&last) = numbers.last() else {
            return Ok(());
        };
        if self.segment_header(last)?.is_some() {
            return Ok(());
        }
        if covered.is_some_and(|covered| covered >= last) || !self.is_empty(last)? {
            let what = "the segment's header is not intact";
            return Err(log_damage("open the log", what).with_path(self.path(last)));
        }
        self.remove(last)?;
        numbers.pop();
        Ok(())
    }

    fn remove(&self, number: u32) -> Result<()> {
        let path = self.path(number);
        self.fs.remove(&path).during("open the log", &path)?;
        let synced = self.fs.sync_dir(&self.log_dir);
        synced.during("open the log", &self.log_dir)
    }

    /// Removes segments that were cleaned, and whose files outlived that.
    fn drop_cleaned(
        &self,
        numbers: &mut Vec<u32>,
        accounts: &Accounts,
        index: &mut Index,
    ) -> Result<()> {
        let covered = index.covered().segment;
        let kept = |number: &u32| *number >= covered || accounts.contains(*number);
        if !numbers.iter().all(kept) {
            index.settle()?;
        }
        for number in numbers.iter().filter(|number| !kept(number)) {
            self.remove(*number)?;
        }
        numbers.retain(kept);
        Ok(())
    }

    /// Replays what the index does not cover, and opens the log at its end.
    fn replay(
        &self,
        index: Index,
        accounts: Accounts,
        numbers: &[u32],
        rebuilding: bool,
    ) -> Result<Writer> {
        let mut at = index.covered();
        if let Some(&last) = numbers.last()
            && (last != at.segment || rebuilding)
        {
            self.settle_segment(last)?;
        }
        let mut segments = Vec::new();
        for &number in numbers {
            let known = accounts.get(number).filter(|_| number < at.segment);
            let used = match known {
                Some(account) => account.used,
                None => self.segment_file(number)?.1,
            };
            segments.push(Arc::new(Segment::sealed(
                &self.fs,
                &self.log_dir,
                number,
                used,
            )));
        }
        let state = state_of(&index, segments);
        let mut replay = Replay::new(state, index, accounts, self.config.checkpoint_bytes);
        let mut head = None;
        let start = numbers.partition_point(|number| *number < at.segment);
        let ahead = numbers.get(start..).unwrap_or_default();
        for (place, &number) in ahead.iter().enumerate() {
            let later = ahead.get(place + 1..).unwrap_or_default();
            if number != at.segment {
                at = self.next_segment(number, at)?;
            }
            let (file, bytes) = self.segment_file(number)?;
            let proved = self.proved_by(later.first().copied())?;
            let (end, tail) = self.scan(&mut replay, (&file, bytes), at, proved)?;
            at = end;
            head = Some(file);
            let stale = match later {
                [next] => self.is_stale(*next, at, tail)?,
                _ => false,
            };
            if stale {
                later.iter().try_for_each(|next| self.remove(*next))?;
                replay.state.segments = without(&replay.state.segments, later);
            } else if tail == Tail::Torn && !later.is_empty() {
                let what = format!("the frame at offset {} is not intact", at.offset);
                return Err(log_damage("open the log", what).with_path(self.path(number)));
            }
            if stale {
                break;
            }
        }
        let head = head.ok_or_else(|| log_damage("open the log", "its end is missing"))?;
        self.finish(replay, head, at, rebuilding)
    }

    /// Completes the making of a segment, which may have been stopped: writes its header again, to be
    /// synced with its frames, and makes its name durable.
    fn settle_segment(&self, number: u32) -> Result<()> {
        let path = self.path(number);
        let (file, _) = self.segment_file(number)?;
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        let written = file
            .read_at(&mut header, 0)
            .and_then(|()| file.write_at(&header, 0));
        written.during("open the log", &path)?;
        let synced = self.fs.sync_dir(&self.log_dir);
        synced.during("open the log", &self.log_dir)
    }

    /// The newest frame that was on the device when segment `next` was begun: the one before its first.
    fn proved_by(&self, next: Option<u32>) -> Result<u64> {
        let header = match next {
            Some(next) => self.segment_header(next)?,
            None => None,
        };
        Ok(header.map_or(0, |header| header.sequence.saturating_sub(1)))
    }

    fn scan(
        &self,
        replay: &mut Replay,
        (file, bytes): (&Arc<dyn File>, u64),
        from: Position,
        proved: u64,
    ) -> Result<(Position, Tail)> {
        // The last frame may end a few bytes before the next one's place.
        if from.offset >= bytes + 8 {
            return Err(
                log_damage("open the log", "the segment is shorter than it was")
                    .with_path(self.path(from.segment)),
            );
        }
        replay.begin(Arc::clone(file));
        let scan = Scan {
            file,
            from,
            end: bytes,
            stop: u64::MAX,
            proved,
        };
        let scanned = write_again(&scan).and_then(|()| scan_segment(&scan, replay));
        let (end, tail) = scanned.map_err(|error| error.with_path(self.path(from.segment)))?;
        replay.accounts.set_used(end.segment, end.offset.min(bytes));
        Ok((end, tail))
    }

    /// The begin of segment `number`, which must go on where the log is, unless segments between were
    /// cleaned away.
    fn next_segment(&self, number: u32, at: Position) -> Result<Position> {
        let header = self.segment_header(number)?;
        let header = header.filter(|header| {
            if number == at.segment + 1 {
                header.sequence == at.sequence + 1 && header.chain == at.chain
            } else {
                header.sequence > at.sequence
            }
        });
        header.as_ref().map(Position::start_of).ok_or_else(|| {
            let what = "the segment does not go on where the one before it ends";
            log_damage("open the log", what).with_path(self.path(number))
        })
    }

    /// Whether the last segment was begun in vain: the disk was full, and frames went on into the one
    /// before.
    fn is_stale(&self, last: u32, at: Position, tail: Tail) -> Result<bool> {
        let newest = at.sequence + u64::from(tail == Tail::Torn);
        let older = match self.segment_header(last)? {
            Some(header) => header.sequence <= newest,
            None => false,
        };
        Ok(older && self.is_empty(last)?)
    }

    /// Cuts off what is torn, makes the log durable as it is, and opens its end.
    fn finish(
        &self,
        replay: Replay,
        head: Arc<dyn File>,
        at: Position,
        rebuilding: bool,
    ) -> Result<Writer> {
        let path = self.path(at.segment);
        let bytes = head.len().during("open the log", &path)?;
        let cut = at.offset.min(bytes);
        if cut < bytes {
            head.set_len(cut).during("open the log", &path)?;
        }
        head.sync().during("open the log", &path)?;
        let size = self.config.segment_bytes;
        let log = Log::open(&self.fs, &self.log_dir, size, head, at)?;
        let Replay {
            mut state,
            index,
            mut accounts,
            ..
        } = replay;
        accounts.set_used(at.segment, cut);
        let mut segments = Vec::new();
        for segment in state.segments.iter() {
            let used = accounts
                .get(segment.number)
                .map_or(0, |account| account.used);
            segments.push(if segment.number == at.segment {
                Arc::clone(log.head())
            } else {
                let sealed = Segment::sealed(&self.fs, &self.log_dir, segment.number, used);
                Arc::new(sealed)
            });
        }
        state.segments = Arc::new(segments);
        let mut writer = self.writer(log, index, accounts, state);
        if rebuilding {
            writer.checkpoint()?;
        }
        Ok(writer)
    }
}

/// Writes the frames again of which nothing says that they were on the device. A process before may have
/// failed to sync them, or the index's or the segment's header, and the system then takes what is in its
/// cache for written: a sync alone would promise what is nowhere but there.
fn write_again(scan: &Scan<'_>) -> Result<()> {
    let bytes = unproved(scan)?;
    let mut piece = vec![0; (bytes.end - bytes.start).min(PIECE_BYTES) as usize];
    let mut pieces = bytes.clone().step_by(PIECE_BYTES as usize);
    let written = pieces.try_for_each(|offset| {
        piece.truncate((bytes.end - offset) as usize);
        scan.file.read_at(&mut piece, offset)?;
        scan.file.write_at(&piece, offset)
    });
    written.map_err(|error| Error::io(error, "open the log"))
}

/// Bytes that are written again in one go.
const PIECE_BYTES: u64 = 1 << 20;

fn state_of(index: &Index, segments: Vec<Arc<Segment>>) -> State {
    State {
        deltas: std::array::from_fn(|_| Delta::default()),
        base: Arc::clone(index.base()),
        segments: Arc::new(segments),
        hold: None,
    }
}

fn without(segments: &Arc<Vec<Arc<Segment>>>, numbers: &[u32]) -> Arc<Vec<Arc<Segment>>> {
    let mut segments = Vec::clone(segments);
    segments.retain(|segment| !numbers.contains(&segment.number));
    Arc::new(segments)
}

fn load_accounts(index: &Index) -> Result<Accounts> {
    let mut accounts = Accounts::default();
    for tree in [TREE_SEGMENTS, TREE_DEAD] {
        let mut cursor = index.base().cursor(tree, Key::MIN)?;
        while let Some((key, value)) = cursor.next()? {
            accounts.load(tree, key, value);
        }
    }
    Ok(accounts)
}

/// A segment that the index needs and that is not there.
fn missing_segment(accounts: &Accounts, numbers: &[u32], covered: Position) -> Option<u32> {
    let there = |number: &u32| numbers.binary_search(number).is_ok();
    let newest = numbers.last().copied().unwrap_or(0);
    let listed = accounts.iter().map(|(number, _)| number);
    listed
        .chain(covered.segment..=newest.max(covered.segment))
        .find(|number| !there(number))
}
