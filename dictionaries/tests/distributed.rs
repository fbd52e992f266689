//! The home on Garage does what every home does, on three real nodes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use durum_cluster::TestCluster;
use durum_dictionaries::conformance::{CASES, Site};
use durum_dictionaries::{Dictionaries, Merger};
use durum_garage::Cluster;
use tokio::runtime::Runtime;

/// How many cases run at once.
const THREADS: usize = 4;

/// A home in a namespace of its own.
struct Place {
    cluster: Cluster,
    namespace: String,
}

impl Site for Place {
    fn writer(&self, merger: Merger) -> Dictionaries {
        Dictionaries::distributed(self.cluster.clone(), &self.namespace, merger).unwrap()
    }

    fn is_slow(&self) -> bool {
        true
    }
}

#[test]
fn a_home_on_three_nodes_does_what_every_home_does() {
    let runtime = Runtime::new().unwrap();
    // The classes of the cases want different numbers of copies; one cluster serves them all.
    let Some(cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let mut settings = cluster.settings();
    for copies in 1..=2 {
        settings
            .access
            .insert(copies, cluster.credentials().clone());
    }
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, case)) = CASES.get(number) else {
                break;
            };
            let place = Place {
                cluster: Cluster::new(settings.clone()).unwrap(),
                namespace: format!("case{number}"),
            };
            let begun = std::time::Instant::now();
            if catch_unwind(AssertUnwindSafe(|| case(&place))).is_err() {
                failed.lock().unwrap().push(*name);
            }
            println!("{name}: {:?}", begun.elapsed());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(run);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{failed:?} failed: what they say is above"
    );
}
