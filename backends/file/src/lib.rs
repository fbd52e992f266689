//! Durum's flat-file engine: an append-only log with an on-disk index.
