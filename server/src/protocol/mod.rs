//! Durum's own protocol, version 2, as bytes: what the server and the Rust client share.
//!
//! `docs/PROTOCOL.md` tells it byte by byte. A client that has sent `V` and the number 2, and was answered
//! with 2, sends *frames*, and so does the server. A frame is its length (4 bytes, without these), a number
//! (4 bytes) that the client chooses for a request and the answer repeats, a byte for what it is, and a body.
//! Answers come in any order.

// Each side needs one half of it.
#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(dead_code, unused_imports)
)]

pub(crate) mod bytes;
pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod describe;
pub(crate) mod failure;
pub(crate) mod import;
pub(crate) mod records;

/// The protocol's number.
pub(crate) const VERSION: u32 = 2;
/// Bytes of a frame before its body: the length, the number, what it is.
pub(crate) const HEAD_BYTES: usize = 9;
/// The newest state, where a request wants a snapshot's number.
pub(crate) const NEWEST: u32 = 0;
/// An answer with records ends where it has gathered this many bytes, however many were asked for.
pub(crate) const ANSWER_BYTES: usize = 1 << 20;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// What is served, and how: JSON.
    Hello = 1,
    /// Counters: JSON.
    Stat = 2,
    /// Has a snapshot kept under a number of the client's choice.
    Snapshot = 3,
    /// Gives a snapshot up. Has no answer.
    Release = 4,
    /// Objects by their OIDs.
    Load = 5,
    /// Objects by ascending OIDs from one on.
    Scan = 6,
    /// What was changed after a commit; can wait until there is something.
    Changes = 7,
    /// A commit.
    Commit = 8,
    /// OIDs for new objects.
    NewOids = 9,
    /// Begins a session.
    Begin = 10,
    /// Ends a session.
    End = 11,
    /// Whether a commit with some identity happened.
    Outcome = 12,
    /// Makes everything durable.
    Sync = 13,
    /// Collects all garbage.
    Collect = 14,
    /// Gives space back to the system.
    GiveBack = 15,
    /// The digest of a snapshot.
    Digest = 16,
    /// Checks the store: JSON.
    Check = 17,
    /// A dictionary of the store's codec.
    Dictionary = 18,
    /// Takes the server's empty store away, and begins another in its place, or goes on with one.
    Import = 19,
    /// Begins to bring objects for it.
    Fill = 20,
    /// Objects for it.
    Push = 21,
    /// Has what was pushed written.
    Settle = 22,
    /// No more objects come.
    Finish = 23,
    /// Has the filled store appear.
    Publish = 24,
    /// Has it removed.
    Discard = 25,
}

impl Kind {
    const ALL: [Kind; 25] = [
        Kind::Hello,
        Kind::Stat,
        Kind::Snapshot,
        Kind::Release,
        Kind::Load,
        Kind::Scan,
        Kind::Changes,
        Kind::Commit,
        Kind::NewOids,
        Kind::Begin,
        Kind::End,
        Kind::Outcome,
        Kind::Sync,
        Kind::Collect,
        Kind::GiveBack,
        Kind::Digest,
        Kind::Check,
        Kind::Dictionary,
        Kind::Import,
        Kind::Fill,
        Kind::Push,
        Kind::Settle,
        Kind::Finish,
        Kind::Publish,
        Kind::Discard,
    ];

    /// The request of this byte.
    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        let index = usize::from(byte).checked_sub(1)?;
        Kind::ALL.get(index).copied()
    }

    /// Whether it is about filling a store.
    pub(crate) fn fills(self) -> bool {
        use Kind::{Discard, Fill, Finish, Import, Publish, Push, Settle};
        matches!(
            self,
            Import | Fill | Push | Settle | Finish | Publish | Discard
        )
    }

    /// Whether it leaves the store as it is, so that a client that may only read may ask for it, and one
    /// that has lost its connection may ask again.
    pub(crate) fn reads(self) -> bool {
        use Kind::{
            Changes, Check, Dictionary, Digest, Hello, Load, Outcome, Release, Scan, Snapshot, Stat,
        };
        matches!(
            self,
            Hello
                | Stat
                | Snapshot
                | Release
                | Load
                | Scan
                | Changes
                | Outcome
                | Digest
                | Check
                | Dictionary
        )
    }
}

/// How an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// What was asked for.
    Done = 0,
    /// Why not.
    Failed = 1,
}

/// Appends a frame without its body, and returns where it begins, for [`end_frame`].
pub(crate) fn begin_frame(out: &mut Vec<u8>, number: u32, what: u8) -> usize {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&number.to_be_bytes());
    out.push(what);
    begin
}

/// Writes the length of the frame that begins at `begin` and ends here.
pub(crate) fn end_frame(out: &mut [u8], begin: usize) {
    let length = (out.len() - begin - 4) as u32;
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_byte() {
        for byte in 0..=u8::MAX {
            assert_eq!(
                Kind::from_byte(byte).map(|kind| kind as u8),
                (1..=25).contains(&byte).then_some(byte)
            );
        }
    }

    #[test]
    fn a_frame_tells_its_length() {
        let mut out = vec![7];
        let begin = begin_frame(&mut out, 0x0102_0304, Kind::Load as u8);
        out.extend_from_slice(b"ab");
        end_frame(&mut out, begin);
        assert_eq!(out, [7, 0, 0, 0, 7, 1, 2, 3, 4, 5, b'a', b'b']);
    }
}
