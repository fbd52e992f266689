//! The numbers themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durum_core::{ErrorKind, Result};

use crate::hangup::Hangup;
use crate::protocol::Kind;

/// A number that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, how often.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// The last one has no bound.
    counts: [Counter; Latencies::BOUNDS + 1],
    nanoseconds: Counter,
}

impl Latencies {
    /// Bounds: 1 µs, and each twice the one before, up to 16.8 s.
    pub(crate) const BOUNDS: usize = 25;

    pub(crate) fn took(&self, time: Duration) {
        let us = time.as_micros() as u64;
        // How often a microsecond is to be doubled to be more.
        let place = (u64::BITS - us.leading_zeros()) as usize;
        let last = Latencies::BOUNDS;
        if let Some(count) = self.counts.get(place.min(last)) {
            count.add(1);
        }
        self.nanoseconds.add(time.as_nanos() as u64);
    }

    /// The bounds in seconds, each with how many are below it and not below the one before; in the end
    /// those beyond all.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bound = |place: usize| match place < Latencies::BOUNDS {
            true => (1u64 << place) as f64 / 1e6,
            false => f64::INFINITY,
        };
        let counts = self.counts.iter().enumerate();
        counts
            .map(|(place, count)| (bound(place), count.get()))
            .collect()
    }

    /// All of them together, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.nanoseconds.get() as f64 / 1e9
    }
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Load,
    LoadMany,
    Commit,
    Invalid,
    NewOids,
    Pack,
    /// Which protocol is spoken, and what is served.
    Version,
    /// Of objects in their order.
    Scan,
    /// To keep a snapshot, or to give it up.
    Snapshot,
    /// To begin or end a session.
    Session,
    /// To make everything durable.
    Sync,
    /// What goes through the whole store, or fills it.
    Upkeep,
    /// To end, or none that there is.
    Other,
}

impl Request {
    /// All, each at the place of its number.
    const ALL: [Request; 13] = [
        Request::Load,
        Request::LoadMany,
        Request::Commit,
        Request::Invalid,
        Request::NewOids,
        Request::Pack,
        Request::Version,
        Request::Scan,
        Request::Snapshot,
        Request::Session,
        Request::Sync,
        Request::Upkeep,
        Request::Other,
    ];

    /// That of a command of Durus's protocol.
    pub(crate) fn of_durus(command: u8) -> Request {
        match command {
            b'L' => Request::Load,
            b'B' => Request::LoadMany,
            b'C' => Request::Commit,
            b'S' => Request::Invalid,
            b'N' | b'M' => Request::NewOids,
            b'P' => Request::Pack,
            b'V' => Request::Version,
            _ => Request::Other,
        }
    }

    /// That of a request of the server's own protocol.
    pub(crate) fn of_durum(kind: Kind) -> Request {
        match kind {
            Kind::Load => Request::Load,
            Kind::Commit => Request::Commit,
            Kind::Changes => Request::Invalid,
            Kind::NewOids => Request::NewOids,
            Kind::Hello | Kind::Stat | Kind::Dictionary => Request::Version,
            Kind::Scan => Request::Scan,
            Kind::Snapshot | Kind::Release => Request::Snapshot,
            Kind::Begin | Kind::End => Request::Session,
            Kind::Sync => Request::Sync,
            Kind::Outcome => Request::Other,
            _ => Request::Upkeep,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Request::Load => "load",
            Request::LoadMany => "load_many",
            Request::Commit => "commit",
            Request::Invalid => "invalid",
            Request::NewOids => "new_oids",
            Request::Pack => "pack",
            Request::Version => "version",
            Request::Scan => "scan",
            Request::Snapshot => "snapshot",
            Request::Session => "session",
            Request::Sync => "sync",
            Request::Upkeep => "upkeep",
            Request::Other => "other",
        }
    }
}

