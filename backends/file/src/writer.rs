//! The one writer: batches into the log, their places into memory, and those into the index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::engine::{Durability, EngineStats, Key, Op, Table};
use durum_core::{Error, ErrorKind, IoResultExt, Result};

use crate::accounts::Accounts;
use crate::config::Config;
use crate::delta::Delta;
use crate::holes::Holes;
use crate::index::{Index, TREES};
use crate::log::{Content, Entry, FrameBuilder, Log, Placed, Position, Segment};
use crate::seam::FileSystem;
use crate::state::State;

/// All that is needed for writing.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) log_dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) accounts: Accounts,
    /// The newest state; readers get copies.
    pub(crate) state: State,
    pub(crate) frame: FrameBuilder,
    /// What the operations of the batch supersede, one for each.
    pub(crate) priors: Vec<Option<Entry>>,
    /// How far the segment is cleaned that is being cleaned in slices.
    pub(crate) cleaning: Option<Position>,
    /// Segments of which everything was copied, and that wait to be unlinked together.
    pub(crate) cleaned: Vec<u32>,
    /// What reclaiming leaves alone.
    pub(crate) unreadable: Unreadable,
    /// Large values that are dead.
    pub(crate) holes: Holes,
}

/// What could not be read when its space was to be given back. It was reported, and is left alone until the
/// database is opened again.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    /// Segments that could not be cleaned.
    pub(crate) segments: BTreeSet<u32>,
    /// Whether a page of the index was among it.
    pub(crate) index: bool,
}

