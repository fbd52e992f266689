//! The conformance suite on redb: with its defaults, and with a cache so small that pages are written
//! and read all the time.

mod defaults {
    durum_core::conformance!(durum_redb::RedbBackend);
}

mod small_cache {
    durum_core::conformance!(
        durum_redb::RedbBackend,
        options: [("cache_size", "256KiB"), ("quick_repair", "true")]
    );
}
