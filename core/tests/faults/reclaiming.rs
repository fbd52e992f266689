//! What the worker does when space cannot be given back, or there is always more of it.

use durum_core::collect::Budget;

use super::*;

/// Has the worker give space back, and waits for what is to be seen of it.
fn churn_until(store: &LocalStore, seen: impl Fn(&Pending) -> bool) {
    let data = "x".repeat(300_000);
    let begun = Instant::now();
    while !seen(&store.pending().unwrap()) {
        update(store, &data).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{:?}", store.pending());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn space_that_cannot_be_given_back_is_reported_and_stops_no_commit() {
    let try_kind = |kind| {
        let (store, control) = store_with(Collection::default());
        *control.reclaim_fault.lock().unwrap() = Some(kind);
        churn_until(&store, |pending| pending.reclaim_failed.is_some());
        let pending = store.pending().unwrap();
        assert!(pending.reclaim_failed.unwrap().contains("on purpose"));
        assert_eq!(pending.failed, None, "collection goes on");
        update(&store, "still").unwrap();
        assert!(!store.is_poisoned());
        if kind == ErrorKind::Damaged {
            // The engine might have gone around it, and has not.
            churn_until(&store, |pending| !pending.reclaiming);
        }
        *control.reclaim_fault.lock().unwrap() = None;
        if kind == ErrorKind::Damaged {
            store.reclaim(1).unwrap();
        }
        churn_until(&store, |pending| pending.reclaim_failed.is_none());
        assert_eq!(store.collect().unwrap().objects, 0);
    };
    std::thread::scope(|scope| {
        use ErrorKind::{Damaged, Full, InUse, Unreadable};
        for kind in [Full, InUse, Damaged, Unreadable] {
            scope.spawn(move || try_kind(kind));
        }
    });
}

/// As after a commit of which the sync failed.
#[test]
fn a_reclaim_that_leaves_the_disk_uncertain_ends_writing() {
    let (store, control) = store_with(Collection::default());
    *control.reclaim_fault.lock().unwrap() = Some(ErrorKind::Io);
    let begun = Instant::now();
    while !store.is_poisoned() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", store.pending());
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = update(&store, "refused").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(store.pending().unwrap().reclaim_failed.is_some());
    let health = store.health();
    assert!(health.reclaim_failed.is_some());
    assert!(health.poisoned.is_some_and(|why| !why.is_empty()));
    assert_eq!(root(&store), b"zero");
}

#[test]
fn an_engine_that_always_has_more_to_give_back_neither_holds_up_commits_nor_closing() {
    let (store, control) = store_with(Collection::default());
    control.reclaim_endless.store(true, Ordering::SeqCst);
    churn_until(&store, |_| control.reclaims.load(Ordering::SeqCst) > 40);
    assert_eq!(store.pending().unwrap().reclaim_failed, None);
    drop(store);
    assert_eq!(Arc::strong_count(&control), 1, "the engine is closed");
}

/// Damage that the engine goes around after it was met: the next call does the rest.
#[test]
fn space_beside_what_is_damaged_is_given_back() {
    let (store, control) = store_with(Collection::default());
    control.reclaim_fault_once.store(true, Ordering::SeqCst);
    *control.reclaim_fault.lock().unwrap() = Some(ErrorKind::Damaged);
    churn_until(&store, |_| control.reclaims.load(Ordering::SeqCst) > 2);
    assert!(control.reclaim_fault.lock().unwrap().is_none());
    assert_eq!(store.pending().unwrap().reclaim_failed, None);
    *control.reclaim_fault.lock().unwrap() = Some(ErrorKind::Damaged);
    let before = control.reclaims.load(Ordering::SeqCst);
    let error = store.reclaim_all(&mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(control.reclaims.load(Ordering::SeqCst) >= before + 2);
}

#[test]
fn a_worker_that_has_panicked_is_not_said_to_give_space_back() {
    let (store, control) = store_with(Collection::default());
    control.reclaim_panics.store(true, Ordering::SeqCst);
    wait_until(|| store.is_poisoned());
    wait_until(|| !store.pending().unwrap().reclaiming);
}

/// What is condemned takes up space until it is deleted. When that does not go on, passes for it do not
/// either; when it does, they do.
#[test]
fn space_is_not_looked_for_again_and_again_while_nothing_is_deleted() {
    const COUNT: u32 = 30_000;
    let (store, control) = store_with(Collection {
        worker: Some(Budget {
            deletes: 500,
            ..Collection::default().worker.unwrap()
        }),
        ..Collection::default()
    });
    let oids = store.new_oids(SessionId::EMBEDDED, COUNT).unwrap();
    let mut batch = Batch::new();
    for (index, oid) in oids.iter().enumerate() {
        batch.create(*oid, [1; 50], [oids[(index + 1) % oids.len()]]);
    }
    batch.update(Oid::ROOT, "root", [oids[0]]);
    store.commit(batch, Durability::Power).unwrap();
    *control.slow.lock().unwrap() = Duration::from_millis(20);
    update(&store, "unlinked").unwrap();
    wait_until(|| store.pending().unwrap().condemned > 0);
    let faults = vec![Fault::Fail(ErrorKind::Full); 1000];
    control.fault.lock().unwrap().extend(faults);
    wait_until(|| control.fault.lock().unwrap().len() < 1000);
    wait_until(|| !store.pending().unwrap().reclaiming);
    assert!(store.pending().unwrap().condemned > 0);
    let before = control.reclaims.load(Ordering::SeqCst);
    control.fault.lock().unwrap().clear();
    wait_until(|| store.pending().unwrap().condemned == 0);
    wait_until(|| control.reclaims.load(Ordering::SeqCst) > before);
}

fn wait_until(seen: impl Fn() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
