//! Homes of conformance cases: a schema each, on a server that all share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use durum_core::conformance::Home;

use crate::Server;

/// A schema that nobody has used yet.
#[derive(Debug)]
pub struct SchemaHome {
    server: &'static Server,
    schema: String,
}

/// A home for one case; `None` where there is no PostgreSQL.
///
/// # Panics
/// As [`Server::shared`].
pub fn home() -> Option<SchemaHome> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Some(SchemaHome {
        server: Server::shared()?,
        schema: format!("case_{number}"),
    })
}

impl Home for SchemaHome {
    fn path(&self) -> PathBuf {
        PathBuf::from(self.server.address("test"))
    }

    fn options(&self) -> Vec<(String, String)> {
        vec![("schema".to_owned(), self.schema.clone())]
    }

    fn stores(&self) -> usize {
        let name = &self.schema;
        let sql = format!(
            "SELECT count(*) FROM pg_namespace WHERE nspname = '{name}' OR starts_with(nspname::text, '{name}.')"
        );
        self.server.sql("test", &sql).parse().expect("a number")
    }
}

impl Drop for SchemaHome {
    fn drop(&mut self) {
        // The server's directory lies in memory.
        let sql = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.schema);
        self.server.sql("test", &sql);
    }
}
