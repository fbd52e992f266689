//! Sizes. Space that is no longer used is found and used again by the server's own vacuum, which
//! [`Schema::creation`](crate::schema::Schema::creation) asks to come early.

use durum_core::Result;
use durum_core::engine::EngineStats;

use crate::readers::Readers;
use crate::schema::Schema;

/// What the tables take, with their indexes and what lies beside them; and of that the share of dead rows, as the
/// server counts them, which lags behind.
const SIZES: &str = "SELECT coalesce(sum(pg_total_relation_size(class.oid)), 0)::bigint, \
    coalesce(sum(pg_total_relation_size(class.oid) * coalesce(n_dead_tup, 0) / \
        greatest(coalesce(n_live_tup + n_dead_tup, 0), 1)), 0)::bigint \
    FROM pg_class class JOIN pg_namespace space ON space.oid = class.relnamespace \
    LEFT JOIN pg_stat_all_tables statistics ON statistics.relid = class.oid \
    WHERE nspname = $1 AND class.relkind = 'r'";

pub(crate) fn stats(schema: &Schema, readers: &Readers) -> Result<EngineStats> {
    let name = schema.name();
    let row = readers.read("measure the database", |connection| {
        connection.run(async |client| client.query_one(SIZES, &[&name]).await)
    })?;
    let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
    let (disk, dead) = (bytes(row.get(0)), bytes(row.get(1)));
    Ok(EngineStats {
        disk_bytes: disk,
        reclaimable_bytes: dead.min(disk),
    })
}
