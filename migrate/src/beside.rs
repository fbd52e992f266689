//! Reading a copy back while its references are being linked: what is read is not what is written then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use durum_core::digest::Digest;
use durum_core::store::Brought;
use durum_core::{Error, ErrorKind, Result};

use crate::options::StopWatch;
use crate::phases::Clock;
use crate::pipeline::{Progress, interrupted};
use crate::sum::{self, Shares};

/// How often progress is told, and a request to stop noticed, while only the reading is waited for.
const NAP: Duration = Duration::from_millis(50);

/// What reading back has come to, where that was begun already: the digest of the destination.
pub(crate) type Found = Option<Result<Digest>>;

/// Reads a copy back.
pub(crate) struct Beside<'a> {
    /// What is to be read, if anything is.
    pub(crate) brought: Option<Brought>,
    pub(crate) shares: Shares,
    /// Objects that there are.
    pub(crate) objects: u64,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) watch: &'a StopWatch,
    pub(crate) clock: &'a Clock,
}

impl Beside<'_> {
    /// Runs `link`, which calls what it is given when the objects can be read, and has them read meanwhile and to
    /// the end.
    ///
    /// # Errors
    /// Those of `link`; `Interrupted` where the reading was stopped.
    pub(crate) fn run<T>(
        self,
        link: impl FnOnce(&(dyn Fn() + Sync)) -> Result<T>,
    ) -> Result<(T, Found)> {
        let Some(brought) = &self.brought else {
            let linked = link(&|| {});
            self.clock.end(|phases| &mut phases.link);
            return linked.map(|linked| (linked, None));
        };
        let (reading, shares) = (&Reading::default(), self.shares);
        let (begin, begun) = channel();
        let (end, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                // Whatever ends this, it is noticed.
                let _end = end;
                // Where there is nobody to say that it can begin, it does not.
                let begun = begun.recv().is_ok();
                begun.then(|| reading.read(brought, shares))
            });
            let linked = {
                let begin = begin;
                link(&|| {
                    // Where nobody takes it, the reader's thread has failed, which is told at the end.
                    let _ = begin.send(());
                })
            };
            self.clock.end(|phases| &mut phases.link);
            let waited = linked.and_then(|linked| {
                self.progress.begin("verify", Some(self.objects));
                while ended.recv_timeout(NAP) == Err(RecvTimeoutError::Timeout) {
                    reading.tell(self.progress);
                    self.watch.check()?;
                }
                reading.tell(self.progress);
                self.watch.check().map(|()| linked)
            });
            reading.stopped.store(waited.is_err(), Ordering::Relaxed);
            let failed =
                || Error::new(ErrorKind::Other, "verify the copy").because("a thread failed");
            let found = reader.join().unwrap_or_else(|_| Some(Err(failed())));
            self.clock.end(|phases| &mut phases.verify);
            waited.map(|linked| (linked, found))
        })
    }
}

/// How far the reading is.
#[derive(Default)]
struct Reading {
    objects: AtomicU64,
    bytes: AtomicU64,
    /// Set where nobody wants to know any more.
    stopped: AtomicBool,
}

impl Reading {
    fn read(&self, brought: &Brought, shares: Shares) -> Result<Digest> {
        let step = |bytes| {
            self.objects.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            match self.stopped.load(Ordering::Relaxed) {
                true => Err(interrupted("nobody waits for what it finds")),
                false => Ok(()),
            }
        };
        sum::of_rows(&mut brought.scan(), brought.codecs(), shares, &step)
    }

    /// Tells of what was not told of yet.
    fn tell(&self, progress: &dyn Progress) {
        let read = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        progress.advance(read(&self.objects), read(&self.bytes));
    }
}
