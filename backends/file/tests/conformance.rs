//! The conformance suite on the flat file: with its defaults, and with segments and
//! checkpoints so small that every case meets many of them.

mod defaults {
    durum_core::conformance!(durum_file::FileBackend);
}

mod tiny_segments {
    durum_core::engine_conformance!(
        durum_file::FileBackend,
        options: [("segment_size", "4KiB"), ("checkpoint_size", "2KiB")]
    );
}

/// A store's commits are larger than an engine's single rows, and need somewhat larger segments.
mod small_segments {
    durum_core::store_conformance!(
        durum_file::FileBackend,
        options: [("segment_size", "64KiB"), ("checkpoint_size", "16KiB")]
    );
}
