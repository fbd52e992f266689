//! The server is killed at random moments while eight clients commit, again and again: what was
//! acknowledged is there, nothing is there twice, and the clients go on.
//!
//! Each client has a head that counts its commits and refers to the newest of the objects that it has
//! written; those before become garbage. Some commits also count up an object that all share, with
//! conflicts. So a head says exactly which commits of its client are there, and that each is there once
//! and whole is said by what it refers to, and by the sum of all shares.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use crate::client::Loaded;
use crate::kit::{Server, durum, engines, wait_until};
use crate::link::Link;

const CLIENTS: u64 = 8;
/// Objects that a head refers to.
const KEPT: usize = 16;
/// The object that all count up.
const SHARED: u64 = 1;
/// Kills on each engine, where `DURUM_KILLS` says nothing else.
const KILLS: u32 = 3;

/// How far a client has come.
#[derive(Clone, Debug, Default)]
struct State {
    /// Commits, and those among them that have counted up what all share.
    commits: u64,
    shares: u64,
    /// What the head refers to, the newest last.
    kept: VecDeque<u64>,
}

/// A client that outlives its connections.
#[derive(Debug)]
struct Worker {
    number: u64,
    head: u64,
    acknowledged: State,
    /// What is so if the commit that was not answered was made.
    in_flight: Option<State>,
}

impl State {
    fn data(&self) -> Vec<u8> {
        words(&[self.commits, self.shares])
    }

    fn refs(&self) -> Vec<u64> {
        self.kept.iter().copied().collect()
    }
}

fn words(numbers: &[u64]) -> Vec<u8> {
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    bytes.collect()
}

fn numbers(data: &[u8]) -> Vec<u64> {
    let words = data.chunks(8);
    words
        .map(|word| u64::from_be_bytes(word.try_into().unwrap()))
        .collect()
}

fn load(link: &mut Link, oid: u64) -> std::io::Result<(Vec<u64>, Vec<u64>)> {
    loop {
        match link.load(oid)? {
            Loaded::Object { data, refs } => return Ok((numbers(&data), refs)),
            Loaded::Invalid => drop(link.sync()?),
            Loaded::Missing => panic!("object {oid} is lost"),
        }
    }
}

