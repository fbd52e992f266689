//! The conformance suite on the in-memory engine.

durum_core::conformance!(durum_memory::MemoryBackend);
