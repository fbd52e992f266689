//! Where a store is and how it is used: `durum.toml` and URLs, read by one parser.
//!
//! Both end in a [`StoreSettings`], which knows nothing of particular engines: names of engines and
//! their options are checked by whoever has the registry of those compiled in.

mod file;
mod server;
mod store;
mod suggest;
mod url;

pub use file::{Config, FILE_NAME, VARIABLE};
pub use server::{Rights, ServerLimits, ServerSettings};
pub use store::StoreSettings;
pub use suggest::suggest;
pub use url::{DurusFormat, Location, ServerLocation, TlsFiles};
