//! Damage and failures that collection meets: commits go on, and so does it.

use super::*;

/// A commit that links what is pinned climbs through a damaged object, and is made.
#[test]
fn a_commit_does_not_fail_for_damage_that_it_only_climbs_through() {
    for kind in [SessionKind::Client, SessionKind::DurusClient] {
        let place = Place::new();
        let store = place.create(Collection::OFF);
        let session = store.session(kind).unwrap();
        let [low, mid, high] = store.new_oids(session, 3).unwrap().try_into().unwrap();
        let mut batch = Batch::of(session);
        batch.create(low, "low", []);
        batch.create(mid, "mid", [low]);
        batch.create(high, "high", [mid]);
        batch.update(Oid::ROOT, "root", [high]);
        commit(&store, batch).unwrap();
        let new = lone(&store, session);
        let oid = Key::from(high.0);
        let mut bytes = Vec::new();
        let view = store.raw_engine().snapshot().unwrap();
        view.get(Table::Objects, oid, &mut |stored| bytes = stored.to_vec())
            .unwrap();
        drop(view);
        *bytes.last_mut().unwrap() ^= 1;
        write_below(&store, Table::Objects, oid, Some(&bytes));
        // Anchors ascend from `low` to `high`, so that the floor is of no help.
        let mut batch = Batch::of(session);
        batch.update(mid, "mid", [low, new]);
        commit(&store, batch).unwrap();
        let mut batch = Batch::of(session);
        batch.update(mid, "mid", []);
        commit(&store, batch).unwrap();
        assert!(exists(&store, new));
    }
}
