//! Keeping a thread on the processor on which its client runs.
//!
//! Where client and server take turns on one machine, and each turn is short, it costs most to wake the other
//! one on a processor that sleeps: several times as much as all that is done for a load. Neither has anything
//! to do while the other one works, so that they share a processor without loss. The client stays where the
//! system lets it run; the thread follows it there.

use std::time::Duration;

use crate::direct::Direct;

/// How many requests are answered before it is looked where the client is.
const LOOK: u32 = 32;
/// The server's turns are shorter than that: with longer ones waking matters less than that all processors
/// have something to do.
const SHORT: Duration = Duration::from_micros(20);

/// Where the thread is, that serves one client.
#[derive(Debug)]
pub(crate) struct Nearness {
    thread: thread::Thread,
    /// Requests since it was looked the last time, and how long they took together.
    count: u32,
    time: Duration,
}

impl Nearness {
    /// For the thread that calls, which runs where it could before when this is dropped.
    pub(crate) fn new() -> Nearness {
        Nearness {
            thread: thread::Thread::default(),
            count: 0,
            time: Duration::ZERO,
        }
    }

    /// It took `time` to answer a request; `waits`: whether the client has sent no more than that.
    pub(crate) fn answered(
        &mut self,
        socket: &Direct,
        time: Duration,
        waits: impl FnOnce() -> bool,
    ) {
        if socket.is_looking() {
            // On the client's processor it would be in its way.
            (self.count, self.time) = (0, Duration::ZERO);
            return self.thread.follow(None);
        }
        self.count += 1;
        self.time += time;
        if self.count < LOOK {
            return;
        }
        let turn = self.time / self.count;
        (self.count, self.time) = (0, Duration::ZERO);
        let client = match turn < SHORT && waits() {
            true => thread::client(socket),
            false => None,
        };
        self.thread.follow(client);
    }
}

#[cfg(target_os = "linux")]
mod thread {
    use rustix::net::sockopt::socket_incoming_cpu;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use crate::direct::{Direct, Socket};

    /// A thread that may be kept on a processor.
    #[derive(Debug, Default)]
    pub(super) struct Thread {
        /// Where it is kept, and where it could run before.
        kept: Option<(u32, CpuSet)>,
    }

    impl Thread {
        /// Keeps it on a processor, or nowhere. Where the system does not let it, it stays as it is.
        pub(super) fn follow(&mut self, processor: Option<u32>) {
            let Some(processor) = processor else {
                return self.leave();
            };
            let all = match &self.kept {
                Some((kept, _)) if *kept == processor => return,
                Some((_, all)) => *all,
                None => match sched_getaffinity(None) {
                    Ok(all) => all,
                    Err(_) => return,
                },
            };
            let place = processor as usize;
            if place >= CpuSet::MAX_CPU || !all.is_set(place) {
                return self.leave();
            }
            let mut one = CpuSet::new();
            one.set(place);
            if sched_setaffinity(None, &one).is_ok() {
                self.kept = Some((processor, all));
            }
        }

        fn leave(&mut self) {
            if let Some((_, all)) = self.kept.take() {
                // It cannot be refused what it had.
                let _ = sched_setaffinity(None, &all);
            }
        }
    }

    impl Drop for Thread {
        fn drop(&mut self) {
            self.leave();
        }
    }

    /// The processor on which a client of this machine has run last, where the system knows.
    pub(super) fn client(socket: &Direct) -> Option<u32> {
        match &socket.socket {
            Socket::Tcp(socket) if socket.peer_addr().ok()?.ip().is_loopback() => {
                // What a client sends to its own machine arrives on its own processor.
                socket_incoming_cpu(socket).ok()
            }
            _ => None,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod thread {
    use crate::direct::Direct;

    /// A thread that runs where the system wants.
    #[derive(Debug, Default)]
    pub(super) struct Thread;

    impl Thread {
        pub(super) fn follow(&mut self, _: Option<u32>) {}
    }

    /// The processor on which a client of this machine has run last, where the system knows.
    pub(super) fn client(_: &Direct) -> Option<u32> {
        None
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::*;
    use crate::direct::Socket;
    use crate::spin::Spin;

    fn processors() -> CpuSet {
        sched_getaffinity(None).unwrap()
    }

    /// A socket that a client has sent something to.
    fn socket(looks: bool) -> (TcpStream, Direct) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut client, b"x").unwrap();
        ours.peek(&mut [0]).unwrap();
        (client, Direct::with(Socket::Tcp(ours), Spin::with(looks)))
    }

    fn answer(nearness: &mut Nearness, socket: &Direct, time: Duration, waits: bool) {
        for _ in 0..LOOK {
            nearness.answered(socket, time, || waits);
        }
    }

    #[test]
    fn a_thread_is_near_its_client_while_turns_are_short() {
        let all = processors();
        let (_client, socket) = self::socket(false);
        let mut nearness = Nearness::new();
        let (short, long) = (SHORT / 2, SHORT * 2);
        nearness.answered(&socket, short, || true);
        assert_eq!(processors(), all);
        for (time, waits) in [(long, true), (short, false)] {
            answer(&mut nearness, &socket, short, true);
            assert_eq!(processors().count(), 1);
            answer(&mut nearness, &socket, time, waits);
            assert_eq!(processors(), all, "{time:?}");
        }
        // One that looks for requests leaves it.
        answer(&mut nearness, &socket, short, true);
        let (_client, looking) = self::socket(true);
        nearness.answered(&looking, short, || true);
        assert_eq!(processors(), all);
        answer(&mut nearness, &looking, short, true);
        assert_eq!(processors(), all);
        answer(&mut nearness, &socket, short, true);
        assert_eq!(processors().count(), 1);
        drop(nearness);
        assert_eq!(processors(), all);
    }
}