impl Writer {
    /// Writes a batch to the log; see [`durum_core::engine::Engine::apply`]. Where it changes anything it is
    /// still to be noted where its rows are: [`Writer::note_batch`].
    pub(crate) fn write_batch(
        &mut self,
        ops: &[Op<'_>],
        durability: Durability,
    ) -> Result<Option<Placed>> {
        self.log.check()?;
        check_sizes(ops)?;
        if self.state.delta_bytes() >= self.config.checkpoint_bytes {
            self.checkpoint()?;
        }
        self.frame.clear();
        self.priors.clear();
        for op in ops {
            let (table, key) = op.row();
            let prior = self.state.find_prior(table, key)?;
            self.priors.push(prior);
            let content = match *op {
                Op::Put { value, .. } => Content::Put(table, key, value),
                Op::Delete { .. } if prior.is_none() => continue,
                Op::Delete { .. } => Content::Delete(table, key),
            };
            self.frame.push(content, prior)?;
        }
        let power = durability == Durability::Power;
        let placed = match self.frame.count() {
            0 => None,
            _ => Some(self.append(power)?),
        };
        if power {
            self.log.sync()?;
        }
        Ok(placed)
    }

    /// Writes the frame to the log, and keeps the list of segments.
    pub(crate) fn append(&mut self, preallocate: bool) -> Result<Placed> {
        let before = Arc::clone(self.log.head());
        let appended = self.log.append(&mut self.frame, preallocate);
        if !Arc::ptr_eq(&before, self.log.head()) {
            self.note_roll(&before)?;
        }
        let placed = appended?;
        self.accounts
            .set_used(placed.segment, self.log.head().view()?.limit());
        Ok(placed)
    }

    /// Notes that the log's head is another than `before`.
    ///
    /// # Errors
    /// They poison the log: nobody would find what is written there.
    pub(crate) fn note_roll(&mut self, before: &Segment) -> Result<()> {
        let head = Arc::clone(self.log.head());
        let limits = before
            .view()
            .and_then(|old| Ok((old.limit(), head.view()?.limit())));
        let (old, new) = limits.inspect_err(|_| self.log.poison())?;
        self.accounts.set_used(before.number, old);
        self.accounts.set_used(head.number, new);
        let mut segments = Vec::clone(&self.state.segments);
        segments.retain(|segment| segment.number != head.number);
        segments.push(head);
        self.state.segments = Arc::new(segments);
        Ok(())
    }

    /// See [`durum_core::engine::Engine::stats`].
    pub(crate) fn stats(&self) -> Result<EngineStats> {
        let mut disk_bytes = self.index.disk_bytes()?;
        let mut dead_bytes = 0;
        for segment in self.state.segments.iter() {
            let measured = self
                .fs
                .open(segment.path())
                .and_then(|file| file.disk_bytes());
            let measured = measured.during("measure the log", segment.path())?;
            disk_bytes += measured;
            dead_bytes += self.dead_bytes(segment.number, measured);
        }
        Ok(EngineStats {
            disk_bytes,
            reclaimable_bytes: (dead_bytes + self.index.free_bytes()).min(disk_bytes),
        })
    }

    /// Notes where the operations of a batch came to lie. Those that changed nothing were left out of
    /// the frame.
    pub(crate) fn note_batch(&mut self, ops: &[Op<'_>], placed: Placed) {
        let mut places = self.frame.places().iter();
        let mut run = Run::default();
        for (op, prior) in ops.iter().zip(&self.priors) {
            let (table, key) = op.row();
            if matches!(op, Op::Delete { .. }) && prior.is_none() {
                continue;
            }
            let Some(&(offset, bytes)) = places.next() else {
                break;
            };
            if let Some(prior) = prior {
                self.accounts.subtract(*prior);
                self.holes
                    .add(*prior, (placed.segment, placed.offset.into()));
            }
            let entry = match op {
                Op::Put { .. } => {
                    Entry::new(placed.segment, placed.offset + offset, u64::from(bytes))
                }
                Op::Delete { .. } => Entry::GONE,
            };
            if entry != Entry::GONE {
                self.accounts.add(entry);
            }
            run.add(&mut self.state, table, key, entry);
        }
        run.end(&mut self.state);
    }

    /// Brings the index up to the end of the log, durably, and empties the recent changes.
    ///
    /// # Errors
    /// `Full`, and `Damaged` where the index cannot be read: everything is as it was. Any other poisons the
    /// log.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        self.log.sync()?;
        let mut changes: [Vec<(Key, u64)>; TREES] = std::array::from_fn(|_| Vec::new());
        for (changes, delta) in changes.iter_mut().zip(&self.state.deltas) {
            changes.extend(delta.iter_from(Key::MIN));
        }
        self.accounts.changes(&mut changes);
        let written = self.index.checkpoint(&changes, self.log.end());
        if let Err(error) = written {
            let unchanged = matches!(error.kind(), ErrorKind::Full | ErrorKind::Damaged);
            if !unchanged || self.index.is_uncertain() {
                self.log.poison();
            }
            return Err(error);
        }
        self.accounts.saved();
        self.state.base = Arc::clone(self.index.base());
        self.state.deltas = std::array::from_fn(|_| Delta::default());
        Ok(())
    }

    /// The directory of the log.
    pub(crate) fn log_dir(&self) -> &Path {
        &self.log_dir
    }
}

/// Rows of a batch that are behind all recent changes of their table, and ascend.
#[derive(Debug, Default)]
struct Run {
    table: Option<Table>,
    entries: Vec<(Key, u64)>,
}

impl Run {
    /// Notes a row's newest place, at once or with those that follow.
    fn add(&mut self, state: &mut State, table: Table, key: Key, entry: Entry) {
        let last = self.entries.last().map(|entry| entry.0);
        if self.table != Some(table) || last.is_none_or(|last| last >= key) {
            self.end(state);
            if !state.is_behind_recent(table, key) {
                return state.set(table, key, entry);
            }
            self.table = Some(table);
        }
        self.entries.push((key, entry.0));
    }

    fn end(&mut self, state: &mut State) {
        if let Some(table) = self.table {
            state.append(table, &self.entries);
            self.entries.clear();
        }
    }
}

/// Refuses a batch that the log cannot hold before anything of it is written.
fn check_sizes(ops: &[Op<'_>]) -> Result<()> {
    for op in ops {
        if let Op::Put { key, value, .. } = op
            && value.len() as u64 > VALUE_BYTES_MAX
        {
            return Err(Error::new(ErrorKind::TooLarge, "apply a batch")
                .because(format!("a value of {} bytes", value.len()))
                .hint(format!(
                    "The flat file holds up to {VALUE_BYTES_MAX} bytes."
                ))
                .with_oid(durum_core::Oid(key.first)));
        }
    }
    Ok(())
}

/// The largest value: 1 GiB.
pub(crate) const VALUE_BYTES_MAX: u64 = 1 << 30;
