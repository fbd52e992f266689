//! Verifying a whole store, in bounded memory.

use serde::Serialize;

use crate::collect::reach;
use crate::error::Result;
use crate::id::{Oid, Tid};
use crate::record::Record;
use crate::store::{LocalStore, Snapshot, Store as _};

/// Findings that are listed at most; the rest is counted.
const LISTED_MAX: usize = 1000;

/// What sort of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The object, where it is about one.
    pub oid: Option<u64>,
    /// What sort of finding it is.
    pub kind: FindingKind,
    /// A sentence about it.
    pub message: String,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Objects in the store, garbage and damaged ones included.
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
}

/// Verifies checksums, decompression, references, reachability and counters. With `repair` the
/// counters and the OID mark are mended where they are wrong; damaged objects and dangling references
/// cannot be, and stay errors.
///
/// Commits may go on meanwhile; counters are compared only where there were none.
///
/// # Errors
/// Those of reading that are not findings, and of writing the repair.
pub fn check(store: &LocalStore, repair: bool) -> Result<Report> {
    let mut report = Report::default();
    let before = store.counters();
    let counted = check_records(store, &mut report)?;
    let kept = store.counters();
    if before == kept {
        check_counters(store, kept, counted, repair, &mut report)?;
    }
    check_references(&*store.snapshot()?, &mut report)?;
    Ok(report)
}

/// Reads every record as the engine has it now, newer ones than the store knows of included.
fn check_records(store: &LocalStore, report: &mut Report) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut data = Vec::new();
    store.for_each_newest(&mut |oid, bytes, codecs| {
        counted.objects += 1;
        counted.live_bytes += bytes.len() as u64;
        counted.oids_end = oid.0 + 1;
        data.clear();
        let read = Record::parse(oid, bytes).and_then(|record| {
            record.read_data(codecs, &mut data)?;
            Ok(record.tid)
        });
        match read {
            Ok(tid) => counted.tid = counted.tid.max(tid),
            Err(error) => report.add(Some(oid), FindingKind::Damaged, error.to_string()),
        }
        Ok(())
    })?;
    report.objects = counted.objects;
    Ok(counted)
}

fn check_references(snapshot: &dyn Snapshot, report: &mut Report) -> Result<()> {
    let reached = reach(snapshot)?;
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
