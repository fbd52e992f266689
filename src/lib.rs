//! Durum.
