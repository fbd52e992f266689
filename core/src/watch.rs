//! Being told how far long work has come, and ending it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Is told now and then how many more objects are done, which may be none; an error of its own ends the
/// work, and is what that returns.
pub type Watch<'a> = dyn Fn(u64) -> Result<()> + 'a;

/// Is called now and then; an error of its own ends the work, and is what that returns.
pub(crate) type Check<'a> = dyn Fn() -> Result<()> + 'a;

/// For work that nobody watches.
pub(crate) const UNWATCHED: &Watch<'static> = &|_| Ok(());

/// The watch is called after about this many bytes, a few milliseconds of work.
const BYTES: usize = 256 << 10;
/// What an object, or anything else that is looked at, counts beside its bytes.
const OVERHEAD: usize = 64;
/// How often the watch is called while another thread is waited for.
const NAP: Duration = Duration::from_millis(50);

/// Counts work, and calls a watch when there is enough of it.
pub(crate) struct Steps<'a> {
    watch: &'a Watch<'a>,
    objects: u64,
    bytes: usize,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(watch: &'a Watch<'a>) -> Steps<'a> {
        Steps {
            watch,
            objects: 0,
            bytes: 0,
        }
    }

    /// An object of so many bytes is done.
    pub(crate) fn object(&mut self, bytes: usize) -> Result<()> {
        self.objects += 1;
        self.other(bytes)
    }

    /// Something else is done.
    pub(crate) fn other(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes + OVERHEAD;
        match self.bytes < BYTES {
            true => Ok(()),
            false => self.tell(),
        }
    }

    /// Tells what was not told yet.
    pub(crate) fn tell(&mut self) -> Result<()> {
        self.bytes = 0;
        (self.watch)(std::mem::take(&mut self.objects))
    }
}

impl fmt::Debug for Steps<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Steps")
            .field("objects", &self.objects)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Does `work`, and `other` on a thread of its own, which fails when what it is given does: where `work` or `watch` has
/// failed.
pub(crate) fn beside<T>(
    other: impl FnOnce(&Check<'_>) -> Result<()> + Send,
    work: impl FnOnce() -> Result<T>,
    watch: &Watch<'_>,
) -> Result<T> {
    const DOING: &str = "do two things at once";
    let over = &AtomicBool::new(false);
    let (end, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            // Whatever ends this, it is noticed.
            let _end = end;
            other(&|| match over.load(Ordering::Relaxed) {
                true => Err(Error::new(ErrorKind::Interrupted, DOING)),
                false => Ok(()),
            })
        });
        let done = work().and_then(|done| {
            while ended.recv_timeout(NAP) == Err(RecvTimeoutError::Timeout) {
                watch(0)?;
            }
            Ok(done)
        });
        over.store(done.is_err(), Ordering::Relaxed);
        let failed = |_| Err(Error::new(ErrorKind::Other, DOING).because("a thread failed"));
        let other = thread.join().unwrap_or_else(failed);
        done.and_then(|done| other.map(|()| done))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn many_small_objects_or_a_large_one_are_told_of() {
        let told = RefCell::new(Vec::new());
        let watch = |objects| {
            told.borrow_mut().push(objects);
            Ok(())
        };
        let mut steps = Steps::new(&watch);
        for _ in 0..BYTES / OVERHEAD {
            steps.object(0).unwrap();
        }
        steps.other(BYTES).unwrap();
        steps.object(BYTES).unwrap();
        steps.object(1).unwrap();
        steps.tell().unwrap();
        assert_eq!(*told.borrow(), [(BYTES / OVERHEAD) as u64, 0, 1, 1]);
    }

    #[test]
    fn both_end_when_one_or_the_watch_fails() {
        let failed = || Error::new(ErrorKind::Io, "test");
        let quick = |_: &Check<'_>| Ok(());
        assert_eq!(beside(quick, || Ok(7), UNWATCHED).unwrap(), 7);
        let error = beside(|_| Err(failed()), || Ok(()), UNWATCHED).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        // Until it is told to end.
        let endless = |check: &Check<'_>| {
            loop {
                check()?;
                std::thread::yield_now();
            }
        };
        let error = beside(endless, || Err::<(), _>(failed()), UNWATCHED).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let stop = |_| Err(Error::new(ErrorKind::Conflict, "test"));
        let error = beside(endless, || Ok(()), &stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn an_error_of_the_watch_ends_the_work() {
        let watch = |_| Err(Error::new(ErrorKind::Interrupted, "test"));
        let mut steps = Steps::new(&watch);
        steps.object(0).unwrap();
        assert!(steps.object(BYTES).is_err());
    }
}
