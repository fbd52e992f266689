//! Lists beside `Vec`, through random transactions.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use durum_core::store::Store as _;
use durum_objects::{Database, ErrorKind, List, ListHead, Persistent, Ref, Transaction};
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use support::Place;

/// Some text, so that nodes are not all alike.
type Item = (u32, String);

fn item(random: &mut Rng) -> Item {
    (random.u32(..1000), "x".repeat(random.usize(..5)))
}

/// Changes the list and the model alike; says whether elements were moved.
fn change(random: &mut Rng, tx: &Transaction, list: List<Item>, model: &mut Vec<Item>) -> bool {
    let len = model.len();
    let place = random.usize(..=len);
    let existing = random.usize(..len.max(1));
    let some = random.usize(..12);
    let kind = random.u8(..20);
    match kind {
        0..3 if len > 0 => {
            let value = item(random);
            let old = std::mem::replace(&mut model[existing], value.clone());
            assert_eq!(list.set(tx, existing as u64, value).unwrap(), old);
        }
        3..6 => {
            let value = item(random);
            model.insert(place, value.clone());
            list.insert(tx, place as u64, value).unwrap();
        }
        6..9 => {
            let removed = (existing < len).then(|| model.remove(existing));
            assert_eq!(list.remove(tx, existing as u64).unwrap(), removed);
        }
        9 => {
            let value = item(random);
            model.push(value.clone());
            list.push(tx, value).unwrap();
        }
        10 => {
            let value = item(random);
            model.insert(0, value.clone());
            list.push_front(tx, value).unwrap();
        }
        11 => assert_eq!(list.pop(tx).unwrap(), model.pop()),
        12 => {
            let first = (len > 0).then(|| model.remove(0));
            assert_eq!(list.pop_front(tx).unwrap(), first);
        }
        13..15 => {
            let values: Vec<Item> = (0..some).map(|_| item(random)).collect();
            model.extend(values.iter().cloned());
            list.extend(tx, values).unwrap();
        }
        15 => {
            let kept = len.saturating_sub(some);
            model.truncate(kept);
            list.truncate(tx, kept as u64).unwrap();
        }
        16 if random.u8(..8) == 0 => {
            model.clear();
            list.clear(tx).unwrap();
        }
        17 if len > 0 => {
            let other = random.usize(..len);
            model.swap(existing, other);
            list.swap(tx, existing as u64, other as u64).unwrap();
        }
        18 if len > 0 => {
            model[existing].0 += 1;
            let grown = list.update(tx, existing as u64, |item| {
                item.0 += 1;
                item.0
            });
            assert_eq!(grown.unwrap(), Some(model[existing].0));
        }
        _ => refused(random, tx, list, len as u64),
    }
    // Whatever moves elements changes their number.
    model.len() != len
}

/// What is not there is no element.
fn refused(random: &mut Rng, tx: &Transaction, list: List<Item>, len: u64) {
    let beyond = list.set(tx, len, item(random)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Usage);
    let beyond = list.insert(tx, len + 1, item(random)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Usage);
    assert_eq!(list.remove(tx, len).unwrap(), None);
    assert!(list.swap(tx, 0, len).is_err());
}

fn same(random: &mut Rng, tx: &Transaction, list: List<Item>, model: &[Item]) {
    assert_eq!(list.len(tx).unwrap(), model.len() as u64);
    list.verify(tx).unwrap();
    let all = |result: Result<Vec<Item>, _>| result.unwrap();
    assert_eq!(all(list.iter(tx).unwrap().collect()), model);
    let mut backward = all(list.iter(tx).unwrap().rev().collect());
    backward.reverse();
    assert_eq!(backward, model);
    let from = random.usize(..=model.len());
    let to = random.usize(from..=model.len());
    let range = list.range(tx, from as u64..to as u64).unwrap();
    assert_eq!(all(range.collect()), model[from..to]);
    let mut both = list.range(tx, from as u64..).unwrap();
    let mut expected = model[from..].iter().cloned();
    loop {
        let (one, other) = match random.bool() {
            true => (both.next(), expected.next()),
            false => (both.next_back(), expected.next_back()),
        };
        assert_eq!(one.transpose().unwrap(), other);
        if other.is_none() {
            break;
        }
    }
    for _ in 0..5 {
        let index = random.usize(..=model.len());
        assert_eq!(
            list.get(tx, index as u64).unwrap().as_ref(),
            model.get(index)
        );
    }
    assert_eq!(list.first(tx).unwrap().as_ref(), model.first());
    assert_eq!(list.last(tx).unwrap().as_ref(), model.last());
}

fn alone(random: &mut Rng, db: &Database, list: List<Item>, model: &mut Vec<Item>) {
    let mut tx = db.begin().unwrap();
    let mut mine = model.clone();
    for _ in 0..random.usize(..25) {
        if random.u8(..6) == 0 {
            let (point, saved) = (tx.savepoint(), mine.clone());
            for _ in 0..random.usize(..10) {
                change(random, &tx, list, &mut mine);
            }
            if random.bool() {
                tx.roll_back(&point).unwrap();
                mine = saved;
            }
        } else {
            change(random, &tx, list, &mut mine);
        }
    }
    same(random, &tx, list, &mine);
    match random.u8(..4) {
        0 => {
            tx.abort();
            same(random, &tx, list, model);
        }
        _ => {
            tx.commit().unwrap();
            *model = mine;
        }
    }
}

