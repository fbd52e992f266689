//! Dictionaries that several write while nodes come and go, and what has to be found afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_cluster::TIME_MAX;
use durum_dictionaries::{Dictionaries, Dictionary, ErrorKind, Fields, Query, Value};
use fastrand::Rng;

/// A writer makes no more dictionaries than that, and then writes those again.
const KEYS_MAX: usize = 60;
/// What does not fit into an item, and becomes an object.
pub(crate) const LARGE: usize = 700 << 10;
/// How many are asked at once.
const READERS: usize = 8;

/// The numbers of all dictionaries whose writes were acknowledged, by their keys.
pub(crate) type Written = BTreeMap<String, i64>;

/// What a dictionary holds follows from its key and its number.
fn fields_of(key: &str, number: i64) -> Fields {
    Fields::from([
        ("n".to_owned(), Value::Int(number)),
        ("text".to_owned(), format!("{key}: {number}").into()),
    ])
}

/// Threads that write dictionaries, and read back what they have written, until they are told to end.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Met>>,
}

/// What one of them has met.
struct Met {
    written: Written,
    longest: Duration,
    errors: Vec<String>,
}

impl Writers {
    pub(crate) fn start(url: &str, class: &str, count: usize, random: &mut Rng) -> Writers {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = |writer| {
            let name = format!("{:08x}-{writer}", random.u32(..));
            let (url, class, random) = (url.to_owned(), class.to_owned(), random.fork());
            let (stop, count) = (stop.clone(), Arc::clone(&written));
            std::thread::spawn(move || write(&url, &class, &name, random, &stop, &count))
        };
        Writers {
            threads: (0..count).map(thread).collect(),
            stop,
            count: written,
        }
    }

