//! Durum's in-memory backend, for tests and for stores that need not last.
