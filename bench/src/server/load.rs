//! What clients do to a server, and how fast.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use durum_core::Result;
use fastrand::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::child::Served;
use super::client::{Client, DURUS, Object, Protocol, Speaker, connect, failed};
use super::remote::DURUM;

/// Objects of a bulk load.
pub(super) const BULK: usize = 100;
/// Objects of a load of several requests.
const PIPELINED: usize = 2048;
/// Objects of a transaction by which a server is filled, and references of one object.
const FILL: usize = 200;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerWorkload {
    /// A request of nine bytes and an answer as long as that to a load, by a server that does nothing else.
    RoundTrip,
    /// Loads of one object, one after the other.
    Load,
    /// Loads of a hundred objects with one request.
    LoadMany,
    /// Loads of a few thousand objects by the Rust client, which has several requests on the way.
    Pipelined,
    /// Changes of one object, each client its own.
    Commit,
    /// As `load`, by one client beside others that do nothing.
    BesideIdle,
}

impl ServerWorkload {
    /// All, in the order of measuring.
    pub const ALL: [ServerWorkload; 6] = [
        ServerWorkload::RoundTrip,
        ServerWorkload::Load,
        ServerWorkload::LoadMany,
        ServerWorkload::Pipelined,
        ServerWorkload::Commit,
        ServerWorkload::BesideIdle,
    ];

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ServerWorkload::RoundTrip => "round-trip",
            ServerWorkload::Load => "load",
            ServerWorkload::LoadMany => "load-many",
            ServerWorkload::Pipelined => "pipelined",
            ServerWorkload::Commit => "commit",
            ServerWorkload::BesideIdle => "beside-idle",
        }
    }

    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            ServerWorkload::RoundTrip => "round trips",
            ServerWorkload::Load | ServerWorkload::LoadMany => "objects",
            ServerWorkload::Pipelined | ServerWorkload::BesideIdle => "objects",
            ServerWorkload::Commit => "commits",
        }
    }
}

/// What was done in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Done {
    pub(super) count: u64,
    pub(super) conflicts: u64,
    pub(super) seconds: f64,
    /// The server's processor time.
    pub(super) processor: Option<Duration>,
}

impl Done {
    /// Adds what was done later; meanwhile the server had nothing to do.
    pub(super) fn add(&mut self, later: Done) {
        let first = self.seconds == 0.0;
        let both = self.processor.zip(later.processor);
        self.processor = match first {
            true => later.processor,
            false => both.map(|(one, other)| one + other),
        };
        self.count += later.count;
        self.conflicts += later.conflicts;
        self.seconds += later.seconds;
    }
}

/// A server, the objects that it has, and what is spoken with it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) served: Arc<Served>,
    pub(super) protocol: Protocol,
    leaves: Arc<[u64]>,
    size: usize,
}

impl Subject {
    /// Fills a server with `count` objects of `size` bytes below a root.
    pub(super) fn fill(
        served: Served,
        count: usize,
        size: usize,
        draw: &mut Rng,
    ) -> Result<Subject> {
        let mut client = Client::connect(served.address)?;
        // The root's is the first.
        let root = client.new_oids(1)?;
        let leaves = client.new_oids(count)?;
        let mut folders = Vec::new();
        for some in leaves.chunks(FILL) {
            let leaf = |oid: &u64| object(*oid, size, draw);
            let mut objects: Vec<Object> = some.iter().map(leaf).collect();
            let oid = client.new_oids(1)?;
            folders.extend(&oid);
            objects.extend(oid.into_iter().map(|oid| Object {
                oid,
                data: Vec::new(),
                refs: some.to_vec(),
            }));
            client.commit(&objects)?;
        }
        let root = root.into_iter().map(|oid| Object {
            oid,
            data: Vec::new(),
            refs: folders.clone(),
        });
        client.commit(&root.collect::<Vec<_>>())?;
        Ok(Subject {
            served: Arc::new(served),
            protocol: DURUS,
            leaves: leaves.into(),
            size,
        })
    }

    /// The same, where another protocol is spoken.
    pub(super) fn speaking(&self, protocol: Protocol) -> Subject {
        Subject {
            protocol,
            ..self.clone()
        }
    }

