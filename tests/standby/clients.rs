//! Four clients that commit all the time, two of real Durus and two in Rust, and what they have to find in the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::Oid;
use durum_core::store::Store as _;
use durum_testkit::{durus_python, run_python};

use crate::durus_client::DurusClient;
use crate::front;
use crate::kit::Servers;
use crate::progress::{Counts, Progress};
use crate::rust_client::{self, Objects, RustClient, SHARED_EVERY};

const DURUS: [&str; 2] = ["durus-0", "durus-1"];
const RUST: [&str; 3] = ["rust-0", "rust-1", "rust-shared"];

/// Four clients at work on one store.
#[derive(Debug)]
pub(crate) struct Clients {
    python: PathBuf,
    /// Where the Rust clients find whichever server serves.
    front: u16,
    durus: Vec<DurusClient>,
    rust: Vec<RustClient>,
    /// Those of the Rust clients: one each, and what they share.
    oids: Vec<Oid>,
}

impl Clients {
    /// Begins with an empty store, which the servers serve. Clients of Durus try one server after the other, Rust
    /// clients go through a front of their own. `None` where there is no Durus.
    pub(crate) fn start(servers: &Servers) -> Option<Clients> {
        let python = durus_python()?;
        let front = front::start(servers.ports());
        let port = servers.active_port().to_string();
        let arguments = [&["set-up", &port, "--raw"], &RUST[..], &["--durus"], &DURUS].concat();
        let said = run_python(&python, "durus_count.py", &arguments);
        let oids = said
            .split_whitespace()
            .map(|word| Oid(word.parse().unwrap()));
        let oids: Vec<Oid> = oids.collect();
        rust_client::set_up(&rust_client::connect(front), &oids);
        let (own, shared) = oids.split_at(2);
        let rust = own.iter().map(|oid| {
            let (own, shared) = (*oid, shared[0]);
            RustClient::start(front, Objects { own, shared })
        });
        let durus = DURUS.iter().map(|name| {
            let (home, ports) = (servers.home(), servers.ports());
            DurusClient::start(&python, home, name, &ports)
        });
        let mut clients = Clients {
            front,
            rust: rust.collect(),
            durus: durus.collect(),
            python,
            oids,
        };
        clients.fault();
        clients.wait_until_they_go_on(Duration::from_secs(30), || {});
        Some(clients)
    }

    /// A Python that has Durus.
    pub(crate) fn python(&self) -> PathBuf {
        self.python.clone()
    }

    fn progress(&self) -> Vec<Arc<Progress>> {
        let durus = self.durus.iter().map(|client| client.progress.clone());
        let rust = self.rust.iter().map(|client| client.progress.clone());
        durus.chain(rust).collect()
    }

    /// The names of those that are Durus.
    pub(crate) fn durus_names() -> [&'static str; 2] {
        DURUS
    }

    /// The objects of those in Rust, and how far each of these clients is.
    pub(crate) fn rust(&self) -> Vec<(Oid, Arc<Progress>)> {
        let progress = self.rust.iter().map(|client| client.progress.clone());
        self.oids.iter().copied().zip(progress).collect()
    }

    /// Something has just been done that ends commits.
    pub(crate) fn fault(&self) {
        for progress in self.progress() {
            progress.fault();
        }
    }

    /// Waits until each has been acknowledged a commit that it has begun after the last fault, while `meanwhile` is
    /// done again and again; after what time the first and the last had.
    pub(crate) fn wait_until_they_go_on(
        &mut self,
        time_max: Duration,
        mut meanwhile: impl FnMut(),
    ) -> (Duration, Duration) {
        let (all, began) = (self.progress(), Instant::now());
        loop {
            meanwhile();
            let durus = self.durus.iter_mut().any(DurusClient::has_failed);
            let rust = self.rust.iter().any(RustClient::has_failed);
            assert!(!durus && !rust, "a client has failed");
            let times: Vec<_> = all.iter().map(|progress| progress.gone_on()).collect();
            let gone_on: Option<Vec<Duration>> = times.iter().copied().collect();
            if let Some(times) = gone_on {
                let (first, last) = (times.iter().min(), times.iter().max());
                return (*first.unwrap(), *last.unwrap());
            }
            assert!(
                began.elapsed() < time_max,
                "two of Durus, two in Rust: {times:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends them all. What was acknowledged or found is there, once, and nothing else.
    pub(crate) fn end(self, servers: &Servers) {
        let all = self.progress();
        let shared = |counts: &[u64]| counts.iter().map(|count| count / SHARED_EVERY).sum::<u64>();
        let durus: Vec<u64> = self.durus.into_iter().map(DurusClient::end).collect();
        let rust: Vec<u64> = self.rust.into_iter().map(RustClient::end).collect();
        let port = servers.active_port().to_string();
        let arguments = [&["show", &port], &DURUS[..]].concat();
        let said = run_python(&self.python, "durus_count.py", &arguments);
        let shown: Vec<u64> = said
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(shown, [durus[0], durus[1], shared(&durus)]);
        let snapshot = rust_client::connect(self.front).snapshot().unwrap();
        let stored = self
            .oids
            .iter()
            .map(|oid| rust_client::count_of(&*snapshot, *oid));
        let stored: Vec<u64> = stored.collect();
        assert_eq!(stored, [rust[0], rust[1], shared(&rust)]);
        let sum = |count: fn(&Counts) -> u64| -> u64 {
            all.iter().map(|progress| count(&progress.counts())).sum()
        };
        let (commits, found, lost) = (sum(|it| it.commits), sum(|it| it.found), sum(|it| it.lost));
        println!(
            "{commits} commits; of those of Durus that were not answered, {found} were made and {lost} not"
        );
    }
}
