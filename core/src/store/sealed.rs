//! Rows that carry a checksum of their own: bytes and their CRC-32, little-endian.

/// The bytes with their checksum.
pub(super) fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}

/// The bytes without it; `None` where they are not what was sealed.
pub(super) fn unsealed(stored: &[u8]) -> Option<&[u8]> {
    let (bytes, checksum) = stored.split_last_chunk::<4>()?;
    (crc32fast::hash(bytes) == u32::from_le_bytes(*checksum)).then_some(bytes)
}
