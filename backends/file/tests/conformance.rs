//! The engine conformance suite on the flat file: with its defaults, and with segments and
//! checkpoints so small that every case meets many of them.

mod defaults {
    durum_core::engine_conformance!(durum_file::FileBackend);
}

mod tiny_segments {
    durum_core::engine_conformance!(
        durum_file::FileBackend,
        options: [("segment_size", "4KiB"), ("checkpoint_size", "2KiB")]
    );
}
