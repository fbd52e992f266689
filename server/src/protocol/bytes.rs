//! Numbers and strings in bodies: big-endian, and with their lengths.

use durum_core::{Oid, Tid};

/// Appends a number of four bytes.
pub(crate) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a number of eight bytes.
pub(crate) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends the length, in four bytes, and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// Takes a body apart; every method gives nothing where the body ends before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Body<'a> {
        Body(bytes)
    }

    /// Whether there is nothing more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much is left.
    pub(crate) fn rest_length(&self) -> usize {
        self.0.len()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn oid(&mut self) -> Option<Oid> {
        self.u64().map(Oid).filter(|oid| oid.is_valid())
    }

    pub(crate) fn tid(&mut self) -> Option<Tid> {
        self.u64().map(Tid)
    }

    /// What [`put_bytes`] has written.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// What [`put_bytes`] has written, where it is text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// `count` items; no more memory is taken than the body can fill, at `bytes` bytes at the least for one.
    pub(crate) fn many<T>(
        &mut self,
        count: u32,
        bytes: usize,
        mut take: impl FnMut(&mut Body<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(count).ok()?;
        if count.checked_mul(bytes)? > self.0.len() {
            return None;
        }
        (0..count).map(|_| take(self)).collect()
    }
}
