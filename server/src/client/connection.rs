//! A connection that many threads share.
//!
//! There is no thread of its own: of those that wait for answers one reads for all, and when it has its own
//! answer another one goes on. So a thread that is alone asks and is answered without another being woken.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use durum_core::{Error, ErrorKind, Result};

use super::transport::{Sent, Transport};
use crate::protocol::bytes::Body;
use crate::protocol::{HEAD_BYTES, Kind, begin_frame, end_frame};

/// How much is read at once where it is not known how much comes.
const READ_BYTES: usize = 64 << 10;
/// A frame from the server is no longer, or else it is no server.
const FRAME_MAX: usize = 1 << 30;

/// A connection that many threads share.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    /// Held while a request is sent.
    sending: Mutex<()>,
    state: Mutex<State>,
    /// What has arrived; held by the thread that reads.
    input: Mutex<Vec<u8>>,
    next: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<u32, Slot>,
    reading: bool,
    /// Why there are no more answers.
    lost: Option<String>,
}

#[derive(Debug)]
enum Slot {
    /// The thread to be woken, once it waits.
    Waiting(Option<Thread>),
    /// The answer: how it begins, and the rest.
    Answered(Answer),
    /// Nobody wants it any more.
    Abandoned,
}

/// An answer: its status, and its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) body: Vec<u8>,
}

/// A request that was sent. Dropped, its answer is thrown away.
#[derive(Debug)]
pub(super) struct Ticket {
    connection: Arc<Connection>,
    number: u32,
    open: bool,
}

impl Connection {
    pub(super) fn new(transport: Transport) -> Connection {
        Connection {
            transport,
            sending: Mutex::new(()),
            state: Mutex::default(),
            input: Mutex::default(),
            next: AtomicU32::new(0),
        }
    }

    /// Whether there will be no more answers.
    pub(super) fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// Sends a request whose body `fill` appends.
    ///
    /// # Errors
    /// `Unreachable` where the connection is lost.
    pub(super) fn ask(
        self: &Arc<Connection>,
        kind: Kind,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Ticket> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut frame = Vec::with_capacity(64);
        let begin = begin_frame(&mut frame, number, kind as u8);
        fill(&mut frame);
        end_frame(&mut frame, begin);
        {
            let mut state = self.state();
            if let Some(why) = &state.lost {
                return Err(lost(why));
            }
            state.slots.insert(number, Slot::Waiting(None));
        }
        let ticket = Ticket {
            connection: self.clone(),
            number,
            open: true,
        };
        self.send(&frame)?;
        Ok(ticket)
    }

