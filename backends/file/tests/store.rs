//! The store conformance suite on this engine.

durum_core::store_conformance!(durum_file::FileBackend);

/// With many segments and checkpoints in every case.
mod tiny_segments {
    durum_core::store_conformance!(
        durum_file::FileBackend,
        options: [("segment_size", "64KiB"), ("checkpoint_size", "16KiB")]
    );
}
