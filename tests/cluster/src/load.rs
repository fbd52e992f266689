//! Writers and readers that measure what they meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durum_garage::{Insert, K2v};

use crate::TIME_MAX;

/// Writers and readers that go on until they are told to end, and what they have met.
#[derive(Debug)]
pub struct Load {
    ends: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Met>>,
}

/// What one of them has met.
#[derive(Debug)]
struct Met {
    requests: u64,
    longest: Duration,
    errors: Vec<String>,
}

impl Load {
    /// Each writer writes an item and reads it back.
    pub fn start(k2v: &K2v, writers: u64) -> Load {
        let ends = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let task = |writer: u64| {
            let (k2v, ends, written) = (k2v.clone(), ends.clone(), written.clone());
            async move {
                let mut met = Met {
                    requests: 0,
                    longest: Duration::ZERO,
                    errors: Vec::new(),
                };
                while !ends.load(Ordering::Relaxed) {
                    let sort = format!("{writer}/{:08}", met.requests);
                    let partition = format!("p{}", met.requests % 16);
                    let begun = Instant::now();
                    let item = Insert::new(&partition, &sort, sort.clone());
                    let done = k2v.insert(&[item]).await;
                    met.longest = met.longest.max(begun.elapsed());
                    let begun = Instant::now();
                    let found = match done {
                        Ok(()) => k2v.read_item(&partition, &sort).await,
                        Err(error) => Err(error),
                    };
                    met.longest = met.longest.max(begun.elapsed());
                    match found {
                        Ok(Some(item)) if item.value() == Some(&sort.into()) => {}
                        Ok(other) => met.errors.push(format!("{other:?}")),
                        Err(error) => met.errors.push(error.to_string()),
                    }
                    met.requests += 2;
                    written.fetch_add(1, Ordering::Relaxed);
                }
                met
            }
        };
        let tasks = (0..writers).map(|writer| tokio::spawn(task(writer)));
        Load {
            tasks: tasks.collect(),
            ends,
            written,
        }
    }

    /// Waits until so many more items are written.
    ///
    /// # Panics
    /// When they are not, within [`TIME_MAX`].
    pub async fn more(&self, items: u64) {
        let goal = self.written.load(Ordering::Relaxed) + items;
        let begun = Instant::now();
        while self.written.load(Ordering::Relaxed) < goal {
            assert!(begun.elapsed() < TIME_MAX, "nothing is written");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the load, prints how it went, and gives the time of the slowest request.
    ///
    /// # Panics
    /// When any request has failed, or has read something else than was written.
    pub async fn end(self, what: &str) -> Duration {
        self.ends.store(true, Ordering::Relaxed);
        let (mut requests, mut longest, mut errors) = (0, Duration::ZERO, Vec::new());
        for task in self.tasks {
            let met = task.await.expect("no panic");
            requests += met.requests;
            longest = longest.max(met.longest);
            errors.extend(met.errors);
        }
        println!(
            "{what}: {requests} requests, {} errors, the longest took {longest:?}",
            errors.len()
        );
        assert!(errors.is_empty(), "{what}: {errors:#?}");
        longest
    }
}
