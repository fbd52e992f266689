//! PostgreSQL as an engine: for stores that outgrow one machine's disk, or must survive its loss.
//!
//! A store is a schema of a database, `durum` where no other is named, with a table for each of
//! [`Table::ALL`](durum_core::engine::Table::ALL) (columns as [`durum_core::engine::sql`] names them), and two more:
//! - `identity` has one row: the format, the engine and the store's random identity. A schema without it is no
//!   store. It is written by the transaction that gives the schema its name.
//! - `writer` has one row: who writes, with a fencing number; `writer.rs` says how.
//!
//! A batch is one transaction, sent in one go without waiting for answers in between. Reads are single
//! statements on connections of their own; they show the newest state, and core keeps what its snapshots still
//! need, as for other engines without snapshots.
//!
//! Who only follows a store that another process writes takes no lock and no number; its views are transactions that
//! see one moment (`follow.rs`).
//!
//! The tables of a store that is being filled in bulk have no primary keys until all their rows are there: `keys.rs`.
//!
//! Durability is PostgreSQL's: `power` commits with `synchronous_commit` as the server is set up, but `on` at least,
//! and so does `process`, since what has not been written to the log is lost with PostgreSQL's own processes;
//! `relaxed` commits with `off`.
#![forbid(unsafe_code)]

mod arrays;
mod config;
mod connection;
mod copy;
mod cursor;
mod database;
mod engine;
mod error;
mod follow;
mod hosts;
mod keys;
mod place;
mod readers;
mod reclaim;
mod run;
mod schema;
mod snapshot;
mod source;
mod tls;
mod writer;

use std::path::Path;

use durum_core::engine::{
    Backend, Capabilities, Durability, Engine, OptionKind, OptionSpec, Options,
};
use durum_core::place::RemotePlaces;
use durum_core::{Error, ErrorKind, Result};

const NAME: &str = "postgres";

/// What PostgreSQL takes in one message is 1 GiB, and a value is copied into and out of several.
const VALUE_BYTES_MAX: u64 = 256 << 20;

/// PostgreSQL's backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresBackend;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "schema",
        kind: OptionKind::Name,
        default: "durum",
        help: "The schema of the database in which the store lies.",
    },
    OptionSpec {
        name: "sslmode",
        kind: OptionKind::Choice(&["disable", "verify-full"]),
        default: "verify-full where there is a root certificate",
        help: "Whether connections are encrypted, with a server that proves who it is, or plain.",
    },
    OptionSpec {
        name: "sslrootcert",
        kind: OptionKind::File,
        default: "none: connections are plain, which is allowed to this machine only",
        help: "The certificates, in PEM, of the authorities that vouch for the servers.",
    },
    OptionSpec {
        name: "sslcert",
        kind: OptionKind::File,
        default: "none: the client has no certificate",
        help: "The client's certificate, in PEM.",
    },
    OptionSpec {
        name: "sslkey",
        kind: OptionKind::File,
        default: "none: the client has no certificate",
        help: "The key of the client's certificate, in PEM.",
    },
    OptionSpec {
        name: "passfile",
        kind: OptionKind::File,
        default: "$PGPASSFILE, else ~/.pgpass, unless $PGPASSWORD is set",
        help: "The file with passwords, as PostgreSQL's own programs have it.",
    },
    OptionSpec {
        name: "connections",
        kind: OptionKind::Integer(1, 1000),
        default: "8",
        help: "How many connections read at once; one more writes.",
    },
    OptionSpec {
        name: "reconnect",
        kind: OptionKind::Integer(0, 86_400),
        default: "60",
        help: "For how many seconds a lost connection is tried again before an operation fails.",
    },
];

impl Backend for PostgresBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: NAME,
            version: "PostgreSQL 12 or later, by tokio-postgres 0.7".to_owned(),
            // A view of the engine reads what is newest; see the crate's documentation.
            snapshots: false,
            durability: Durability::ALL.to_vec(),
            compaction: false,
            reclaim: false,
            persistent: true,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn open(&self, _dir: &Path, _options: &Options) -> Result<Box<dyn Engine>> {
        Err(Error::new(ErrorKind::Unsupported, "open the database")
            .with_engine(NAME)
            .because("it lies on a server, and not in a directory"))
    }

    fn remote(&self) -> Option<&dyn RemotePlaces> {
        Some(self)
    }
}
