//! Which of Durum's own engines are compiled in.
//!
//! Each engine is a crate and a feature of this one; no other crate names them. A program that brings
//! an engine of its own adds it to the [`registry`] with [`Registry::with`].
#![forbid(unsafe_code)]

use durum_core::engine::Registry;

/// The engines that this build has.
pub fn registry() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "file")]
    let registry = registry.with(durum_file::FileBackend);
    #[cfg(feature = "fjall")]
    let registry = registry.with(durum_fjall::FjallBackend);
    #[cfg(feature = "lmdb")]
    let registry = registry.with(durum_lmdb::LmdbBackend);
    #[cfg(feature = "memory")]
    let registry = registry.with(durum_memory::MemoryBackend);
    #[cfg(feature = "postgres")]
    let registry = registry.with(durum_postgres::PostgresBackend);
    #[cfg(feature = "redb")]
    let registry = registry.with(durum_redb::RedbBackend);
    #[cfg(feature = "rocksdb")]
    let registry = registry.with(durum_rocksdb::RocksdbBackend);
    #[cfg(not(feature = "rocksdb"))]
    let registry = registry.without("rocksdb", ROCKSDB);
    #[cfg(feature = "sled")]
    let registry = registry.with(durum_sled::SledBackend);
    #[cfg(feature = "sqlite")]
    let registry = registry.with(durum_sqlite::SqliteBackend);
    registry
}

/// How to get the engine that is no default.
#[cfg(not(feature = "rocksdb"))]
const ROCKSDB: &str =
    "Build Durum with `--features rocksdb`, which needs a C++ compiler and libclang.";

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn a_feature_is_an_engine_of_that_name() {
        let names = registry().names();
        for (name, compiled_in) in [
            ("file", cfg!(feature = "file")),
            ("fjall", cfg!(feature = "fjall")),
            ("lmdb", cfg!(feature = "lmdb")),
            ("memory", cfg!(feature = "memory")),
            ("postgres", cfg!(feature = "postgres")),
            ("redb", cfg!(feature = "redb")),
            ("rocksdb", cfg!(feature = "rocksdb")),
            ("sled", cfg!(feature = "sled")),
            ("sqlite", cfg!(feature = "sqlite")),
        ] {
            assert_eq!(names.contains(&name), compiled_in, "{name}");
            assert_eq!(registry().get(name).is_ok(), compiled_in, "{name}");
        }
    }

    #[test]
    fn engines_are_listed_by_name() {
        let names = registry().names();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn who_asks_for_an_engine_that_is_no_default_is_told_of_the_feature() {
        let compiled_in = cfg!(feature = "rocksdb");
        let mut absent = registry().absent().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(absent.pop().is_none(), compiled_in);
        if !compiled_in {
            let error = registry().parse("rocksdb:path").unwrap_err();
            assert!(error.to_string().contains("--features rocksdb"), "{error}");
        }
    }
}
