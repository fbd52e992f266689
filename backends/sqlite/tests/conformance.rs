//! The conformance suite on SQLite: with its defaults, and with a log so short that it is
//! checkpointed all the time.

mod defaults {
    durum_core::conformance!(durum_sqlite::SqliteBackend);
}

mod short_log {
    durum_core::conformance!(
        durum_sqlite::SqliteBackend,
        options: [("wal_limit", "16KiB"), ("cache_size", "64KiB"), ("page_size", "8192")]
    );
}
