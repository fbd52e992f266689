//! Classes.

use super::{Site, fields};
use crate::{Class, ErrorKind, History, Index, IndexType, Merge, Query, Value};

/// Nothing is written to or read from a class that is not defined.
pub fn a_class_is_defined_before_it_is_used(site: &dyn Site) {
    let home = site.open();
    assert_eq!(home.classes().unwrap(), []);
    let refused = [
        home.put("c", "k", fields([])).map(drop),
        home.get("c", "k").map(drop),
        home.all("c").map(drop),
        home.history("c", "k").map(drop),
        home.changes("c", None).map(drop),
        home.select("c", "i", &Query::Any).map(drop),
        home.heal(Some("c")).map(drop),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(
            error.to_string().contains('c') && error.to_string().contains("define"),
            "{error}"
        );
    }
    let class = Class::new("c")
        .copies(3)
        .history(History::Revisions(5))
        .merge(Merge::Latest);
    home.define(class.clone()).unwrap();
    home.define(Class::new("b.2").index("i", IndexType::Int))
        .unwrap();
    let other = site.open();
    assert_eq!(other.class("c").unwrap(), class);
    let names: Vec<String> = other
        .classes()
        .unwrap()
        .into_iter()
        .map(|class| class.name)
        .collect();
    assert_eq!(names, ["b.2", "c"]);
    assert_eq!(other.class("b.2").unwrap().indexes[0].field, "i");
}

/// Wrong names, numbers and indexes are told of.
pub fn what_no_class_can_be_is_refused(site: &dyn Site) {
    let home = site.open();
    let twice = Class::new("c")
        .index("i", IndexType::Int)
        .index("i", IndexType::String);
    let field = Class {
        indexes: vec![Index {
            field: "f".repeat(256),
            ..Index::new("i", IndexType::Int)
        }],
        ..Class::new("c")
    };
    let many = (0..33).fold(Class::new("c"), |class, number| {
        class.index(format!("i{number}"), IndexType::Int)
    });
    for (class, why) in [
        (Class::new(""), "name"),
        (Class::new("1c"), "name"),
        (Class::new("a/b"), "name"),
        (Class::new("c".repeat(49)), "name"),
        (Class::new("c").copies(0), "copies"),
        (Class::new("c").copies(17), "copies"),
        (Class::new("c").history(History::Revisions(0)), "newest"),
        (
            Class::new("c").merge(Merge::Function("a b".into())),
            "merge function",
        ),
        (Class::new("c").index("-", IndexType::Int), "index"),
        (twice, "twice"),
        (field, "255"),
        (many, "32"),
    ] {
        let error = home.define(class.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{class:?}: {error}");
        assert!(error.to_string().contains(why), "{class:?}: {error}");
    }
    assert_eq!(home.classes().unwrap(), []);
}

/// What was there stays, with its history, and indexes go and come.
pub fn a_class_defined_anew_keeps_its_dictionaries(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("i", IndexType::Int))
        .unwrap();
    home.put("c", "k", fields([("i", Value::Int(1)), ("s", "a".into())]))
        .unwrap();
    home.put("c", "k", fields([("i", Value::Int(2)), ("s", "b".into())]))
        .unwrap();
    home.define(Class::new("c").index("s", IndexType::String))
        .unwrap();
    assert_eq!(home.history("c", "k").unwrap().count(), 2);
    assert_eq!(
        super::keys(home.select("c", "s", &Query::Equals("b".into())).unwrap()),
        ["k"]
    );
    let error = home.select("c", "i", &Query::Any).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("It has s"), "{error}");
    // An index of the same name by another type is another one.
    home.define(Class::new("c").index("s", IndexType::Int))
        .unwrap();
    assert_eq!(home.select("c", "s", &Query::Any).unwrap().count(), 0);
}
