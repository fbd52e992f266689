//! The index's header: which trees it has, and how much of the log they cover. It is written to two
//! places in turn, so that one of them is whole at any time.

use durum_core::Result;

use super::{PAGE_BYTES, PageRef, Root, TREES};
use crate::bytes::{all_zero, put_at, u32_at, u64_at};
use crate::log::Position;

/// The header of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the checkpoint, from 1.
    pub(crate) generation: u64,
    /// What of the log is in the trees.
    pub(crate) covered: Position,
    /// Pages of the file that were ever used.
    pub(crate) pages: u32,
    /// The trees' roots.
    pub(crate) roots: [Option<Root>; TREES],
}

/// What the two places of a file hold.
#[derive(Debug)]
pub(crate) struct HeaderSlots {
    /// The newest header that is whole.
    pub(crate) newest: Option<Header>,
    /// Whether a place is neither whole nor untouched: written when power was lost, or damaged later,
    /// in which case the newest header is not the last one.
    pub(crate) doubtful: bool,
}

impl Header {
    /// The header's page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; PAGE_BYTES];
        put_at(&mut out, 0, MAGIC);
        put_at(&mut out, 8, &FORMAT_VERSION.to_le_bytes());
        put_at(&mut out, 16, &self.generation.to_le_bytes());
        put_at(&mut out, 24, &self.covered.sequence.to_le_bytes());
        put_at(&mut out, 32, &self.covered.offset.to_le_bytes());
        put_at(&mut out, 40, &self.covered.segment.to_le_bytes());
        put_at(&mut out, 44, &self.covered.chain.to_le_bytes());
        put_at(&mut out, 48, &self.pages.to_le_bytes());
        for (tree, root) in self.roots.iter().enumerate() {
            let Some(root) = root else { continue };
            let at = ROOTS_AT + tree * 16;
            put_at(&mut out, at, &root.page.0.to_le_bytes());
            put_at(
                &mut out,
                at + 8,
                &(u64::from(root.height) + 1).to_le_bytes(),
            );
        }
        let crc = crc32fast::hash(&out);
        put_at(&mut out, CRC_AT, &crc.to_le_bytes());
        out
    }

    /// Reads a header; `None` where the page holds none that is whole.
    pub(crate) fn parse(page: &[u8]) -> Option<Header> {
        let mut zeroed = page.to_vec();
        put_at(&mut zeroed, CRC_AT, &[0; 4]);
        if page.get(..8)? != MAGIC
            || u32_at(page, 8)? != FORMAT_VERSION
            || u32_at(page, CRC_AT)? != crc32fast::hash(&zeroed)
        {
            return None;
        }
        let mut roots = [None; TREES];
        for (tree, root) in roots.iter_mut().enumerate() {
            let at = ROOTS_AT + tree * 16;
            let height = u64_at(page, at + 8)?;
            if height > 0 {
                *root = Some(Root {
                    page: PageRef(u64_at(page, at)?),
                    height: u8::try_from(height - 1).ok()?,
                });
            }
        }
        Some(Header {
            generation: u64_at(page, 16)?,
            covered: Position {
                sequence: u64_at(page, 24)?,
                offset: u64_at(page, 32)?,
                segment: u32_at(page, 40)?,
                chain: u32_at(page, 44)?,
            },
            pages: u32_at(page, 48)?,
            roots,
        })
    }

    /// Where in the file this header goes.
    pub(crate) fn offset(&self) -> u64 {
        self.generation % 2 * PAGE_BYTES as u64
    }
}

impl HeaderSlots {
    /// Reads both places with `read`, which fills a page from an offset and says whether it could.
    pub(crate) fn read(
        mut read: impl FnMut(&mut [u8], u64) -> Result<bool>,
    ) -> Result<HeaderSlots> {
        let mut slots = HeaderSlots {
            newest: None,
            doubtful: false,
        };
        for place in 0..2 {
            let offset = place * PAGE_BYTES as u64;
            let mut page = vec![0; PAGE_BYTES];
            if !read(&mut page, offset)? {
                slots.doubtful = true;
                continue;
            }
            let header = Header::parse(&page).filter(|header| header.offset() == offset);
            let newest = slots.newest.as_ref().map(|header| header.generation);
            match header {
                Some(header) if newest < Some(header.generation) => slots.newest = Some(header),
                Some(_) => {}
                None => slots.doubtful |= !all_zero(&page),
            }
        }
        // A place that is zeros was never written, which is so after the first checkpoint only.
        let both_needed = slots
            .newest
            .as_ref()
            .is_some_and(|header| header.generation > 1);
        slots.doubtful |= both_needed && slots.newest.is_some() && slots.zero_slot(read)?;
        Ok(slots)
    }

    fn zero_slot(&self, mut read: impl FnMut(&mut [u8], u64) -> Result<bool>) -> Result<bool> {
        let Some(newest) = &self.newest else {
            return Ok(false);
        };
        let mut page = vec![0; PAGE_BYTES];
        let other = PAGE_BYTES as u64 - newest.offset();
        Ok(!read(&mut page, other)? || all_zero(&page))
    }
}

const MAGIC: &[u8; 8] = b"DURUMIDX";
const FORMAT_VERSION: u32 = 1;
const CRC_AT: usize = 12;
const ROOTS_AT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_flipped_byte_passes() {
        let mut roots = [None; TREES];
        roots[3] = Some(Root {
            page: PageRef(99 << 32 | 5),
            height: 0,
        });
        let header = Header {
            generation: 7,
            covered: Position {
                segment: 1,
                offset: 32,
                sequence: 9,
                chain: 4,
            },
            pages: 12,
            roots,
        };
        let mut page = header.encode();
        assert_eq!(Header::parse(&page), Some(header));
        for at in 0..PAGE_BYTES {
            page[at] ^= 4;
            assert_eq!(Header::parse(&page), None, "byte {at}");
            page[at] ^= 4;
        }
    }
}
