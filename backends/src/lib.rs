//! Which of Durum's own engines are compiled in.
//!
//! Each engine is a crate and a feature of this one; no other crate names them. A program that brings
//! an engine of its own adds it to the [`registry`] with [`Registry::with`].
#![forbid(unsafe_code)]

use durum_core::engine::Registry;

/// The engines that this build has.
pub fn registry() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "lmdb")]
    let registry = registry.with(durum_lmdb::LmdbBackend);
    #[cfg(feature = "memory")]
    let registry = registry.with(durum_memory::MemoryBackend);
    registry
}
