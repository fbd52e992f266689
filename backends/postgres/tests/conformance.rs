//! The conformance suite on PostgreSQL.

durum_core::conformance!(durum_postgres::PostgresBackend, home: durum_database::home());
