//! Durum's sled backend.
