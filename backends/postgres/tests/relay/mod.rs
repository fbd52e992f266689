//! Something between client and server that cuts connections in the middle of a commit.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How a client asks for a commit, and how the server answers that it is done.
const COMMIT: &[u8] = b"COMMIT\0";

/// What of a commit is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What the client asks for: it is not committed.
    Request,
    /// What the server answers: it is.
    Answer,
}

#[derive(Default)]
struct State {
    wanted: Mutex<Option<Cut>>,
    cuts: AtomicU64,
}

/// Listens on a port of its own, and passes on what comes.
pub(crate) struct Relay {
    port: u16,
    state: Arc<State>,
}

impl Relay {
    pub(crate) fn start(server: u16) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                for (from, to, side) in [
                    (&client, &server, Cut::Request),
                    (&server, &client, Cut::Answer),
                ] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = shared.clone();
                    std::thread::spawn(move || pass_on(from, to, side, &state));
                }
            }
        });
        Relay { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn cut_next_commit(&self, cut: Cut) {
        *self.state.wanted.lock().unwrap() = Some(cut);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, side: Cut, state: &State) {
    let mut bytes = vec![0; 1 << 16];
    // What was at the end of the last part: the word may be in two.
    let mut seen = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        seen.extend_from_slice(&bytes[..count]);
        let commits = seen.windows(COMMIT.len()).any(|part| part == COMMIT);
        let mut wanted = state.wanted.lock().unwrap();
        if commits && *wanted == Some(side) {
            *wanted = None;
            state.cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
        drop(wanted);
        seen.drain(..seen.len().saturating_sub(COMMIT.len() - 1));
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