    /// Whether it is asked to do this.
    pub(super) fn does(&self, workload: ServerWorkload) -> bool {
        let ours = self.protocol.name == DURUM.name;
        match workload {
            ServerWorkload::Pipelined => ours,
            ServerWorkload::BesideIdle => !ours,
            _ => true,
        }
    }

    /// Has so many clients do it for so long.
    pub(super) fn measure(
        &self,
        workload: ServerWorkload,
        clients: usize,
        time: Duration,
        draw: &mut Rng,
    ) -> Result<Done> {
        let (address, connect) = (self.served.address, self.protocol.connect);
        let (barrier, ends) = (Barrier::new(clients + 1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|number| {
                    let (mut draw, barrier, ends) = (draw.fork(), &barrier, &ends);
                    scope.spawn(move || {
                        let client = connect(address);
                        barrier.wait();
                        self.work(workload, &mut *client?, number, &mut draw, ends)
                    })
                })
                .collect();
            barrier.wait();
            let (before, begin) = (self.served.processor(), Instant::now());
            std::thread::sleep(time);
            ends.store(true, Ordering::Relaxed);
            let mut all = Done::default();
            for thread in threads {
                // It does not panic.
                let Ok(done) = thread.join() else {
                    return Err(failed(std::io::ErrorKind::Other.into()));
                };
                let done = done?;
                all.count += done.count;
                all.conflicts += done.conflicts;
            }
            all.seconds = begin.elapsed().as_secs_f64();
            let after = self.served.processor();
            all.processor = after.zip(before).map(|(after, before)| after - before);
            Ok(all)
        })
    }

    fn work(
        &self,
        workload: ServerWorkload,
        client: &mut dyn Speaker,
        number: usize,
        draw: &mut Rng,
        ends: &AtomicBool,
    ) -> Result<Done> {
        let mut done = Done::default();
        let own = self.leaves.get(number).copied().unwrap_or_default();
        let count = match workload {
            ServerWorkload::Pipelined => PIPELINED,
            _ => BULK,
        };
        let mut oids = vec![0; count];
        // Once in any case: a rate of nothing would say nothing.
        loop {
            match workload {
                ServerWorkload::LoadMany | ServerWorkload::Pipelined => {
                    oids.fill_with(|| self.leaf(draw));
                    client.load_many(&oids)?;
                    done.count += count as u64;
                }
                ServerWorkload::Commit => {
                    let changed = object(own, self.size, draw);
                    match client.commit(&[changed])? {
                        true => done.count += 1,
                        false => done.conflicts += 1,
                    }
                }
                _ => {
                    client.load(self.leaf(draw))?;
                    done.count += 1;
                }
            }
            if ends.load(Ordering::Relaxed) {
                return Ok(done);
            }
        }
    }

    fn leaf(&self, draw: &mut Rng) -> u64 {
        draw.choice(&*self.leaves).copied().unwrap_or_default()
    }
}

/// Data of which half compresses well, half not at all.
fn object(oid: u64, size: usize, draw: &mut Rng) -> Object {
    let mut data = vec![0x20; size];
    if let Some(half) = data.get_mut(..size / 2) {
        draw.fill(half);
    }
    let refs = Vec::new();
    Object { oid, data, refs }
}

/// Round trips with a server that answers `answer_bytes` to nine bytes, for so long.
pub(super) fn round_trips(served: &Served, answer_bytes: usize, time: Duration) -> Result<Done> {
    use std::io::{Read as _, Write as _};

    let mut stream = connect(served.address)?;
    let mut answer = vec![0; answer_bytes];
    let before = served.processor();
    let (mut done, begin) = (Done::default(), Instant::now());
    while done.count == 0 || begin.elapsed() < time {
        stream
            .write_all(&[0; super::REQUEST_BYTES])
            .map_err(failed)?;
        stream.read_exact(&mut answer).map_err(failed)?;
        done.count += 1;
    }
    done.seconds = begin.elapsed().as_secs_f64();
    let after = served.processor();
    done.processor = after.zip(before).map(|(after, before)| after - before);
    Ok(done)
}

/// Connections that do nothing.
pub(super) fn idle(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).map_err(|error| failed(error.into()))?;
    (0..count).map(|_| connect(address)).collect()
}
