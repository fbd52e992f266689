//! What a storage server does for its clients, and what it takes for that.
//!
//! Each server is a process of its own with the same objects: Durum's on each engine, Durus's where there is
//! a Python with it, and one that does nothing but answer, for what a round trip takes on this machine. Clients
//! are threads with bare sockets. Rounds go through all servers, in alternating order, so that what else the
//! machine does meets all of them. Clients and servers share the processors: where these are few, that is
//! what limits them.

pub(crate) mod child;
mod client;
mod load;
mod remote;
mod row;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use fastrand::Rng;
use serde::Serialize;

use crate::files::scratch;
use crate::{Machine, sync_rate};
use child::Served;
use client::failed;
use load::{Done, Subject};
use row::Measured;

pub use load::ServerWorkload;
pub use row::{ServerFigure, ServerRow};

const DOING: &str = "measure servers";
/// Bytes of the request for one object.
const REQUEST_BYTES: usize = 9;
/// What the answer to it has besides the object's data: a status, two lengths, an OID.
const ANSWER_HEAD_BYTES: usize = 17;
/// Clients that commit at once, beside one that does so alone.
const COMMITTERS: usize = 16;
/// Parts of a measurement.
const SLICES: u32 = 10;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Engines by name.
    pub engines: Vec<String>,
    /// What is done; none: all.
    pub workloads: Vec<ServerWorkload>,
    /// Objects in the stores.
    pub objects: usize,
    /// Bytes of an object's data.
    pub size: usize,
    /// How long each measurement takes.
    pub time: Duration,
    /// How often everything is measured.
    pub rounds: usize,
    /// Connections that do nothing beside a busy client.
    pub idle: usize,
    /// A Python in which `import durus` works, to measure Durus's server as well.
    pub durus: Option<PathBuf>,
    /// What is drawn at random is drawn from it.
    pub seed: u64,
    /// The program `durum`.
    pub program: PathBuf,
}

impl ServerSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 2006;
    /// Objects where nobody asks for more or fewer.
    pub const OBJECTS: usize = 20_000;
    /// Bytes of an object's data where nobody asks for more or fewer.
    pub const SIZE: usize = 200;
    /// Idle connections where nobody asks for more or fewer.
    pub const IDLE: usize = 10_000;

    fn wants(&self, workload: ServerWorkload) -> bool {
        self.workloads.is_empty() || self.workloads.contains(&workload)
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// By server and workload.
    pub rows: Vec<ServerRow>,
    /// What is asked of Durum's server.
    pub figures: Vec<ServerFigure>,
    /// Objects in each store.
    pub objects: usize,
    /// Bytes of an object's data.
    pub size: usize,
    /// Small appends that the disk confirms in a second, one after the other.
    pub sync_per_second: f64,
    /// What was drawn from.
    pub seed: u64,
    /// What it was measured on.
    pub machine: Machine,
}

/// Measures what `settings` say with stores in a directory below `dir` that is removed afterwards. `progress`
/// is told in a line what comes next.
///
/// # Errors
/// `Usage` for engines that do not exist; `Mismatch` where a server answers what it must not; `Other` where
/// one does not start; those of the network, and of the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &ServerSettings,
    progress: &dyn Fn(&str),
) -> Result<ServerReport> {
    for engine in &settings.engines {
        registry.get(engine)?;
    }
    let directory = scratch(dir, DOING)?;
    let dir = directory.path();
    let mut suite = Suite::start(dir, settings, progress)?;
    let syncs = sync_rate::measure(dir, settings.time)?.per_second();
    let mut measured = Vec::new();
    for round in 1..=settings.rounds {
        progress(&format!("round {round} of {}", settings.rounds));
        suite.round(&mut measured)?;
        suite.subjects.reverse();
    }
    let rows = rows(&measured);
    Ok(ServerReport {
        figures: row::figures(&settings.engines, &rows, syncs),
        rows,
        objects: settings.objects,
        size: settings.size,
        sync_per_second: syncs,
        seed: settings.seed,
        machine: Machine::this(),
    })
}

/// By workload, number of clients, server and protocol.
fn rows(measured: &[Measured]) -> Vec<ServerRow> {
    type Key<'a> = (ServerWorkload, usize, usize, &'a str, &'static str);
    fn key(one: &Measured) -> Key<'_> {
        let server = one.server.as_str();
        (one.workload, one.clients, one.idle, server, one.protocol)
    }
    let mut keys: Vec<Key<'_>> = Vec::new();
    for one in measured {
        if !keys.contains(&key(one)) {
            keys.push(key(one));
        }
    }
    // Servers and protocols stay in the order in which they came first.
    keys.sort_by_key(|(workload, clients, idle, ..)| {
        let place = ServerWorkload::ALL.iter().position(|it| it == workload);
        (place, *clients, *idle)
    });
    let row = |wanted: Key<'_>| {
        let same = measured.iter().filter(|one| key(one) == wanted);
        ServerRow::of(&same.collect::<Vec<_>>())
    };
    keys.into_iter().filter_map(row).collect()
}

/// All servers at once.
struct Suite<'a> {
    settings: &'a ServerSettings,
    subjects: Vec<(String, Subject)>,
    echo: Option<Served>,
    draw: Rng,
}

