//! What the server counts, and how it tells that.
//!
//! Counting costs a request a few additions to numbers that have fixed places: no lock, and nothing that is
//! looked up by a name. Names are for those who ask, over HTTP.

mod counters;
mod endpoint;
mod exposition;

pub(crate) use counters::{Metrics, Request};
pub(crate) use endpoint::serve;
