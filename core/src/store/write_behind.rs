//! Writing a batch while the next one is put together.

use std::sync::mpsc::{Receiver, RecvError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::local::Shared;
use super::row_buffer::RowBuffer;
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};

const WRITE: &str = "write a batch of an import";

/// Gives batches to the engine, in their order, from a thread of its own: one at a time, while its owner
/// puts the next one together. After a batch that could not be written none is any more.
///
/// When it is dropped, the batch that is being written is still written to its end.
#[derive(Debug)]
pub(super) struct WriteBehind {
    shared: Arc<Shared>,
    durability: Durability,
    /// A batch of more bytes than these is waited for, and its memory is not kept.
    bytes_max: usize,
    thread: Option<Thread>,
    is_writing: bool,
    has_written: bool,
    has_failed: bool,
    /// The last batch that was written, emptied.
    spare: RowBuffer,
}

#[derive(Debug)]
struct Thread {
    batches: Option<SyncSender<Batch>>,
    written: Receiver<(RowBuffer, Result<()>)>,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Batch {
    rows: RowBuffer,
    /// About what the rows need of room.
    bytes: usize,
}

impl WriteBehind {
    pub(super) fn new(
        shared: &Arc<Shared>,
        durability: Durability,
        bytes_max: usize,
    ) -> WriteBehind {
        WriteBehind {
            shared: Arc::clone(shared),
            durability,
            bytes_max,
            thread: None,
            is_writing: false,
            has_written: false,
            has_failed: false,
            spare: RowBuffer::default(),
        }
    }

    /// Waits for the batch before, and begins to write this one, of about so many bytes. Returns an empty
    /// one.
    ///
    /// # Errors
    /// Those of the batch before.
    pub(super) fn submit(&mut self, rows: RowBuffer, bytes: usize) -> Result<RowBuffer> {
        self.settle()?;
        if rows.is_empty() {
            return Ok(rows);
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None => {
                let thread = Thread::start(Arc::clone(&self.shared), self.durability)?;
                self.thread.insert(thread)
            }
        };
        let sent = thread.batches.as_ref();
        let sent = sent.is_some_and(|batches| batches.send(Batch { rows, bytes }).is_ok());
        // Where it was not sent there is no thread, which waiting for it will tell.
        self.is_writing = true;
        // Of large objects there shall not be two in memory.
        if !sent || bytes > self.bytes_max {
            self.settle()?;
        }
        match sent {
            true => Ok(std::mem::take(&mut self.spare)),
            false => Err(failed()),
        }
    }

    /// Whether any batch has been written, as far as that can be told without waiting.
    ///
    /// # Errors
    /// Those of the last batch.
    pub(super) fn has_written(&mut self) -> Result<bool> {
        if self.is_writing
            && let Some(thread) = &self.thread
            && let Ok(written) = thread.written.try_recv()
        {
            self.take_back(Ok(written))?;
        }
        Ok(self.has_written)
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// Those of the last batch; `Poisoned` where one before could not be written.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.has_failed {
            return Err(Error::new(ErrorKind::Poisoned, WRITE)
                .because("one before it could not be written"));
        }
        match &self.thread {
            Some(thread) if self.is_writing => {
                let written = thread.written.recv();
                self.take_back(written)
            }
            _ => Ok(()),
        }
    }

    fn take_back(&mut self, written: Result<(RowBuffer, Result<()>), RecvError>) -> Result<()> {
        self.is_writing = false;
        let result = written.map_err(|_| failed()).and_then(|(rows, result)| {
            self.spare = rows;
            self.spare.clear(self.bytes_max);
            result
        });
        self.has_failed = result.is_err();
        self.has_written |= result.is_ok();
        result
    }
}

impl Thread {
    fn start(shared: Arc<Shared>, durability: Durability) -> Result<Thread> {
        // The owner waits for each batch before it sends the next, so that one place is enough.
        let (batches, received) = sync_channel(1);
        let (results, written) = channel();
        let handle = std::thread::Builder::new()
            .name("durum-import".to_owned())
            .spawn(move || write_all(&shared, durability, &received, &results))
            .map_err(|error| Error::io(error, WRITE))?;
        Ok(Thread {
            batches: Some(batches),
            written,
            handle: Some(handle),
        })
    }
}

impl Drop for Thread {
    /// Nobody shall find the store still in use.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(handle) = self.handle.take() {
            // Where it panicked, who waited for its batch was told.
            let _ = handle.join();
        }
    }
}

fn write_all(
    shared: &Shared,
    durability: Durability,
    batches: &Receiver<Batch>,
    results: &Sender<(RowBuffer, Result<()>)>,
) {
    for Batch { rows, bytes } in batches {
        let result = write(shared, &rows, bytes, durability);
        let ended = result.is_err();
        if results.send((rows, result)).is_err() || ended {
            break;
        }
    }
}

fn write(shared: &Shared, rows: &RowBuffer, bytes: usize, durability: Durability) -> Result<()> {
    let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
    // After a failed write nothing is tried again on top of it.
    writer.check()?;
    shared
        .apply_ops(&mut writer, &rows.ops(), bytes as u64, durability)
        .map(drop)
}

fn failed() -> Error {
    Error::new(ErrorKind::Other, WRITE).because("the thread that writes has failed")
}
