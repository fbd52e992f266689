//! The store conformance suite on this engine.

durum_core::store_conformance!(durum_lmdb::LmdbBackend);

/// With a map that has to grow while snapshots are open.
mod small_map {
    durum_core::store_conformance!(
        durum_lmdb::LmdbBackend,
        options: [("map_size", "2MiB"), ("unsynced", "fast")]
    );
}
