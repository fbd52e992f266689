//! The conformance suite on RocksDB.

durum_core::conformance!(durum_rocksdb::RocksdbBackend);
