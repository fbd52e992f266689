//! Revisions, history, and dictionaries as they were.

use std::time::{Duration, SystemTime};

use super::{Site, fields};
use crate::{
    At, Class, DEPTH_MAX, ErrorKind, FIELDS_MAX, Fields, History, KEY_BYTES_MAX, Value, Write,
};

/// Each write is kept, names what it supersedes, and is the newest.
pub fn every_write_is_a_revision(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    assert_eq!(home.get("c", "k").unwrap(), None);
    let begun = SystemTime::now() - Duration::from_millis(1);
    let first = home
        .put(
            "c",
            "k",
            fields([("n", Value::Int(1)), ("same", Value::Null)]),
        )
        .unwrap();
    let second = home
        .put(
            "c",
            "k",
            fields([("n", Value::Int(2)), ("same", Value::Null)]),
        )
        .unwrap();
    let third = site
        .open()
        .put("c", "k", fields([("same", Value::Null)]))
        .unwrap();
    assert!(first < second && second < third);
    let found = home.get("c", "k").unwrap().unwrap();
    assert_eq!(found.fields(), &fields([("same", Value::Null)]));
    assert_eq!((found.revision.id, found.concurrent.len()), (third, 0));
    assert!(found.revision.id.time() >= begun && found.age() < Duration::from_secs(3600));
    let history: Vec<_> = home
        .history("c", "k")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let ids: Vec<_> = history.iter().map(|revision| revision.id).collect();
    assert_eq!(ids, [third, second, first]);
    assert_eq!(history[0].parents, [second]);
    assert_eq!(history[1].parents, [first]);
    assert_eq!(history[2].parents, []);
    assert_eq!(history[2].fields["n"], Value::Int(1));
    // What has not changed is known to be as old as it is.
    assert_eq!(
        (history[0].stamp("same"), history[0].stamp("n")),
        (Some(first), Some(third))
    );
    assert_eq!(home.history("c", "absent").unwrap().count(), 0);
}

/// A deleted dictionary is not found; its past is, and it can be written again.
pub fn a_deletion_is_a_revision(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    assert_eq!(home.delete("c", "k").unwrap(), None);
    assert_eq!(home.newest("c", "k").unwrap(), None, "nothing was written");
    let first = home.put("c", "k", fields([("n", Value::Int(1))])).unwrap();
    let deleted = home.delete("c", "k").unwrap().unwrap();
    assert_eq!(home.delete("c", "k").unwrap(), None);
    assert_eq!(home.get("c", "k").unwrap(), None);
    let newest = home.newest("c", "k").unwrap().unwrap();
    assert!(newest.revision.is_deleted());
    assert_eq!(
        (newest.revision.id, newest.revision.parents),
        (deleted, vec![first])
    );
    assert_eq!(home.all("c").unwrap().count(), 0);
    assert_eq!(home.all_newest("c", "").unwrap().count(), 1);
    let again = home.put("c", "k", fields([])).unwrap();
    assert_eq!(home.get("c", "k").unwrap().unwrap().revision.id, again);
    let deletions: Vec<_> = home
        .history("c", "k")
        .unwrap()
        .map(|each| each.unwrap().is_deleted())
        .collect();
    assert_eq!(deletions, [false, true, false]);
}

