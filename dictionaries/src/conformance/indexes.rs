//! Indexes.

use std::ops::Bound;

use super::{Site, fields, keys};
use crate::{Class, Dictionaries, ErrorKind, Index, IndexType, Query, Value};

/// Values of each type, in their order.
fn samples() -> [(IndexType, Vec<Value>); 5] {
    [
        (IndexType::Bool, [false, true].map(Value::Bool).to_vec()),
        (
            IndexType::Int,
            [i64::MIN, -300, -1, 0, 1, 255, 256, i64::MAX]
                .map(Value::Int)
                .to_vec(),
        ),
        (
            IndexType::Float,
            [
                f64::NEG_INFINITY,
                -1e9,
                -0.5,
                0.0,
                5e-324,
                0.5,
                1e9,
                f64::INFINITY,
                f64::NAN,
            ]
            .map(Value::Float)
            .to_vec(),
        ),
        (
            IndexType::String,
            [
                "",
                "\0",
                "a",
                "a\0",
                "a/",
                "aa",
                "ab",
                "b",
                "é",
                "\u{10ffff}",
            ]
            .map(Value::from)
            .to_vec(),
        ),
        (
            IndexType::Bytes,
            [
                &[][..],
                &[0],
                &[0, 0],
                &[1],
                &[1, 255],
                &[1, 255, 255],
                &[2],
                &[255],
                &[255, 255],
            ]
            .map(Value::from)
            .to_vec(),
        ),
    ]
}

/// A class with an index `v` of the type, and two dictionaries for each value: `a3` and `b3` for the fourth.
fn with_samples(home: &Dictionaries, of: IndexType, values: &[Value]) {
    home.define(Class::new(format!("{of:?}")).index("v", of))
        .unwrap();
    for (number, value) in values.iter().enumerate() {
        for letter in ["b", "a"] {
            let key = format!("{letter}{number}");
            home.put(&format!("{of:?}"), &key, fields([("v", value.clone())]))
                .unwrap();
        }
    }
}

fn expected(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers
        .flat_map(|number| [format!("a{number}"), format!("b{number}")])
        .collect()
}

/// By each type.
pub fn equal_values_are_found(site: &dyn Site) {
    let home = site.open();
    for (of, values) in samples() {
        with_samples(&home, of, &values);
        let class = format!("{of:?}");
        for (number, value) in values.iter().enumerate() {
            let found = keys(
                home.select(&class, "v", &Query::Equals(value.clone()))
                    .unwrap(),
            );
            assert_eq!(found, expected(number..=number), "{value:?}");
        }
        assert_eq!(
            keys(home.select(&class, "v", &Query::Any).unwrap()),
            expected(0..values.len())
        );
    }
    let float = |value| keys(home.select("Float", "v", &Query::Equals(value)).unwrap());
    assert_eq!(float(Value::Float(-0.0)), ["a3", "b3"]);
    assert_eq!(float(Value::Int(0)), ["a3", "b3"]);
    assert_eq!(float(Value::Int(7)).len(), 0);
}

/// By each type, with open and closed ends.
pub fn ranges_are_found_in_order(site: &dyn Site) {
    let home = site.open();
    for (of, values) in samples() {
        with_samples(&home, of, &values);
        let class = format!("{of:?}");
        let select = |low, high| keys(home.select(&class, "v", &Query::Range(low, high)).unwrap());
        let step = if site.is_slow() { 3 } else { 1 };
        for (low, from) in values.iter().enumerate().step_by(step) {
            let bounds = || (Bound::Included(from.clone()), Bound::Excluded(from.clone()));
            assert_eq!(
                select(bounds().0, Bound::Unbounded),
                expected(low..values.len())
            );
            assert_eq!(
                select(bounds().1, Bound::Unbounded),
                expected(low + 1..values.len())
            );
            assert_eq!(select(Bound::Unbounded, bounds().0), expected(0..low + 1));
            assert_eq!(select(Bound::Unbounded, bounds().1), expected(0..low));
            for (high, to) in values.iter().enumerate().step_by(step) {
                let (included, excluded) =
                    (Bound::Included(to.clone()), Bound::Excluded(to.clone()));
                assert_eq!(
                    select(bounds().0, included.clone()),
                    expected(low..high + 1)
                );
                assert_eq!(select(bounds().1, included), expected(low + 1..high + 1));
                assert_eq!(select(bounds().0, excluded.clone()), expected(low..high));
                assert_eq!(select(bounds().1, excluded), expected(low + 1..high));
            }
        }
    }
}

/// Of strings and bytes; of others there are none.
pub fn prefixes_are_found(site: &dyn Site) {
    let home = site.open();
    for (of, values) in samples() {
        with_samples(&home, of, &values);
        let class = format!("{of:?}");
        let bytes = |value: &Value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        };
        for prefix in &values {
            let found = home.select(&class, "v", &Query::Prefix(prefix.clone()));
            let Some(beginning) = bytes(prefix) else {
                assert_eq!(found.map(drop).unwrap_err().kind(), ErrorKind::Usage);
                continue;
            };
            let begin =
                |value: &Value| bytes(value).is_some_and(|bytes| bytes.starts_with(&beginning));
            let numbers = (0..values.len()).filter(|number| begin(&values[*number]));
            assert_eq!(keys(found.unwrap()), expected(numbers), "{prefix:?}");
        }
    }
}

