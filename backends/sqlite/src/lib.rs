//! Durum's SQLite backend.
