//! What a group of commits will need, read at once from an engine that is a server.

use super::changes;
use super::graph::RowGraph;
use super::request::Request;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::{Oid, Tid};

impl RowGraph<'_> {
    /// Has the engine read what the commits will need, where each read by itself would cost a wait: the records
    /// that they expect or replace, and the records and referrers of what they refer to.
    pub(super) fn read_ahead(&self, requests: &[Request]) -> Result<()> {
        let Some(view) = self.rows.view().filter(|view| view.has_latency()) else {
            return Ok(());
        };
        let mut rows = Vec::new();
        for request in requests {
            let batch = &request.batch;
            if let Some(identity) = batch.identity {
                let (key, _) = changes::recent_row(identity, Tid::ZERO);
                rows.push((Table::Recent, key));
            }
            let expected = batch.expects.iter().map(|(oid, _)| *oid);
            let written = batch.writes.iter().map(|write| write.oid);
            let targets = || {
                batch
                    .writes
                    .iter()
                    .flat_map(|write| write.refs.iter().copied())
            };
            let row = |table, oid: Oid| (table, Key::from(oid.0));
            let objects = expected.chain(written).chain(targets());
            rows.extend(objects.map(|oid| row(Table::Objects, oid)));
            rows.extend(targets().map(|oid| row(Table::Referrers, oid)));
        }
        rows.sort_unstable();
        rows.dedup();
        view.read_ahead(&rows)
    }
}