/// Some changes, or only replacements; says whether elements were moved.
fn act(random: &mut Rng, tx: &Transaction, list: List<Item>, model: &mut Vec<Item>) -> bool {
    let only_replaces = random.bool();
    let mut moved = false;
    for _ in 0..random.usize(..4) {
        if only_replaces && !model.is_empty() {
            let (index, value) = (random.usize(..model.len()), item(random));
            model[index] = value.clone();
            list.set(tx, index as u64, value).unwrap();
        } else {
            moved |= change(random, tx, list, model);
        }
    }
    moved
}

/// Two transactions that began with the same state.
fn against_each_other(
    random: &mut Rng,
    dbs: [&Database; 2],
    lists: [List<Item>; 2],
    model: &mut Vec<Item>,
) {
    let [mut first, mut second] = dbs.map(|db| db.begin().unwrap());
    let mut of_first = model.clone();
    let moved = act(random, &first, lists[0], &mut of_first);
    let mut again = random.clone();
    act(random, &second, lists[1], model);
    let stored = first.commit().unwrap().is_some();
    match second.commit() {
        Ok(committed) => {
            assert!(committed.is_none() || !moved, "indexes mean something else");
            // As if the second had begun after the first: what it did is done to another list.
            let scratch = Place::new("memory");
            let tx = scratch.database(1 << 20).begin().unwrap();
            let list = List::build(&tx, of_first.clone()).unwrap();
            if committed.is_some() {
                act(&mut again, &tx, list, &mut of_first);
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(stored);
            second.abort();
        }
    }
    *model = of_first;
}

/// `most` is the number of transactions.
fn beside_vec(name: &str, mut place: Place, seed: u64, most: usize) {
    let mut random = Rng::with_seed(seed);
    let mut model = Vec::new();
    let size = random.u32(4..9);
    let made = place.database(0).transact(|tx| {
        let list = List::<Item>::with_node_size(tx, size)?;
        list.set_root(tx, "list")
    });
    made.unwrap();
    let mut left = most;
    while left > 0 {
        let cache = *random.choice(&[0, 3000, 1 << 20]).unwrap();
        let dbs = [place.database(cache), place.database(cache)];
        let lists = [0, 1].map(|number| {
            let tx = dbs[number].view().unwrap();
            let head: Ref<ListHead<Item>> = tx.root("list").unwrap().unwrap();
            List::at(head)
        });
        for _ in 0..random.usize(1..=left.min(20)) {
            left -= 1;
            let one = random.usize(..2);
            match random.u8(..3) {
                0 => against_each_other(&mut random, [&dbs[0], &dbs[1]], lists, &mut model),
                _ => alone(&mut random, &dbs[one], lists[one], &mut model),
            }
            if model.len() > 400 {
                let keep = random.usize(..50);
                model.truncate(keep);
                dbs[0]
                    .transact(|tx| lists[0].truncate(tx, keep as u64))
                    .unwrap();
            }
            let other = 1 - one;
            same(
                &mut random,
                &dbs[other].view().unwrap(),
                lists[other],
                &model,
            );
        }
        drop(dbs);
        place.reopen();
        let db = place.database(cache);
        let list = List::at(db.view().unwrap().root("list").unwrap().unwrap());
        same(&mut random, &db.view().unwrap(), list, &model);
        nothing_is_left(name, &place, &db, list);
    }
}

/// The root, the table of types, and the list's own objects: what was removed is garbage, and collected.
fn nothing_is_left(name: &str, place: &Place, db: &Database, list: List<Item>) {
    place.store().collect().unwrap();
    let (_, nodes) = list.verify(&db.view().unwrap()).unwrap();
    assert_eq!(place.store().stats().unwrap().objects, nodes + 2, "{name}");
}

#[test]
fn lists_are_what_vectors_are_on_every_engine_and_through_a_server() {
    let seed = durum_testkit::seed();
    for (name, place) in Place::all() {
        let most = if name == "memory" { 300 } else { 60 };
        beside_vec(&name, place, seed, most);
    }
}

#[test]
fn long_lists_are_built_walked_and_emptied() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    for size in [4, 5, 64] {
        let tx = db.begin().unwrap();
        let list = List::build_with(&tx, size, 0..20_000_u32).unwrap();
        let (levels, _) = list.verify(&tx).unwrap();
        assert!(levels <= 9, "{levels}");
        let all: Vec<u32> = list.iter(&tx).unwrap().map(Result::unwrap).collect();
        assert_eq!(all, (0..20_000).collect::<Vec<_>>());
        for number in 0..10_000 {
            assert_eq!(list.pop_front(&tx).unwrap(), Some(number));
        }
        list.verify(&tx).unwrap();
        for number in (10_000..20_000).rev() {
            assert_eq!(list.pop(&tx).unwrap(), Some(number));
        }
        assert_eq!(
            list.verify(&tx).unwrap(),
            (1, 1),
            "nothing is left but the head"
        );
    }
}