impl<'a> Suite<'a> {
    fn start(
        dir: &Path,
        settings: &'a ServerSettings,
        progress: &dyn Fn(&str),
    ) -> Result<Suite<'a>> {
        let mut suite = Suite {
            settings,
            subjects: Vec::new(),
            echo: None,
            draw: Rng::with_seed(settings.seed),
        };
        if settings.wants(ServerWorkload::RoundTrip) {
            let bytes = ANSWER_HEAD_BYTES + settings.size;
            suite.echo = Some(Served::echo(&settings.program, bytes, dir)?);
        }
        for engine in &settings.engines {
            progress(&format!("filling a server on {engine}"));
            suite.add(engine, Served::durum(&settings.program, engine, dir)?)?;
        }
        if let Some(python) = &settings.durus {
            progress("filling Durus's server");
            suite.add("durus", Served::durus(python, dir)?)?;
        }
        Ok(suite)
    }

    fn add(&mut self, name: &str, served: Served) -> Result<()> {
        let ServerSettings { objects, size, .. } = *self.settings;
        let subject = Subject::fill(served, objects, size, &mut self.draw)?;
        // Durus's speaks only its own.
        let ours = (name != "durus").then(|| subject.speaking(remote::DURUM));
        let subjects = [Some(subject), ours].into_iter().flatten();
        self.subjects
            .extend(subjects.map(|subject| (name.to_owned(), subject)));
        Ok(())
    }

    /// All workloads once. A measurement is made of slices, of each server in turn: how long a machine takes
    /// to wake a thread changes by a factor of four from second to second.
    fn round(&mut self, measured: &mut Vec<Measured>) -> Result<()> {
        let Suite {
            settings,
            subjects,
            echo,
            draw,
        } = self;
        let slice = settings.time / SLICES;
        for (workload, clients) in [
            (ServerWorkload::Load, 1),
            (ServerWorkload::LoadMany, 1),
            (ServerWorkload::LoadMany, 2),
            (ServerWorkload::Pipelined, 1),
            (ServerWorkload::Commit, 1),
            (ServerWorkload::Commit, COMMITTERS),
        ] {
            let does = |subject: &Subject| settings.wants(workload) && subject.does(workload);
            let servers: Vec<_> = subjects.iter().filter(|(_, it)| does(it)).collect();
            // What single loads are compared with is measured among them.
            let echo = echo.as_ref().filter(|_| workload == ServerWorkload::Load);
            let mut bare = Done::default();
            let mut all = vec![Done::default(); servers.len()];
            for _ in 0..SLICES {
                if let Some(served) = echo {
                    let bytes = ANSWER_HEAD_BYTES + settings.size;
                    bare.add(load::round_trips(served, bytes, slice)?);
                }
                for (done, (_, subject)) in all.iter_mut().zip(&servers) {
                    done.add(subject.measure(workload, clients, slice, draw)?);
                }
            }
            if echo.is_some() {
                let workload = ServerWorkload::RoundTrip;
                measured.push(of(("none", "none"), workload, 1, bare));
            }
            let named = all.into_iter().zip(servers);
            measured.extend(named.map(|(done, (name, subject))| {
                of((name, subject.protocol.name), workload, clients, done)
            }));
        }
        if settings.wants(ServerWorkload::BesideIdle) {
            for (name, subject) in &*subjects {
                // More than some thousand connections end Durus's server.
                if name != "durus" && subject.does(ServerWorkload::BesideIdle) {
                    beside_idle(settings, name, subject, draw, measured)?;
                }
            }
        }
        Ok(())
    }
}

/// A busy client beside others that do nothing, and alone before and after that.
fn beside_idle(
    settings: &ServerSettings,
    name: &str,
    subject: &Subject,
    draw: &mut Rng,
    measured: &mut Vec<Measured>,
) -> Result<()> {
    let workload = ServerWorkload::BesideIdle;
    let half = settings.time / 2;
    let mut alone = subject.measure(workload, 1, half, draw)?;
    let before = subject.served.memory();
    let idle = load::idle(subject.served.address, settings.idle)?;
    subject.served.settle();
    let beside = subject.measure(workload, 1, settings.time, draw)?;
    let after = subject.served.memory();
    drop(idle);
    subject.served.settle();
    alone.add(subject.measure(workload, 1, half, draw)?);
    let spoken = (name, subject.protocol.name);
    measured.push(of(spoken, workload, 1, alone));
    let each = |(after, before): (u64, u64)| {
        after.saturating_sub(before) as f64 / settings.idle.max(1) as f64
    };
    measured.push(Measured {
        idle: settings.idle,
        idle_bytes: after.zip(before).map(each),
        ..of(spoken, workload, 1, beside)
    });
    Ok(())
}

fn of(
    (server, protocol): (&str, &'static str),
    workload: ServerWorkload,
    clients: usize,
    done: Done,
) -> Measured {
    Measured {
        server: server.to_owned(),
        protocol,
        workload,
        clients,
        idle: 0,
        idle_bytes: None,
        done,
    }
}

/// Answers `answer_bytes` to every nine bytes that one client at a time sends, until the process is killed;
/// `said` is told where.
///
/// # Errors
/// Those of the network, but for those of a connection.
pub fn echo(answer_bytes: usize, said: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    said(&listener.local_addr().map_err(failed)?.to_string())?;
    let (mut request, answer) = ([0; REQUEST_BYTES], vec![0x5a; answer_bytes]);
    loop {
        let (mut stream, _) = listener.accept().map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        while stream.read_exact(&mut request).is_ok() {
            if stream.write_all(&answer).is_err() {
                break;
            }
        }
    }
}

/// The workload of that name.
///
/// # Errors
/// `Usage` where there is none.
pub fn workload(name: &str) -> Result<ServerWorkload> {
    let names: Vec<&str> = ServerWorkload::ALL.iter().map(|it| it.name()).collect();
    let mut all = ServerWorkload::ALL.into_iter();
    all.find(|it| it.name() == name).ok_or_else(|| {
        Error::new(ErrorKind::Usage, DOING)
            .because(format!("there is no workload `{name}`"))
            .hint(durum_core::config::suggest(name, &names, "workloads"))
    })
}