impl Worker {
    /// Commits until the connection fails; counts what is acknowledged.
    fn work(&mut self, address: &str, random: &mut Rng, acknowledged: &AtomicU64) {
        let failed = Link::connect(address).and_then(|mut link| {
            loop {
                if self.commit(&mut link, random.u8(..4) == 0)? {
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let Err::<(), _>(error) = failed else {
            return;
        };
        use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
        assert!(
            matches!(
                error.kind(),
                BrokenPipe | ConnectionRefused | ConnectionReset | UnexpectedEof
            ),
            "{error:?}"
        );
    }

    /// One try; whether it was committed.
    fn commit(&mut self, link: &mut Link, with_share: bool) -> std::io::Result<bool> {
        let new = link.new_oid()?;
        let shared = match with_share {
            true => Some(load(link, SHARED)?.0[0]),
            false => None,
        };
        let invalid = link.begin()?;
        if shared.is_some() && invalid.contains(&SHARED) {
            link.give_up()?;
            return Ok(false);
        }
        let mut state = self.acknowledged.clone();
        state.commits += 1;
        state.shares += u64::from(with_share);
        state.kept.push_back(new);
        if state.kept.len() > KEPT {
            state.kept.pop_front();
        }
        let (head, refs) = (state.data(), state.refs());
        let item = words(&[self.number, state.commits]);
        let count = shared.map(|count| words(&[count + 1]));
        let mut objects = vec![(self.head, &head[..], &refs[..]), (new, &item[..], &[])];
        objects.extend(count.as_ref().map(|count| (SHARED, &count[..], &[][..])));
        self.in_flight = Some(state);
        // From here to the answer nobody knows.
        let committed = link.end(&objects)?;
        let state = self.in_flight.take().unwrap();
        if committed {
            self.acknowledged = state;
        }
        Ok(committed)
    }

    /// Finds out what has become of the commit in flight, and whether all is there, once; whether it
    /// was committed, where there was one.
    fn find(&mut self, link: &mut Link) -> Option<bool> {
        let (found, mut refs) = load(link, self.head).unwrap();
        let in_flight = self.in_flight.take();
        let was_in_flight = in_flight.is_some();
        let committed = in_flight.filter(|state| found[0] == state.commits);
        let was_committed = committed.is_some();
        self.acknowledged = committed.unwrap_or_else(|| self.acknowledged.clone());
        let State {
            commits,
            shares,
            kept,
        } = &self.acknowledged;
        assert_eq!(found, [*commits, *shares], "client {}", self.number);
        let mut expected = Vec::from(kept.clone());
        for (oid, number) in kept.iter().rev().zip((1..=*commits).rev()) {
            assert_eq!(load(link, *oid).unwrap().0, [self.number, number]);
        }
        expected.sort_unstable();
        refs.sort_unstable();
        assert_eq!(refs, expected, "client {}", self.number);
        was_in_flight.then_some(was_committed)
    }
}

/// A root, what all share, and a head for each client.
fn set_up(server: &Server) -> Vec<Worker> {
    let mut client = server.client();
    let oids = client.new_oids(2 + CLIENTS as u8);
    assert_eq!(oids[..2], [0, SHARED]);
    let heads = &oids[2..];
    let empty = State::default().data();
    let count = words(&[0]);
    let mut objects = vec![(0, &b""[..], &oids[1..]), (SHARED, &count[..], &[][..])];
    objects.extend(heads.iter().map(|head| (*head, &empty[..], &[][..])));
    assert!(client.commit(&objects));
    let workers = (0..CLIENTS).zip(heads).map(|(number, head)| Worker {
        number,
        head: *head,
        acknowledged: State::default(),
        in_flight: None,
    });
    workers.collect()
}

/// Has all clients work, and kills the server after so many commits and a little more.
fn work_and_kill(server: &mut Server, workers: &mut [Worker], random: &mut Rng) {
    let acknowledged = AtomicU64::new(0);
    let (enough, more_us) = (random.u64(1..300), random.u64(..3000));
    let address = server.address.clone();
    std::thread::scope(|scope| {
        for worker in workers {
            let (mut random, address, acknowledged) = (random.fork(), &address, &acknowledged);
            scope.spawn(move || worker.work(address, &mut random, acknowledged));
        }
        wait_until("commits", || acknowledged.load(Ordering::SeqCst) >= enough);
        std::thread::sleep(Duration::from_micros(more_us));
        server.signal(Signal::KILL);
    });
    assert_eq!(server.wait(), None);
}

/// Also in the middle of starting.
fn start_and_kill(server: &Server, random: &mut Rng) {
    let arguments = ["serve", &server.url, "--listen", "127.0.0.1:0", "--quiet"];
    let mut child = durum(server.home.path(), &arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_micros(random.u64(..30_000)));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn kill_again_and_again(engine: &str, kills: u32, random: &mut Rng) {
    let mut server = Server::start(engine, &[]);
    let mut workers = set_up(&server);
    let mut unanswered = [0; 2];
    for _ in 0..kills {
        work_and_kill(&mut server, &mut workers, random);
        while random.u8(..3) == 0 {
            start_and_kill(&server, random);
        }
        server.restart();
        let mut link = Link::connect(&server.address).unwrap();
        for worker in &mut workers {
            if let Some(committed) = worker.find(&mut link) {
                unanswered[usize::from(committed)] += 1;
            }
        }
        let shares = workers.iter().map(|worker| worker.acknowledged.shares);
        assert_eq!(load(&mut link, SHARED).unwrap().0, [shares.sum::<u64>()]);
    }
    let states = workers.iter().map(|worker| &worker.acknowledged);
    let commits: u64 = states.clone().map(|state| state.commits).sum();
    println!(
        "{engine}: {commits} commits; of those not answered {} were made and {} not",
        unanswered[1], unanswered[0]
    );
    let kept: usize = states.map(|state| state.kept.len()).sum();
    server.stop();
    server.check();
    server.run(&["gc", &server.url]);
    let checked = server.check();
    assert_eq!(checked["objects"], 2 + CLIENTS + kept as u64, "{checked}");
    assert_eq!(checked["unreachable"], 0, "{checked}");
}

/// `DURUM_KILLS` says how often on each engine.
#[test]
fn killed_under_load_it_loses_nothing_and_does_nothing_twice() {
    let kills = std::env::var("DURUM_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Rng::with_seed(durum_testkit::seed());
    for engine in engines() {
        kill_again_and_again(&engine, kills, &mut random);
    }
}
