//! What a migration would do.

use durum_core::config::Location;
use durum_core::engine::Registry;
use durum_core::store::Store as _;
use durum_core::{Error, ErrorKind, Result};
use durum_server::client::RemoteStore;

use crate::destination::{Destination, at_fault, take_up};
use crate::follow;
use crate::note::Note;
use crate::options::{MigrateOptions, StopWatch};
use crate::pipeline::walk;
use crate::room::{directory, free_bytes};
use crate::source::Source;

/// What a migration would do, and whether there is room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Objects of the source.
    pub objects: u64,
    /// Bytes of the source's objects as they are stored.
    pub bytes: u64,
    /// Bytes that the destination takes beyond what is there already, about: what the objects take now and
    /// a fifth more, and 64 bytes for each. An estimate: engines and compression differ.
    pub needed_bytes: u64,
    /// Bytes that are free where the destination would lie, where the system says.
    pub free_bytes: Option<u64>,
    /// Objects that an earlier migration has copied already, and that would not be copied again.
    pub done: u64,
}

impl Plan {
    /// Whether the destination is expected to fit.
    pub fn has_room(&self) -> bool {
        self.free_bytes.is_none_or(|free| free >= self.needed_bytes)
    }
}

/// Opens the source and looks at the destination as [`migrate`](crate::migrate) would, and copies nothing.
///
/// # Errors
/// Those that [`migrate`](crate::migrate) begins with.
pub fn plan(
    registry: &Registry,
    source: &Location,
    destination: &Location,
    options: &MigrateOptions,
) -> Result<Plan> {
    let watch = StopWatch::start(options);
    let mut source = Source::open(registry, source, options.follow, &watch)?;
    follow::check(destination, options)?;
    let (path, done) = look(registry, destination, options)?;
    walk(&mut source, options, &(), &watch)?;
    let (objects, bytes) = (source.objects()?, source.bytes()?);
    // Of what is there already, its part is not needed again.
    let left = objects.saturating_sub(done) as f64 / objects.max(1) as f64;
    let needed = ((bytes + bytes / 5 + objects * 64) as f64 * left) as u64;
    Ok(Plan {
        objects,
        bytes,
        needed_bytes: needed,
        free_bytes: path.and_then(|path| free_bytes(&path)),
        done,
    })
}

/// The directory in which the destination would lie, and how many objects are there already.
///
/// # Errors
/// Those for which nothing can be copied to it.
pub(crate) fn look(
    registry: &Registry,
    destination: &Location,
    options: &MigrateOptions,
) -> Result<(Option<std::path::PathBuf>, u64)> {
    match destination {
        Location::Store(settings) => {
            let settings = registry.sequential(settings);
            registry.probe(&settings).map_err(at_fault)?;
            let left = match options.resume {
                true => take_up(registry, &settings).map_err(at_fault)?,
                false => None,
            };
            let mut done = 0;
            if let Some((staged, note)) = left {
                let note = Note::decode(&note);
                staged.leave();
                done = note?.objects;
            }
            let persistent = registry.get(&settings.backend)?.capabilities().persistent;
            let path = persistent.then(|| directory(destination)).flatten();
            Ok((path, done))
        }
        Location::DurusFile { path, .. } => {
            if path.symlink_metadata().is_ok() {
                return Err(Error::new(ErrorKind::Exists, "write a Durus file")
                    .with_path(path)
                    .because("there is a file of this name already"));
            }
            Ok((directory(destination), 0))
        }
        Location::ZodbFile { .. } => Destination::check(destination).map(|()| (None, 0)),
        Location::Server(server) => {
            let objects = match RemoteStore::connect(server) {
                // One that was left, or is being filled.
                Err(error) if error.kind() == ErrorKind::InUse && options.resume => 0,
                store => store.map_err(at_fault)?.stats().map_err(at_fault)?.objects,
            };
            if objects > 0 {
                return Err(
                    Error::new(ErrorKind::Exists, "fill the store of the server")
                        .because(format!("it has {objects} objects")),
                );
            }
            Ok((None, 0))
        }
    }
}
