//! The store conformance suite on this engine.

durum_core::store_conformance!(durum_file::FileBackend);