/// Each value in a list finds the dictionary; a range that has several of them finds it once.
pub fn many_values_find_a_dictionary_once(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index_many("tags", IndexType::String))
        .unwrap();
    let tags = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| Value::from(*tag)).collect::<Vec<_>>();
        fields([("tags", tags.into())])
    };
    home.put("c", "1", tags(&["red", "blue", "red"])).unwrap();
    home.put("c", "2", tags(&["green", "blue"])).unwrap();
    home.put("c", "3", tags(&[])).unwrap();
    home.put("c", "4", fields([])).unwrap();
    home.put("c", "5", fields([("tags", Value::Null)])).unwrap();
    let select = |query: Query| keys(home.select("c", "tags", &query).unwrap());
    assert_eq!(select(Query::Equals("blue".into())), ["1", "2"]);
    assert_eq!(select(Query::Equals("red".into())), ["1"]);
    assert_eq!(select(Query::Any), ["1", "2"]);
    let from_c = Query::Range(Bound::Included("c".into()), Bound::Unbounded);
    assert_eq!(
        select(from_c),
        ["2", "1"],
        "by the least value that is meant"
    );
    home.put("c", "1", tags(&["green"])).unwrap();
    assert_eq!(select(Query::Equals("red".into())).len(), 0);
    assert_eq!(select(Query::Prefix("gr".into())), ["1", "2"]);
}

/// Through changes, deletions and new beginnings, and for no revision but the newest.
pub fn an_index_follows_its_dictionaries(site: &dyn Site) {
    let home = site.open();
    let index = Index {
        field: "in".into(),
        ..Index::new("by", IndexType::Int)
    };
    let class = Class {
        indexes: vec![index],
        ..Class::new("c")
    };
    home.define(class).unwrap();
    let put = |key: &str, number| {
        home.put("c", key, fields([("in", Value::Int(number))]))
            .unwrap()
    };
    let select = |number| {
        keys(
            home.select("c", "by", &Query::Equals(Value::Int(number)))
                .unwrap(),
        )
    };
    put("k", 1);
    put("l", 1);
    assert_eq!(select(1), ["k", "l"]);
    put("k", 2);
    assert_eq!(
        (select(1), select(2)),
        (vec!["l".to_owned()], vec!["k".to_owned()])
    );
    home.delete("c", "k").unwrap();
    assert!(select(2).is_empty());
    put("k", 1);
    assert_eq!(select(1), ["k", "l"]);
    home.put("c", "k", fields([("other", Value::Int(1))]))
        .unwrap();
    assert_eq!(select(1), ["l"]);
    home.put("c", "l", fields([("in", Value::Null)])).unwrap();
    assert_eq!(home.select("c", "by", &Query::Any).unwrap().count(), 0);
}

/// Of dictionaries by the hundred; what has another type by then is not in it.
pub fn an_index_defined_later_has_all(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    let write = |number: i64| crate::Write {
        key: format!("{number:04}"),
        after: None,
        fields: Some(fields([("n", Value::Int(number % 7)), ("x", Value::Null)])),
    };
    home.write("c", (0..700).map(write).collect()).unwrap();
    home.put("c", "another", fields([("n", "text".into())]))
        .unwrap();
    home.delete("c", "0007").unwrap();
    home.define(Class::new("c").index("n", IndexType::Int))
        .unwrap();
    let found = keys(
        home.select("c", "n", &Query::Equals(Value::Int(0)))
            .unwrap(),
    );
    let expected: Vec<_> = (0..700)
        .step_by(7)
        .filter(|number| *number != 7)
        .map(|number| format!("{number:04}"))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(home.select("c", "n", &Query::Any).unwrap().count(), 699);
    let error = home
        .put("c", "another", fields([("n", "text".into())]))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

/// Those that are equal as far as an index has them.
pub fn long_values_are_told_apart(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("v", IndexType::String))
        .unwrap();
    let long = |last: &str| Value::String(format!("{}{last}", "é".repeat(5000)));
    for last in ["b", "", "a", "c"] {
        home.put("c", &format!("key{last}"), fields([("v", long(last))]))
            .unwrap();
    }
    let select = |query: Query| keys(home.select("c", "v", &query).unwrap());
    assert_eq!(select(Query::Equals(long("a"))), ["keya"]);
    assert_eq!(
        select(Query::Range(
            Bound::Excluded(long("a")),
            Bound::Excluded(long("c"))
        )),
        ["keyb"]
    );
    assert_eq!(select(Query::Prefix(long(""))).len(), 4);
    assert_eq!(select(Query::Prefix(long("c"))), ["keyc"]);
    home.put("c", "keya", fields([("v", long("z"))])).unwrap();
    assert_eq!(select(Query::Equals(long("a"))).len(), 0);
    assert_eq!(select(Query::Equals(long("z"))), ["keya"]);
}

/// By a write, and by a query.
pub fn other_types_are_refused(site: &dyn Site) {
    let home = site.open();
    home.define(
        Class::new("c")
            .index("n", IndexType::Int)
            .index_many("m", IndexType::Bytes),
    )
    .unwrap();
    for (field, value) in [
        ("n", Value::Float(1.0)),
        ("n", Value::List(vec![])),
        ("m", Value::Bytes(vec![1])),
        ("m", Value::List(vec!["text".into()])),
    ] {
        let error = home.put("c", "k", fields([(field, value)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
    assert_eq!(home.newest("c", "k").unwrap(), None);
    let error = home
        .select("c", "n", &Query::Equals("1".into()))
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}
