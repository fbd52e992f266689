//! Reading the objects that an import has brought, before it has ended.

use std::fmt;
use std::sync::Arc;

use super::ScanStored;
use super::local::Shared;
use super::scan::LocalScan;
use super::snapshot::LocalSnapshot;
use crate::record::Codecs;

/// The objects that an import has brought, as the engine has them: no snapshot of the store shows them before its
/// end. They can be read from when the import says so: see
/// [`Importer::finish_watched`](super::Importer::finish_watched).
pub struct Brought(LocalSnapshot);

impl fmt::Debug for Brought {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Brought").finish_non_exhaustive()
    }
}

impl Brought {
    pub(super) fn new(shared: Arc<Shared>) -> Brought {
        Brought(LocalSnapshot::of_writer(shared))
    }

    /// Walks over their stored bytes in ascending order.
    pub fn scan(&self) -> impl ScanStored + '_ {
        LocalScan::newest(&self.0)
    }

    /// What reads their data.
    pub fn codecs(&self) -> &Codecs {
        &self.0.shared.codecs
    }
}
