//! Reading dictionaries, and looking whether they are what they are to be. Where no others work at the same time that is done while the
//! clock stands.

use std::ops::Bound;
use std::time::{Duration, Instant};

use durum_core::Result;
use durum_dictionaries::{At, Dictionary, Query, Stream, Value};

use super::model::right;
use super::part::{DictDone, Work};
use super::workload::DictWorkload;

/// How many of a stream's results are kept until they are looked at.
const KEPT: usize = 256;

/// How many are read one after the other, from a store and from nodes.
const READS: [u64; 2] = [50_000, 2000];
/// The same where several read.
const READS_AT_ONCE: [u64; 2] = [100_000, 20_000];
/// About how many each kind of selection is to find.
const SELECTED: [u64; 2] = [50_000, 5000];

fn at_most(work: &Work<'_>, most: [u64; 2]) -> u64 {
    let [store, nodes] = most;
    match work.is_on_nodes() {
        true => nodes,
        false => store,
    }
}

pub(super) fn get(work: &Work<'_>) -> Result<DictDone> {
    let mut done = DictDone::default();
    let count = at_most(work, READS).min(work.model.dicts);
    for number in work.drawn(count) {
        let key = work.model.key(number);
        let found = done.time(1, || work.home.get(&work.part.class, &key))?;
        work.found(u64::from(found.is_some()), 1)?;
        found.map_or(Ok(()), |found| work.model.check(&found))?;
    }
    Ok(done)
}

pub(super) fn get_at_once(work: &Work<'_>) -> Result<DictDone> {
    let count = at_most(work, READS_AT_ONCE).min(work.model.dicts);
    work.at_once(&work.drawn(count), |number| {
        let found = work.home.get(&work.part.class, &work.model.key(number))?;
        work.model.check_quickly(number, found.as_ref())
    })
}

/// Numbers of dictionaries that were updated.
fn updated(work: &Work<'_>) -> Vec<u64> {
    let all = work.model.written(DictWorkload::UpdateBatches);
    let count = at_most(work, READS).min(all.len() as u64);
    let drawn = work.drawn(count).into_iter();
    drawn
        .filter_map(|at| all.get(at as usize % all.len().max(1)).copied())
        .collect()
}

pub(super) fn get_at(work: &Work<'_>) -> Result<DictDone> {
    let mut done = DictDone::default();
    let at = At::Time(work.put_at());
    for number in updated(work) {
        let key = work.model.key(number);
        let found = done.time(1, || work.home.get_at(&work.part.class, &key, at))?;
        work.model.check_revision(number, 0, found.as_ref())?;
    }
    Ok(done)
}

pub(super) fn history(work: &Work<'_>) -> Result<DictDone> {
    let mut done = DictDone::default();
    for number in updated(work) {
        let key = work.model.key(number);
        let found = done.time(2, || {
            let history = work.home.history(&work.part.class, &key)?;
            history.collect::<Result<Vec<_>>>()
        })?;
        work.found(found.len() as u64, 2)?;
        for (version, found) in [1, 0].into_iter().zip(&found) {
            work.model.check_revision(number, version, Some(found))?;
        }
    }
    Ok(done)
}

/// Reads a stream, and has what it gives looked at.
fn read(
    done: &mut DictDone,
    open: impl FnOnce() -> Result<Stream<Dictionary>>,
    mut look: impl FnMut(&Dictionary) -> Result<()>,
) -> Result<()> {
    let mut begin = Instant::now();
    let (mut took, mut first) = (Duration::ZERO, None);
    let (mut stream, mut kept) = (open()?, Vec::with_capacity(KEPT));
    loop {
        let next = stream.next().transpose()?;
        first.get_or_insert_with(|| begin.elapsed());
        let is_last = next.is_none();
        kept.extend(next);
        if is_last || kept.len() == KEPT {
            took += begin.elapsed();
            done.count += kept.len() as u64;
            for found in kept.drain(..) {
                look(&found)?;
            }
            begin = Instant::now();
        }
        if is_last {
            done.seconds += took.as_secs_f64();
            done.latencies.add(first.unwrap_or_default());
            return Ok(());
        }
    }
}

pub(super) fn all(work: &Work<'_>) -> Result<DictDone> {
    let mut done = DictDone::default();
    let mut last = String::new();
    let open = || work.home.all(&work.part.class);
    read(&mut done, open, |found| {
        right(last < found.key, || {
            format!("`{}` comes after `{last}`", found.key)
        })?;
        last.clone_from(&found.key);
        work.model.check(found)
    })?;
    work.found(done.count, work.model.count())?;
    Ok(done)
}

/// An index, what is looked for in it, and the keys of what is to be found, in order.
type Question = (&'static str, Query, Vec<String>);

fn question(work: &Work<'_>, doing: DictWorkload, number: u64) -> Question {
    let (model, text) = (&work.model, |text: String| Value::String(text));
    match doing {
        DictWorkload::SelectEqual => (
            "name",
            Query::Equals(text(model.name(number))),
            model.namesakes(number),
        ),
        DictWorkload::SelectPrefix => (
            "name",
            Query::Prefix(text(model.prefix(number))),
            model.alike(number),
        ),
        DictWorkload::SelectRange => {
            // Now and then among those that were updated.
            let is_later = number.is_multiple_of(8);
            let from = number + if is_later { model.dicts } else { 0 };
            let end = |integer: u64| Value::Int(integer.cast_signed());
            let low = Bound::Included(end(from));
            let high = Bound::Excluded(end(from + 100));
            let found = model.between(from..from + 100);
            ("number", Query::Range(low, high), found)
        }
        _ => {
            let tag = model.tag(number);
            let (version, name) = match number % 4 {
                0 => (Some(0), format!("v0-{tag:06}")),
                1 => (Some(1), format!("v1-{tag:06}")),
                _ => (None, format!("a{tag:06}")),
            };
            let found = model.tagged(tag, version);
            ("tags", Query::Equals(text(name)), found)
        }
    }
}

pub(super) fn select(work: &Work<'_>, doing: DictWorkload) -> Result<DictDone> {
    let (mut done, mut random) = (
        DictDone::default(),
        fastrand::Rng::with_seed(work.part.seed),
    );
    let wanted = at_most(work, SELECTED).min(work.model.dicts);
    while done.count < wanted {
        let (index, query, expected) = question(work, doing, random.u64(..work.model.dicts));
        let mut next = expected.iter();
        let open = || work.home.select(&work.part.class, index, &query);
        read(&mut done, open, |found| {
            right(next.next() == Some(&found.key), || {
                format!("`{}` is found by {index}: {query:?}", found.key)
            })?;
            work.model.check(found)
        })?;
        right(next.next().is_none(), || {
            format!("too few are found by {index}: {query:?}")
        })?;
    }
    Ok(done)
}
