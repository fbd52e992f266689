//! The tables as SQL.

use durum_core::engine::Table;
use durum_core::engine::sql::Columns;
use tokio_postgres::types::Type;

/// What is done to the rows of a table by a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    /// The value of a row.
    Get,
    /// Rows with these first numbers, in no order; the values of those that are larger than so many bytes are null.
    Many,
    /// Rows from a key on, at most so many, in the order of their keys; large values as in `Many`.
    Page,
    /// Stores rows, given as arrays of keys and of values.
    Put,
    /// Deletes rows, given as arrays of keys.
    Delete,
    /// Stores rows that are not there yet, given as a stream.
    Copy,
    /// The largest key.
    Last,
}

/// The schema of a store: its name, as SQL has it.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    name: String,
}

impl Schema {
    pub(crate) fn new(name: &str) -> Schema {
        Schema {
            name: name.to_owned(),
        }
    }

    /// The name as it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name as SQL has it.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// A table of the schema, as SQL has it.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{}", self.quoted(), quoted(name))
    }

    /// The columns of a table's key, as a list.
    pub(crate) fn key(table: Table) -> String {
        let Columns { first, second, .. } = Columns::of(table);
        keys(first, second)
    }

    /// All that a new store needs, but for its identity.
    pub(crate) fn creation(&self) -> String {
        let mut sql = format!("CREATE SCHEMA {};", self.quoted());
        for table in Table::ALL {
            let name = self.table(table.name());
            let Columns {
                first,
                second,
                value,
            } = Columns::of(table);
            let key = keys(first, second);
            let columns = match second {
                None => format!("{first} bigint"),
                Some(second) => format!("{first} bigint, {second} bigint"),
            };
            // Records are compressed already where that is wanted. Tables are vacuumed when a twentieth of their
            // rows is dead.
            sql.push_str(&format!(
                "CREATE TABLE {name} ({columns}, {value} bytea NOT NULL, PRIMARY KEY ({key})) \
                 WITH (autovacuum_vacuum_scale_factor = 0.05); \
                 ALTER TABLE {name} ALTER COLUMN {value} SET STORAGE EXTERNAL;"
            ));
        }
        sql.push_str(&format!(
            "CREATE TABLE {identity} (format int NOT NULL, engine text NOT NULL, store_id text NOT NULL); \
             CREATE TABLE {writer} (fence bigint NOT NULL, claimed bigint NOT NULL, batch bigint NOT NULL, \
                holder text NOT NULL, since timestamptz NOT NULL, \
                CONSTRAINT {FENCE} CHECK (claimed = fence)) WITH (fillfactor = 10); \
             INSERT INTO {writer} VALUES (0, 0, 0, '', now());",
            identity = self.table("identity"),
            writer = self.table("writer"),
        ));
        sql
    }

    /// A statement on a table. Those that read give the writer's fencing number first, in every row, and at least
    /// one row, of which the rest is null where nothing was found.
    pub(crate) fn statement(&self, table: Table, verb: Verb) -> String {
        let name = self.table(table.name());
        let Columns {
            first,
            second,
            value,
        } = Columns::of(table);
        let keys = keys(first, second);
        let is_key = match second {
            None => format!("{first} = $1"),
            Some(second) => format!("{first} = $1 AND {second} = $2"),
        };
        let fenced = |columns: &str, rows: &str| {
            let writer = self.table("writer");
            format!("SELECT fence, {columns} FROM {writer} LEFT JOIN ({rows}) AS rows ON true")
        };
        // The value last, unless there is a second number.
        let sized = |most: &str| {
            let value =
                format!("CASE WHEN octet_length({value}) <= {most} THEN {value} END AS {value}");
            match second {
                None => format!("{first}, {value}"),
                Some(second) => format!("{first}, {value}, {second}"),
            }
        };
        match (verb, second) {
            (Verb::Get, _) => fenced(value, &format!("SELECT {value} FROM {name} WHERE {is_key}")),
            (Verb::Many, _) => fenced(
                &sized("$2"),
                &format!("SELECT * FROM {name} WHERE {first} = ANY ($1)"),
            ),
            // The one row of `writer` is what the others are joined to, so that they come in their order; who reads
            // them sees to it.
            (Verb::Page, _) => {
                let from = match second {
                    None => format!("{first} >= $1"),
                    Some(_) => format!("({keys}) >= ($1, $4)"),
                };
                let rows = format!("SELECT * FROM {name} WHERE {from} ORDER BY {keys} LIMIT $2");
                fenced(&sized("$3"), &rows)
            }
            (Verb::Last, None) => {
                format!("SELECT {first}, 0::bigint FROM {name} ORDER BY {first} DESC LIMIT 1")
            }
            (Verb::Last, Some(second)) => {
                format!("SELECT {keys} FROM {name} ORDER BY {first} DESC, {second} DESC LIMIT 1")
            }
            (Verb::Copy, _) => format!("COPY {name} ({keys}, {value}) FROM STDIN (FORMAT BINARY)"),
            (Verb::Put, _) => {
                let arrays = match second {
                    None => "$1, $2",
                    Some(_) => "$1, $2, $3",
                };
                format!(
                    "INSERT INTO {name} ({keys}, {value}) SELECT * FROM unnest({arrays}) \
                     ON CONFLICT ({keys}) DO UPDATE SET {value} = EXCLUDED.{value}"
                )
            }
            (Verb::Delete, None) => format!("DELETE FROM {name} WHERE {first} = ANY ($1)"),
            (Verb::Delete, Some(second)) => format!(
                "DELETE FROM {name} USING unnest($1, $2) AS gone (a, b) \
                 WHERE {first} = gone.a AND {second} = gone.b"
            ),
        }
    }

    /// The types of a statement's parameters.
    pub(crate) fn types(table: Table, verb: Verb) -> Vec<Type> {
        match (verb, table.is_pair()) {
            (Verb::Copy | Verb::Last, _) => Vec::new(),
            (Verb::Get, false) => vec![Type::INT8],
            (Verb::Get, true) => vec![Type::INT8, Type::INT8],
            // Of a pair table all with these first numbers.
            (Verb::Many, _) => vec![Type::INT8_ARRAY, Type::INT4],
            (Verb::Page, false) => vec![Type::INT8, Type::INT8, Type::INT4],
            (Verb::Page, true) => vec![Type::INT8, Type::INT8, Type::INT4, Type::INT8],
            (Verb::Put, false) => vec![Type::INT8_ARRAY, Type::BYTEA_ARRAY],
            (Verb::Put, true) => vec![Type::INT8_ARRAY, Type::INT8_ARRAY, Type::BYTEA_ARRAY],
            (Verb::Delete, false) => vec![Type::INT8_ARRAY],
            (Verb::Delete, true) => vec![Type::INT8_ARRAY, Type::INT8_ARRAY],
        }
    }
}

/// The constraint that refuses the writes of whoever is no longer the writer.
pub(crate) const FENCE: &str = "writer_is_the_newest";

/// The columns of a key, as a list.
fn keys(first: &str, second: Option<&str>) -> String {
    match second {
        None => first.to_owned(),
        Some(second) => format!("{first}, {second}"),
    }
}

/// A name as SQL has it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
