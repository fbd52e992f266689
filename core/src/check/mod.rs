//! Verifying a whole store, in bounded memory.

mod anchors;
mod links;

use serde::{Deserialize, Serialize};

use crate::collect::bulk::Linker;
use crate::collect::{OidSet, reach_watched};
use crate::error::{ErrorKind, Result};
use crate::id::{Oid, Tid};
use crate::record::Record;
use crate::store::{LocalStore, Store as _};
use crate::watch::{Steps, UNWATCHED, Watch};

/// Findings that are listed at most; the rest is counted.
const LISTED_MAX: usize = 1000;
/// Memory where nobody asks for more or less.
const MEMORY_BYTES: usize = 32 << 20;

/// What sort of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// A record that is not what was written.
    Damaged,
    /// A reference from an object that is in use to one that does not exist.
    Dangling,
    /// Records of commits that the store does not know of.
    Tid,
    /// The store's counters are not those of its objects.
    Counters,
    /// OIDs in use could be handed out again.
    Oids,
    /// The collector's lists of referrers are not what the objects refer to.
    Links,
    /// Anchors that are no referrers, or form a cycle.
    Anchors,
    /// Objects that lost their anchor and are not queued, or are queued and need not be.
    Orphans,
    /// Pins of objects that do not exist, or that are counted wrongly.
    Pins,
    /// Notes of anchors with larger OIDs that are missing or stale.
    Irregular,
}

impl FindingKind {
    /// Whether it is about what can be rebuilt from the objects.
    fn is_derived(self) -> bool {
        use FindingKind::{Anchors, Irregular, Links, Orphans, Pins};
        matches!(self, Links | Anchors | Orphans | Pins | Irregular)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The object, where it is about one.
    pub oid: Option<u64>,
    /// What sort of finding it is.
    pub kind: FindingKind,
    /// A sentence about it.
    pub message: String,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Objects in the store, garbage and damaged ones included, but not those that are condemned.
    pub objects: u64,
    /// What is wrong: the first thousand findings. Empty: all is well.
    pub errors: Vec<Finding>,
    /// How many findings there are in all.
    pub error_count: u64,
    /// Objects that the root does not reach: no error, but what a collection would delete.
    pub unreachable: u64,
    /// References from objects in use to objects that do not exist.
    pub dangling: u64,
    /// What was mended, in sentences.
    pub repaired: Vec<String>,
}

impl Report {
    fn add(&mut self, oid: Option<Oid>, kind: FindingKind, message: String) {
        self.error_count += 1;
        if self.errors.len() < LISTED_MAX {
            self.errors.push(Finding {
                oid: oid.map(|oid| oid.0),
                kind,
                message,
            });
        }
    }

    fn absorb(&mut self, other: Report) {
        let room = LISTED_MAX.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(room));
        self.error_count += other.error_count;
    }
}

/// What the objects say of the counters that the store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) objects: u64,
    pub(crate) live_bytes: u64,
    /// The OID after the largest in use.
    pub(crate) oids_end: u64,
    /// The newest commit that wrote a record.
    pub(crate) tid: Tid,
    /// Rows in the table of orphans.
    pub(crate) orphans: u64,
    /// Batches that were written since the store was opened, to see whether anything was.
    pub(crate) writes: u64,
}

/// Objects that the collector's tables are not compared with.
#[derive(Debug)]
struct Ignored {
    /// Gone, and being deleted: tables may still name them, or not.
    condemned: OidSet,
    /// Damaged ones, whose references nobody knows.
    unreadable: OidSet,
}

impl Ignored {
    fn contains(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.condemned.contains(oid)? || self.unreadable.contains(oid)?)
    }
}

/// Verifies checksums, decompression, references, reachability, counters, and the collector's tables.
/// With `repair` the counters and the OID mark are mended where they are wrong, and the collector's
/// tables rebuilt; damaged objects and dangling references cannot be mended, and stay errors. Nothing
/// is rebuilt where objects are damaged: what only they refer to would be taken for garbage.
///
/// Commits may go on meanwhile; counters and tables are compared only where there were none.
///
/// # Errors
/// Those of reading that are not findings, and of writing the repair.
pub fn check(store: &LocalStore, repair: bool) -> Result<Report> {
    check_within(store, repair, MEMORY_BYTES)
}

/// As [`check`] without repair; `watch` is told of the objects that are looked at, and can end it.
///
/// # Errors
/// As [`check`], and those of `watch`.
pub fn check_watched(store: &LocalStore, watch: &Watch<'_>) -> Result<Report> {
    Ok(check_once(store, false, MEMORY_BYTES, watch)?.0)
}

/// As [`check`], with about `memory_bytes` for sorting; walking from the root has a bound of its own.
///
/// # Errors
/// As [`check`].
pub fn check_within(store: &LocalStore, repair: bool, memory_bytes: usize) -> Result<Report> {
    let (report, rebuildable) = check_once(store, repair, memory_bytes, UNWATCHED)?;
    if !repair || !rebuildable {
        return Ok(report);
    }
    store.rebuild_links(memory_bytes)?;
    let mut repaired = report.repaired;
    let derived = report.errors.iter().filter(|found| found.kind.is_derived());
    repaired.extend(derived.map(|found| format!("mended: {}", found.message)));
    repaired.push("rebuilt: the collector's tables, from the objects".to_owned());
    let (mut report, _) = check_once(store, repair, memory_bytes, UNWATCHED)?;
    repaired.append(&mut report.repaired);
    report.repaired = repaired;
    Ok(report)
}

