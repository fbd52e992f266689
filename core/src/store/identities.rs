//! Commits that are sent twice, and those that are not to be performed any more.

use std::collections::{HashSet, VecDeque};
use std::sync::PoisonError;

use super::batch::CommitId;
use super::changes;
use super::graph::RowGraph;
use super::local::LocalStore;
use super::request::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Tid;

/// How many are remembered; they are forgotten when the store is closed, and whoever could send them then
/// is gone.
const REFUSED_MAX: usize = 65_536;

/// Identities of commits that are not to be performed any more.
#[derive(Debug, Default)]
pub(super) struct Identities {
    refused: HashSet<CommitId>,
    order: VecDeque<CommitId>,
}

impl Identities {
    /// What is known of a commit before it is looked at: that it was performed, or that it must not be.
    ///
    /// # Errors
    /// The outer ones are those of the engine's reading.
    pub(super) fn known(
        &self,
        graph: &RowGraph<'_>,
        request: &Request,
    ) -> Result<Option<Result<Tid>>> {
        let Some(identity) = request.batch.identity else {
            return Ok(None);
        };
        if let Some(tid) = changes::remembered(&graph.rows, identity)? {
            return Ok(Some(Ok(tid)));
        }
        if self.refused.contains(&identity) {
            let given_up = Error::new(ErrorKind::Other, "commit")
                .because("it was answered already that this commit was not performed");
            return Ok(Some(Err(given_up)));
        }
        let forgotten = |since: Tid| since < graph.state.changes_from;
        Ok(request.again_since.filter(|it| forgotten(*it)).map(|_| {
            Err(
                Error::new(ErrorKind::Other, "find out what became of a commit")
                    .because("so much was committed since that the store does not remember it")
                    .hint("Read its objects again to see whether it has happened."),
            )
        }))
    }

    fn refuse(&mut self, identity: CommitId) {
        if !self.refused.insert(identity) {
            return;
        }
        self.order.push_back(identity);
        if self.order.len() > REFUSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.refused.remove(&oldest);
        }
    }
}

impl LocalStore {
    /// As [`Store::outcome`](super::Store::outcome), for good: a commit that was not performed is not
    /// performed later either, even if it is on its way. Waits for commits that are being written.
    ///
    /// # Errors
    /// As [`Store::outcome`](super::Store::outcome).
    pub fn settle(&self, identity: CommitId) -> Result<Option<Tid>> {
        if !self.follows() {
            let writer = self.shared.writer.lock();
            let mut writer = writer.unwrap_or_else(PoisonError::into_inner);
            writer.check()?;
            writer.identities.refuse(identity);
        }
        super::Store::outcome(self, identity)
    }
}
