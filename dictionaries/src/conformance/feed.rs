//! Streams of all dictionaries, and of changes.

use super::{Site, fields, keys};
use crate::{Class, ErrorKind, History, Marker, Value, Write};

fn puts(numbers: std::ops::Range<i64>) -> Vec<Write> {
    let put = |number| Write {
        key: format!("{number:05}"),
        after: None,
        fields: Some(fields([("n", Value::Int(number))])),
    };
    numbers.map(put).collect()
}

/// All that was written, of several writers, in an order in which each comes after what it supersedes.
pub fn changes_come_in_order_and_go_on_at_a_marker(site: &dyn Site) {
    let (home, other) = (site.open(), site.open());
    home.define(Class::new("c")).unwrap();
    home.define(Class::new("d")).unwrap();
    assert_eq!(home.changes("c", None).unwrap().count(), 0);
    let begin = home.marker("c").unwrap();
    let mut ids = home.write("c", puts(0..300)).unwrap();
    ids.extend(other.write("c", puts(100..400)).unwrap());
    ids.push(home.delete("c", "00007").unwrap().unwrap());
    home.put("d", "k", fields([])).unwrap();
    let changes: Vec<_> = site
        .open()
        .changes("c", None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(changes.len(), ids.len());
    let mut seen = std::collections::BTreeSet::new();
    for change in &changes {
        assert!(
            change
                .revision
                .parents
                .iter()
                .all(|parent| seen.contains(parent))
        );
        seen.insert(change.revision.id);
    }
    assert!(ids.iter().all(|id| seen.contains(id)));
    assert_eq!(home.changes("c", Some(&begin)).unwrap().count(), ids.len());
    for at in [0, 1, 127, 128, 299, 600] {
        let marker: Marker = changes[at].marker.to_string().parse().unwrap();
        // Some may come again.
        let rest = home.changes("c", Some(&marker)).unwrap();
        let rest: Vec<_> = rest.map(|change| change.unwrap().revision.id).collect();
        let mut missing = changes[at + 1..].iter();
        let missing = missing.find(|change| !rest.contains(&change.revision.id));
        assert!(missing.is_none(), "after {marker}");
    }
    let last = &changes.last().unwrap().marker;
    assert_eq!(home.changes("c", Some(last)).unwrap().count(), 0);
    let end = home.marker("c").unwrap();
    assert_eq!(home.changes("c", Some(&end)).unwrap().count(), 0);
    let last = home.put("c", "later", fields([])).unwrap();
    let rest: Vec<_> = home
        .changes("c", Some(&end))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (rest.len(), rest[0].revision.id, rest[0].key.as_str()),
        (1, last, "later")
    );
}

/// Those that are none, and those of a later time than there is.
pub fn wrong_markers_are_refused(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    home.define(Class::new("d")).unwrap();
    home.write("d", puts(0..3)).unwrap();
    for marker in ["", "x", "-1", "e-1", "e99999999999999999999"] {
        let marker: Marker = marker.parse().unwrap();
        let error = home.changes("c", Some(&marker)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{marker}: {error}");
    }
}

/// By the thousand, also while others write.
pub fn all_dictionaries_are_streamed_in_order(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    home.write("c", puts(0..1000)).unwrap();
    let expected: Vec<_> = (0..1000).map(|number| format!("{number:05}")).collect();
    assert_eq!(keys(home.all("c").unwrap()), expected);
    assert_eq!(
        keys(home.all_newest("c", "00990").unwrap()),
        expected[990..]
    );
    assert_eq!(
        keys(home.all_newest("c", "009905").unwrap()),
        expected[991..]
    );
    let other = site.open();
    let mut found = Vec::new();
    for (number, each) in home.all("c").unwrap().enumerate() {
        found.push(each.unwrap().key);
        if number % 100 == 0 {
            other.write("c", puts(500..505)).unwrap();
        }
    }
    assert_eq!(found, expected);
}

/// Revisions that are gone are passed over; where the beginning is gone it is said.
pub fn changes_of_a_limited_history_end_with_what_is_there(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").history(History::Revisions(1)))
        .unwrap();
    for _ in 0..10 {
        home.write("c", puts(0..50)).unwrap();
    }
    home.heal(None).unwrap();
    let last: std::collections::BTreeMap<_, _> = home
        .changes("c", None)
        .unwrap()
        .map(|change| change.map(|change| (change.key.clone(), change)).unwrap())
        .collect();
    assert_eq!(last.len(), 50);
    for found in home.all("c").unwrap() {
        let found = found.unwrap();
        assert_eq!(last[&found.key].revision, found.revision);
    }
}