    /// Waits until so many more are written.
    pub(crate) fn more(&self, count: u64) {
        let goal = self.count.load(Ordering::Relaxed) + count;
        let begun = Instant::now();
        while self.count.load(Ordering::Relaxed) < goal {
            assert!(begun.elapsed() < TIME_MAX, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends them: nothing may have failed. What they have written is added to what there was; the longest wait.
    pub(crate) fn end(self, what: &str, written: &mut Written) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let (mut longest, mut errors) = (Duration::ZERO, Vec::new());
        for thread in self.threads {
            let met = thread.join().unwrap();
            longest = longest.max(met.longest);
            errors.extend(met.errors);
            written.extend(met.written);
        }
        println!(
            "{what}: {} writes, {} errors, the longest wait was {longest:?}",
            self.count.load(Ordering::Relaxed),
            errors.len()
        );
        assert!(errors.is_empty(), "{what}: {errors:#?}");
        longest
    }
}

fn write(
    url: &str,
    class: &str,
    name: &str,
    mut random: Rng,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Met {
    let home = Dictionaries::open(url).unwrap();
    let mut met = Met {
        written: Written::new(),
        longest: Duration::ZERO,
        errors: Vec::new(),
    };
    while !stop.load(Ordering::Relaxed) {
        let keys = met.written.len();
        let fresh = keys == 0 || (keys < KEYS_MAX && random.u8(..4) < 3);
        let which = if fresh { keys } else { random.usize(..keys) };
        let (key, number) = (format!("{name}-{which}"), random.i64(0..));
        let begun = Instant::now();
        let done = home.put(class, &key, fields_of(&key, number));
        met.longest = met.longest.max(begun.elapsed());
        let begun = Instant::now();
        let found = done.and_then(|_| home.get(class, &key));
        met.longest = met.longest.max(begun.elapsed());
        match found {
            Ok(Some(found)) if *found.fields() == fields_of(&key, number) => {
                met.written.insert(key, number);
            }
            Ok(found) => met.errors.push(format!("{key}: {number}: {found:?}")),
            Err(error) => met.errors.push(error.to_string()),
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    met
}

/// All that was acknowledged is there, as it was written, by each way: one by one, all at once, and by the index;
/// nothing is missing, nothing comes twice, and nothing else is there.
pub(crate) fn check(home: &Dictionaries, class: &str, written: &Written) {
    let begun = Instant::now();
    assert!(!written.is_empty());
    each(home, class, written, |key, number, found| {
        let found = found.unwrap_or_else(|error| panic!("{key}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(*found.fields(), fields_of(key, number), "{key}");
        assert_eq!(found.as_of, None);
    });
    check_lists(home, class, written);
    let count = written.len();
    println!("all {count} of {class} are there ({:?})", begun.elapsed());
}

/// As [`check`], for lists alone.
pub(crate) fn check_lists(home: &Dictionaries, class: &str, written: &Written) {
    let all = home.all(class).unwrap().map(Result::unwrap).collect();
    check_found(all, written);
    let any = home.select(class, "n", &Query::Any).unwrap();
    let selected = numbers(any.map(Result::unwrap));
    assert!(selected.is_sorted_by_key(|(_, number)| *number));
    same(selected, written);
    for (key, number) in written.iter().step_by(10) {
        let one = Query::Equals(Value::Int(*number));
        let one = home.select(class, "n", &one).unwrap();
        let one = numbers(one.map(Result::unwrap));
        assert_eq!(one, [(key.clone(), *number)]);
    }
}

/// Each once, as it was written, and nothing else.
pub(crate) fn check_found(found: Vec<Dictionary>, written: &Written) {
    for one in &found {
        let number = written[&one.key];
        assert_eq!(*one.fields(), fields_of(&one.key, number), "{}", one.key);
    }
    same(numbers(found.into_iter()), written);
}

fn same(mut found: Vec<(String, i64)>, written: &Written) {
    found.sort();
    let expected: Vec<_> = written.iter().map(|(key, n)| (key.clone(), *n)).collect();
    assert!(found == expected, "{found:?} instead of {expected:?}");
}

fn numbers(found: impl Iterator<Item = Dictionary>) -> Vec<(String, i64)> {
    let number = |found: Dictionary| match found.fields()["n"] {
        Value::Int(number) => (found.key, number),
        _ => panic!("{found:?}"),
    };
    found.map(number).collect()
}

/// Asks for each.
fn each(
    home: &Dictionaries,
    class: &str,
    written: &Written,
    look: impl Fn(&str, i64, durum_dictionaries::Result<Option<Dictionary>>) + Sync,
) {
    let all: Vec<_> = written.iter().collect();
    std::thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(READERS)) {
            let look = &look;
            scope.spawn(move || {
                for (key, number) in part {
                    look(key, **number, home.get(class, key));
                }
            });
        }
    });
}

/// What is found of a class with one copy, when nodes are down or lost: each dictionary as it was written; or not, which is
/// an error where its node is down, and nothing where it is lost. How many are found, fail, and are lost.
pub(crate) fn left(home: &Dictionaries, class: &str, written: &Written) -> [u64; 3] {
    let counts: [AtomicU64; 3] = Default::default();
    each(home, class, written, |key, number, found| {
        let which = match found {
            Ok(Some(found)) => {
                assert_eq!(*found.fields(), fields_of(key, number), "{key}");
                0
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoQuorum, "{key}: {error}");
                1
            }
            Ok(None) => 2,
        };
        counts[which].fetch_add(1, Ordering::Relaxed);
    });
    counts.map(AtomicU64::into_inner)
}

/// Some that are so large that a part of them becomes an object.
pub(crate) fn put_large(home: &Dictionaries, class: &str, random: &mut Rng) -> Vec<Vec<u8>> {
    let large = (0..4).map(|key| {
        let bytes: Vec<u8> = (0..LARGE).map(|_| random.u8(..)).collect();
        let fields = Fields::from([("large".to_owned(), Value::Bytes(bytes.clone()))]);
        home.put(class, &key.to_string(), fields).unwrap();
        bytes
    });
    large.collect()
}

pub(crate) fn check_large(home: &Dictionaries, class: &str, large: &[Vec<u8>]) {
    let same = |found: Dictionary, key: usize| {
        let Value::Bytes(bytes) = &found.fields()["large"] else {
            panic!("{class}: {key}");
        };
        assert!(*bytes == large[key], "{class}: {key}");
    };
    for key in 0..large.len() {
        let found = home.get(class, &key.to_string()).unwrap();
        same(found.unwrap(), key);
    }
    let mut keys = BTreeSet::new();
    for found in home.all(class).unwrap() {
        let found = found.unwrap();
        let key = found.key.parse().unwrap();
        assert!(keys.insert(key), "{key} twice");
        same(found, key);
    }
    assert_eq!(keys.len(), large.len());
}
