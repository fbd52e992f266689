//! The engine conformance suite on sled.

durum_core::engine_conformance!(durum_sled::SledBackend);
