//! The engine conformance suite on the in-memory engine.

durum_core::engine_conformance!(durum_memory::MemoryBackend);