    /// Sends a request that has no answer.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub(super) fn tell(&self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut frame = Vec::with_capacity(32);
        let begin = begin_frame(&mut frame, 0, kind as u8);
        fill(&mut frame);
        end_frame(&mut frame, begin);
        self.send(&frame)
    }

    /// Sends bytes, and reads meanwhile where there is no room for them: the server may be waiting for its
    /// answers to be taken.
    fn send(&self, frame: &[u8]) -> Result<()> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = self
            .transport
            .seal(frame)
            .map_err(|error| self.fail(&error))?;
        let mut rest = sealed.as_deref().unwrap_or(frame);
        loop {
            match self.transport.send(rest) {
                Ok(Sent::All) => return Ok(()),
                Ok(Sent::Part(count)) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => return Err(self.fail(&error)),
            }
            match self.transport.wait() {
                Ok(true) => {}
                Ok(false) => return Err(self.lose("the server takes nothing")),
                Err(error) => return Err(self.fail(&error)),
            }
            if self.begin_reading() {
                let read = self.read(true);
                self.end_reading(None);
                read?;
            }
        }
    }

    /// Whether this thread is now the one that reads.
    fn begin_reading(&self) -> bool {
        let mut state = self.state();
        !std::mem::replace(&mut state.reading, true)
    }

    /// Has another thread read, if one waits.
    fn end_reading(&self, own: Option<u32>) {
        let mut state = self.state();
        state.reading = false;
        let waits = |(number, slot): (&u32, &Slot)| match slot {
            Slot::Waiting(Some(thread)) if Some(*number) != own => Some(thread.clone()),
            _ => None,
        };
        let next = state.slots.iter().find_map(waits);
        drop(state);
        if let Some(thread) = next {
            thread.unpark();
        }
    }

    fn wait(&self, number: u32) -> Result<Answer> {
        loop {
            let mut state = self.state();
            match state.slots.remove(&number) {
                Some(Slot::Answered(answer)) => return Ok(answer),
                _ if state.lost.is_some() => {
                    return Err(lost(state.lost.as_deref().unwrap_or_default()));
                }
                _ => {}
            }
            let thread = std::thread::current();
            state.slots.insert(number, Slot::Waiting(Some(thread)));
            if std::mem::replace(&mut state.reading, true) {
                drop(state);
                std::thread::park();
                continue;
            }
            drop(state);
            let mut read = Ok(());
            while read.is_ok() && !self.is_answered(number) {
                read = self.read(false);
            }
            self.end_reading(Some(number));
        }
    }

    fn is_answered(&self, number: u32) -> bool {
        matches!(self.state().slots.get(&number), Some(Slot::Answered(_)))
    }

    /// Reads what has arrived, and hands out whole answers. `now`: without waiting.
    fn read(&self, now: bool) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = frame_length(&input)
            .unwrap_or(0)
            .saturating_sub(input.len());
        let mut silent = false;
        loop {
            match self
                .transport
                .receive(&mut input, wanted.max(READ_BYTES), now)
            {
                Ok(0) => return Err(self.lose("the server has closed the connection")),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !silent => {
                    // Is there still somebody?
                    silent = true;
                    self.ping()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(self.lose("the server does not answer"));
                }
                Err(error) => return Err(self.fail(&error)),
            }
        }
        self.hand_out(&mut input)
    }

    /// Asks for nothing, in order to be answered.
    fn ping(&self) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut frame = Vec::new();
        let begin = begin_frame(&mut frame, number, Kind::Load as u8);
        frame.extend_from_slice(&[0; 4]);
        end_frame(&mut frame, begin);
        let Ok(_sending) = self.sending.try_lock() else {
            // Somebody is sending: that is as good.
            return Ok(());
        };
        let sealed = self
            .transport
            .seal(&frame)
            .map_err(|error| self.fail(&error))?;
        match self.transport.send(sealed.as_deref().unwrap_or(&frame)) {
            Ok(Sent::All) => Ok(()),
            Ok(Sent::Part(_)) => Err(self.lose("the server does not read")),
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn hand_out(&self, input: &mut Vec<u8>) -> Result<()> {
        let mut done = 0;
        let mut woken = Vec::new();
        let mut state = self.state();
        while let Some(rest) = input.get(done..) {
            let Some(length) = frame_length(rest) else {
                break;
            };
            if !(HEAD_BYTES..FRAME_MAX).contains(&length) {
                drop(state);
                return Err(self.lose("what it sends is no answer"));
            }
            let Some(frame) = rest.get(..length) else {
                break;
            };
            let mut body = Body::new(frame.get(4..).unwrap_or_default());
            let (number, status) = (body.u32().unwrap_or(0), body.u8().unwrap_or(0));
            let answered = |body: &mut Body<'_>| {
                Slot::Answered(Answer {
                    status,
                    body: body.rest().to_vec(),
                })
            };
            match state.slots.get_mut(&number) {
                Some(Slot::Abandoned) => {
                    state.slots.remove(&number);
                }
                Some(slot) => {
                    if let Slot::Waiting(Some(thread)) =
                        std::mem::replace(slot, answered(&mut body))
                    {
                        woken.push(thread);
                    }
                }
                None => {}
            }
            done += length;
        }
        drop(state);
        input.drain(..done);
        if input.is_empty() && input.capacity() > 4 * READ_BYTES {
            input.shrink_to(READ_BYTES);
        }
        let own = std::thread::current().id();
        let others = woken.iter().filter(|thread| thread.id() != own);
        others.for_each(Thread::unpark);
        Ok(())
    }

    fn fail(&self, error: &io::Error) -> Error {
        self.lose(&error.to_string())
    }

    /// Notes that there will be no more answers, and wakes everybody.
    fn lose(&self, why: &str) -> Error {
        let mut state = self.state();
        let why = state.lost.get_or_insert_with(|| why.to_owned()).clone();
        for slot in state.slots.values() {
            if let Slot::Waiting(Some(thread)) = slot {
                thread.unpark();
            }
        }
        drop(state);
        // Who sends at the moment is told, and so is the server.
        self.transport.close();
        lost(&why)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits for the answer.
    ///
    /// # Errors
    /// `Unreachable` where the connection is lost before.
    pub(super) fn wait(mut self) -> Result<Answer> {
        self.open = false;
        self.connection.wait(self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut state = self.connection.state();
        if let Some(Slot::Waiting(_)) = state.slots.remove(&self.number) {
            state.slots.insert(self.number, Slot::Abandoned);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.transport.close();
    }
}

/// The length of the frame that begins here, with its length.
fn frame_length(input: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*input.first_chunk()?);
    Some(length as usize + 4)
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, "speak with the server")
        .because(format!("the connection is lost: {why}"))
}