/// The report, and whether there are findings that rebuilding the collector's tables would mend.
fn check_once(
    store: &LocalStore,
    repair: bool,
    memory_bytes: usize,
    watch: &Watch<'_>,
) -> Result<(Report, bool)> {
    let mut steps = Steps::new(watch);
    let mut report = Report::default();
    let mut derived = Report::default();
    let before = store.counters();
    let condemned = store
        .job_state()
        .and_then(|job| store.condemned_members(&job, memory_bytes / 16));
    let mut ignored = Ignored {
        condemned: match condemned {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                derived.add(None, FindingKind::Links, error.to_string());
                OidSet::new(0)
            }
            condemned => condemned?,
        },
        unreadable: OidSet::new(memory_bytes / 16),
    };
    let mut linker = Linker::new(memory_bytes / 2)?;
    let mut counted = check_records(store, &mut ignored, &mut linker, &mut report, &mut steps)?;
    let damaged = report.error_count > 0;
    counted.orphans = links::compare(
        store,
        linker,
        &mut ignored,
        memory_bytes / 4,
        &mut derived,
        watch,
    )?;
    for key in store.damaged_pins()? {
        let (session, oid) = (key.first, Oid(key.second));
        let message = format!("the note that session {session} keeps object {oid} is damaged");
        derived.add(Some(oid), FindingKind::Pins, message);
    }
    check_references(store, &mut report, &mut steps)?;
    let kept = store.counters();
    let mut rebuildable = false;
    // A commit that is being written may be seen before it is counted.
    if before == kept && !store.may_show_after(kept.tid) {
        if kept.orphans != counted.orphans {
            let (said, there) = (kept.orphans, counted.orphans);
            let message = format!("the store counts {said} orphans, and there are {there}");
            derived.add(None, FindingKind::Orphans, message);
        }
        rebuildable = derived.error_count > 0 && !damaged;
        report.absorb(derived);
        check_counters(store, kept, counted, repair, &mut report)?;
    }
    // What hangs on a missing object would be taken for garbage.
    let complete = report.dangling == 0 && (store.has_root()? || report.objects == 0);
    Ok((report, rebuildable && complete))
}

/// Reads every record as the engine has it now, newer ones than the store knows of included. Damaged
/// ones join those that are `ignored`.
fn check_records(
    store: &LocalStore,
    ignored: &mut Ignored,
    linker: &mut Linker,
    report: &mut Report,
    steps: &mut Steps<'_>,
) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut data = Vec::new();
    store.for_each_newest(&mut |oid, bytes, codecs, verified| {
        steps.object(bytes.len())?;
        counted.oids_end = oid.0 + 1;
        if ignored.condemned.contains(oid)? {
            return Ok(());
        }
        counted.objects += 1;
        counted.live_bytes += bytes.len() as u64;
        data.clear();
        let read = Record::parse(oid, bytes).and_then(|record| {
            record.read_data(codecs, &mut data)?;
            Ok(record)
        });
        match verified {
            // The object can be read all the same.
            Err(error) if error.kind() == ErrorKind::Damaged && read.is_ok() => {
                report.add(Some(oid), FindingKind::Damaged, error.to_string());
            }
            Err(error) if error.kind() != ErrorKind::Damaged => return Err(error),
            _ => {}
        }
        match read {
            Ok(record) => {
                counted.tid = counted.tid.max(record.tid);
                linker.add(oid, record.anchor, record.refs())
            }
            Err(error) => {
                report.add(Some(oid), FindingKind::Damaged, error.to_string());
                ignored.unreadable.insert(oid).map(drop)
            }
        }
    })?;
    report.objects = counted.objects;
    Ok(counted)
}

fn check_references(store: &LocalStore, report: &mut Report, steps: &mut Steps<'_>) -> Result<()> {
    let mut reached = reach_watched(&*store.snapshot()?, steps)?;
    if store.is_importing() {
        // These are still to come; the import does not end without them.
        let mut kept = Vec::new();
        for (target, source) in reached.dangling {
            match store.is_expected(target)? {
                true => reached.dangling_count -= 1,
                false => kept.push((target, source)),
            }
        }
        reached.dangling = kept;
    }
    report.unreachable = report.objects.saturating_sub(reached.oids.len());
    report.dangling = reached.dangling_count;
    for (target, source) in &reached.dangling {
        let message = format!("object {source} refers to object {target}, which does not exist");
        report.add(Some(*source), FindingKind::Dangling, message);
    }
    report.error_count += reached.dangling_count - reached.dangling.len() as u64;
    Ok(())
}

fn check_counters(
    store: &LocalStore,
    kept: Counted,
    counted: Counted,
    repair: bool,
    report: &mut Report,
) -> Result<()> {
    let mut wrong = Vec::new();
    if (kept.objects, kept.live_bytes) != (counted.objects, counted.live_bytes) {
        wrong.push((
            FindingKind::Counters,
            format!(
                "the store counts {} objects of {} bytes, and there are {} of {}",
                kept.objects, kept.live_bytes, counted.objects, counted.live_bytes
            ),
        ));
    }
    if kept.oids_end < counted.oids_end {
        let (mark, end) = (kept.oids_end, counted.oids_end);
        let message = format!(
            "OIDs from {mark} on would be handed out, and {} is used",
            end - 1
        );
        wrong.push((FindingKind::Oids, message));
    }
    if kept.tid < counted.tid {
        let (last, newest) = (kept.tid, counted.tid);
        let message = format!("commit {newest} wrote a record, but the last one is {last}");
        wrong.push((FindingKind::Tid, message));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    if repair {
        if !store.repair_counters(kept, counted)? {
            return Ok(());
        }
        report.repaired.extend(
            wrong
                .into_iter()
                .map(|(_, message)| format!("mended: {message}")),
        );
    } else {
        wrong
            .into_iter()
            .for_each(|(kind, message)| report.add(None, kind, message));
    }
    Ok(())
}
