//! Configuration files and URLs, read by one parser.

mod suggest;

pub use suggest::suggest;
