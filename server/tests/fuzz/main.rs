//! The server under sessions of arbitrary bytes: it neither panics nor hangs nor takes more memory than it
//! may, another client goes on, and the store stays sound.
//!
//! Sessions are random bytes, random requests, and sound sessions with damage; some stop in the middle of a
//! request and stay. `DURUM_FUZZ` says how many there are.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod damage;
mod durus;
mod good;
mod subject;

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use fastrand::Rng;

use crate::durus::Durus;
use crate::good::Good;
use crate::subject::{Subject, limit_memory, peak_bytes, watch_for_panics};

/// Sessions, where `DURUM_FUZZ` says nothing else.
const SESSIONS: u64 = 4000;
/// Sessions with one server; then its store is checked.
const SESSIONS_EACH: u64 = 1000;
/// Connections that stay in the middle of a request.
const STALLED_MAX: usize = 12;
/// Memory that all may take: a request is far smaller, and so are the stores.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// What is spoken; another protocol is another one of these, and another test.
trait Protocol: Default {
    /// Begins a session soundly, as far as is needed for the next function; what is known then.
    fn begin(&mut self, stream: &mut UnixStream, draw: &mut Rng);

    /// The rest of a sound session, which reads no answers.
    fn sound(&self, draw: &mut Rng) -> Vec<u8>;

    /// Requests of which only the form is right, if even that.
    fn soup(&self, draw: &mut Rng) -> Vec<u8>;

    /// Numbers at the limits of what is allowed, as they are sent.
    fn limits(&self) -> Vec<Vec<u8>>;
}

#[test]
fn no_bytes_do_harm_by_the_protocol_of_durus() {
    no_bytes_do_harm::<Durus>();
}

fn no_bytes_do_harm<P: Protocol>() {
    let sessions = std::env::var("DURUM_FUZZ").map_or(SESSIONS, |text| text.parse().unwrap());
    let mut draw = Rng::with_seed(durum_testkit::seed());
    let panics = watch_for_panics();
    limit_memory();
    let before = peak_bytes();
    let mut written = 0;
    let mut left = sessions;
    while left > 0 {
        let some = left.min(SESSIONS_EACH);
        written += with_one_server::<P>(some, &mut draw);
        left -= some;
        let taken = peak_bytes() - before;
        assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes of memory");
    }
    assert_eq!(panics.load(std::sync::atomic::Ordering::SeqCst), 0);
    println!("{written} commits by {sessions} sessions");
    assert!(written > 0 || sessions < 100, "no session commits anything");
}

/// Commits that the sessions have made.
fn with_one_server<P: Protocol>(sessions: u64, draw: &mut Rng) -> u64 {
    let subject = Subject::start();
    let mut good = Good::new(&subject);
    let mut stalled = VecDeque::new();
    let mut protocol = P::default();
    for _ in 0..sessions {
        let mut stream = subject.connect();
        let sent = session(&mut protocol, &mut stream, draw);
        match draw.u8(..10) {
            // It stays as it is.
            0 => stalled.push_back((stream, sent.clone())),
            // It goes without a word, with answers on their way.
            1 => drop(stream),
            _ => finish(&mut stream, &sent),
        }
        if stalled.len() > STALLED_MAX {
            let (mut oldest, sent) = stalled.pop_front().unwrap();
            finish(&mut oldest, &sent);
        }
        good.go_on(&subject, &sent);
    }
    drop(stalled);
    let written = subject.commits() - good.commits();
    subject.stop();
    written
}

/// Sends a session; what was sent.
fn session(protocol: &mut impl Protocol, stream: &mut UnixStream, draw: &mut Rng) -> Vec<u8> {
    let mut bytes = match draw.u8(..8) {
        0 => damage::random_bytes(draw),
        1 | 2 => protocol.soup(draw),
        kind => {
            protocol.begin(stream, draw);
            let mut bytes = protocol.sound(draw);
            if kind > 3 {
                damage::damage(&mut bytes, &protocol.limits(), draw);
            }
            bytes
        }
    };
    // It must fit into the socket: answers are read when all is sent.
    bytes.truncate(16 << 10);
    // In one piece or in several. The server may have hung up.
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let length = match draw.bool() {
            true => rest.len(),
            false => draw.usize(1..=rest.len()),
        };
        let (piece, after) = rest.split_at(length);
        if stream.write_all(piece).is_err() {
            break;
        }
        rest = after;
    }
    bytes
}

/// Sends no more, and waits for the server's end of the connection.
fn finish(stream: &mut UnixStream, sent: &[u8]) {
    let _ = stream.shutdown(Shutdown::Write);
    let ended = std::io::copy(stream, &mut std::io::sink());
    if let Err(error) = ended {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        let gone = matches!(error.kind(), ConnectionReset | BrokenPipe);
        assert!(gone, "{error} after {}", sent.escape_ascii());
    }
}
