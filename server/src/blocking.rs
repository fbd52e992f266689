//! Work that blocks.

use durum_core::{Error, ErrorKind, Result};
use tokio::task::spawn_blocking;

/// Runs what blocks where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(ErrorKind::Other, "answer a request")
            .because("the server failed in it; its log says more")),
    }
}
