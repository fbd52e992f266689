//! Work on parcels by several threads at once.

use std::collections::BTreeMap;

use durum_core::{Error, ErrorKind, Result};

use crate::channel::Channel;

/// How many threads ask at once; where they wait for nodes most of the time, more than there are cores.
const THREADS: usize = 8;

/// A parcel of what a stream gives.
pub(super) struct Parcel<T> {
    pub(super) items: Vec<T>,
    bytes: usize,
}

/// The most that is in a parcel.
const ITEMS: usize = 64;

/// Has `work` done on all items, in parcels, by several threads, and gives the results to `collect` in the order of the
/// items, on the caller's thread. No more than so many bytes of items are on their way.
///
/// # Errors
/// The first of the stream, of `work` or of `collect`, in the order of the items.
pub(super) fn run<T: Send, R: Send>(
    stream: impl Iterator<Item = Result<T>> + Send,
    weight: impl Fn(&T) -> usize + Send + Sync,
    in_flight_bytes: usize,
    work: impl Fn(Parcel<T>) -> Result<R> + Sync,
    mut collect: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let parcels: Channel<(u64, Result<Parcel<T>>)> = Channel::new(in_flight_bytes);
    let results: Channel<(u64, Result<R>)> = Channel::new(THREADS * 2);
    std::thread::scope(|scope| {
        let (parcels, results, work) = (&parcels, &results, &work);
        scope.spawn(move || {
            let _closing = parcels.closing();
            produce(stream, weight, in_flight_bytes, parcels);
        });
        let mut workers = Vec::new();
        for _ in 0..THREADS {
            workers.push(scope.spawn(move || {
                while let Some((number, parcel)) = parcels.receive() {
                    let done = parcel.and_then(work);
                    if !results.send((number, done), 1) {
                        return;
                    }
                }
            }));
        }
        let closer = scope.spawn(move || {
            let _closing = results.closing();
            let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            ended.iter().any(Result::is_err)
        });
        let collected = in_order(results, &mut collect);
        // Where it has failed nobody goes on.
        drop(parcels.closing());
        drop(results.closing());
        let panicked = closer.join().unwrap_or(true);
        match panicked {
            true => Err(Error::new(ErrorKind::Other, super::DOING).because("a thread failed")),
            false => collected,
        }
    })
}

fn produce<T>(
    stream: impl Iterator<Item = Result<T>>,
    weight: impl Fn(&T) -> usize,
    in_flight_bytes: usize,
    parcels: &Channel<(u64, Result<Parcel<T>>)>,
) {
    let full = in_flight_bytes / (THREADS * 2);
    let empty = || Parcel {
        items: Vec::new(),
        bytes: 0,
    };
    let (mut number, mut parcel) = (0, empty());
    for item in stream {
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                let bytes = parcel.bytes;
                parcels.send((number, Ok(parcel)), bytes);
                parcels.send((number + 1, Err(error)), 0);
                return;
            }
        };
        parcel.bytes += weight(&item);
        parcel.items.push(item);
        if parcel.items.len() >= ITEMS || parcel.bytes >= full {
            let bytes = parcel.bytes;
            if !parcels.send((number, Ok(std::mem::replace(&mut parcel, empty()))), bytes) {
                return;
            }
            number += 1;
        }
    }
    let bytes = parcel.bytes;
    parcels.send((number, Ok(parcel)), bytes);
}

/// Results, which are small, wait for those before them.
fn in_order<R>(
    results: &Channel<(u64, Result<R>)>,
    collect: &mut impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let (mut next, mut waiting) = (0, BTreeMap::new());
    while let Some((number, result)) = results.receive() {
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(&next) {
            collect(result?)?;
            next += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(stream: Vec<Result<u64>>, fail_at: u64) -> (Vec<u64>, Result<()>) {
        let mut seen = Vec::new();
        let done = run(
            stream.into_iter(),
            |_| 10,
            4096,
            |parcel| match parcel.items.contains(&fail_at) {
                true => Err(Error::new(ErrorKind::Full, "work")),
                false => Ok(parcel.items),
            },
            |items| {
                seen.extend(items);
                Ok(())
            },
        );
        (seen, done)
    }

    #[test]
    fn results_come_in_order_up_to_the_first_error() {
        let (seen, done) = numbers((0..5000).map(Ok).collect(), u64::MAX);
        assert!(done.is_ok() && seen == (0..5000).collect::<Vec<_>>());
        let (seen, done) = numbers((0..5000).map(Ok).collect(), 777);
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Full);
        assert!(seen.len() <= 777 && seen.iter().copied().eq(0..seen.len() as u64));
        let mut stream: Vec<Result<u64>> = (0..100).map(Ok).collect();
        stream.push(Err(Error::new(ErrorKind::Damaged, "read")));
        let (seen, done) = numbers(stream, u64::MAX);
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(seen.len(), 100);
    }
}
