//! The store conformance suite on the in-memory engine.

durum_core::store_conformance!(durum_memory::MemoryBackend);
