//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For the store's files, listeners and the like.
const RESERVE: u64 = 128;

/// Raises the limit as far as it may be, and says so where that is not enough for so many connections.
pub(crate) fn allow(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = connections_max as u64 + RESERVE;
    if let Some(limit) = now.filter(|limit| *limit < needed) {
        warn!(
            "the system allows {limit} open files and connections, and {needed} may be needed: raise `ulimit -n`"
        );
    }
}
