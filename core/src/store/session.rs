//! Sessions: who OIDs are handed out to, and who keeps objects that are not linked yet.

/// What sort of client a session serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A part of the process that has the store open.
    Embedded,
    /// A client of the storage server.
    Client,
}
