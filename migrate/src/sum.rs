//! The digest of everything that is read back, computed by several threads.

use durum_core::digest::Digest;
use durum_core::record::Codecs;
use durum_core::store::ScanStored;
use durum_core::{Error, ErrorKind, Result};

use crate::channel::Channel;
use crate::options::MigrateOptions;
use crate::parcel::Parcel;
use crate::reuse::Spare;

/// How the work is shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Threads that hash, beside the one that reads.
    pub(crate) threads: usize,
    /// Bytes of records on their way between them.
    pub(crate) in_flight_bytes: usize,
}

impl Shares {
    /// Those of a migration that reads its copy back.
    pub(crate) fn of(options: &MigrateOptions) -> Shares {
        Shares {
            // Nothing else uses those of the copy.
            threads: options.threads() + 1,
            in_flight_bytes: options.in_flight_bytes(),
        }
    }
}

/// Verifies every record of `scan`, whose data `codecs` can read, and adds up the digest. The caller's thread reads;
/// `step` is told of the bytes of each record, and may end it.
///
/// # Errors
/// Those of reading and of `step`; `Damaged` names the first object that is.
pub(crate) fn of_rows(
    scan: &mut dyn ScanStored,
    codecs: &Codecs,
    shares: Shares,
    step: &dyn Fn(usize) -> Result<()>,
) -> Result<Digest> {
    let (parcels, spare) = (Channel::new(shares.in_flight_bytes), Spare::new());
    std::thread::scope(|scope| {
        let hash = || hash_all(&parcels, &spare, codecs);
        let threads: Vec<_> = (0..shares.threads).map(|_| scope.spawn(hash)).collect();
        let read = {
            let _closing = parcels.closing();
            read_all(scan, &parcels, &spare, step)
        };
        let mut sum = Digest::default();
        let mut first: Option<Error> = None;
        for thread in threads {
            let failed = |_| Err(Error::new(ErrorKind::Other, VERIFY).because("a thread failed"));
            match thread.join().unwrap_or_else(failed) {
                Ok(part) => sum += part,
                Err(error) => {
                    let oid = |error: &Error| error.oids().first().copied();
                    if first.as_ref().is_none_or(|first| oid(&error) < oid(first)) {
                        first = Some(error);
                    }
                }
            }
        }
        // What was hashed comes before what was read last.
        match first {
            Some(error) => Err(error),
            None => read.map(|()| sum),
        }
    })
}

/// Sends everything; ends early where nobody takes it any more.
fn read_all(
    scan: &mut dyn ScanStored,
    parcels: &Channel<Parcel>,
    spare: &Spare<Parcel>,
    step: &dyn Fn(usize) -> Result<()>,
) -> Result<()> {
    let mut parcel = spare.take();
    let result = loop {
        match scan.next() {
            Ok(Some((oid, stored))) => {
                parcel.add_stored(oid, stored);
                step(stored.len())?;
                if parcel.is_full() {
                    let bytes = parcel.bytes();
                    let full = std::mem::replace(&mut parcel, spare.take());
                    if !parcels.send(full, bytes) {
                        return Ok(());
                    }
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Also where what comes next cannot be read: something before it may be what is damaged first.
    let bytes = parcel.bytes();
    parcels.send(parcel, bytes);
    result
}

/// Hashes until there is no more. After an error nothing more is read, but all that was: there may be an
/// earlier one in it.
fn hash_all(parcels: &Channel<Parcel>, spare: &Spare<Parcel>, codecs: &Codecs) -> Result<Digest> {
    let _closing = parcels.closing();
    let (mut sum, mut data) = (Digest::default(), Vec::new());
    while let Some(parcel) = parcels.receive() {
        parcel.add_to(&mut sum, codecs, &mut data)?;
        spare.give(parcel);
    }
    Ok(sum)
}

const VERIFY: &str = "verify the copy";

#[cfg(test)]
mod tests {
    use durum_core::Oid;

    use super::*;

    #[test]
    fn the_first_of_several_damaged_objects_is_named() {
        let parcels = Channel::new(usize::MAX);
        let spare = Spare::new();
        for oid in [5, 3, 4] {
            let mut parcel = Parcel::default();
            parcel.add_stored(Oid(oid), b"no record");
            assert!(parcels.send(parcel, 1));
        }
        let codecs = Codecs::default();
        let failed = hash_all(&parcels, &spare, &codecs).unwrap_err();
        assert_eq!(failed.oids(), [Oid(5)]);
        // The channel is closed, and still gives what is in it.
        assert!(!parcels.send(Parcel::default(), 1));
        let next = hash_all(&parcels, &spare, &codecs).unwrap_err();
        assert_eq!(next.oids(), [Oid(3)]);
    }
}
