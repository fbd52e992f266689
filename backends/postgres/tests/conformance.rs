//! The conformance suite on PostgreSQL.

// PostgreSQL vacuums in its own time, and does not say how much of a table it could use again then.
durum_core::conformance!(
    durum_postgres::PostgresBackend,
    space_factor_max: 16,
    home: durum_database::home()
);
