//! Durus's own protocol, version 1, for its clients as they are.
//!
//! All numbers are big-endian. The client sends a command of one byte; the server answers in order. The
//! commands are told in `docs/PROTOCOL.md`.

mod load;
mod session;
mod transaction;

pub(crate) use session::{refuse, serve};

/// The protocol's number.
const VERSION: u32 = 1;
const OKAY: u8 = b'O';
const MISSING: u8 = b'K';
const INVALID: u8 = b'I';
/// Bytes of a record before its data: its OID and the length of the data.
const RECORD_HEAD_BYTES: usize = 12;
/// Bytes of the answer to a load before the record: a status and the record's length.
const ANSWER_HEAD_BYTES: usize = 5;
