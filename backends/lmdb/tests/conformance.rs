//! The conformance suite on LMDB: with its defaults, with unsynced commits, and with a map so
//! small that it has to grow.

mod defaults {
    durum_core::conformance!(durum_lmdb::LmdbBackend);
}

mod fast {
    durum_core::conformance!(durum_lmdb::LmdbBackend, options: [("unsynced", "fast")]);
}

mod small_map {
    durum_core::conformance!(
        durum_lmdb::LmdbBackend,
        options: [("map_size", "2MiB"), ("unsynced", "fast")]
    );
}
