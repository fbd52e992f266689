//! Durum's LMDB backend.
