//! A queue of OIDs in bounded memory: its middle lies in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::oid_set::spill_error;
use crate::error::Result;
use crate::id::Oid;

/// OIDs in each of the two ends that are held in memory.
const END_MAX: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Frontier {
    front: VecDeque<u64>,
    back: Vec<u64>,
    file: Option<File>,
    read: u64,
    written: u64,
}

impl Frontier {
    pub(super) fn push(&mut self, oid: Oid) -> Result<()> {
        self.back.push(oid.0);
        if self.back.len() < END_MAX {
            return Ok(());
        }
        if self.front.is_empty() && self.read == self.written {
            self.front.extend(self.back.drain(..));
            return Ok(());
        }
        let bytes: Vec<u8> = self.back.drain(..).flat_map(u64::to_ne_bytes).collect();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(spill_error)?),
        };
        file.write_all_at(&bytes, self.written)
            .map_err(spill_error)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Option<Oid>> {
        if self.front.is_empty() {
            self.refill()?;
        }
        Ok(self.front.pop_front().map(Oid))
    }

    fn refill(&mut self) -> Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.read < self.written) else {
            self.front.extend(self.back.drain(..));
            return Ok(());
        };
        let length = (self.written - self.read).min(END_MAX as u64 * 8) as usize;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, self.read)
            .map_err(spill_error)?;
        self.read += length as u64;
        if self.read == self.written {
            // All of it has been read: it begins anew, so that it does not grow without end.
            (self.read, self.written) = (0, 0);
        }
        let numbers = bytes
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok());
        self.front.extend(numbers.map(u64::from_ne_bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_through_the_file() {
        let mut frontier = Frontier::default();
        let (mut pushed, mut popped) = (0, 0);
        for burst in [10, 5 * END_MAX as u64, 3, 2 * END_MAX as u64] {
            for _ in 0..burst {
                frontier.push(Oid(pushed)).unwrap();
                pushed += 1;
            }
            for _ in 0..burst / 2 {
                assert_eq!(frontier.pop().unwrap(), Some(Oid(popped)));
                popped += 1;
            }
        }
        assert!(frontier.file.is_some());
        while let Some(oid) = frontier.pop().unwrap() {
            assert_eq!(oid, Oid(popped));
            popped += 1;
        }
        assert_eq!(popped, pushed);
    }
}
