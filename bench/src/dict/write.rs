//! Writing dictionaries.

use durum_core::Result;
use durum_dictionaries::{Fields, Write};

use super::model::right;
use super::part::{DictDone, Work};
use super::workload::DictWorkload;

/// What a dictionary is to hold: nothing where it is deleted.
fn fields(work: &Work<'_>, doing: DictWorkload, number: u64) -> Option<Fields> {
    let version = work.model.version(number);
    let is_deleted = matches!(doing, DictWorkload::Delete | DictWorkload::DeleteBatches);
    (!is_deleted).then(|| work.model.fields(number, version))
}

pub(super) fn in_batches(work: &Work<'_>, doing: DictWorkload) -> Result<DictDone> {
    let mut done = DictDone::default();
    for numbers in work.model.written(doing).chunks(work.part.batch) {
        let write = |number: &u64| Write {
            key: work.model.key(*number),
            after: None,
            fields: fields(work, doing, *number),
        };
        let writes: Vec<Write> = numbers.iter().map(write).collect();
        let count = writes.len() as u64;
        let ids = done.time(count, || work.home.write(&work.part.class, writes))?;
        work.found(ids.len() as u64, count)?;
    }
    Ok(done)
}

pub(super) fn one_by_one(work: &Work<'_>, doing: DictWorkload) -> Result<DictDone> {
    let mut done = DictDone::default();
    for number in work.model.written(doing) {
        let (key, fields) = (work.model.key(number), fields(work, doing, number));
        done.time(1, || one(work, doing, &key, fields))?;
    }
    Ok(done)
}

pub(super) fn at_once(work: &Work<'_>, doing: DictWorkload) -> Result<DictDone> {
    work.at_once(&work.model.written(doing), |number| {
        let (key, fields) = (work.model.key(number), fields(work, doing, number));
        one(work, doing, &key, fields)
    })
}

fn one(work: &Work<'_>, doing: DictWorkload, key: &str, fields: Option<Fields>) -> Result<()> {
    let class = &work.part.class;
    let Some(fields) = fields else {
        let deleted = work.home.delete(class, key)?;
        return right(deleted.is_some(), || format!("`{key}` was not there"));
    };
    match doing {
        DictWorkload::Update | DictWorkload::UpdateAtOnce => {
            let mut was = 0;
            work.home.update(class, key, |found| {
                was = found.len();
                found.clone_from(&fields);
            })?;
            right(was == fields.len(), || format!("`{key}` was not there"))
        }
        _ => work.home.put(class, key, fields).map(drop),
    }
}