/// What all connections count.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When counting began, in seconds since 1970.
    pub(crate) started: f64,
    requests: [Latencies; Request::ALL.len()],
    /// From the last byte of a transaction to where it is durable.
    pub(crate) writes: Latencies,
    /// Loads of objects that were answered.
    pub(crate) loaded: Counter,
    /// Commits that are durable.
    pub(crate) committed: Counter,
    /// Commits that were answered with a conflict.
    pub(crate) conflicts: Counter,
    /// Commits that the client gave up, when it heard what had become invalid.
    pub(crate) given_up: Counter,
    pub(crate) accepted: Counter,
    /// Connections that were closed at once, since there were as many as there may be.
    pub(crate) refused: Counter,
    closed: Counter,
    /// Connections that the server ended for what the client did, or did not do in time.
    pub(crate) cut_off: Counter,
    /// How often a connection was given a thread of its own.
    pub(crate) direct: Counter,
    /// Objects that came for a store that is filled, and their bytes.
    pub(crate) filled: Counter,
    pub(crate) filled_bytes: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Metrics {
            started: now.unwrap_or_default().as_secs_f64(),
            requests: Default::default(),
            writes: Latencies::default(),
            loaded: Counter::default(),
            committed: Counter::default(),
            conflicts: Counter::default(),
            given_up: Counter::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            closed: Counter::default(),
            cut_off: Counter::default(),
            direct: Counter::default(),
            filled: Counter::default(),
            filled_bytes: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        }
    }

    /// A request was answered, or has ended its connection.
    pub(crate) fn took(&self, request: Request, time: Duration) {
        if let Some(latencies) = self.requests.get(request as usize) {
            latencies.took(time);
        }
    }

    /// A commit was written, or was not.
    pub(crate) fn wrote<T>(&self, time: Duration, result: &Result<T>) {
        match result {
            Ok(_) => self.committed.add(1),
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Gone) => {
                self.conflicts.add(1);
            }
            Err(_) => return,
        }
        self.writes.took(time);
    }

    /// A connection has ended.
    pub(crate) fn closed(&self, end: &Hangup) {
        self.closed.add(1);
        if let Hangup::Late(_) | Hangup::Refused(_) | Hangup::Store(_) = end {
            self.cut_off.add(1);
        }
    }

    /// Connections there are.
    pub(crate) fn open(&self) -> u64 {
        // In this order: one that comes and goes in between does not make it less than nothing.
        let closed = self.closed.get();
        self.accepted.get().saturating_sub(closed)
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = (Request, &Latencies)> {
        Request::ALL.into_iter().zip(&self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_below_the_next_bound() {
        let all = [
            0,
            7,
            8,
            15,
            16,
            1 << 20,
            (1 << 24) - 1,
            1 << 24,
            u64::MAX >> 20,
        ];
        for us in all {
            let latencies = Latencies::default();
            latencies.took(Duration::from_micros(us));
            let buckets = latencies.buckets();
            let place = buckets.iter().position(|(_, count)| *count == 1).unwrap();
            assert!((us as f64) < buckets[place].0 * 1e6, "{us}");
            if let Some(before) = place.checked_sub(1) {
                assert!(us as f64 >= buckets[before].0 * 1e6, "{us}");
            }
            assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 1);
            assert_eq!(buckets.len(), Latencies::BOUNDS + 1);
            assert!((latencies.seconds() - us as f64 / 1e6).abs() <= 1e-3 * us as f64);
        }
    }

    #[test]
    fn every_kind_of_request_has_its_place() {
        for (place, request) in Request::ALL.into_iter().enumerate() {
            assert_eq!(request as usize, place);
        }
        let metrics = Metrics::new();
        metrics.took(Request::Other, Duration::from_millis(1));
        let (_, counted) = metrics.requests().last().unwrap();
        assert!(counted.seconds() > 0.0);
    }

    #[test]
    fn connections_come_and_go() {
        let metrics = Metrics::new();
        metrics.accepted.add(2);
        metrics.closed(&Hangup::Done);
        assert_eq!((metrics.open(), metrics.cut_off.get()), (1, 0));
        metrics.closed(&Hangup::Late("a request"));
        assert_eq!((metrics.open(), metrics.cut_off.get()), (0, 1));
    }
}
