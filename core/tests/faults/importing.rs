//! Imports, whose batches are written by a thread of its own.

use durum_core::record::Payload;
use durum_core::store::StagedStore;

use super::*;

/// Larger than a batch, so that each is one of its own.
static DATA: [u8; 400 << 10] = [7; 400 << 10];

fn staged() -> (StagedStore, Arc<Control>) {
    let backend = FaultyBackend::default();
    let control = backend.0.clone();
    let options = StoreOptions {
        collection: Collection::OFF,
        ..StoreOptions::default()
    };
    let staged = StagedStore::create(Arc::new(backend), &PathBuf::new(), &options).unwrap();
    (staged, control)
}

/// How many objects are there, and the last of them.
fn found(staged: &StagedStore) -> (u64, Option<Oid>) {
    let importer = staged.resumable_importer(Vec::new(), 1 << 20, &|_| Ok(()));
    let importer = importer.unwrap();
    (importer.objects(), importer.last())
}

/// Whether the disk is full or fails, nothing is written on top of a batch that is missing.
#[test]
fn after_a_batch_that_failed_none_is_written() {
    for kind in [ErrorKind::Full, ErrorKind::Io] {
        let (staged, control) = staged();
        let mut importer = staged
            .resumable_importer(b"begun".to_vec(), 1 << 20, &|_| Ok(()))
            .unwrap();
        *control.pass.lock().unwrap() = 2;
        control.fault.lock().unwrap().push(Fault::Fail(kind));
        let mut failed = None;
        for oid in (0..10).map(Oid) {
            importer
                .push_own(oid, Tid(1), &[], Payload::plain(&DATA))
                .unwrap();
            if let Err(error) = importer.checkpoint(vec![1]) {
                failed = Some((oid, error));
                break;
            }
        }
        let (last, error) = failed.unwrap();
        assert_eq!(error.kind(), kind);
        // It is told at the latest by the batch after the next.
        assert!(last <= Oid(4), "{last}");
        assert_eq!(importer.settle().unwrap_err().kind(), ErrorKind::Poisoned);
        let error = importer.finish(Tid(1), Oid::ROOT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert_eq!(found(&staged), (2, Some(Oid(1))));
    }
}

/// A batch that was begun is whole when its importer is gone, and the store is nobody else's then.
#[test]
fn an_importer_that_is_dropped_leaves_whole_batches() {
    let (staged, control) = staged();
    *control.slow.lock().unwrap() = Duration::from_millis(50);
    let mut importer = staged
        .resumable_importer(b"begun".to_vec(), 1 << 20, &|_| Ok(()))
        .unwrap();
    for oid in (0..3).map(Oid) {
        importer
            .push_own(oid, Tid(1), &[], Payload::plain(&DATA))
            .unwrap();
        importer.checkpoint(vec![1]).unwrap();
    }
    drop(importer);
    assert_eq!(found(&staged), (3, Some(Oid(2))));
    assert!(!staged.store().is_poisoned());
}