#[test]
fn nodes_that_are_appended_to_stay_full() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    let tx = db.begin().unwrap();
    let (front, back) = (List::new(&tx).unwrap(), List::new(&tx).unwrap());
    for number in 0..6400_u32 {
        back.push(&tx, number).unwrap();
        front.push_front(&tx, number).unwrap();
    }
    let built = List::build(&tx, 0..6400_u32).unwrap();
    let nodes = |list: List<u32>| list.verify(&tx).unwrap().1;
    assert!(
        nodes(back) <= nodes(built) + 2,
        "{} {}",
        nodes(back),
        nodes(built)
    );
    assert!(
        nodes(front) <= nodes(built) + 2,
        "{} {}",
        nodes(front),
        nodes(built)
    );
}

#[test]
fn only_what_is_touched_is_stored() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    let list = db.transact(|tx| {
        let list = List::build(tx, 0..100_000_u64)?;
        list.set_root(tx, "list")?;
        Ok(list)
    });
    let list = list.unwrap();
    let changed = |work: &dyn Fn(&Transaction)| {
        let mut tx = db.begin().unwrap();
        work(&tx);
        let before = tx.tid().unwrap();
        tx.commit().unwrap();
        let mut objects = 0;
        let visit = &mut |_| {
            objects += 1;
            Ok(())
        };
        place.store().visit_changes_since(before, visit).unwrap();
        objects
    };
    assert_eq!(
        changed(&|tx| assert_eq!(list.set(tx, 50_000, 1).unwrap(), 50_000)),
        1
    );
    // The head, a branch, a leaf and its other half; nodes are full here.
    assert!(changed(&|tx| list.insert(tx, 50_000, 1).unwrap()) <= 5);
    assert_eq!(
        changed(&|tx| assert_eq!(list.remove(tx, 10).unwrap(), Some(10))),
        3
    );
}

/// What has a list among its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Shelf")]
struct Shelf {
    books: List<Ref<Book>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Book")]
struct Book {
    title: String,
}

#[test]
fn lists_keep_what_they_refer_to() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    let shelf = db.transact(|tx| {
        let books = List::new(tx)?;
        for number in 0..300 {
            let title = format!("volume {number}");
            books.push(tx, tx.new(Book { title })?)?;
        }
        let shelf = tx.new(Shelf { books })?;
        tx.set_root("shelf", shelf)?;
        Ok(shelf)
    });
    place.store().collect().unwrap();
    let tx = db.begin().unwrap();
    let shelf = tx.get(shelf.unwrap()).unwrap();
    let book = shelf.books.get(&tx, 250).unwrap().unwrap();
    assert_eq!(tx.get(book).unwrap().title, "volume 250");
}

#[test]
fn lists_with_other_elements_are_told_apart_when_all_is_crawled() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    let made = db.transact(|tx| {
        let numbers = List::build(tx, 0..1000_u32)?;
        numbers.set_root(tx, "numbers")?;
        let texts = List::build(tx, (0..1000).map(|number| number.to_string()))?;
        tx.set_root("texts", texts.head())?;
        Ok((numbers, texts))
    });
    let (numbers, texts) = made.unwrap();
    drop(db);
    for first in [true, false] {
        let db = place.database(1 << 20);
        let mut tx = db.begin().unwrap();
        let texts = List::<String>::at(tx.root("texts").unwrap().unwrap());
        let numbers = List::<u32>::at(tx.root("numbers").unwrap().unwrap());
        // This process knows one of them only.
        if first {
            numbers.push(&tx, 7).unwrap();
        } else {
            texts.push(&tx, "7".to_owned()).unwrap();
        }
        tx.commit().unwrap();
        tx.crawl(numbers.head(), 1000).unwrap();
        tx.crawl(texts.head(), 1000).unwrap();
        assert_eq!(numbers.get(&tx, 999).unwrap(), Some(999));
        assert_eq!(texts.get(&tx, 999).unwrap(), Some("999".to_owned()));
    }
    let _ = (numbers, texts);
}

#[test]
fn a_walk_goes_on_when_the_list_is_changed_meanwhile() {
    let place = Place::new("memory");
    let db = place.database(1 << 20);
    let tx = db.begin().unwrap();
    let list = List::build_with(&tx, 4, 0..100_u32).unwrap();
    let mut walk = list.iter(&tx).unwrap();
    assert_eq!(walk.next().unwrap().unwrap(), 0);
    list.truncate(&tx, 10).unwrap();
    let rest: Vec<u32> = walk.map(Result::unwrap).collect();
    assert_eq!(rest, (1..10).collect::<Vec<_>>());
    let mut back = list.iter(&tx).unwrap().rev();
    list.clear(&tx).unwrap();
    assert!(back.next().is_none());
}

#[test]
fn too_small_nodes_are_refused() {
    let place = Place::new("memory");
    let tx = place.database(0).begin().unwrap();
    let error = List::<u8>::with_node_size(&tx, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}