/// By a revision, and by a time.
pub fn a_dictionary_is_seen_as_it_was(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let write = |number| {
        let id = home
            .put("c", "k", fields([("n", Value::Int(number))]))
            .unwrap();
        // So that the next is of another millisecond.
        while SystemTime::now() < id.time() + Duration::from_millis(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        id
    };
    let ids: Vec<_> = (0..3).map(write).collect();
    for (number, id) in (0..).zip(&ids) {
        let by_revision = home.get_at("c", "k", At::Revision(*id)).unwrap().unwrap();
        assert_eq!(by_revision.fields["n"], Value::Int(number));
        let by_time = home.get_at("c", "k", At::Time(id.time())).unwrap().unwrap();
        assert_eq!(by_time.id, *id);
        let later = id.time() + Duration::from_millis(1);
        assert_eq!(
            home.get_at("c", "k", At::Time(later)).unwrap().unwrap().id,
            *id
        );
    }
    let before = ids[0].time() - Duration::from_millis(1);
    assert_eq!(home.get_at("c", "k", At::Time(before)).unwrap(), None);
    assert_eq!(
        home.get_at("c", "other", At::Time(SystemTime::now()))
            .unwrap(),
        None
    );
    let other = site.open();
    other.define(Class::new("d")).unwrap();
    let elsewhere = other.put("d", "k", fields([])).unwrap();
    assert_eq!(
        home.get_at("c", "k", At::Revision(elsewhere)).unwrap(),
        None
    );
    home.delete("c", "k").unwrap();
    let now = home.get_at(
        "c",
        "k",
        At::Time(SystemTime::now() + Duration::from_secs(1)),
    );
    assert!(now.unwrap().unwrap().is_deleted());
}

/// All sorts of values, names and keys.
pub fn all_values_come_back(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let map = fields([
        ("", Value::Null),
        ("\0", Value::Bool(true)),
        ("é/%", Value::List(vec![])),
    ]);
    let values = [
        ("null", Value::Null),
        ("false", Value::Bool(false)),
        ("least", Value::Int(i64::MIN)),
        ("most", Value::Int(i64::MAX)),
        ("float", Value::Float(-0.0)),
        ("tiny", Value::Float(5e-324)),
        ("nan", Value::Float(f64::NAN)),
        ("inf", Value::Float(f64::NEG_INFINITY)),
        ("string", "\0\u{10ffff}é".into()),
        ("empty", "".into()),
        ("bytes", Value::Bytes((0..=255).collect())),
        (
            "list",
            Value::List(vec![
                Value::Null,
                Value::List(vec![Value::Int(1)]),
                Value::Map(map.clone()),
            ]),
        ),
        ("map", Value::Map(map)),
        ("$bytes", Value::Map(fields([("$bytes", "x".into())]))),
    ];
    let all = fields(values);
    let keys = [
        "k",
        "é",
        "a b",
        "\0",
        "a/b",
        "a%2Fb",
        ".",
        "..",
        "\u{10ffff}",
        &"k".repeat(KEY_BYTES_MAX),
    ];
    for key in keys {
        home.put("c", key, all.clone()).unwrap();
    }
    for key in keys {
        assert_eq!(
            home.get("c", key).unwrap().unwrap().fields(),
            &all,
            "{key:?}"
        );
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(super::keys(home.all("c").unwrap()), sorted);
    let mut deep = Value::Null;
    for _ in 1..DEPTH_MAX {
        deep = Value::List(vec![deep]);
    }
    let deep = fields([("deep", deep)]);
    home.put("c", "k", deep.clone()).unwrap();
    assert_eq!(home.get("c", "k").unwrap().unwrap().fields(), &deep);
    home.put("c", "k", Fields::new()).unwrap();
    assert_eq!(
        home.get("c", "k").unwrap().unwrap().fields(),
        &Fields::new()
    );
}

/// Values that are stored apart are those of their revision.
pub fn large_values_come_back_after_many_revisions(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let large = |byte: u8| Value::Bytes(vec![byte; 700_000]);
    let text = Value::String("x".repeat(2000));
    let revision = |byte, number| {
        fields([
            ("a", large(byte)),
            ("t", text.clone()),
            ("n", Value::Int(number)),
        ])
    };
    let written = [(1, 1), (1, 2), (2, 3), (1, 4)].map(|(byte, number)| {
        let fields = revision(byte, number);
        (home.put("c", "k", fields.clone()).unwrap(), fields)
    });
    for (id, fields) in written {
        assert_eq!(
            home.get_at("c", "k", At::Revision(id))
                .unwrap()
                .unwrap()
                .fields,
            fields
        );
    }
    home.delete("c", "k").unwrap();
    assert_eq!(home.history("c", "k").unwrap().count(), 5);
}

/// Nothing is written then.
pub fn what_no_dictionary_can_be_is_refused(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let mut deep = Value::Null;
    for _ in 0..DEPTH_MAX {
        deep = Value::List(vec![deep]);
    }
    let many: Fields = (0..=FIELDS_MAX)
        .map(|number| (number.to_string(), Value::Null))
        .collect();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for (key, fields, why) in [
        ("", fields([]), "key"),
        (long.as_str(), fields([]), "key"),
        ("k", fields([("deep", deep)]), "nested"),
        ("k", fields([("", Value::Null)]), "field"),
        (
            "k",
            fields([("f".repeat(256).as_str(), Value::Null)]),
            "field",
        ),
        ("k", many, "fields"),
    ] {
        let error = home.put("c", key, fields).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(home.all_newest("c", "").unwrap().count(), 0);
}

/// Whatever their length.
pub fn long_histories_are_read_in_order(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let write = |number| {
        home.put("c", "k", fields([("n", Value::Int(number))]))
            .unwrap()
    };
    let mut ids: Vec<_> = (0..200).map(write).collect();
    for (number, id) in (0..).zip(&ids) {
        let found = home.get_at("c", "k", At::Revision(*id)).unwrap().unwrap();
        assert_eq!(found.fields["n"], Value::Int(number));
    }
    ids.reverse();
    let history: Vec<_> = home
        .history("c", "k")
        .unwrap()
        .map(|each| each.unwrap().id)
        .collect();
    assert_eq!(history, ids);
}

/// The newest as many, whatever the writers.
pub fn a_history_of_so_many_revisions_keeps_these(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").history(History::Revisions(3)))
        .unwrap();
    let write = |number| {
        home.put("c", "k", fields([("n", Value::Int(number))]))
            .unwrap()
    };
    let ids: Vec<_> = (0..50).map(write).collect();
    home.put("c", "once", fields([])).unwrap();
    home.heal(Some("c")).unwrap();
    let history: Vec<_> = home
        .history("c", "k")
        .unwrap()
        .map(|each| each.unwrap().id)
        .collect();
    assert_eq!(history, [ids[49], ids[48], ids[47]]);
    assert_eq!(home.get_at("c", "k", At::Revision(ids[46])).unwrap(), None);
    assert_eq!(home.history("c", "once").unwrap().count(), 1);
    // A rule that was made narrower holds from the next write on, or when the class is healed.
    home.define(Class::new("c").history(History::Revisions(1)))
        .unwrap();
    let last = write(50);
    home.heal(Some("c")).unwrap();
    let history: Vec<_> = home
        .history("c", "k")
        .unwrap()
        .map(|each| each.unwrap().id)
        .collect();
    assert_eq!(history, [last]);
}

/// What was the newest within the time stays.
pub fn a_history_by_age_forgets_what_was_superseded_before(site: &dyn Site) {
    let home = site.open();
    let class = Class::new("c");
    home.define(class.clone().history(History::Seconds(3600)))
        .unwrap();
    for number in 0..3 {
        home.put("c", "k", fields([("n", Value::Int(number))]))
            .unwrap();
        home.put("c", "gone", fields([("n", Value::Int(number))]))
            .unwrap();
    }
    home.put("c", "once", fields([])).unwrap();
    home.delete("c", "gone").unwrap();
    home.heal(Some("c")).unwrap();
    assert_eq!(home.history("c", "k").unwrap().count(), 3);
    home.define(class.history(History::Seconds(0))).unwrap();
    let newest = home.newest("c", "gone").unwrap().unwrap().revision.id;
    while SystemTime::now() < newest.time() + Duration::from_millis(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let healed = home.heal(Some("c")).unwrap().remove("c").unwrap();
    assert_eq!(healed.pruned, 2 + 4, "{healed:?}");
    assert_eq!(home.history("c", "k").unwrap().count(), 1);
    assert_eq!(
        home.get("c", "k").unwrap().unwrap().fields()["n"],
        Value::Int(2)
    );
    assert!(home.get("c", "once").unwrap().is_some());
    assert_eq!(
        home.newest("c", "gone").unwrap(),
        None,
        "of what was deleted nothing is left"
    );
    assert_eq!(home.heal(Some("c")).unwrap()["c"].pruned, 0);
    home.put("c", "gone", fields([])).unwrap();
    assert!(home.get("c", "gone").unwrap().is_some());
}

/// In the order in which they are given, several times the same key, too.
pub fn many_are_written_at_once(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let write = |key: &str, fields: Option<Fields>| Write {
        key: key.to_owned(),
        after: None,
        fields,
    };
    let one = Some(fields([("n", Value::Int(1))]));
    let writes = vec![
        write("a", one.clone()),
        write("b", one.clone()),
        write("a", Some(fields([("n", Value::Int(2))]))),
        write("b", None),
    ];
    let ids = home.write("c", writes).unwrap();
    assert!(ids.is_sorted_by(|one, two| one < two));
    assert_eq!(home.get("c", "a").unwrap().unwrap().revision.id, ids[2]);
    assert_eq!(
        home.get_at("c", "a", At::Revision(ids[0]))
            .unwrap()
            .unwrap()
            .fields["n"],
        Value::Int(1)
    );
    assert_eq!(home.get("c", "b").unwrap(), None);
    let wrong = vec![write("d", one), write("", None)];
    home.write("c", wrong).unwrap_err();
    assert_eq!(home.get("c", "d").unwrap(), None);
    assert_eq!(home.write("c", vec![]).unwrap(), []);
}
