//! Random histories beside a model.

use std::collections::BTreeMap;
use std::ops::Bound;

use fastrand::Rng;

use super::{Site, fields};
use crate::{At, Class, Fields, IndexType, Query, RevisionId, Value};

/// For each key its revisions, in order.
type Model = BTreeMap<String, Vec<(RevisionId, Option<Fields>)>>;

/// What is written, found and seen again is that of the model.
pub fn random_histories_are_those_of_a_model(site: &dyn Site) {
    let mut random = Rng::with_seed(durum_testkit::seed());
    let home = site.open();
    let class = Class::new("c")
        .index("n", IndexType::Int)
        .index("s", IndexType::String)
        .index_many("m", IndexType::Float);
    home.define(class).unwrap();
    let mut model = Model::new();
    let (writes, checks) = if site.is_slow() { (100, 5) } else { (400, 20) };
    for _ in 0..writes {
        let key = random.u8(..30).to_string();
        let revisions = model.entry(key.clone()).or_default();
        let alive = revisions.last().is_some_and(|(_, fields)| fields.is_some());
        if random.u8(..4) == 0 {
            let deleted = home.delete("c", &key).unwrap();
            assert_eq!(deleted.is_some(), alive);
            revisions.extend(deleted.map(|id| (id, None)));
        } else {
            let fields = some_fields(&mut random);
            let id = home.put("c", &key, fields.clone()).unwrap();
            revisions.push((id, Some(fields)));
        }
        match random.u8(..20) {
            0 => check_selections(&home, &model, &mut random),
            1 => check_histories(&home, &model),
            _ => {}
        }
    }
    check_histories(&home, &model);
    for _ in 0..checks {
        check_selections(&home, &model, &mut random);
    }
}

fn some_fields(random: &mut Rng) -> Fields {
    let mut all = Fields::new();
    if random.bool() {
        all.insert("n".into(), Value::Int(random.i64(-3..3)));
    }
    if random.bool() {
        all.insert("s".into(), text(random));
    }
    if random.bool() {
        let values =
            (0..random.usize(..4)).map(|_| Value::Float(f64::from(random.i8(-2..2)) / 2.0));
        all.insert("m".into(), Value::List(values.collect()));
    }
    let large = "x".repeat(random.usize(..3000));
    all.extend(fields([("rest", large.into())]));
    all
}

fn text(random: &mut Rng) -> Value {
    let letters = ["a", "b", "é", "\0"];
    let letters = (0..random.usize(..3)).map(|_| letters[random.usize(..letters.len())]);
    Value::String(letters.collect())
}

fn check_histories(home: &crate::Dictionaries, model: &Model) {
    for (key, revisions) in model {
        let expected = revisions.iter().rev();
        let found: Vec<_> = home
            .history("c", key)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found.len(), revisions.len());
        for (found, (id, fields)) in found.iter().zip(expected) {
            assert_eq!((found.id, found.is_deleted()), (*id, fields.is_none()));
            assert_eq!(found.fields, fields.clone().unwrap_or_default());
            assert_eq!(
                home.get_at("c", key, At::Revision(*id)).unwrap().as_ref(),
                Some(found)
            );
        }
    }
    let all: Vec<_> = home.all("c").unwrap().map(Result::unwrap).collect();
    let alive = model.iter().filter_map(|(key, revisions)| {
        let (id, fields) = revisions.last()?;
        Some((key, *id, fields.as_ref()?))
    });
    let found = all
        .iter()
        .map(|found| (&found.key, found.revision.id, found.fields()));
    assert!(found.eq(alive));
}

fn check_selections(home: &crate::Dictionaries, model: &Model, random: &mut Rng) {
    let (index, value): (_, fn(&mut Rng) -> Value) = match random.u8(..3) {
        0 => ("n", |random| Value::Int(random.i64(-4..4))),
        1 => ("s", text),
        _ => ("m", |random| {
            Value::Float(f64::from(random.i8(-3..3)) / 2.0)
        }),
    };
    let bound = |random: &mut Rng| match random.u8(..3) {
        0 => Bound::Included(value(random)),
        1 => Bound::Excluded(value(random)),
        _ => Bound::Unbounded,
    };
    let range = (bound(random), bound(random));
    let mut expected = Vec::new();
    for (key, revisions) in model {
        let Some((_, Some(fields))) = revisions.last() else {
            continue;
        };
        let values = match fields.get(index) {
            Some(Value::List(values)) => values.clone(),
            value => value.cloned().into_iter().collect(),
        };
        let above = |value: &Value| match &range.0 {
            Bound::Included(low) => value >= low,
            Bound::Excluded(low) => value > low,
            Bound::Unbounded => true,
        };
        let below = |value: &Value| match &range.1 {
            Bound::Included(high) => value <= high,
            Bound::Excluded(high) => value < high,
            Bound::Unbounded => true,
        };
        let least = values
            .into_iter()
            .filter(|value| above(value) && below(value))
            .min();
        expected.extend(least.map(|value| (value, key.clone())));
    }
    expected.sort();
    let query = Query::Range(range.0.clone(), range.1.clone());
    let found = super::keys(home.select("c", index, &query).unwrap());
    let expected: Vec<_> = expected.into_iter().map(|(_, key)| key).collect();
    assert_eq!(found, expected, "{index} {query:?}");
}
