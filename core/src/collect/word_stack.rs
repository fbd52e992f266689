//! A stack of numbers in bounded memory: all but its top lies in a temporary file.
//!
//! What is popped from one stack and pushed to another comes out in the opposite order, so that passes
//! over data in both directions need nothing but stacks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::oid_set::spill_error;
use crate::error::Result;

/// Words that are moved to or from the file at once.
const BLOCK: usize = 8192;
const WORD_BYTES: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct WordStack {
    top: Vec<u64>,
    file: Option<File>,
    /// Words in the file, which lie below those in memory.
    stored: u64,
}

impl WordStack {
    pub(super) fn len(&self) -> u64 {
        self.stored + self.top.len() as u64
    }

    pub(super) fn push(&mut self, word: u64) -> Result<()> {
        if self.top.len() >= 2 * BLOCK {
            let bytes: Vec<u8> = self.top.drain(..BLOCK).flat_map(u64::to_ne_bytes).collect();
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile().map_err(spill_error)?),
            };
            file.write_all_at(&bytes, self.stored * WORD_BYTES)
                .map_err(spill_error)?;
            self.stored += BLOCK as u64;
        }
        self.top.push(word);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Option<u64>> {
        if self.top.is_empty() {
            self.refill()?;
        }
        Ok(self.top.pop())
    }

    /// Takes off what was pushed since the stack had this length.
    pub(super) fn truncate(&mut self, len: u64) {
        match len.checked_sub(self.stored) {
            Some(kept) => self
                .top
                .truncate(usize::try_from(kept).unwrap_or(usize::MAX)),
            None => {
                self.top.clear();
                self.stored = len;
            }
        }
    }

    fn refill(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.stored > 0) else {
            return Ok(());
        };
        let words = self.stored.min(BLOCK as u64);
        let mut bytes = vec![0; (words * WORD_BYTES) as usize];
        file.read_exact_at(&mut bytes, (self.stored - words) * WORD_BYTES)
            .map_err(spill_error)?;
        self.stored -= words;
        let (chunks, _) = bytes.as_chunks();
        self.top
            .extend(chunks.iter().map(|bytes| u64::from_ne_bytes(*bytes)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_vector_also_through_the_file() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut stack, mut model) = (WordStack::default(), Vec::new());
        let mut spilled = false;
        for round in 0..400 {
            let count = random.usize(..4000);
            match random.u8(..if round < 200 { 10 } else { 4 }) {
                0 => {
                    let len = model.len().saturating_sub(random.usize(..3 * BLOCK));
                    stack.truncate(len as u64);
                    model.truncate(len);
                }
                1..=3 => {
                    for _ in 0..count {
                        assert_eq!(stack.pop().unwrap(), model.pop());
                    }
                }
                _ => {
                    for _ in 0..count {
                        let word = random.u64(..);
                        stack.push(word).unwrap();
                        model.push(word);
                    }
                }
            }
            spilled |= stack.stored > 0;
            assert_eq!(stack.len(), model.len() as u64);
        }
        assert!(spilled);
        while let Some(word) = model.pop() {
            assert_eq!(stack.pop().unwrap(), Some(word));
        }
        assert_eq!(stack.pop().unwrap(), None);
    }
}
