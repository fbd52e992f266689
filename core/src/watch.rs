//! Being told how far long work has come, and ending it.

use std::fmt;

use crate::error::Result;

/// Is told now and then how many more objects are done, which may be none; an error of its own ends the
/// work, and is what that returns.
pub type Watch<'a> = dyn Fn(u64) -> Result<()> + 'a;

/// For work that nobody watches.
pub(crate) const UNWATCHED: &Watch<'static> = &|_| Ok(());

/// The watch is called after about this many bytes, a few milliseconds of work.
const BYTES: usize = 256 << 10;
/// What an object, or anything else that is looked at, counts beside its bytes.
const OVERHEAD: usize = 64;

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
    fn an_error_of_the_watch_ends_the_work() {
        let watch = |_| Err(Error::new(ErrorKind::Interrupted, "test"));
        let mut steps = Steps::new(&watch);
        steps.object(0).unwrap();
        assert!(steps.object(BYTES).is_err());
    }
}
